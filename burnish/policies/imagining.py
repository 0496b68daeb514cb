"""A diffusion policy that imagines what follows from its own proposal and proposes again (LaDi-WM)."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import frozen
from burnish.config import within
from burnish.errors import InputError
from burnish.policies.base import Decision, Policy
from burnish.policies.diffusion import DiffusionPolicy, DiffusionPolicyConfig
from burnish.world_models import LatentDiffusion


@dataclass(frozen=True)
class ImaginingPolicyConfig:
    """The denoiser of proposals, how often it proposes anew, and what imagination it learns from."""

    denoiser: DiffusionPolicyConfig = DiffusionPolicyConfig()
    """Its chunk is what is proposed and imagined."""
    executed: int | None = within(None, 1)
    """T_a, how many of a proposal's actions are executed before the next decision; None: all of them."""
    rounds: int = within(1, 0)
    """How often a proposal is imagined and another one made of that; 0: the first one is executed."""
    unguided_share: float = within(0.25, 0, 1)
    """Share of the training rows that see no imagination: so there is a first proposal. 1: none ever does."""
    noisy_share: float = within(0.5, 0, 1)
    """Share of the training rows whose imagined actions are disturbed (LaDi-WM: one half)."""
    proposal_noise: float = within(0.05, 0)
    """Standard deviation of that, of actions in [-1, 1]: proposals are not exact (LaDi-WM: 0.05 of their mean)."""

    versions: int = within(8, 0)
    """Imaginations of each demonstrated chunk, drawn once before training; 0: fresh ones at every step, as published,
    which takes the time of the world model's sampler."""
    feature_noise: float = within(0.1, 0)
    """Standard deviation of noise on the features while cloning."""

    def __post_init__(self) -> None:
        if self.chunk > self.denoiser.chunk:
            raise InputError(
                f"config.policy.executed is {self.executed}, expected at most denoiser.chunk = {self.denoiser.chunk}"
            )

    @property
    def chunk(self) -> int:
        """T_a, the actions of one decision."""
        return self.executed or self.denoiser.chunk


