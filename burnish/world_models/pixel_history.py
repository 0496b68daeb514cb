"""A state that is simply the last H pictures and actions: the observer half of a world model on pixels."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, WindowBatch, Windows, image_key
from burnish.errors import InputError
from burnish.networks.action_encoding import ActionEncodingName
from burnish.world_models.base import State


@dataclass(frozen=True)
class PixelHistoryState(State):
    """The last H frames, oldest first, as bytes: exact for recorded frames, and a quarter of the memory of floats.

    Channels first, the cameras' pictures stacked on the channels. `action[:, i]` was executed at frame i, so the
    newest slot is empty (zero) until the next step. An episode that has just begun holds its first frame H times;
    `valid` tells which frames are real.
    """

    frames: UInt8[Tensor, "B H C S S"]
    action: Float[Tensor, "B H A"]
    valid: Bool[Tensor, "B H"]


@dataclass(frozen=True)
class PixelHistoryConfig:
    """What a model sees of the world, and how actions enter."""

    cameras: tuple[str, ...]
    image_size: int = within(64, 8)
    """Height and width of every camera's pictures."""
    frames: int = within(4, 1)
    """H, the number of past frames and actions (World4RL: 4)."""
    feature_frames: int = within(1, 1)
    """How many of the newest frames policies and classifiers read."""
    action_encoding: ActionEncodingName = "two_hot"
    bins: int = within(21, 2)
    """K of the two-hot or one-hot encoding (World4RL: 21); dct quantises in steps of 2 / (K - 1)."""
    codes: int = within(256, 2)
    """Size of the codebook of vq."""

    def __post_init__(self) -> None:
        if not self.cameras or len(set(self.cameras)) < len(self.cameras):
            raise InputError(f"pixel history: found cameras {self.cameras}, expected one or more different names")
        if self.image_size < 1 or not 1 <= self.feature_frames <= self.frames:
            found = f"image_size {self.image_size}, frames {self.frames} and feature_frames {self.feature_frames}"
            raise InputError(
                f"pixel history: found {found}, expected a positive size and 1 <= feature_frames <= frames"
            )


