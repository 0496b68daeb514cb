"""Policy-guided diffusion (PolyGRAD, arXiv 2312.08533): whole on-policy trajectories out of one denoising pass."""

import itertools
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError, RunError
from burnish.imagination.env import ImaginationConfig
from burnish.world_models import SamplerConfig, TrajectoryDenoiser, TrajectoryState
from burnish.world_models.sampler import karras_levels

BAND = (0.9, 1.1)
"""Of the standardised actions' deviation, between which the guidance counts as tuned."""


@dataclass(frozen=True)
class GuidanceConfig:
    """How actions become the policy's while states are denoised; numbers in brackets are PolyGRAD's."""

    mode: Literal["score", "sample", "none"] = "score"
    """score: actions follow the gradient of the policy's log-probability at the states as they are believed so far.
    sample: they are drawn anew from the policy at each level. none: they stay what they began as."""
    sampler: SamplerConfig = SamplerConfig(steps=16, sigma_max=80.0)
    """Levels of noise (128 of a cosine schedule)."""
    scale: float = within(0.1, 0, 1, open_low=True, open_high=True)
    """Step along the score of standardised actions at first; 1 would put every action on the policy's mean."""
    tuning_rate: float = within(1.0, 0)
    """Change of the scale's logarithm for each 1 by which the deviation is off, after each pass; 0: never tuned."""
    clip_std: float = within(3.0, 0, open_low=True)
    """Standard deviations of the policy beyond which no action lies (3)."""
    clip_change: float = within(0.25, 0, open_low=True)
    """Most that an entry of the trajectory changes from one level to the next, below `clip_below` (0.25)."""
    clip_below: float = within(0.13, 0)
    """Level of noise below which changes are clipped (the last 10 of 128 steps)."""

    def __post_init__(self) -> None:
        if self.sampler.method != "euler":
            raise InputError("guidance.sampler.method: found 'heun', expected 'euler': guided steps draw fresh noise")


@dataclass(frozen=True)
class GuidedConfig(ImaginationConfig):
    """Imagination by whole trajectories; its horizon is the world model's at most."""

    guidance: GuidanceConfig = GuidanceConfig()


class Scored(Protocol):
    """A policy whose actions have a mean and a standard deviation, and so a score."""

    def distribution(self, features: Float[Tensor, "B F"]) -> tuple[Float[Tensor, "B A"], Float[Tensor, "B A"]]:
        """Mean and standard deviation of unclipped actions."""
        ...


@dataclass(frozen=True)
class Trajectories:
    """N generated trajectories of H transitions.

    Attributes:
        features: of all H + 1 states, the first one as it was given.
        action: as the policy would have drawn them, unclipped.
        reward: of each transition, in the data's units.
        over: whether the episode has ended by itself with or before each transition.
        standardised: (action - mean) / standard deviation, under the policy at the final states.
    """

    features: Float[Tensor, "N H_plus_1 F"]
    action: Float[Tensor, "N H A"]
    reward: Float[Tensor, "N H"]
    over: Bool[Tensor, "N H"]
    standardised: Float[Tensor, "N H A"]

    @property
    def deviation(self) -> Tensor:
        """Of the standardised actions, (): 1 where they are the policy's own."""
        return self.standardised.std()


def check_scored(policy: Any) -> Scored:
    """The policy, if guidance can follow its score.

    Raises:
        InputError: it has none, or decides on several actions at once.
    """
    if not hasattr(policy, "distribution"):
        raise InputError(
            f"guidance follows the score of a Gaussian policy: found a {type(policy).__name__}, which has no mean and "
            "standard deviation of its actions; expected a GaussianPolicy (--config.policy), or another recipe"
        )
    if policy.config.chunk != 1:
        raise InputError(f"policy.chunk: found {policy.config.chunk}, expected 1 for guided trajectories")
    return policy


