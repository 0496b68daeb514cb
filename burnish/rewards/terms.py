"""Rewards that are written down: terms of named state dimensions with weights, and a user's own function.

All of them are functions `(state, action, following) -> reward`, where the states are dicts of tensors by name: every
dimension of `observation.state` under its name (B,), every body with coordinates `hand_x, hand_y, …` as `hand` (B, 2 or
3), and every observation that the world model decodes under its key. Actions are in the data's units, as states are.
They may return an `Outcome`, too.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args, get_type_hints

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.data import STATE, ActionScaling
from burnish.errors import InputError
from burnish.rewards.outcome import Features, Outcome

Named = Mapping[str, Tensor]
Function = Callable[[Named, Float[Tensor, "B A"], Named], Tensor | Outcome]


@dataclass(frozen=True)
class FunctionReward:
    """The reward of a function of named states; it ends no episode unless it says so with an `Outcome`.

    Attributes:
        world_model: whose states are decoded.
        function: see above.
        state_names: those of `dataset.info`; None where the data has none.
        scaling: by which the actions that come in were brought into [-1, 1]; None where they are as recorded.
    """

    world_model: Features
    function: Function
    state_names: tuple[str, ...] | None = None
    scaling: ActionScaling | None = None

    def __call__(self, state: Any, action: Float[Tensor, "B A"], following: Any) -> Outcome:
        """The outcome of a transition.

        Raises:
            InputError: the function wants a name that is not there, or returns something else than one number a row.
        """
        before, after = (Names(self.world_model.decode(each), self.state_names) for each in (state, following))
        if self.scaling is not None:
            action = _unscaled(action, self.scaling, before.observation.get(STATE))
        found = self.function(before, action, after)
        lives = torch.zeros_like(action[:, 0], dtype=torch.bool)
        outcome = found if isinstance(found, Outcome) else Outcome(found, lives)
        if not isinstance(outcome.reward, Tensor) or outcome.reward.shape != action.shape[:1]:
            shape = tuple(outcome.reward.shape) if isinstance(outcome.reward, Tensor) else type(outcome.reward).__name__
            raise InputError(f"the reward function: found {shape}, expected one number a row, ({len(action)},)")
        return outcome


def _unscaled(action: Float[Tensor, "B nA"], scaling: ActionScaling, state: Tensor | None) -> Float[Tensor, "B nA"]:
    """One or several actions in a row, in the data's units; one alone where they are relative to the state before."""
    several = action.unflatten(1, (-1, len(scaling.low)))
    if scaling.relative_to and several.shape[1] > 1:
        raise InputError(
            f"--action-targets relative: a transition of {several.shape[1]} actions has one state, expected one action"
        )
    return scaling.to_data(several, None if state is None else state.unsqueeze(1)).flatten(1)


class Names(Mapping[str, Tensor]):
    """Observations by their keys, the state's dimensions and bodies by name; sliced only when they are asked for."""

    def __init__(self, observation: Named, state_names: Sequence[str] | None) -> None:
        self.observation, self.columns = observation, bodies(state_names or ())

    def __getitem__(self, name: str) -> Tensor:
        """(B,) of a dimension, (B, D) of a body, or an observation."""
        if name in self.observation:
            return self.observation[name]
        if name not in self.columns or STATE not in self.observation:
            raise InputError(f"a reward: found no '{name}' in the state, expected one of: {', '.join(self)}")
        return self.observation[STATE][:, self.columns[name]]

    def __iter__(self):  # noqa: ANN204
        return iter([*self.observation, *self.columns])

    def __len__(self) -> int:
        return len(self.observation) + len(self.columns)


def bodies(names: Sequence[str]) -> dict[str, int | list[int]]:
    """The column of each name, and those of each group of names that differ in an ending _x, _y, _z (or _0, _1)."""
    found: dict[str, int | list[int]] = {name: index for index, name in enumerate(names)}
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        body, _, axis = name.rpartition("_")
        if body and (axis in ("x", "y", "z") or axis.isdigit()):
            groups.setdefault(body, []).append(index)
    return {**{body: columns for body, columns in groups.items() if len(columns) > 1}, **found}


# ---------------------------------------------------------------------------------------------------------------------
# Terms: plain functions of what is named.


def distance(value: Float[Tensor, "B *D"], target: Float[Tensor, "*D"]) -> Float[Tensor, " B"]:
    """How far a value is from its target: Euclidean."""
    return (value - target).reshape(len(value), -1).square().sum(-1).sqrt()


def squared(value: Float[Tensor, "B *D"], target: Float[Tensor, "*D"]) -> Float[Tensor, " B"]:
    """Its square."""
    return (value - target).reshape(len(value), -1).square().sum(-1)


