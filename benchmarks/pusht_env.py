"""Push-T at 5 Hz with displacements as actions, as the coupled paper's robot has it, and a script that plays it well.

`--task benchmarks.pusht_env:displacements`, from the repository's root; needs `pip install gym-pusht`. The environment
is `gym_pusht`'s own: its physics, its starts, and its success (coverage of the goal above .95, which ends an episode).
The reward is ours: minus the mean distance of the block's corners from where they shall be, in hundreds of pixels;
coverage has no slope far from the goal, and a learned head of it was exploited. States are the agent, the block's
place, and the sine and cosine of its angle.

`PlanningActor` tries some eighty strokes in a copy of the environment, each from a point of the block's outline, and
plays the best: for recorded play, where a simulator may be asked. Nothing that learns sees it.
"""

from collections.abc import Sequence
from typing import Any

import gym_pusht  # noqa: F401  # pyright: ignore[reportMissingImports]
import gymnasium
import numpy as np
import shapely  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

from burnish.simulators.base import Observation
from burnish.simulators.noise import CorrelatedNoise
from burnish.simulators.vector import SimulatorVectorEnv

TASK = "benchmarks.pusht_env:displacements"
REACH = 40.0
"""Pixels of one decision at an action of 1; the table has 512."""
REPEAT = 2
"""Steps of `gym_pusht` (10 Hz) a decision."""
DECISIONS = 150
STROKE = 20.0
"""Pixels of one decision while pushing."""
AWAY = 22.0
"""Of a stroke's start from the outline: the agent's radius is 15."""
RING = 105.0
"""Of the circle on which the agent goes round the block."""
PATIENCE = 20
"""Decisions of one walk, after which there is a new plan."""
OUTLINE = np.array([[-60, 0], [60, 0], [60, 30], [15, 30], [15, 120], [-15, 120], [-15, 30], [-60, 30]], float)
"""Of the T, in its own frame."""


def corners(block: np.ndarray, angle: float) -> np.ndarray:
    """(8, 2): the outline's corners in the world, in pixels."""
    cos, sin = np.cos(angle), np.sin(angle)
    return block + OUTLINE @ np.array([[cos, sin], [-sin, cos]])


GOAL = corners(np.array([256.0, 256.0]), np.pi / 4)


class Displacements(gymnasium.Env[Any, Any]):
    """Push-T whose actions are where the agent shall go, seen from where it is."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    observation_space = gymnasium.spaces.Box(-2.0, 3.0, (6,), np.float32)
    render_mode = "rgb_array"

    def __init__(self) -> None:
        self.table: Any = gymnasium.make("gym_pusht/PushT-v0", obs_type="state", render_mode="rgb_array").unwrapped

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        shown, _ = self.table.reset(seed=seed)
        self._shown = shown
        return observed(shown), {"success": False}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Go there, as far as `gym_pusht` gets in two steps."""
        target = np.clip(self._shown[:2] + REACH * np.clip(action, -1, 1), 0, 512)
        info: dict[str, Any] = {}
        for _ in range(REPEAT):
            self._shown, _, done, _, info = self.table.step(target)
            if done:
                break
        success = bool(info["is_success"])
        told = {"success": success, "coverage": float(info["coverage"])}
        return observed(self._shown), -away(self._shown) / 100, success, False, told

    def render(self) -> Any:
        """A picture of it."""
        return self.table.render()

    def close(self) -> None:
        """Be done."""
        self.table.close()


def displacements() -> gymnasium.Env[Any, Any]:
    """The environment."""
    return gymnasium.wrappers.TimeLimit(Displacements(), DECISIONS)


def observed(shown: np.ndarray) -> np.ndarray:
    """(agent, block, sine, cosine), places over 256 less 1, of `gym_pusht`'s own state."""
    return np.array([*(shown[:4] / 256 - 1), np.sin(shown[4]), np.cos(shown[4])], np.float32)


def away(shown: np.ndarray) -> float:
    """Mean distance of the block's corners from where they shall be, in pixels, of `gym_pusht`'s own state."""
    return float(np.linalg.norm(corners(shown[2:4], shown[4]) - GOAL, axis=1).mean())


class Table:
    """A copy of the environment that can be put into any state: where strokes are tried."""

    def __init__(self) -> None:
        self.env: Any = gymnasium.make("gym_pusht/PushT-v0", obs_type="state").unwrapped
        self.env.reset(seed=0)

    def put(self, agent: np.ndarray, block: np.ndarray, angle: float) -> None:
        """All at rest."""
        here, there = self.env.agent, self.env.block
        here.position, here.velocity = tuple(agent), (0, 0)
        there.angle = angle
        there.position, there.velocity, there.angular_velocity = tuple(block), (0, 0), 0
        for body in (here, there):
            self.env.space.reindex_shapes_for_body(body)

    def left(self) -> float:
        """Mean distance of the block's corners from where they shall be, in pixels."""
        return away(self.env.get_obs())

    def push(self, targets: np.ndarray) -> None:
        """The agent is sent to each in turn, for one decision; as `step`, without what it computes beside."""
        agent, env = self.env.agent, self.env
        for target in targets:
            for _ in range(REPEAT * 10):
                pull = env.k_p * (target - np.array(agent.position)) - env.k_v * np.array(agent.velocity)
                agent.velocity += tuple(pull * env.dt)
                env.space.step(env.dt)