@torch.no_grad()
def guided(
    world: TrajectoryDenoiser,
    states: TrajectoryState,
    policy: Scored,
    config: GuidanceConfig,
    scale: float | Tensor,
    generator: torch.Generator,
) -> Trajectories:
    """Denoise one trajectory from each of N states, under the policy's own actions.

    Level by level (PolyGRAD, Algorithm 1): the trajectory moves to the posterior's mean and gets its noise; actions are
    clipped to `clip_std` deviations around the policy's mean at the states believed so far, follow the score, and get
    the same level's noise. On the last level actions are only clipped, so the states are those that they lead to. They
    begin as draws of the policy in the first state (PolyGRAD: as noise), where none would have to come far.

    The score is that of the standardised action u = (a - μ) / σ, which is -u: one scale then fits dimensions and
    policies of any width (for σ = 1 it is PolyGRAD's own, which differentiates by the action itself).

    Args:
        world: with H steps.
        states: N first states.
        policy: see `check_scored`.
        config: the rules.
        scale: of the guidance.
        generator: of all noise.
    """
    count, h, device = len(states.observation), world.config.horizon, states.observation.device

    def noise(*shape: int) -> Tensor:
        return torch.randn(count, h, *shape, generator=generator, device=device)

    levels = karras_levels(config.sampler)
    x = levels[0] * noise(world.entry)
    center, width = _distribution(policy, states.observation[:, None].expand(-1, h, -1))
    action = center + width * noise(world.action_dim)
    known = torch.ones(count, h, dtype=torch.bool, device=device)
    clean = x
    for sigma, following in itertools.pairwise(levels):
        context = world.context(states.observation, action.clamp(-1, 1), known)
        clean = world.bounded(world.denoise(x, sigma, context))
        keep = (following / sigma) ** 2
        mean = clean + keep * (x - clean)
        if sigma < config.clip_below:
            mean = x + (mean - x).clamp(-config.clip_change, config.clip_change)
        x = mean + following * (1 - keep) ** 0.5 * noise(world.entry)
        if config.mode == "none":
            continue
        center, width = _distribution(policy, _before(states, clean, world))
        action = torch.minimum(
            torch.maximum(action, center - config.clip_std * width), center + config.clip_std * width
        )
        if following == 0:
            continue
        if config.mode == "sample":
            action = center + width * noise(world.action_dim)
        else:
            action = action - scale * (action - center)
            action = action + width * _posterior_std(sigma, following) * noise(world.action_dim)
    entries = world.bounded(x)
    told = world.state(entries.flatten(0, 1))
    before = _before(states, entries, world)
    center, width = _distribution(policy, before)
    over = world.ended(told).view(count, h)
    return Trajectories(
        features=torch.cat([before, world.features(told).view(count, h, -1)[:, -1:]], 1),
        action=action,
        reward=told.reward.view(count, h),
        over=over.cummax(1).values,
        standardised=(action - center) / width,
    )


def tuned(scale: Tensor, deviation: Tensor, config: GuidanceConfig) -> Tensor:
    """The scale after one step of gradient on its logarithm: larger where actions are spread too wide."""
    step = (config.tuning_rate * (deviation - 1)).clamp(-0.5, 0.5)
    return (scale * step.exp()).clamp(1e-4, 0.99)


def check_deviation(deviation: float, config: GuidanceConfig) -> None:
    """Raises RunError where tuned guidance leaves actions that are not the policy's own."""
    if BAND[0] <= deviation <= BAND[1] or config.mode != "score":
        return
    less = "a smaller" if deviation < BAND[0] else "a larger"
    raise RunError(
        f"guidance: generated actions have a standardised deviation of {deviation:.3g}, expected {BAND[0]} to "
        f"{BAND[1]}, so they are not the policy's; set {less} --config.imagination.guidance.scale than "
        f"{config.scale:g}, or leave its tuning_rate above 0"
    )


def _before(states: TrajectoryState, entries: Tensor, world: TrajectoryDenoiser) -> Float[Tensor, "N H D"]:
    """The states in which the H actions are chosen: the in-painted one, and all denoised ones but the last."""
    return torch.cat([states.observation[:, None], entries[:, :-1, : world.observation_dim]], 1)


def _distribution(policy: Scored, features: Float[Tensor, "N H F"]) -> tuple[Tensor, Tensor]:
    center, width = policy.distribution(features.flatten(0, 1))
    return center.view(*features.shape[:2], -1), width.view(*features.shape[:2], -1)


def _posterior_std(sigma: float, following: float) -> float:
    """Of q(a' | a, clean) between two levels, in units in which everything has variance one (DDPM's β̃)."""
    now, later = 1 / (1 + sigma**2), 1 / (1 + following**2)
    return ((1 - later) / (1 - now) * (1 - now / later)) ** 0.5