class ImaginingPolicy(Policy):
    """A `DiffusionPolicy` that reads, beside the features, what its world model says will follow from a proposal.

    The first proposal sees no imagination (zeros, and a flag that says so). Each of `rounds` rounds imagines the latest
    one, and denoises another from the same features and the imagined changes. What is scored and refined is the last
    denoising: a trace (B, …) holds its chain and the imagination that it saw. The world model is frozen, and no
    parameter of this policy.

    Raises:
        InputError: the policy decides on more actions than its world model predicts at once.
    """

    def __init__(self, world: LatentDiffusion, config: ImaginingPolicyConfig) -> None:
        super().__init__()
        horizon = config.denoiser.chunk
        if horizon > world.config.frames:
            raise InputError(
                f"config.policy.denoiser.chunk is {horizon}, expected at most config.world_model.frames = "
                f"{world.config.frames}: each proposal is imagined at once"
            )
        self.config, self.feature_dim, self.action_dim = config, world.feature_dim, world.action_dim
        self.told_dim = horizon * world.observation_dim + 1
        frozen(world)
        self.denoiser = DiffusionPolicy(self.feature_dim + self.told_dim, self.action_dim, config.denoiser)

    @property
    def world(self) -> LatentDiffusion:
        """What imagines; its weights are not this module's."""
        return self.arguments["world"]

    @property
    def step_weights(self) -> Tensor:  # type: ignore[override]
        """Those of the denoiser."""
        return self.denoiser.step_weights

    @property
    def clip_scale(self) -> Tensor:  # type: ignore[override]
        """Those of the denoiser."""
        return self.denoiser.clip_scale

    def begin_refinement(self) -> None:
        """From here on the present network is the pretrained one."""
        self.denoiser.begin_refinement()

    def act(
        self, features: Float[Tensor, "B F"], deterministic: bool = False, generator: torch.Generator | None = None
    ) -> Decision:
        """The last proposal, with its denoising chain and the imagination that led to it."""
        told = features.new_zeros(len(features), self.told_dim)
        proposal = self.denoiser.act(torch.cat([features, told], dim=1), deterministic, generator)
        for _ in range(self.config.rounds):
            told = self.foreseen(features, proposal.action_chunk, deterministic, generator)
            proposal = self.denoiser.act(torch.cat([features, told], dim=1), deterministic, generator)
        executed = proposal.action_chunk[:, : self.config.chunk]
        return Decision(executed, torch.cat([proposal.trace.flatten(1), told], dim=1))

    @torch.no_grad()
    def foreseen(
        self,
        features: Float[Tensor, "B F"],
        proposal: Float[Tensor, "B T A"],
        deterministic: bool = False,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "B told"]:
        """What is imagined to follow from a proposal, as the denoiser reads it, with the flag that it is there."""
        changes = self.world.foresee(features, proposal, deterministic, generator).flatten(1)
        return torch.cat([changes, changes.new_ones(len(changes), 1)], dim=1)

    def log_prob(self, features: Float[Tensor, "B F"], trace: Float[Tensor, "B E"]) -> Float[Tensor, "B K"]:
        """Log-density of each fine-tuned step of the last denoising, given the imagination that it saw."""
        chain, told = trace[:, : -self.told_dim], trace[:, -self.told_dim :]
        chain = chain.unflatten(1, (-1, *self.denoiser.shape))
        return self.denoiser.log_prob(torch.cat([features, told], dim=1), chain)

    def entropy(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Zero: the noise of every step is fixed by the schedule."""
        return self.denoiser.entropy(features)

    @torch.no_grad()
    def versions(
        self, features: Float[Tensor, "N F"], chunk: Float[Tensor, "N T A"], rows: int = 1024
    ) -> list[Float[Tensor, "N told"]]:
        """The configured number of imaginations of demonstrated chunks, each disturbed or not; `rows` at once."""
        pairs = list(zip(features.split(rows), chunk.split(rows), strict=True))
        return [torch.cat([self._demonstrated(*pair) for pair in pairs]) for _ in range(self.config.versions)]

    def loss(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """The denoiser's, on proposals that were demonstrated, given what the world model says will follow from them.

        Chunks are (B, T, A) with the denoiser's T, all that is proposed; after features and chunks a batch may have
        what is imagined of them.
        """
        features, chunk, *imagined = batch
        c = self.config
        disturbed = features + c.feature_noise * torch.randn_like(features)
        if c.unguided_share == 1:
            nothing = features.new_zeros(len(chunk), self.told_dim)
            return self.denoiser.loss((torch.cat([disturbed, nothing], dim=1), chunk))
        told = imagined[0] if imagined else self._demonstrated(features, chunk)
        told = told * (torch.rand(len(chunk), 1, device=chunk.device) >= c.unguided_share)
        return self.denoiser.loss((torch.cat([disturbed, told], dim=1), chunk))

    def _demonstrated(self, features: Tensor, chunk: Tensor) -> Float[Tensor, "B told"]:
        """What follows from demonstrated chunks, some of them disturbed."""
        c = self.config
        noisy = torch.rand(len(chunk), 1, 1, device=chunk.device) < c.noisy_share
        return self.foreseen(features, (chunk + c.proposal_noise * noisy * torch.randn_like(chunk)).clamp(-1, 1))

    def with_rounds(self, rounds: int, exploring: bool = True) -> Self:
        """The same weights, with another number of rounds; not `exploring`, it samples with the schedule's noise alone.

        Else no step's noise is below the configured least one, for refinement's sake.
        """
        least = self.config.denoiser.min_sampling_std if exploring else 0.0
        denoiser = replace(self.config.denoiser, min_sampling_std=least)
        other = type(self)(self.world, replace(self.config, denoiser=denoiser, rounds=rounds))
        other.load_state_dict(self.state_dict())
        return other.to(next(self.parameters()).device).train(self.training)


def spread(policy: Policy, features: Float[Tensor, "B F"], draws: int, seed: int) -> Float[Tensor, " B"]:
    """How far apart `draws` sampled decisions are: the standard deviation over them, averaged over the chunk."""
    generator = torch.Generator(device=features.device).manual_seed(seed)
    with torch.no_grad():
        drawn = torch.stack([policy.act(features, False, generator).action_chunk for _ in range(draws)])
    return drawn.std(0).mean((1, 2))