class PixelHistory(Component):
    """Observer half of a pixel world model: checks pictures and keeps the last H of them."""

    action_steps = 1
    device_anchor: Tensor

    def __init__(self, action_dim: int, config: PixelHistoryConfig) -> None:
        super().__init__()
        self.action_dim, self.config = action_dim, config
        self.keys = tuple(image_key(camera) for camera in config.cameras)
        self.channels = 3 * len(config.cameras)
        self.feature_shape = (config.feature_frames, self.channels, config.image_size, config.image_size)
        self.feature_dim = config.feature_frames * self.channels * config.image_size**2
        self.register_buffer("device_anchor", torch.zeros(()), persistent=False)

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """What one observation holds, by LeRobot's keys."""
        return dict.fromkeys(self.keys, (self.config.image_size, self.config.image_size, 3))

    def initial(self, batch_size: int) -> PixelHistoryState:
        """States of episodes that have not begun: no frame is valid."""
        h, size, device = self.config.frames, self.config.image_size, self.device_anchor.device
        return PixelHistoryState(
            torch.zeros(batch_size, h, self.channels, size, size, dtype=torch.uint8, device=device),
            torch.zeros(batch_size, h, self.action_dim, device=device),
            torch.zeros(batch_size, h, dtype=torch.bool, device=device),
        )

    def observe(
        self, state: PixelHistoryState, action: Tensor | None, observation: dict[str, Tensor]
    ) -> PixelHistoryState:
        """Push real pictures; episodes that begin are filled with them. Raises InputError for unusable pictures."""
        frame = self.pictures(observation)
        if frame.dim() != 4:
            found = f"pictures of shape {tuple(observation[self.keys[0]].shape)}"
            raise InputError(f"{self.keys[0]}: found {found}, expected one per row of the batch (B, H, W, 3)")
        if action is None:
            action = torch.zeros(len(frame), self.action_dim, device=frame.device)
        begun = state.valid[:, -1]
        pushed = push(state, action, frame)
        first = PixelHistoryState(
            frame.unsqueeze(1).expand(-1, self.config.frames, -1, -1, -1), torch.zeros_like(state.action), pushed.valid
        )
        return pushed.where(~begun, first)

    def features(self, state: PixelHistoryState) -> Float[Tensor, "B F"]:
        """The newest `feature_frames` frames as floats in [-1, 1], flattened from (frames, C, S, S)."""
        return signed(state.frames[:, -self.config.feature_frames :]).flatten(1)

    @property
    def shown_frames(self) -> int:
        """Frames that a row of features shows."""
        return self.config.feature_frames

    def shown(self, features: Float[Tensor, "B F"]) -> dict[str, UInt8[Tensor, "B frames S S 3"]]:
        """The pictures that features are, oldest first, by LeRobot's keys."""
        cameras = to_levels(features.unflatten(-1, self.feature_shape)).split(3, dim=2)
        return {key: pictures.movedim(2, -1) for key, pictures in zip(self.keys, cameras, strict=True)}

    def decode(self, state: PixelHistoryState) -> dict[str, Tensor]:
        """The newest picture of every camera: LeRobot's keys to uint8 (B, S, S, 3)."""
        cameras = state.frames[:, -1].split(3, dim=1)
        return {key: picture.movedim(1, -1) for key, picture in zip(self.keys, cameras, strict=True)}

    def recorded(self, dataset: Dataset) -> PixelHistoryState:
        """The state at every frame of a dataset, in frame order: H times the dataset's own pictures in memory."""
        windows = Windows(dataset, history=self.config.frames, horizon=0)
        return self.window_state(windows.gather(windows.present_frames))

    def window_state(self, batch: WindowBatch) -> PixelHistoryState:
        """The state at the present frame of each window."""
        h = self.config.frames
        action = batch.action[:, :h].clone()
        action[:, -1] = 0  # the present action is not yet executed
        past = {key: batch.observation[key][:, :h] for key in self.keys if key in batch.observation}
        return PixelHistoryState(self.pictures(past), action, batch.valid[:, :h])

    def pictures(self, observation: dict[str, Tensor]) -> UInt8[Tensor, "*batch C S S"]:
        """The configured cameras' pictures (…, S, S, 3), uint8, as (…, C, S, S).

        Raises InputError where a camera is missing or its pictures have another type, size or order of channels.
        """
        size = self.config.image_size
        expected = f"uint8 (…, {size}, {size}, 3), RGB, channels last"
        found = []
        for key in self.keys:
            if key not in observation:
                raise InputError(f"{key}: found only {sorted(observation)}, expected pictures of this camera")
            pictures = observation[key]
            if not isinstance(pictures, Tensor) or pictures.dtype != torch.uint8:
                kind = pictures.dtype if isinstance(pictures, Tensor) else type(pictures).__name__
                raise InputError(f"{key}: found {kind}, expected {expected}")
            if pictures.shape[-3:] != (size, size, 3):
                order = ", channels first" if pictures.shape[-3:] == (3, size, size) else ""
                raise InputError(f"{key}: found shape {tuple(pictures.shape)}{order}, expected {expected}")
            found.append(pictures.movedim(-1, -3))
        return torch.cat(found, dim=-3)


def push(state: PixelHistoryState, action: Float[Tensor, "B A"], frame: UInt8[Tensor, "B C S S"]) -> PixelHistoryState:
    """Drop the oldest frame, write `action` beside the newest one, and append `frame`."""
    actions = torch.zeros_like(state.action)
    if actions.shape[1] > 1:
        actions[:, :-2] = state.action[:, 1:-1]
        actions[:, -2] = action
    valid = torch.cat([state.valid[:, 1:], torch.ones_like(state.valid[:, :1])], dim=1)
    return PixelHistoryState(torch.cat([state.frames[:, 1:], frame.unsqueeze(1)], dim=1), actions, valid)


def signed(frames: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Bytes as floats in [-1, 1]."""
    return frames.to(torch.float32) / 127.5 - 1


def to_levels(frames: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """The inverse of `signed`: clamped to [-1, 1] and rounded to bytes."""
    return ((frames.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
