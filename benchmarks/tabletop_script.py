"""Who demonstrates on the table: a script that sees where everything is, with correlated noise on its actions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.tabletop_env import GRASP, REACH, Tabletop
from burnish.simulators.base import Observation
from burnish.simulators.noise import CorrelatedNoise
from burnish.simulators.vector import SimulatorVectorEnv


def wanted(env: Tabletop) -> np.ndarray:
    """The next action, (3,) in [-1, 1]: to the thing, grip it, to where it is to go; of what is there now alone."""
    thing, hand = env.place(0), env.hand
    over = float(np.linalg.norm(thing - hand)) < 0.6 * GRASP
    move = (env.goal - thing if over else thing - hand) / REACH
    return np.append(move / max(float(np.linalg.norm(move)), 1.0), 1.0 if over else -1.0)


class ScriptActor:
    """The script, and temporally correlated noise of some standard deviation on its actions."""

    def __init__(self, noise: float = 0.0) -> None:
        self._std = noise

    def begin(self, env: SimulatorVectorEnv, seeds: Sequence[int]) -> None:
        """Start K episodes with new noise."""
        self._tables: list[Any] = [each._env.unwrapped for each in env.envs]  # type: ignore[attr-defined]
        self._noise = CorrelatedNoise(self._std, 0.8, env.action_dim, seeds)

    def act(self, observation: Observation) -> np.ndarray:
        """Actions, float32 (K, A) in [-1, 1]."""
        moves = np.stack([wanted(table) for table in self._tables])
        return (moves + self._noise.next()).clip(-1, 1).astype(np.float32)
