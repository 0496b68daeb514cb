"""The eight skills of DiWA: what has to be so before, and what counts as success."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from burnish.errors import InputError
from burnish_calvin.install import check_installed

PREFIX = "calvin:"
"""What a CALVIN task's name begins with: `calvin:open_drawer`."""

SLIDER, DRAWER, BUTTON, SWITCH, LIGHTBULB, LED = range(6)
"""Where each stands in CALVIN's `scene_obs`."""

JOINT_RANGES = {SLIDER: 0.28, DRAWER: 0.22, BUTTON: 0.02, SWITCH: 0.088}
"""Metres from 0 to the far stop."""


@dataclass(frozen=True)
class Skill:
    """One skill.

    Attributes:
        part: which value of `scene_obs` it changes.
        before: the value that it starts from.
        after: the value that it aims at.
        threshold: success is a change in that direction by more than this. (The two lights have 0 and 1 only.)
    """

    part: int
    before: float
    after: float
    threshold: float


SKILLS: dict[str, Skill] = {
    "open_drawer": Skill(DRAWER, 0.0, 0.22, 0.12),
    "close_drawer": Skill(DRAWER, 0.22, 0.0, 0.12),
    "move_slider_left": Skill(SLIDER, 0.0, 0.28, 0.15),
    "move_slider_right": Skill(SLIDER, 0.28, 0.0, 0.15),
    "turn_on_lightbulb": Skill(LIGHTBULB, 0.0, 1.0, 0.5),
    "turn_off_lightbulb": Skill(LIGHTBULB, 1.0, 0.0, 0.5),
    "turn_on_led": Skill(LED, 0.0, 1.0, 0.5),
    "turn_off_led": Skill(LED, 1.0, 0.0, 0.5),
}


def skill_of(task: str) -> str:
    """The skill that a task names.

    Args:
        task: for instance `calvin:open_drawer`.

    Raises:
        InputError: there is no such skill; the message lists near matches.
    """
    name = task.removeprefix(PREFIX)
    if not task.startswith(PREFIX) or name not in SKILLS:
        close = difflib.get_close_matches(name.lower().replace("-", "_"), SKILLS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(PREFIX + match for match in close)}?" if close else f"{_listed()}"
        raise InputError(f"unknown CALVIN task '{task}'; {hint}")
    return name


def check_task(task: str) -> None:
    """Check that a task exists and that calvin_env is installed.

    Raises:
        InputError: it does not, or it is not.
    """
    skill_of(task)
    check_installed()


def achieved(skill: str, start: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Whether a skill was done between two moments, by the rule of calvin_env's task oracle, from states alone.

    Args:
        skill: one of `SKILLS`.
        start: `scene_obs` (24,) at the start.
        now: `scene_obs` (..., 24) later.

    Returns:
        bool (...).
    """
    rule = SKILLS[skill]
    change = np.asarray(now, np.float64)[..., rule.part] - float(start[rule.part])
    return np.sign(rule.after - rule.before) * change > rule.threshold


def feasible(skill: str, scene: np.ndarray) -> bool:
    """Whether a skill can be done from `scene_obs` (24,): its part is nearer to `before` than to `after`."""
    rule = SKILLS[skill]
    value = float(scene[rule.part])
    return abs(value - rule.before) < abs(value - rule.after)


def _listed() -> str:
    return "the tasks are: " + ", ".join(PREFIX + name for name in SKILLS)
