"""Scripted experts for DiWA's eight skills: a few waypoints each, and play, which strings the skills together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from burnish.simulators.base import Expert
from burnish_calvin.env import CalvinEnv
from burnish_calvin.skills import SKILLS, achieved, feasible, skill_of
from burnish_calvin.state import handle_positions

WAYPOINT_NOISE = 0.05
"""Metres of standard deviation of every waypoint for a noise of 1; the noise 0.2 blurs them by 1 cm."""

_POSITION_STEP, _ROTATION_STEP = 0.02, 0.05  # what an action of 1 moves: metres, radians
_AT_TARGET, _TURNED = 0.004, 0.1
_DOWN, _ACROSS = np.pi, np.pi / 2  # roll and yaw of a hand that points down, its fingers across the table
_SWITCH_AXIS = np.array([0.0, 0.5, 0.8660254])
_CABINET = -0.1  # nearer to the cabinet (above this y) the hand meets what stands out of it
_SKILL_STEPS = 80  # play gives a skill up after so many env steps
_REACH_LOW, _REACH_HIGH = np.array([-0.28, -0.28, 0.50]), np.array([0.30, -0.05, 0.62])


@dataclass(frozen=True)
class Waypoint:
    """Where the hand should go next.

    Attributes:
        position: (3,) of the fingertips, metres.
        pitch: tilt in radians; negative points the fingers away from the robot's side of the table.
        closed: whether the gripper is closed.
        tolerance: how near the hand must come, metres.
        patience: env steps for which the hand may stay behind before the next waypoint is taken all the same.
        blurred: whether waypoint noise applies.
    """

    position: np.ndarray
    pitch: float = 0.0
    closed: bool = True
    tolerance: float = 0.02
    patience: int = 4
    blurred: bool = True


class WaypointExpert:
    """Follows the waypoints of one skill, planned from the scene that it sees at its first step.

    It reads the commanded pose, which the observation does not show; it is an expert, not a policy.

    Args:
        skill: one of `SKILLS`.
        rng: draws the waypoints' noise.
        noise: its standard deviation in metres.
    """

    def __init__(self, skill: str, rng: np.random.Generator, noise: float = 0.0) -> None:
        self.skill, self._rng, self._noise = skill, rng, noise
        self._follower: _Follower | None = None

    def act(self, env: CalvinEnv) -> np.ndarray:
        """The next action, (7,) in [-1, 1]."""
        if self._follower is None:
            self._follower = _Follower(_plan(self.skill, env, self._rng, self._noise))
        return self._follower.act(env)


class PlayExpert:
    """Plays: a random feasible skill, now and then reaching somewhere for nothing, and on.

    Args:
        rng: chooses what is done, and draws the noise.
        noise: standard deviation of the waypoints, metres.
        reaching: probability of reaching or pausing before a skill.
    """

    def __init__(self, rng: np.random.Generator, noise: float = 0.0, reaching: float = 0.35) -> None:
        self._rng, self._noise, self._reaching = rng, noise, reaching
        self._follower: _Follower | None = None
        self._skill: str | None = None
        self._start = np.zeros(0)
        self._steps = 0

    def act(self, env: CalvinEnv) -> np.ndarray:
        """The next action, (7,) in [-1, 1]."""
        scene = env.world.scene_obs
        if self._follower is None or self._follower.finished or self._steps >= _SKILL_STEPS:
            self._follower = _Follower(self._next_plan(env, scene))
            self._start, self._steps = scene, 0
        elif self._skill is not None and achieved(self._skill, self._start, scene):
            # Like a person, do not push on against the stop.
            self._follower.skip_to_last()
            self._skill = None
        self._steps += 1
        return self._follower.act(env)

    def _next_plan(self, env: CalvinEnv, scene: np.ndarray) -> list[Waypoint]:
        self._skill = None
        if self._rng.random() < self._reaching:
            return self._reach()
        self._skill = str(self._rng.choice([name for name in SKILLS if feasible(name, scene)]))
        return _plan(self._skill, env, self._rng, self._noise)

    def _reach(self) -> list[Waypoint]:
        points = self._rng.uniform(_REACH_LOW, _REACH_HIGH, (int(self._rng.integers(1, 3)), 3))
        closed, pause = bool(self._rng.integers(2)), int(self._rng.integers(0, 6))
        # Nothing is nearer than the tolerance, so the hand rests there for the whole pause.
        return [Waypoint(p, closed=closed, tolerance=0.0, patience=pause, blurred=False) for p in points]


def make_expert(task: str, seed: int, noise: float) -> Expert:
    """The expert of one episode of a CALVIN task; `noise` blurs its waypoints by `WAYPOINT_NOISE` metres each."""
    return WaypointExpert(skill_of(task), np.random.default_rng([seed, 3]), noise * WAYPOINT_NOISE)


def make_play(task: str, seed: int, noise: float) -> Expert:
    """Play in one episode of a CALVIN task."""
    skill_of(task)
    return PlayExpert(np.random.default_rng([seed, 4]), noise * WAYPOINT_NOISE)


class _Follower:
    """Steers the commanded pose from waypoint to waypoint."""

    def __init__(self, plan: list[Waypoint]) -> None:
        self._plan, self._index, self._waited = plan, 0, 0
        self.finished = False

    def skip_to_last(self) -> None:
        self._index, self._waited = len(self._plan) - 1, 0

    def act(self, env: CalvinEnv) -> np.ndarray:
        robot = env.world.robot
        hand = env.world.robot_obs[:3]
        self._advance(robot.target_pos, robot.target_orn, hand)
        goal = self._plan[self._index]
        move = (goal.position - robot.target_pos) / _POSITION_STEP
        turn = np.clip(_turn(goal, robot.target_orn) / _ROTATION_STEP, -1.0, 1.0)
        # A straight line, at full speed along its largest component.
        return np.concatenate([move / max(1.0, np.abs(move).max()), turn, [-1.0 if goal.closed else 1.0]])

    def _advance(self, target: np.ndarray, orientation: np.ndarray, hand: np.ndarray) -> None:
        goal = self._plan[self._index]
        commanded = np.abs(goal.position - target).max() < _AT_TARGET
        if not commanded or np.abs(_turn(goal, orientation)).max() > _TURNED:
            return
        if np.linalg.norm(goal.position - hand) > goal.tolerance and self._waited < goal.patience:
            self._waited += 1
            return
        self._waited = 0
        if self._index < len(self._plan) - 1:
            self._index += 1
        else:
            self.finished = True


def _turn(goal: Waypoint, orientation: np.ndarray) -> np.ndarray:
    difference = np.array([_DOWN, goal.pitch, _ACROSS]) - orientation
    return (difference + np.pi) % (2 * np.pi) - np.pi


def _plan(skill: str, env: CalvinEnv, rng: np.random.Generator, noise: float) -> list[Waypoint]:
    """The skill's waypoints, blurred, after one that leaves the cabinet where the way leads along it."""
    plan = SCRIPTS[skill](handle_positions(env.world.scene_obs))
    shifts = noise * rng.standard_normal((len(plan), 3))
    plan = [replace(w, position=w.position + s) if w.blurred else w for w, s in zip(plan, shifts, strict=True)]
    hand = env.world.robot_obs[:3]
    if hand[1] > _CABINET and abs(hand[0] - plan[0].position[0]) > 0.1:
        # The slider's handle stands out there.
        plan.insert(0, Waypoint(np.array([hand[0], _CABINET, max(hand[2], 0.52)]), tolerance=0.06))
    return plan


