"""Who demonstrates on the table: a script that sees where everything is, with correlated noise on its actions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.tabletop_env import REACH, Tabletop
from burnish.simulators.base import Observation
from burnish.simulators.noise import CorrelatedNoise
from burnish.simulators.vector import SimulatorVectorEnv

CONTACT = 0.055
"""Metres between the centres of hand and thing where they nearly touch."""


def wanted(env: Tabletop) -> np.ndarray:
    """The hand's next move, (2,) in [-1, 1]: behind the thing, round it where it is in the way, then push.

    It depends on what is there now alone.
    """
    thing, goal, hand = env.place(0), env.goal, env.hand
    way = goal - thing
    toward = way / max(float(np.linalg.norm(way)), 1e-6)
    offset = hand - thing
    along, aside = float(offset @ toward), offset - (offset @ toward) * toward
    sideways = float(np.linalg.norm(aside))
    if along < -0.02 and sideways < (0.014 if along > -CONTACT - 0.02 else 0.008):
        move = 0.7 * REACH * toward - 0.8 * aside
        return (move / REACH).clip(-1, 1)
    behind = thing - (CONTACT + 0.01) * toward
    move = behind - hand
    # Round the thing where it is in the way, at a distance that leaves it alone.
    if along > -CONTACT and float(np.linalg.norm(offset)) < CONTACT + 0.025:
        out = offset / max(float(np.linalg.norm(offset)), 1e-6)
        tangent = np.array([-out[1], out[0]])
        tangent *= 1.0 if float(tangent @ (behind - hand)) >= 0 else -1.0
        move = 0.02 * tangent + (CONTACT + 0.012 - float(np.linalg.norm(offset))) * out
    for number in range(1, len(env.things)):
        away = hand - env.place(number)
        gap = float(np.linalg.norm(away))
        if gap < CONTACT + 0.02:
            out = away / max(gap, 1e-6)
            inward = min(float(move @ out), 0.0)
            turn = np.array([-out[1], out[0]])
            turn *= 1.0 if float(turn @ move) >= 0 else -1.0
            move = move - inward * out + abs(inward) * turn + 0.5 * max(CONTACT + 0.005 - gap, 0) * out
    length = float(np.linalg.norm(move))
    return (move / max(length, REACH)).clip(-1, 1)


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
