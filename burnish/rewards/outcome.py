"""What a transition is worth: one contract for classifiers, learned rewards, reward terms and a user's own function."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.rewards.base import CalibratedClassifier
from burnish.rewards.reward_head import RewardHead


@dataclass(frozen=True)
class Outcome:
    """What came of B transitions.

    Attributes:
        reward: what was earned.
        terminated: whether the episode ended by itself.
        success: whether the task is done; None where nobody can tell.
        unknown: of which episodes nobody could say how they went, though a judge was asked: that is no failure. None
            where there is no such doubt.
    """

    reward: Float[Tensor, " B"]
    terminated: Bool[Tensor, " B"]
    success: Bool[Tensor, " B"] | None = None
    unknown: Bool[Tensor, " B"] | None = None

    def where(self, alive: Bool[Tensor, " B"], reward: Float[Tensor, ""] | float = 0.0) -> "Outcome":
        """The same where `alive`; elsewhere `reward`, and neither an end nor a success."""
        success, unknown = (None if each is None else each & alive for each in (self.success, self.unknown))
        return Outcome(torch.where(alive, self.reward, reward), self.terminated & alive, success, unknown)


class Reward(Protocol):
    """Says what a transition is worth, from the world model's states before and after it."""

    def __call__(self, state: Any, action: Float[Tensor, "B A"], following: Any) -> Outcome:
        """The outcome of `action`, which led from `state` to `following`."""
        ...


class Features(Protocol):
    """What a reward needs of a world model."""

    def features(self, state: Any) -> Float[Tensor, "B F"]:
        """What policies and classifiers read."""
        ...

    def decode(self, state: Any) -> dict[str, Tensor]:
        """The observation that the state stands for."""
        ...


@dataclass(frozen=True)
class SuccessReward:
    """Success by a classifier: it earns 1 and ends the episode (World4RL, section III: r_t = C_ψ(x_{t+1})).

    With `dense` that reward is earned instead, at every step, and success only ends the episode.
    """

    world_model: Features
    classifier: CalibratedClassifier
    dense: Reward | None = None

    def __call__(self, state: Any, action: Float[Tensor, "B A"], following: Any) -> Outcome:
        """The outcome of a transition."""
        success = self.classifier.succeeded(self.world_model.features(following))
        if self.dense is None:
            return Outcome(success.float(), success, success)
        dense = self.dense(state, action, following)
        return Outcome(dense.reward, dense.terminated | success, success)

    def expected(
        self, state: Any, action: Float[Tensor, "B A"], following: Any
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """Reward, and the chance that the episode ends: the classifier's probability, which tells near misses apart."""
        chance = self.classifier.probability(self.world_model.features(following))
        if self.dense is None:
            return chance, chance
        reward, ends = expected(self.dense, state, action, following)
        return reward, 1 - (1 - ends) * (1 - chance)


@dataclass(frozen=True)
class LearnedReward:
    """Reward and termination by a head that learned them from the data."""

    world_model: Features
    head: RewardHead

    def __call__(self, state: Any, action: Float[Tensor, "B A"], following: Any) -> Outcome:
        """The outcome of a transition."""
        rows = (self.world_model.features(state), action, self.world_model.features(following))
        reward, chance = self.head(*rows)
        return Outcome(reward, chance >= self.head.threshold)

    def expected(
        self, state: Any, action: Float[Tensor, "B A"], following: Any
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """Reward, and the chance that the episode ends."""
        return self.head(self.world_model.features(state), action, self.world_model.features(following))


class Earns(Protocol):
    """A world model that imagines rewards beside states."""

    def earned(self, state: Any) -> Float[Tensor, " B"]:
        """What was earned on arriving in the state."""
        ...


@dataclass(frozen=True)
class ImaginedReward:
    """What the world model itself imagined."""

    world_model: Earns

    def __call__(self, state: Any, action: Float[Tensor, "B A"], following: Any) -> Outcome:
        """The outcome of a transition."""
        reward = self.world_model.earned(following)
        return Outcome(reward, torch.zeros_like(reward, dtype=torch.bool))


class Ends(Features, Protocol):
    """A world model that tells terminations itself."""

    def ended(self, state: Any) -> Bool[Tensor, " B"]:
        """Where the episode is over by itself."""
        ...


@dataclass(frozen=True)
class EndsWithWorld:
    """A reward, and the terminations that the world model itself has learned beside those that the reward knows."""

    world_model: Ends
    reward: Reward

    def __call__(self, state: Any, action: Float[Tensor, "B A"], following: Any) -> Outcome:
        """The outcome of a transition."""
        found = self.reward(state, action, following)
        return replace(found, terminated=found.terminated | self.world_model.ended(following))

    def expected(
        self, state: Any, action: Float[Tensor, "B A"], following: Any
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """Reward, and the chance that the episode ends."""
        reward, ends = expected(self.reward, state, action, following)
        return reward, torch.where(self.world_model.ended(following), 1.0, ends)


def expected(
    reward: Reward, state: Any, action: Float[Tensor, "B A"], following: Any
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Expected reward and chance of an end, for planners; of a reward that has no `expected`, its outcome."""
    if (of_reward := getattr(reward, "expected", None)) is not None:
        return of_reward(state, action, following)
    outcome = reward(state, action, following)
    return outcome.reward, outcome.terminated.float()