# Each script gets the handles (4, 3): slider, drawer, button, switch. Its last waypoint leads away from the table's
# parts, so that the next skill can begin.


def _press_button(handles: np.ndarray) -> list[Waypoint]:
    button = handles[2]
    return [
        Waypoint(button + (0, 0, 0.05), tolerance=0.03),
        Waypoint(button + (0, 0, -0.022), patience=6),
        Waypoint(button + (0, -0.02, 0.08), blurred=False),
    ]


def _open_drawer(handles: np.ndarray) -> list[Waypoint]:
    # Between the handle's bar and the drawer's front, then pull.
    behind = handles[1] + (0, 0.042, 0)
    return [
        Waypoint(behind + (0, -0.03, 0.09), tolerance=0.03),
        Waypoint(behind + (0, 0, 0.07)),
        Waypoint(behind + (0, 0, -0.01), patience=3),
        Waypoint(behind + (0, -0.27, -0.01)),
        Waypoint(behind + (0, -0.25, 0.14), blurred=False),
    ]


def _close_drawer(handles: np.ndarray) -> list[Waypoint]:
    front = handles[1] + (0, -0.06, 0)
    return [
        Waypoint(front + (0, -0.02, 0.09), tolerance=0.05),
        Waypoint(front, patience=3),
        Waypoint(front + (0, 0.30, 0)),
        Waypoint(front + (0, 0.18, 0.14), blurred=False),
    ]


def _slide(direction: float) -> Callable[[np.ndarray], list[Waypoint]]:
    def script(handles: np.ndarray) -> list[Waypoint]:
        handle = handles[0]
        return [
            Waypoint(handle + (-0.08 * direction, -0.035, 0.03), tolerance=0.04),
            Waypoint(handle + (-0.07 * direction, -0.015, -0.01)),
            Waypoint(handle + (0.26 * direction, -0.015, -0.01)),
            Waypoint(handle + (0.20 * direction, -0.10, 0.02), blurred=False),
        ]

    return script


def _switch_up(handles: np.ndarray) -> list[Waypoint]:
    switch = handles[3]
    return [
        Waypoint(switch + (0, -0.14, -0.03), pitch=-0.6, tolerance=0.04),
        Waypoint(switch + (0, -0.05, -0.03), pitch=-0.6),
        Waypoint(switch + (0, 0.04, 0.09), pitch=-0.6),
        Waypoint(switch + (0, -0.12, 0.09), pitch=-0.6, blurred=False),
    ]


def _switch_down(handles: np.ndarray) -> list[Waypoint]:
    switch = handles[3]
    return [
        Waypoint(switch + (0, -0.12, 0.10), pitch=-0.6, tolerance=0.06),
        Waypoint(switch + (0, -0.02, 0.12), pitch=-0.6, tolerance=0.04),
        Waypoint(switch + 0.05 * _SWITCH_AXIS, pitch=-0.6, tolerance=0.03),
        Waypoint(switch - 0.12 * _SWITCH_AXIS, pitch=-0.6),
        Waypoint(switch + (0, -0.06, 0.08), pitch=-0.6, blurred=False),
    ]


SCRIPTS: dict[str, Callable[[np.ndarray], list[Waypoint]]] = {
    "open_drawer": _open_drawer,
    "close_drawer": _close_drawer,
    "move_slider_left": _slide(-1.0),
    "move_slider_right": _slide(1.0),
    "turn_on_lightbulb": _switch_up,
    "turn_off_lightbulb": _switch_down,
    "turn_on_led": _press_button,
    "turn_off_led": _press_button,
}
