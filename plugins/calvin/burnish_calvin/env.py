"""One seeded CALVIN environment with state observations."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from burnish.simulators.base import STATE, ControlStep, Observation, SimulatorEnv
from burnish_calvin.install import configuration
from burnish_calvin.skills import DRAWER, JOINT_RANGES, LED, LIGHTBULB, SKILLS, SLIDER, SWITCH, skill_of
from burnish_calvin.state import state_vector
from burnish_calvin.world import CalvinWorld

# DiWA's distributions of the hand's first position in metres: the drawer's skills begin further in front.
_NEAR = (np.array([-0.3, -0.15, 0.50]), np.array([0.3, 0.0, 0.575]))
_FRONT = (np.array([-0.1, -0.3, 0.50]), np.array([0.25, -0.15, 0.575]))
_POSES = 200  # draws before a start is given up; one is the rule
_STREAM = 0xCA1F


class CalvinEnv(SimulatorEnv):
    """CALVIN's play table (scene D) with one of DiWA's eight skills as the task.

    The observation is `{"observation.state": float32 (63,)}` (`STATE_NAMES`). 51 of its values are CALVIN's own robot
    and scene observations with 6-D rotations in place of Euler angles; the other 12 say where the handles of slider and
    drawer, the button and the switch are. They follow from the joints, and contacts are easier to learn from them.

    An action is CALVIN's relative one, (7,) in [-1, 1]: hand position (x 0.02 m), Euler angles (x 0.05 rad), and the
    gripper (open at 0 and above, closed below). calvin_env adds it to a *commanded* pose that the arm follows, so
    a blocked hand goes on being pushed; the state does not show that pose.

    `reset(seed)` alone decides the start: the skill's precondition, everything else random, blocks where calvin_env
    puts them, the hand at a pose of its own. Success is what calvin_env's task oracle says of the episode so far.
    Nothing is drawn while stepping; pictures are made on demand (`CalvinRenderer`).

    Args:
        task: `calvin:` and one of `SKILLS`.
        action_repeat: control steps (of 1/30 s) per env step.

    Raises:
        InputError: unknown task, calvin_env not installed, or an action repeat below 1.
    """

    def __init__(self, task: str, action_repeat: int = 1) -> None:
        super().__init__(task, action_repeat)
        self.skill = skill_of(task)
        self.world = CalvinWorld()
        self._oracle: Any = importlib.import_module("calvin_env.envs.tasks").Tasks(configuration()["tasks"])
        self._start_info: dict[str, Any] = {}

    def _start(self, seed: int) -> None:
        rng = np.random.default_rng([seed, _STREAM])
        scene = _scene_start(self.skill, rng)
        self.world.load(rng)
        self.world.start(scene, _hand_starts(self.skill, rng))
        self._start_info = self.world.oracle_info

    def _control_step(self, action: np.ndarray) -> ControlStep:
        self.world.control_step(action)
        now = self.world.oracle_info
        success = self.skill in self._oracle.get_task_info_for_set(self._start_info, now, {self.skill})
        # CALVIN has no reward of its own.
        return ControlStep(float(success), success=success)

    def _observe(self) -> Observation:
        return {STATE: state_vector(self.world.robot_obs, self.world.scene_obs)}

    def close(self) -> None:
        """Release the bullet world."""
        self.world.close()


def _scene_start(skill: str, rng: np.random.Generator) -> np.ndarray:
    """Slide, drawer, button, switch, bulb and green light (6,): the precondition, and the rest by lot."""
    values = np.zeros(6)
    for part in (SLIDER, DRAWER):
        values[part] = rng.integers(2) * JOINT_RANGES[part]
    values[LIGHTBULB], values[LED] = rng.integers(2), rng.integers(2)
    values[SKILLS[skill].part] = SKILLS[skill].before
    values[SWITCH] = values[LIGHTBULB] * JOINT_RANGES[SWITCH]
    return values


def _hand_starts(skill: str, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    low, high = _FRONT if SKILLS[skill].part == DRAWER else _NEAR
    for _ in range(_POSES):
        position = rng.uniform(low, high)
        roll = rng.choice([-1.0, 1.0]) * 3.07
        yield position, np.array([roll, rng.normal(-0.1, 0.1), rng.normal(1.57, 0.1)])