def strokes(outline: np.ndarray, count: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Each the places that the agent is sent to, one a decision, from its start on: along some way into the block."""
    edges = np.roll(outline, -1, 0) - outline
    lengths = np.linalg.norm(edges, axis=1)
    which = generator.choice(len(edges), count, p=lengths / lengths.sum())
    along = edges[which] / lengths[which, None]
    outward = np.stack([along[:, 1], -along[:, 0]], 1)  # the corners go round so that this leads out
    starts = outline[which] + edges[which] * generator.uniform(0.05, 0.95, (count, 1)) + AWAY * outward
    turned = generator.uniform(-0.7, 0.7, count)
    cos, sin = np.cos(turned)[:, None], np.sin(turned)[:, None]
    ways = -outward * cos - np.stack([-outward[:, 1], outward[:, 0]], 1) * sin
    far = generator.choice([10.0, 20.0, 40.0, 80.0, 120.0], count) + 8
    found = []
    for start, way, length in zip(starts, ways, far, strict=True):
        if start.min() < 15 or start.max() > 497 or not _free(_ring(outline, start - outline.mean(0)), start, outline):
            continue
        pieces = int(np.ceil(length / STROKE))
        found.append(start + way * length * np.arange(pieces + 1)[:, None] / pieces)
    return found


class PlanningActor:
    """The best of some strokes, again and again; with temporally correlated noise on its actions.

    Args:
        noise: its standard deviation, in [-1, 1].
        tried: strokes of one plan: the more, the better it plays.
    """

    def __init__(self, noise: float = 0.0, tried: int = 80) -> None:
        self._std, self._tried = noise, tried

    def begin(self, env: SimulatorVectorEnv, seeds: Sequence[int]) -> None:
        """Start K episodes."""
        self._table = Table()
        self._generators = [np.random.default_rng([seed, 7]) for seed in seeds]
        self._strokes: list[list[np.ndarray]] = [[] for _ in seeds]
        self._walked: list[int | None] = [0] * len(seeds)
        self._noise = CorrelatedNoise(self._std, 0.9, env.action_dim, seeds)

    def act(self, observation: Observation) -> np.ndarray:
        """Where each agent goes, float32 (K, 2) in [-1, 1]."""
        states = observation["observation.state"]
        wanted = [self._one(number, state.astype(float)) for number, state in enumerate(states)]
        return (np.stack(wanted) + self._noise.next()).clip(-1, 1).astype(np.float32)

    def _one(self, number: int, state: np.ndarray) -> np.ndarray:
        agent, block = 256 * (state[:2] + 1), 256 * (state[2:4] + 1)
        angle = float(np.arctan2(state[4], state[5]))
        walked = self._walked[number]
        if not self._strokes[number] or walked == PATIENCE:
            self._strokes[number] = list(self._plan(agent, block, angle, self._generators[number]))
            walked = 0
        left = self._strokes[number]
        if walked is not None and np.linalg.norm(agent - left[0]) < 8:
            walked = None
            del left[0]
        self._walked[number] = None if walked is None else walked + 1
        target = left.pop(0) if walked is None else _around(agent, left[0], corners(block, angle))
        way = (target - agent) / REACH
        return way / max(1.0, float(np.linalg.norm(way)))

    def _plan(self, agent: np.ndarray, block: np.ndarray, angle: float, generator: np.random.Generator) -> np.ndarray:
        """The stroke after which least is left; walking there costs a little."""
        table, found = self._table, []
        for stroke in strokes(corners(block, angle), self._tried, generator):
            table.put(stroke[0], block, angle)
            table.push(stroke[1:])
            table.env.agent.position = (0, 0)
            found.append((table.left() + 0.01 * float(np.linalg.norm(agent - stroke[0])), len(found), stroke))
        return min(found)[2] if found else np.array([agent, agent])


def _around(agent: np.ndarray, target: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """The next place on a way that does not touch the block: straight, or along a circle about it."""
    if _free(agent, target, outline):
        return target
    off, wanted = agent - outline.mean(0), target - outline.mean(0)
    if np.linalg.norm(off) < RING - 12:
        return _ring(outline, off)
    angle = np.arctan2(off[1], off[0])
    turn = (np.arctan2(wanted[1], wanted[0]) - angle + np.pi) % (2 * np.pi) - np.pi
    angle += np.sign(turn) * min(abs(turn), 0.35)
    return _ring(outline, np.array([np.cos(angle), np.sin(angle)]))


def _ring(outline: np.ndarray, way: np.ndarray) -> np.ndarray:
    """The place on the circle about the block that lies that way, within the table."""
    return np.clip(outline.mean(0) + RING * way / (np.linalg.norm(way) + 1e-6), 15, 497)


def _free(here: np.ndarray, there: np.ndarray, outline: np.ndarray) -> bool:
    """Whether the agent, 15 pixels wide, can go straight."""
    return bool(shapely.LineString([here, there]).distance(shapely.Polygon(outline)) >= 16)
