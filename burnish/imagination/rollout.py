"""The one loop over a world model: what is imagined step by step, what it is worth, and how far it can be trusted."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.data import STATE, Dataset
from burnish.data.scaling import switched
from burnish.imagination.pessimism import Pessimism, has_members, in_thresholds
from burnish.lanes import together
from burnish.rewards import Outcome, Reward
from burnish.world_models.base import State, WorldModel

Count = TypeVar("Count", bound=int | Tensor)

Act = Callable[[Any, int], Float[Tensor, "B A"]]
"""Actions of transition number n from these states: those of one transition, flattened."""


@dataclass(frozen=True)
class Models:
    """What imagines, what tells rewards, and what tells where imagination ends.

    `switches` tells of each dimension of an action whether it is carried out as one of two values; empty: none is.
    """

    world_model: WorldModel
    reward: Reward | None = None
    pessimism: Pessimism = field(default_factory=Pessimism)
    switches: tuple[bool, ...] = ()

    def tell_success(self, state: State, action: Float[Tensor, "B A"]) -> bool:
        """Whether the reward says of transitions like `action` from `state` whether the task is done."""
        return self.reward is not None and self.reward(state, action, state).success is not None

    def hopeful(self) -> Self:
        """The same models, with uncertainty measured and of no consequence."""
        return replace(self, pessimism=self.pessimism.without_rule())


@dataclass(frozen=True)
class Imagined:
    """One imagined transition of B episodes.

    Attributes:
        step: its number, from 0.
        state: before it.
        action: what was done, flattened.
        following: after it.
        alive: episodes that were not over before it; the others go on, and are nobody's.
        outcome: what came of it by the rule of pessimism; None without a reward. Nothing where not alive.
        halted: episodes that pessimism ended here.
        uncertainty: by name, in thresholds.
    """

    step: int
    state: Any
    action: Float[Tensor, "B A"]
    following: Any
    alive: Bool[Tensor, " B"]
    outcome: Outcome | None
    halted: Bool[Tensor, " B"]
    uncertainty: dict[str, Float[Tensor, " B"]]


def rollout(
    models: Models,
    state: State,
    act: Act,
    steps: int | Int[Tensor, " B"],
    generator: torch.Generator | None,
    members: Int[Tensor, " B"] | None = None,
    check_every: int = 10,
    reward_every: int = 1,
) -> Iterator[Imagined]:
    """Imagine transitions one by one, for as long as anybody asks for them and any episode lives.

    Gradients flow where the caller lets them: say `torch.no_grad()` around the loop where none are wanted.

    Args:
        models: without a reward, episodes end at their limits alone.
        state: B rows, where the episodes begin.
        act: decides; it is asked once a transition, whatever its world model's `action_steps`. Where it has `observed`,
            as `recorded` has, a world model with commands takes those that were recorded.
        steps: transitions after which an episode is over: one number, or each episode's own.
        generator: of the world model's random numbers.
        members: the ensemble's member that each episode follows, -1 for the world model itself; None: all of them.
        check_every: transitions after which it is looked whether any episode lives (which waits for the device); 0:
            never.
        reward_every: transitions after each of which the reward is asked; those between earn nothing.
    """
    limits = steps if isinstance(steps, Tensor) else None
    alive = None
    for step in range(int(limits.max()) if limits is not None else int(steps)):
        action = switched(act(state, step), models.switches)
        if alive is None:
            alive = torch.ones(len(action), dtype=torch.bool, device=action.device)
        now = alive if limits is None else alive & (step < limits)
        following, uncertainty = _transition(models, state, action, generator, members)
        following = _with_recorded_commands(models.world_model, following, act, step)
        outcome, halted = None, torch.zeros_like(now)
        if models.reward is not None:
            if step % reward_every == reward_every - 1:
                over = None if limits is None else limits - 1 == step
                outcome = _outcome(models.reward, state, action, following, over)
            else:
                outcome = Outcome(torch.zeros_like(action[:, 0]), halted)
            outcome, halted = models.pessimism.apply(outcome, uncertainty)
            outcome, halted = outcome.where(now), halted & now
            alive = now & ~outcome.terminated
        yield Imagined(step, state, action, following, now, outcome, halted, uncertainty)
        state = following
        if outcome is not None and check_every and step % check_every == check_every - 1 and not bool(alive.any()):
            return


def _with_recorded_commands(world: Any, following: State, act: Act, step: int) -> State:
    """The commands that were recorded there, which no world model can know of beforehand."""
    observed = getattr(act, "observed", None)
    if observed is None or getattr(world, "commands", None) is None:
        return following
    return world.commanded(following, observed(step))


def _outcome(reward: Reward, state: State, action: Tensor, following: Any, over: Tensor | None) -> Outcome:
    """What the reward says; a judge of whole episodes is told which end here, where each has a limit of its own."""
    at_end = getattr(reward, "at_end", None)
    if at_end is None or over is None:
        return reward(state, action, following)
    return at_end(state, action, following, over)


def _transition(
    models: Models, state: State, action: Tensor, generator: torch.Generator | None, members: Tensor | None
) -> tuple[State, dict[str, Tensor]]:
    """The states that follow, by each episode's own model, and the uncertainty about them."""
    world, counted = models.world_model, models.pessimism.uncertainties
    own = next((each for each in counted if each is world), None)
    if own is not None and has_members(own):
        # A world that is its own ensemble says both at once, and -1 is its word for all of its members.
        everyone = torch.full((len(action),), -1, dtype=torch.long, device=action.device)
        followed = everyone if members is None else members
        predicts, members = functools.partial(own.predict_member, state, action, followed, generator), None
    else:
        predicts = None
    others = [each for each in counted if each is not own]
    # One ensemble's members are no other's: the first one's are meant.
    ensemble = next((each for each in others if members is not None and has_members(each)), None)
    rows = torch.nonzero(members < 0).flatten() if members is not None and _on_some(world, ensemble, members) else None

    def imagined() -> Any:
        if predicts is not None:
            return predicts()
        if rows is not None:
            return None, world.imagine_rows(state, action, rows, generator)  # type: ignore[attr-defined]
        return None, world.imagine(state, action, generator)

    def told(each: Any) -> Any:
        if each is ensemble:
            assert members is not None
            return each.predict_member(state, action, members.clamp(min=0), generator)
        return each(state, action), None

    pieces = [imagined, *(functools.partial(told, each) for each in others)]
    # Only the world model may draw random numbers beside others.
    apart = ensemble is None or not getattr(ensemble, "draws", True)
    (value, following), *found = together(*pieces) if apart else [piece() for piece in pieces]
    uncertainty = {} if own is None or value is None else {own.name: in_thresholds(value, own.threshold)}
    for each, (value, believed) in zip(others, found, strict=True):
        uncertainty[each.name] = in_thresholds(value, each.threshold)
        if believed is not None and members is not None:
            put = rows is not None
            following = believed.put(rows, following) if put else following.where(members >= 0, believed)
    return following, uncertainty


