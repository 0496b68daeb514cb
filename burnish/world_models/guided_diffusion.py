"""ADEPT's transition model (arXiv 2405.19878): diffusion given state and action, weighted, unsure where noises differ.

"Guided" are the actions: those of the policy that is to be evaluated. Learning may weigh transitions by how likely that
policy is to cause them, and where different noises become different states, imagination is not to be trusted.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.config import within
from burnish.data import Dataset, RowSampler, WindowBatch, Windows
from burnish.world_models.diffusion import DiffusionConfig, DiffusionWorldModel
from burnish.world_models.disagreement import spread
from burnish.world_models.history import HistoryState, TransitionSpace, frames_with_next
from burnish.world_models.sampler import SamplerConfig


@dataclass(frozen=True)
class GuidedDiffusionConfig(DiffusionConfig):
    """A sampler of several steps: with a single one all noises become about the same, the mean."""

    sampler: SamplerConfig = SamplerConfig(steps=3)
    noises: int = within(4, 2)
    """K, noises whose outputs' deviation is the uncertainty."""
    halt_quantile: float = within(0.99, 0, 1, open_low=True)
    """Held-out real transitions whose deviation may lie beyond the threshold: 1 - halt_quantile of them."""


@dataclass(frozen=True)
class WeightedBatch:
    """B windows, and what each of their predicted transitions counts: (B, rollout_steps), of mean 1 over the data."""

    windows: WindowBatch
    weight: Float[Tensor, "B steps"]


class GuidedDiffusion(DiffusionWorldModel):
    """The state diffusion world model with weights in its loss, and an uncertainty about itself.

    Its K members are K noises, the same in every state: so what differs between two states' deviations is the states,
    and nothing has to be drawn to tell it. What it imagines comes from fresh noise.
    """

    name = "deviation"
    noise: Tensor
    threshold: Tensor

    def __init__(self, space: TransitionSpace, config: GuidedDiffusionConfig) -> None:
        super().__init__(space, config)
        self.members, self.halt_quantile = config.noises, config.halt_quantile
        self.register_buffer("noise", torch.randn(config.noises, 1, len(space.learned_dims)))
        self.register_buffer("threshold", torch.full((), torch.inf))

    def forward(self, state: HistoryState, action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """Root mean square, over dimensions, of the standard deviation over noises, in `TransitionSpace.delta`'s
        units."""
        outputs = self._from_noise(state, action, self._noises(len(action)))
        return _deviation(outputs.unflatten(0, (self.members, -1)))

    def predict_member(
        self,
        state: HistoryState,
        action: Float[Tensor, "B A"],
        member: Int[Tensor, " B"],
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, " B"], HistoryState]:
        """The deviation, and what each row's own noise becomes; -1: fresh noise. All of it in one pass."""
        count, dims = len(action), len(self.space.learned_dims)
        fresh = torch.randn((count, dims), generator=generator, device=action.device)
        outputs = self._from_noise(state, action, torch.cat([self._noises(count), fresh]))
        outputs = outputs.unflatten(0, (self.members + 1, count))
        own = outputs[member % (self.members + 1), torch.arange(count, device=action.device)]
        return _deviation(outputs[:-1]), self.space.advance(state, action, own)

    def loss(self, batch: WindowBatch | WeightedBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of F_θ; of a `WeightedBatch`, times the weights."""
        if isinstance(batch, WindowBatch):
            return super().loss(batch)
        wrong, error = self._errors(batch.windows)
        each = torch.stack([wrong_then.square().mean(1) for wrong_then in wrong], 1)
        return (batch.weight * each).mean(), {"denoised_mse": error, "unweighted": each.detach().mean()}

    @torch.no_grad()
    def calibrate(self, held_out: Dataset, batch_size: int = 4096) -> dict[str, float]:
        """Set the threshold of the deviation from held-out real transitions."""
        frames, states = frames_with_next(held_out), self.recorded(held_out)
        found = torch.cat([self(states.rows(part), held_out.actions[part]) for part in frames.split(batch_size)])
        self.threshold.copy_(torch.quantile(found[: 2**24], self.halt_quantile))
        return {"threshold": float(self.threshold), "median": float(found.median()), "transitions": len(frames)}

    def _noises(self, count: int) -> Float[Tensor, "kB d"]:
        return self.noise.expand(-1, count, -1).flatten(0, 1)


class WeightedWindows(RowSampler[Tensor]):
    """Uniform windows of a data set, each with the weights of its predicted transitions.

    Attributes:
        transitions: the frames at which one begins.
        weight: of the transition at each frame, (F,); ones at first.
    """

    def __init__(self, dataset: Dataset, history: int, steps: int) -> None:
        self.windows = Windows(dataset, history, steps)
        self.present = self.windows.present_frames
        self.transitions = frames_with_next(dataset)
        self.weight = torch.ones(dataset.num_frames, device=dataset.device)
        self._offsets = torch.arange(steps, device=dataset.device)

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Presents, with replacement."""
        device = self.present.device
        return self.present[torch.randint(len(self.present), (batch_size,), generator=generator, device=device)]

    def gather(self, drawn: Tensor) -> WeightedBatch:
        """The windows of these presents, with their weights."""
        return WeightedBatch(self.windows.gather(drawn), self.weight[drawn[:, None] + self._offsets])


def _deviation(outputs: Float[Tensor, "k B d"]) -> Float[Tensor, " B"]:
    return spread(outputs).square().mean(-1).sqrt()
