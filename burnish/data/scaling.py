"""Actions in the data's own units outside, in [-1, 1] inside; the same scaling leads there and back.

Each dimension has a range of its own, which the data decide: everything from the smallest to the largest recorded
action, so that the policy can do whatever was demonstrated, however rarely (a gripper that closes once an episode).
Quantiles would cut that off. Only spikes do not count: what lies further beyond the bulk of a dimension (all but one in
a thousand of its values, at each end) than the bulk is wide. Such values are clipped inside; the data keep them.

Actions that are targets of the state can be learned as the way there: inside, then, is the difference to the state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.errors import InputError

Kind = Literal["continuous", "binary", "discrete", "constant"]

RARE = 1000
"""One in so many values, at each end, is not of the bulk; at least one of them."""
SPIKE = 1.0
"""Widths of the bulk beyond it from which on a value is a spike."""
LEVELS = 10
"""A dimension of at most so many different values is discrete."""
STILL = 1e-6
"""A dimension whose range is below this fraction of its magnitude is constant up to rounding."""
_AT_ONCE = 2**20
"""Actions that are scaled at a time: in float64 they take four times their room."""


@dataclass(frozen=True)
class ActionScaling:
    """What -1 and 1 stand for in the data's units, dimension by dimension.

    A constant dimension is 0 inside, and its value outside, whatever a policy says.

    Attributes:
        low: A values in the data's units that -1 stands for.
        high: A values that 1 stands for, not less than `low`.
        kinds: what the data show of each dimension: continuous, binary (two values), discrete (few), constant.
        names: of the dimensions; empty where the data have none.
        relative_to: A dimensions of the state: inside, an action is its difference to that one; -1 where it is as it
            was recorded. Empty: all are.
        rounded: whether binary dimensions (a gripper's) take one of their two values, whatever a policy says between.

    Raises:
        InputError: sizes that differ, numbers that are not finite, or a high below its low.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    kinds: tuple[Kind, ...] = ()
    names: tuple[str, ...] = ()
    relative_to: tuple[int, ...] = ()
    rounded: bool = False

    def __post_init__(self) -> None:
        said = (self.kinds, self.names, self.relative_to)
        sizes = {len(self.low), len(self.high), *(len(each) for each in said if each)}
        if len(sizes) != 1 or 0 in sizes:
            raise InputError(f"a scaling of actions: found {sorted(sizes)} values, expected one for each dimension")
        for index, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise InputError(f"a scaling of actions: found {low} to {high} in dimension {index}, expected a range")

    @classmethod
    def of(cls, actions: Float[Tensor, "F A"], names: tuple[str, ...] | None = None) -> ActionScaling:
        """The ranges and kinds of recorded actions, in the data's units."""
        columns = [usual_range(actions[:, index]) for index in range(actions.shape[1])]
        low, high, kinds = (tuple(each) for each in zip(*columns, strict=True))
        return cls(low, high, kinds, names or ())

    def to_unit(
        self, actions: Float[Tensor, "*batch A"], state: Float[Tensor, "*batch D"] | None = None
    ) -> Float[Tensor, "*batch A"]:
        """Actions in the data's units as the models read them: in [-1, 1], what lies beyond is clipped.

        `state` is where they were chosen, in the data's units; only what is `relative_to` it asks for it.
        """
        centre, half = self._ends(actions)
        if len(actions) > _AT_ONCE and actions.ndim == 2:
            return torch.cat([self.to_unit(part) for part in actions.split(_AT_ONCE)])
        # Differences of large numbers: in float32 an offset would take the digits.
        unit = (self.learned(actions, state) - centre) / torch.where(half > 0, half, 1.0)
        return torch.where(half > 0, unit, 0.0).clamp(-1, 1).to(actions.dtype)

    def to_data(
        self, actions: Float[Tensor, "*batch A"], state: Float[Tensor, "*batch D"] | None = None
    ) -> Float[Tensor, "*batch A"]:
        """Actions in [-1, 1] in the data's units; `state` as in `to_unit`."""
        centre, half = self._ends(actions)
        actions = self.executed(actions)
        return (centre + half * actions.double() + self._base(state)).to(actions.dtype)

    @property
    def switches(self) -> tuple[bool, ...]:
        """Of each dimension: does it take one of two values; empty where none does."""
        which = tuple(self.rounded and kind == "binary" for kind in self.kinds)
        return which if any(which) else ()

    def executed(self, actions: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """Actions in [-1, 1] as they are carried out."""
        return switched(actions, self.switches)

    def learned(
        self, actions: Float[Tensor, "*batch A"], state: Float[Tensor, "*batch D"] | None = None
    ) -> Float[Tensor, "*batch A"]:
        """Actions in the data's units, float64, as differences where they are learned as such."""
        return actions.double() - self._base(state)

    def name(self, index: int) -> str:
        """The name of a dimension, or its number."""
        return self.names[index] if self.names else f"action {index}"

    def _base(self, state: Tensor | None) -> Tensor | float:
        """What actions are relative to, (*batch, A)."""
        if not self.relative_to:
            return 0.0
        if state is None:
            raise InputError("actions relative to the state (--action-targets relative) need the state beside them")
        column = torch.tensor(self.relative_to, device=state.device)
        return torch.where(column >= 0, state[..., column.clamp(min=0)].double(), 0.0)

    def _ends(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        low, high = (torch.tensor(each, dtype=torch.float64, device=actions.device) for each in (self.low, self.high))
        return (low + high) / 2, (high - low) / 2


def switched(actions: Float[Tensor, "*batch TA"], switches: tuple[bool, ...]) -> Float[Tensor, "*batch TA"]:
    """Actions in [-1, 1], several of A numbers after each other, with `switches` (A) of them at the nearer end.

    Gradients go through as if nothing had been rounded.
    """
    if not switches:
        return actions
    which = torch.tensor(switches, device=actions.device).repeat(actions.shape[-1] // len(switches))
    ends = torch.where(actions >= 0, 1.0, -1.0).to(actions.dtype)
    if actions.requires_grad:
        ends = actions + (ends - actions).detach()
    return torch.where(which, ends, actions)


def check_unit(actions: Float[Tensor, "F A"], where: object, tolerance: float = 1e-3) -> None:
    """Check that actions which are said to be in [-1, 1] are, give or take rounding in other people's pipelines.

    Raises:
        InputError: one is not.
    """
    largest = float(actions.abs().max())
    if largest > 1 + tolerance:
        raise InputError(
            f"{where}, field 'action': found an action of magnitude {largest:.6g}, expected actions within ±1, as "
            "Burnish records them; where they are in units of their own, add --action-units own"
        )


def usual_range(values: Float[Tensor, " F"]) -> tuple[float, float, Kind]:
    """The lowest and highest value of one dimension, spikes left out, and its kind."""
    ordered = values.double().sort().values
    low, high = float(ordered[0]), float(ordered[-1])
    if high - low <= STILL * max(abs(low), abs(high)):
        middle = float(ordered[len(ordered) // 2])
        return middle, middle, "constant"
    levels = len(ordered.unique_consecutive())
    if levels == 2:
        return low, high, "binary"
    rare = min(max(1, len(ordered) // RARE), (len(ordered) - 1) // 2)
    first, last = float(ordered[rare]), float(ordered[-1 - rare])
    reach = SPIKE * (last - first)
    if reach > 0:
        low, high = max(low, first - reach), min(high, last + reach)
    few = levels <= LEVELS and len(ordered) >= LEVELS * levels
    return low, high, "discrete" if few else "continuous"