def tracking(value: Float[Tensor, "B *D"], target: Float[Tensor, "*D"], scale: float) -> Float[Tensor, " B"]:
    """1 at the target, exp(−(distance / scale)²) around it."""
    return (-squared(value, target) / scale**2).exp()


def within(value: Float[Tensor, "B *D"], target: Float[Tensor, "*D"], scale: float) -> Float[Tensor, " B"]:
    """1 where the value is no further than `scale` from its target, else 0."""
    return (distance(value, target) <= scale).to(value.dtype)


@dataclass(frozen=True)
class TermConfig:
    """One term of a reward, of what follows the action.

    "value" is the named dimension itself, "effort" the square of the action in the data's units; the others compare
    `of` with `to`: "distance", "squared", "tracking" and "within" are the functions of this module.
    """

    kind: Literal["distance", "squared", "tracking", "within", "value", "effort"]
    weight: float
    of: str = ""
    """A name in the state; nothing for effort."""
    to: str | tuple[float, ...] = ()
    """Another name, or numbers; zero where nothing is given."""
    scale: float = 1.0
    """Of tracking and within, in the data's units."""
    ends: bool = False
    """Whether the episode ends where this term is above 0.5; for "within" and "value"."""


def written_term(text: str) -> TermConfig:
    """The term of "WEIGHT KIND OF [TO [SCALE]] [ends]"; TO is a name, or numbers with commas between.

    Raises:
        InputError: it is not written so.
    """
    words, form = text.split(), '"WEIGHT KIND OF [TO [SCALE]] [ends]", like "-1 distance hand goal"'
    ends = words[-1:] == ["ends"]
    words = words[:-1] if ends else words
    kinds = get_args(get_type_hints(TermConfig)["kind"])
    if not 2 <= len(words) <= 5 or words[1] not in kinds or (len(words) < 3 and words[1] != "effort"):
        raise InputError(f"reward term '{text}': expected {form}, of the kinds {', '.join(kinds)}")
    of, to = (words[2:4] + ["", ""])[:2]
    try:
        numbers = to[:1] in "-+.0123456789"
        target = tuple(float(number) for number in to.split(",") if number) if numbers else to
        scale = float(words[4]) if len(words) == 5 else 1.0
        return TermConfig(words[1], float(words[0]), of, target, scale, ends)  # type: ignore[arg-type]
    except ValueError as error:
        raise InputError(f"reward term '{text}': {error}; expected {form}") from None


@dataclass(frozen=True)
class RewardTerms:
    """The weighted sum of terms: a function for `FunctionReward`."""

    terms: tuple[TermConfig, ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise InputError("reward terms: found none, expected at least one")

    def __call__(self, state: Named, action: Float[Tensor, "B A"], following: Named) -> Outcome:
        """The sum, and where an ending term ends the episode."""
        reward = torch.zeros_like(action[:, 0])
        ends = torch.zeros_like(reward, dtype=torch.bool)
        for term in self.terms:
            value = _evaluated(term, action, following)
            reward = reward + term.weight * value
            if term.ends:
                ends = ends | (value > 0.5)
        return Outcome(reward, ends)


def _evaluated(term: TermConfig, action: Float[Tensor, "B A"], following: Named) -> Float[Tensor, " B"]:
    if term.kind == "effort":
        return action.square().sum(-1)
    value = following[term.of]
    if term.kind == "value":
        if value.dim() != 1:
            raise InputError(f"reward term 'value' of '{term.of}': found {tuple(value.shape)}, expected one number")
        return value
    value = value.reshape(len(action), -1)
    if isinstance(term.to, str) and term.to:
        target = following[term.to].reshape(len(action), -1)
    else:
        target = value.new_tensor(term.to) if term.to else torch.zeros_like(value)
    if value.shape[-1] != target.shape[-1]:
        raise InputError(
            f"reward term '{term.kind}' of '{term.of}': found a target of {target.shape[-1]} numbers, expected "
            f"{value.shape[-1]}"
        )
    if term.kind in ("tracking", "within"):
        return (tracking if term.kind == "tracking" else within)(value, target, term.scale)
    return (distance if term.kind == "distance" else squared)(value, target)


def reward_function(place: str) -> Function:
    """The user's own function at "module:function".

    Raises:
        InputError: no such module or function.
    """
    module, _, name = place.partition(":")
    if not module or not name:
        raise InputError(f"the reward '{place}': expected 'module:function', like 'my_rewards:reach'")
    try:
        function: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"the reward '{place}': {error}; expected a function (state, action, following) -> reward in a module that "
            "Python finds (PYTHONPATH)"
        ) from error
    if not callable(function):
        raise InputError(f"the reward '{place}': found a {type(function).__name__}, expected a function")
    return cast(Function, function)
