"""What a world model's features and actions mean outside, for a policy that was made elsewhere."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import Component
from burnish.data import STATE, ActionScaling, Normaliser
from burnish.errors import InputError

Reads = Mapping[str, tuple[int, int]]
"""Which part of the state vector, from the first to before the last number, each input of a policy is."""


class View(Component, register=False):
    """Features to named observations, and actions to the data's units and back.

    Attributes:
        frames: of each observation, oldest first, that features hold.
        feature_dim: numbers in a row of features.
        action_dim: A.
    """

    low: Tensor
    high: Tensor
    frames: int
    feature_dim: int

    def __init__(self, action_dim: int) -> None:
        super().__init__()
        self.action_dim = action_dim
        self.register_buffer("low", -torch.ones(action_dim))
        self.register_buffer("high", torch.ones(action_dim))

    def in_units(self, units: ActionScaling | None) -> Self:
        """Take over how actions are scaled; returns itself."""
        if units is not None:
            self.low.copy_(torch.tensor(units.low))
            self.high.copy_(torch.tensor(units.high))
        return self

    def observation(self, features: Float[Tensor, "B F"]) -> dict[str, Tensor]:
        """Each input in its own units, (B, frames, …)."""
        raise NotImplementedError

    def inside(self, actions: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """Actions as imagination knows them, not clipped; 0 in dimensions that never change."""
        half = (self.high - self.low) / 2
        unit = (actions - (self.low + self.high) / 2) / torch.where(half > 0, half, 1.0)
        return torch.where(half > 0, unit, 0.0)

    def outside(self, actions: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """Actions in the data's units."""
        return (self.low + self.high) / 2 + (self.high - self.low) / 2 * actions


class FeatureView(View):
    """Where features are the newest frames of the state, normalised.

    Args:
        observation_dim: D of the state.
        action_dim: A.
        frames: in a row of features.
        reads: the inputs of the policy.
    """

    def __init__(self, observation_dim: int, action_dim: int, frames: int, reads: Reads) -> None:
        super().__init__(action_dim)
        _check_reads(reads, observation_dim)
        self.frames, self.reads = frames, dict(reads)
        self.feature_dim = frames * observation_dim
        self.normaliser = Normaliser(observation_dim)

    def fit(self, normaliser: Normaliser, units: ActionScaling | None) -> "FeatureView":
        """Take over how features and actions are normalised; returns itself."""
        self.normaliser.load_state_dict(normaliser.state_dict())
        return self.in_units(units)

    def observation(self, features: Float[Tensor, "B F"]) -> dict[str, Float[Tensor, "B frames D"]]:
        """Each input in its own units."""
        state = self.normaliser.denormalise(features.unflatten(-1, (self.frames, -1)))
        return {key: state[..., first:last] for key, (first, last) in self.reads.items()}


class ShownView(View):
    """Where an observer draws what its features stand for: pictures, or the state as a latent space remembers it.

    A policy sees that, for real too, and not the observation itself: what the observer leaves out it never sees.

    Args:
        observer: with `shown(features)`; its weights are not this module's.
        action_dim: A.
        reads: the inputs of the policy that are parts of the state; pictures are handed on under their own keys.
    """

    def __init__(self, observer: Component, action_dim: int, reads: Reads) -> None:
        super().__init__(action_dim)
        shows: Any = observer
        self.reads, self.feature_dim, self.frames = dict(reads), shows.feature_dim, shows.shown_frames

    @property
    def observer(self) -> Any:
        """What draws."""
        return self.arguments["observer"]

    @torch.no_grad()
    def observation(self, features: Float[Tensor, "B F"]) -> dict[str, Tensor]:
        """Each input in its own units; pictures uint8 (B, frames, H, W, 3)."""
        shown = self.observer.shown(features)
        state = shown.pop(STATE, None)
        parts = {} if state is None else {key: state[..., first:last] for key, (first, last) in self.reads.items()}
        return {**shown, **parts}


def _check_reads(reads: Reads, observation_dim: int) -> None:
    for key, (first, last) in reads.items():
        if not 0 <= first < last <= observation_dim:
            raise InputError(f"'{key}' reads {first}:{last} of a state of {observation_dim} numbers")