def _on_some(world: WorldModel, ensemble: Any, members: Tensor) -> bool:
    """Whether the world model need only imagine the rows that follow it: on a CPU, where counting them waits for
    nothing."""
    return ensemble is not None and members.device.type == "cpu" and hasattr(world, "imagine_rows")


def transitions(world_model: WorldModel, actions: Count) -> Count:
    """Transitions that take so many actions; the last one is finished."""
    return -(-actions // world_model.action_steps)  # type: ignore[return-value]


def given(actions: Float[Tensor, "B T A"]) -> Act:
    """Acts as written down: `actions[:, n]`, those of one transition flattened."""
    return lambda state, step: actions[:, step]


def recorded(dataset: Dataset, present: Int[Tensor, " B"], action_steps: int = 1) -> "Retold":
    """Acts as it was recorded from each `present` frame on."""
    return Retold(dataset, present, action_steps)


@dataclass(frozen=True)
class Retold:
    """Recorded actions, and the commands that were recorded beside them.

    The last frame's action was never executed; an episode that is over repeats the one before, and nobody looks.
    """

    dataset: Dataset
    present: Int[Tensor, " B"]
    action_steps: int = 1

    def __call__(self, state: Any, step: int) -> Float[Tensor, "B A"]:
        """Actions of transition number `step`."""
        offsets = torch.arange(self.action_steps, device=self.present.device)
        frames = self.present[:, None] + step * self.action_steps + offsets
        return self.dataset.actions[torch.minimum(frames, self._last[:, None] - 1)].flatten(1)

    def observed(self, step: int) -> dict[str, Tensor]:
        """The recorded state after transition number `step`; an episode's last one where it is over."""
        frames = torch.minimum(self.present + (step + 1) * self.action_steps, self._last)
        return {STATE: self.dataset.observations[STATE][frames]}

    @functools.cached_property
    def _last(self) -> Int[Tensor, " B"]:
        return (self.dataset.starts + self.dataset.lengths - 1)[self.dataset.episode_of_frame[self.present]]
