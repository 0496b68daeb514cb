"""One imagined episode under somebody's hand, with the simulator beside it where there is one; it can be rewound."""

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish.imagination import given, rollout
from burnish.studio.opened import Beginning, OpenedRun
from burnish.studio.reality import Observation, Reality

BUDGET = 64 * 2**20
"""Bytes of states that a lane keeps to be rewound; the oldest go first."""
MOST = 5000
"""Steps that it keeps at most."""
_LONGEST = 1_000_000
YOU = "you"


@dataclass(frozen=True)
class Moment:
    """One step of an episode: what was done, where it led, and what is thought of it.

    Attributes:
        driver: who decided; `you`, or a policy's name. None where the episode begins.
        action: (n, A) of the transition, in [-1, 1].
        state: the world model's, one row.
        planned: actions that the driver decided on and that come next.
        values: for the strip: probability, reward, success, uncertainties in thresholds, gap, real_success.
        over: whether pessimism would have ended the episode here.
        real: the simulator's observation.
    """

    driver: str | None
    action: Tensor
    state: Any
    planned: tuple[Tensor, ...] = ()
    values: dict[str, float | None] = field(default_factory=dict)
    over: bool = False
    real: Observation | None = None


class Lane:
    """An episode from one start. `cursor` is the step that is shown; what lies behind it is forgotten when it goes on.

    Random numbers of step n depend on the noise seed and n alone: two lanes differ by what they do, and an episode
    that is rewound and driven the same way again is the same.
    """

    def __init__(self, run: OpenedRun, beginning: Beginning, noise: int, driver: str, reality: Reality | None) -> None:
        self.run, self.beginning, self.noise, self.driver, self.reality = run, beginning, noise, driver, reality
        self._generator = torch.Generator()
        with torch.no_grad():
            state = run.begin(beginning)
        real = None if self.reality is None else self.reality.start(beginning)
        first = Moment(None, torch.zeros(0, run.data.action_dim), state, (), self._judged(state, real), False, real)
        self._actions = array("f")
        self.drivers: list[str] = []
        self._moments, self._dropped = [first], 0
        self._room = min(MOST, max(8, BUDGET // _bytes(first)))
        self.cursor = 0

    @property
    def now(self) -> Moment:
        """The step that is shown."""
        return self._moments[self.cursor - self._dropped]

    @property
    def earliest(self) -> int:
        """The first step that it can be rewound to."""
        return self._dropped

    @property
    def length(self) -> int:
        """Steps so far, those ahead of the cursor included."""
        return self._dropped + len(self._moments) - 1

    @property
    def actions(self) -> Tensor:
        """Everything that was done, (steps, A) in [-1, 1]."""
        return torch.tensor(self._actions, dtype=torch.float32).reshape(-1, self.run.data.action_dim)

    def rewind(self, step: int) -> None:
        """Show an earlier (or, after that, a later) step."""
        self.cursor = min(max(step, self.earliest), self.length)

    def history(self) -> list[dict[str, Any]]:
        """The strip's values of every step that is kept."""
        return [self._told(moment, self._dropped + index) for index, moment in enumerate(self._moments)]

    def told(self) -> dict[str, Any]:
        """The shown step for the page, without what it looks like."""
        return self._told(self.now, self.cursor)

    def moments(self) -> list[Moment]:
        """All that are kept, up to the cursor."""
        return self._moments[: self.cursor - self._dropped + 1]

    @torch.no_grad()
    def advance(self, held: Tensor) -> None:
        """One imagined step on from the cursor; `held` (A,) is what is done where `you` drive."""
        self._forget_ahead()
        self._generator.manual_seed(self.noise * 1_000_003 + self.cursor)
        self._imagine(*self._decide(self.now, held))

    @torch.no_grad()
    def replay(self, action: Tensor, driver: str) -> None:
        """One step with what was done (n, A) once, by whom."""
        self._forget_ahead()
        self._generator.manual_seed(self.noise * 1_000_003 + self.cursor)
        self.driver = driver
        self._imagine(action, ())

    def _imagine(self, decided: Tensor, planned: tuple[Tensor, ...]) -> None:
        before, act = self.now, given(decided.reshape(1, 1, -1))
        now = next(rollout(self.run.hopeful, before.state, act, 1, self._generator))
        real = None if self.reality is None else self._really(self.reality, decided)
        values = self._judged(now.following, real)
        if now.outcome is not None:
            values["reward"] = float(now.outcome.reward)
            if now.outcome.success is not None:
                values["success"] = float(now.outcome.success)
        values |= {name: float(value) for name, value in now.uncertainty.items()}
        over = bool(self.run.models.pessimism.over(now.uncertainty, decided.reshape(1, -1)))
        self._moments.append(Moment(self.driver, decided, now.following, planned, values, over, real))
        self._actions.extend(decided.flatten().tolist())
        self.drivers += [self.driver] * len(decided)
        self.cursor += 1
        if len(self._moments) > self._room:
            gone = max(1, self._room // 16)
            del self._moments[:gone]
            self._dropped += gone

    @property
    def full(self) -> bool:
        """Whether it is too long to go on."""
        return self.cursor >= _LONGEST

    def seen(self) -> dict[str, Tensor]:
        """What the shown step looks like."""
        with torch.no_grad():
            return self.run.seen(self.now.state)

    def _decide(self, before: Moment, held: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The actions (n, A) of one transition, and those that are planned behind it."""
        steps = self.run.world.action_steps
        if self.driver == YOU:
            return held.expand(steps, -1).clone(), ()
        planned = list(before.planned) if before.driver == self.driver else []
        if len(planned) < steps:
            features = self.run.world.features(before.state)
            chunk = self.run.agent(self.driver).policy.act(features, True, self._generator).action_chunk
            planned = list(chunk[0].clamp(-1, 1))
        return torch.stack(planned[:steps]), tuple(planned[steps:])

    def _really(self, reality: Reality, actions: Tensor) -> Observation:
        done = self.cursor * self.run.world.action_steps
        if reality.steps != done:
            reality.start(self.beginning)
            for action in self.actions[:done]:
                reality.step(action.numpy())
        observation: Observation = {}
        for action in actions:
            observation = reality.step(action.numpy())
        return observation

    def _judged(self, state: Any, real: Observation | None) -> dict[str, float | None]:
        values: dict[str, float | None] = {"probability": self.run.probability(state)}
        if real is not None and self.reality is not None:
            values |= {"gap": self.run.gap(self.run.seen(state), real), "real_success": float(self.reality.success)}
        return values

    def _forget_ahead(self) -> None:
        del self._moments[self.cursor - self._dropped + 1 :]
        done = self.cursor * self.run.world.action_steps
        del self._actions[done * self.run.data.action_dim :]
        del self.drivers[done:]

    def _told(self, moment: Moment, step: int) -> dict[str, Any]:
        values = {
            name: None if value is None or not np.isfinite(value) else round(value, 5)
            for name, value in moment.values.items()
        }
        action = moment.action[-1].tolist() if len(moment.action) else None
        return {"step": step, "by": moment.driver, "action": action, "over": moment.over, **values}


def _bytes(moment: Moment) -> int:
    tensors = moment.state.tensors().values()
    real = sum(values.nbytes for values in (moment.real or {}).values())
    return sum(each.nbytes for each in tensors) + real + 2048
