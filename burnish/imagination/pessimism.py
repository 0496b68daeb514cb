"""What is made of uncertainty about an imagined transition; the one place that compares it with a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self, TypeGuard

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError
from burnish.rewards import Outcome

Rule = Literal["halt", "penalty", "both", "none"]

CEILING = 10.0
"""Thresholds of uncertainty beyond which the penalty grows no more: far from the data its size means nothing, and a
critic that meets one huge number forgets the others."""


class Uncertainty(Protocol):
    """Tells where imagination is not to be trusted: an ensemble's disagreement, the distance to the data, …

    `name` is what it is called in results, `threshold` what held-out real transitions hardly ever pass.
    """

    name: str
    threshold: Tensor

    def __call__(self, state: Any, action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """Uncertainty about what `action` does in `state`."""
        ...


class Members(Uncertainty, Protocol):
    """An uncertainty that has members, each of which believes in a world of its own."""

    members: int

    def predict_member(
        self, state: Any, action: Float[Tensor, "B A"], member: Int[Tensor, " B"], generator: torch.Generator | None
    ) -> tuple[Float[Tensor, " B"], Any]:
        """Uncertainty, and the states in which each row's `member` believes.

        A family that never draws from the generator says `draws = False`, and works beside the world model.
        """
        ...


@dataclass(frozen=True)
class PessimismConfig:
    """What is made of uncertainty."""

    rule: Rule = "halt"
    """halt: an episode ends, without reward, where an uncertainty passes its threshold (MOReL); penalty: the reward is
    less by it (MOPO, RWM-O); both (ADEPT); none: it is only measured."""
    weight: float = within(1.0, 0)
    """Of the penalty: what one threshold of uncertainty costs in one transition."""
    combine: Literal["max", "sum"] = "max"
    """Of several uncertainties, the penalty is for the largest one, or for their sum."""
    use: tuple[str, ...] = ("disagreement", "distance")
    """The uncertainties that count; others are only measured."""

    def check(self, names: Sequence[str]) -> None:
        """That the rule has an uncertainty to go by, among those of these names; InputError where it has none."""
        if names and self.rule != "none" and not set(names).intersection(self.use):
            expected = f"expected some of {list(names)}, or the rule 'none' to do without"
            raise InputError(f"pessimism.use: found {list(self.use)}, {expected}")


@dataclass(frozen=True)
class Pessimism:
    """Uncertainties in units of their thresholds, and the rule for what becomes of a transition's outcome.

    Attributes:
        uncertainties: those that are measured; their names differ.
        rule: see `PessimismConfig`.
        weight: of the penalty.
        combine: how several become one penalty.
        use: names of those that count; None: all.
        halt_reward: what a halted episode gets in the place of all that would have followed. Nothing, where rewards
            are successes; where they may be negative, the worst return of the data, or leaving the data would be a way
            to escape from them.
    """

    uncertainties: tuple[Uncertainty, ...] = ()
    rule: Rule = "halt"
    weight: float = 1.0
    combine: Literal["max", "sum"] = "max"
    use: tuple[str, ...] | None = None
    halt_reward: float = 0.0

    @classmethod
    def of(cls, config: PessimismConfig, uncertainties: tuple[Uncertainty, ...], halt_reward: float = 0.0) -> Self:
        """As configured.

        Raises:
            InputError: there are uncertainties, a rule that needs them, and none of them is to be used.
        """
        config.check([each.name for each in uncertainties])
        return cls(uncertainties, config.rule, config.weight, config.combine, config.use, halt_reward)

    @property
    def members(self) -> int:
        """How many members the first uncertainty that has any has; 0 where none has."""
        return next((each.members for each in self.uncertainties if has_members(each)), 0)

    def without_rule(self) -> Self:
        """The same measurements, without consequences."""
        return replace(self, rule="none")

    def over(self, relative: dict[str, Tensor], like: Tensor) -> Bool[Tensor, " B"]:
        """Where an uncertainty that counts passes its threshold; what is no number does. `like` (B, …) has the rows."""
        found = torch.zeros(len(like), dtype=torch.bool, device=like.device)
        for value in self._counted(relative):
            found = found | ~(value <= 1)
        return found

    def apply(self, outcome: Outcome, relative: dict[str, Tensor]) -> tuple[Outcome, Bool[Tensor, " B"]]:
        """The outcome as the rule has it, and which episodes halt: all that can be trusted, and what it earned."""
        reward, counted = outcome.reward, self._counted(relative)
        if self.rule == "none" or not counted:
            return outcome, torch.zeros_like(outcome.terminated)
        stacked = torch.stack(counted)
        # No penalty is right for a state that is no number: its episode ends.
        halted = self.over(relative, reward) if self.rule in ("halt", "both") else ~stacked.isfinite().all(0)
        if self.rule in ("penalty", "both"):
            costs = stacked.clamp(0, CEILING)
            cost = costs.amax(0) if self.combine == "max" else costs.sum(0)
            outcome = replace(outcome, reward=reward - self.weight * cost)
        kept = outcome.where(~halted, self.halt_reward)
        return replace(kept, terminated=kept.terminated | halted), halted

    def _counted(self, relative: dict[str, Tensor]) -> list[Tensor]:
        return [value for name, value in relative.items() if self.use is None or name in self.use]


def has_members(uncertainty: Uncertainty) -> TypeGuard[Members]:
    """Whether episodes can follow its members."""
    return hasattr(uncertainty, "predict_member")


def with_own(world_model: Any, uncertainties: tuple[Uncertainty, ...]) -> tuple[Uncertainty, ...]:
    """The uncertainties, after the world model's own where it is an ensemble: then one pass tells both."""
    return (world_model, *uncertainties) if has_members(world_model) else uncertainties


def in_thresholds(uncertainty: Float[Tensor, " B"], threshold: Tensor) -> Float[Tensor, " B"]:
    """An uncertainty in units of its threshold: above 1 it is over."""
    # Data that repeats itself may have a threshold of zero.
    return uncertainty / threshold.clamp(min=1e-12)
