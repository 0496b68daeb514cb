"""LaDi-WM's world model: what frozen encoders will say of the next frames, denoised together (arXiv 2505.11528)."""

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.data import STATE, Dataset, Normaliser, WindowBatch
from burnish.errors import InputError
from burnish.networks import InteractiveDiT, InteractiveDiTConfig, straight_levels
from burnish.world_models.base import Observed
from burnish.world_models.history import RANGE_SLACK, HistoryState, ObservationHistory, frames_with_next, push

_LEAST_LEVEL = 1e-3


@dataclass(frozen=True)
class LatentDiffusionConfig:
    """How many frames are predicted at once, and how."""

    frames: int = within(4, 1)
    """T, future frames of one prediction (LaDi-WM: 6)."""
    sampling_steps: int = within(3, 1)
    """Denoising steps (LaDi-WM: 10)."""
    first_weight: float = within(0.5, 0)
    """Weight of the error of what streams find before they see each other; it counts by -log t."""
    context_noise: float = within(0.1, 0)
    """Noise on past frames in training, in standard deviations of a step's change, up to this; not in the paper."""
    network: InteractiveDiTConfig = InteractiveDiTConfig()


class LatentDiffusion(Observed):
    """Predicts the changes from frame to frame of latents, T at once, from H past frames and T actions.

    Decoupled diffusion: x_t = (1 - t) · clean + t · noise, with heads for both, and t uniform. A sample follows the
    straight line from noise, x ← x - Δt (noise - clean), which is as published.
    """

    action_steps = 1
    delta_std: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self, history: ObservationHistory, streams: tuple[tuple[int, int], ...], config: LatentDiffusionConfig
    ) -> None:
        """`streams` are (tokens, numbers of a token) of each kind of features; together the latents of `history`.

        Raises:
            InputError: they are not, or policies would not read all of the past that predictions need.
        """
        super().__init__()
        size, seen = sum(tokens * width for tokens, width in streams), history.config
        if size != history.observation_dim:
            raise InputError(f"streams of {size} numbers together, expected the {history.observation_dim} latents")
        if seen.feature_frames != seen.frames:
            raise InputError(
                f"config.history: found feature_frames {seen.feature_frames}, expected {seen.frames} as `frames`: a "
                "policy that imagines reads what the world model reads"
            )
        self.history, self.streams, self.config = history, streams, config
        self.feature_dim, self.observation_dim = history.feature_dim, history.observation_dim
        self.action_dim = history.action_dim
        self.network = InteractiveDiT(streams, self.action_dim, seen.frames, config.frames, config.network)
        self.register_buffer("delta_std", torch.ones(size))
        for name in ("low", "high"):
            self.register_buffer(name, torch.zeros(size))

    @property
    def observer(self) -> ObservationHistory:
        """The history, which keeps the states."""
        return self.history

    @property
    def normaliser(self) -> Normaliser:
        """The history's own."""
        return self.history.normaliser

    @property
    def shown_frames(self) -> int:
        """Frames that a row of features shows."""
        return self.history.shown_frames

    def shown(self, features: Float[Tensor, "B F"]) -> dict[str, Tensor]:
        """The frames that features are, oldest first."""
        return self.history.shown(features)

    def fit(self, dataset: Dataset) -> Self:
        """How much latents change in a step, and their range, which imagination does not leave."""
        frames, present = self.normaliser.normalise(dataset.observations[STATE]), frames_with_next(dataset)
        self.delta_std.copy_((frames[present + 1] - frames[present]).std(0).clamp(min=1e-4))
        low, high = frames.amin(0), frames.amax(0)
        self.low.copy_(low - RANGE_SLACK * (high - low))
        self.high.copy_(high + RANGE_SLACK * (high - low))
        return self

    # -- imagination ---------------------------------------------------------------------------------------------------

    def changes(
        self, past: Float[Tensor, "B H Z"], action: Float[Tensor, "B T A"], start: Float[Tensor, "B T Z"]
    ) -> Float[Tensor, "B T Z"]:
        """What unit noise `start` becomes: changes from frame to frame under T actions, in standard deviations.

        Raises:
            InputError: more actions than frames that are predicted at once.
        """
        if action.shape[1] > self.config.frames:
            found = f"{action.shape[1]} actions"
            raise InputError(f"latent diffusion: found {found}, expected at most frames = {self.config.frames}")
        memory, x = self.network.memory(past), start
        for t, following in straight_levels(self.config.sampling_steps):
            found = self.network(x, x.new_full((1,), t), action, memory)
            x = x - (t - following) * (found.noise - found.clean)
        return x

    def foresee(
        self,
        features: Float[Tensor, "B F"],
        action: Float[Tensor, "B T A"],
        deterministic: bool = False,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "B T Z"]:
        """The changes that follow a chunk of actions; deterministic predictions begin at no noise at all."""
        past = features.unflatten(1, (-1, self.observation_dim))
        shape = (len(action), action.shape[1], self.observation_dim)
        if deterministic:
            return self.changes(past, action, past.new_zeros(shape))
        return self.changes(past, action, torch.randn(shape, generator=generator, device=past.device))

    def imagine(
        self, state: HistoryState, action: Float[Tensor, "B A"], generator: torch.Generator | None = None
    ) -> HistoryState:
        """Sample the next frame."""
        start = torch.randn(len(action), 1, self.observation_dim, generator=generator, device=action.device)
        change = self.changes(state.observation, action.unsqueeze(1), start)[:, 0]
        frame = state.observation[:, -1] + self.delta_std * change
        return push(state, action, torch.minimum(torch.maximum(frame, self.low), self.high))

    # -- learning ------------------------------------------------------------------------------------------------------

    def loss(self, batch: WindowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared errors of the clean part and of the noise, on windows of H past and T future frames."""
        h, count = self.history.config.frames, self.config.frames
        frames = self.normaliser.normalise(batch.observation[STATE])
        if frames.shape[1] != h + count:
            raise ValueError(f"windows have {frames.shape[1]} frames, expected {h} and {count}")
        clean = (frames[:, h:] - frames[:, h - 1 : -1]) / self.delta_std
        noise = torch.randn_like(clean)
        t = _LEAST_LEVEL + (1 - _LEAST_LEVEL) * torch.rand(len(clean), 1, 1, device=clean.device)
        memory = self.network.memory(self._disturbed(frames[:, :h]))
        action = batch.action[:, h - 1 : h - 1 + count]
        found = self.network((1 - t) * clean + t * noise, t.flatten(), action, memory)
        of_clean, of_noise = (found.clean - clean).square().mean(), (found.noise - noise).square().mean()
        alone = (found.first - clean).square().mean((1, 2))
        first = (-t.flatten().log() * alone).mean()
        loss = of_clean + of_noise + self.config.first_weight * first
        return loss, {"clean": of_clean.detach(), "noise": of_noise.detach(), "first": alone.mean().detach()}

    def _disturbed(self, past: Float[Tensor, "B H Z"]) -> Tensor:
        # A model that only ever sees true pasts drifts on its own predictions; a little noise teaches it to return.
        if self.config.context_noise == 0:
            return past
        level = self.config.context_noise * torch.rand(len(past), 1, 1, device=past.device)
        return past + level * self.delta_std * torch.randn_like(past)
