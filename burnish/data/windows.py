"""Windows over episodes: a history that ends at the present frame, and the frames that follow it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from burnish.data.dataset import Dataset
from burnish.data.rows import RowSampler
from burnish.errors import InputError


@dataclass(frozen=True)
class WindowBatch:
    """B windows of L = history + horizon frames; position `history - 1` is the present.

    Attributes:
        observation: LeRobot's keys to (B, L, ...); padding repeats the nearest frame of the episode.
        action: (B, L, A): `action[:, i]` was executed at frame i; 0 where the frame is padding.
        valid: bool (B, L): False where the frame is padding.
        success: bool (B, L): does the frame show success; padding repeats the nearest frame of the episode.
        reward: float32 (B, L): received on arriving at the frame, 0 where it is padding; None without rewards.
        terminated: bool (B, L): did the episode end there by itself, False where it is padding; None if unknown.
    """

    observation: dict[str, Tensor]
    action: Tensor
    valid: Tensor
    success: Tensor
    reward: Tensor | None = None
    terminated: Tensor | None = None

    def to(self, device: torch.device | str) -> WindowBatch:
        """The same batch on `device`."""
        return replace(
            self,
            observation={key: values.to(device) for key, values in self.observation.items()},
            action=self.action.to(device),
            valid=self.valid.to(device),
            success=self.success.to(device),
            reward=None if self.reward is None else self.reward.to(device),
            terminated=None if self.terminated is None else self.terminated.to(device),
        )


class Windows(RowSampler[Tensor]):
    """All windows of a dataset, on its device; none crosses an episode's border.

    A history that reaches beyond the episode's start is filled with its first frame and marked as padding.

    Memory grows with the episodes, not with the frames.

    Attributes:
        history: frames up to and with the present, >= 1.
        horizon: frames that follow the present, >= 0.
    """

    def __init__(self, dataset: Dataset, history: int, horizon: int) -> None:
        """Find the windows.

        Args:
            dataset: where the frames come from.
            history: frames up to and with the present, >= 1.
            horizon: frames that follow the present, >= 0.

        Raises:
            InputError: an impossible history or horizon, or no episode is long enough.
        """
        if history < 1 or horizon < 0:
            raise InputError(f"windows: found history {history} and horizon {horizon}, expected at least 1 and 0")
        self.dataset, self.history, self.horizon = dataset, history, horizon
        self._ends = dataset.lengths.cumsum(0)
        presents = (dataset.lengths - horizon).clamp(min=0)
        self._present_ends = presents.cumsum(0)
        # From the number of a present to its frame: what the episodes before it have less of presents than of frames.
        self._behind = dataset.starts - self._present_ends + presents
        self._count = int(self._present_ends[-1])
        self._offsets = torch.arange(1 - history, horizon + 1, device=dataset.device)
        if not self._count:
            longest = int(dataset.lengths.max())
            raise InputError(f"windows: found no episode longer than {longest} frames, expected {horizon + 1} or more")

    def __len__(self) -> int:
        """The number of windows, N."""
        return self._count

    @property
    def present_frames(self) -> Tensor:
        """int64 (N,): every frame that can be a present."""
        return self._presents(torch.arange(self._count, device=self.dataset.device))

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Presents, int64 (B,), uniformly, with replacement; the generator may live on another device than the data."""
        drawn = torch.randint(len(self), (batch_size,), generator=generator, device=generator.device)
        return self._presents(drawn.to(self.dataset.device))

    def _presents(self, numbers: Tensor) -> Tensor:
        """The frames of presents by their numbers, int64 (B,)."""
        return numbers + self._behind[torch.searchsorted(self._present_ends, numbers, right=True)]

    def gather(self, drawn: Tensor) -> WindowBatch:
        """The windows of the given presents, int64 (B,)."""
        wanted = drawn[:, None] + self._offsets
        episode = torch.searchsorted(self._ends, drawn, right=True)
        first, last = self.dataset.starts[episode], self._ends[episode] - 1
        frames = wanted.clamp(first[:, None], last[:, None])
        valid = wanted == frames
        reward, terminated = self.dataset.reward, self.dataset.terminated
        return WindowBatch(
            observation={key: values[frames] for key, values in self.dataset.observations.items()},
            action=self.dataset.actions[frames] * valid[..., None],
            valid=valid,
            success=self.dataset.success[frames],
            reward=None if reward is None else reward[frames] * valid,
            terminated=None if terminated is None else terminated[frames] & valid,
        )


def action_chunks(dataset: Dataset, chunk: int) -> tuple[Tensor, Tensor]:
    """Every frame with the `chunk` actions that begin there.

    Returns:
        int64 (N,): the frames whose chunk lies within their episode, and (N, chunk, A): the actions.

    Raises:
        InputError: no episode has that many frames.
    """
    windows = Windows(dataset, history=1, horizon=chunk - 1)
    frames = windows.present_frames
    return frames, dataset.actions[frames[:, None] + torch.arange(chunk, device=dataset.device)]
