"""What gradients come from: a small differentiable model of another world model's features, of rewards, and of ends."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.components import Component
from burnish.data import STATE
from burnish.errors import InputError
from burnish.networks import swap
from burnish.rewards import RewardHead
from burnish.world_models.base import State


class LocalModel(Component):
    """Dynamics L, a reward r̂(x, a, x') and a chance of an end p̂(x, a, x'), of features x that another model, G, makes.

    Any differentiable world model whose observations are those features can be the dynamics: an MLP with a GRU
    (`LocalDynamics`), a latent model (`RSSM`). Its state follows G: of each tensor the value is what L makes of G's
    features when it observes them, the gradient is what it would have imagined. No gradient goes through `observe`.
    """

    def __init__(self, dynamics: Component, reward: RewardHead) -> None:
        super().__init__()
        self.dynamics: Any = dynamics
        self.reward = reward
        if self.dynamics.action_steps != 1:
            raise InputError(f"a local model takes single decisions: found {self.dynamics.action_steps} at once")
        self.feature_dim: int = self.dynamics.observation_dim

    @torch.no_grad()
    def begin(self, features: Float[Tensor, "B F"]) -> State:
        """States of episodes that begin at these features; nothing was before."""
        return self.dynamics.observe(self.dynamics.initial(len(features)), None, {STATE: features})

    def follow(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        following: Float[Tensor, "B F"],
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "B F"], State]:
        """The features that really followed, and L's state after them; both with L's gradient.

        `generator`: of the random numbers of an L that samples.
        """
        imagined = self.dynamics.imagine(state, action, generator)
        with torch.no_grad():
            seen = self.dynamics.observe(_detached(state), action.detach(), {STATE: following})
        state = type(seen)(
            **{name: _swapped(imagined.tensors()[name], value) for name, value in seen.tensors().items()}
        )
        return swap(self.dynamics.decode(imagined)[STATE], following), state

    def judged(
        self,
        features: Float[Tensor, "B F"],
        action: Float[Tensor, "B A"],
        following: Float[Tensor, "B F"],
        reward: Float[Tensor, " B"],
        terminated: Bool[Tensor, " B"],
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """What was really earned, and 1 where the episode goes on, 0 where it ended; with the gradients of r̂ and 1 - p̂.

        Where the head learns no ends (`termination_weight` 0), none has a gradient.
        """
        earned, chance = self.reward(features, action, following)
        goes_on = (~terminated).to(reward.dtype)
        if self.reward.config.termination_weight > 0:
            goes_on = swap(1 - chance, goes_on)
        return swap(earned, reward), goes_on


def _swapped(imagined: Tensor, seen: Tensor) -> Tensor:
    return swap(imagined, seen) if seen.is_floating_point() else seen


def _detached(state: State) -> State:
    return type(state)(**{name: tensor.detach() for name, tensor in state.tensors().items()})
