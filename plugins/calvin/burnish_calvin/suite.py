"""CALVIN as a suite of tasks."""

from __future__ import annotations

from burnish.simulators.base import Painter, Renderer
from burnish.simulators.suite import Suite, TaskSpec
from burnish_calvin.env import CalvinEnv
from burnish_calvin.experts import make_expert, make_play
from burnish_calvin.rendering import CAMERAS, CalvinPainter, CalvinRenderer
from burnish_calvin.skills import PREFIX, SKILLS, check_task
from burnish_calvin.state import ACTION_NAMES, STATE_NAMES
from burnish_calvin.world import CONTROL_RATE


def _make_renderer(env: CalvinEnv, size: int | tuple[int, int], camera: str | None) -> Renderer:
    return CalvinRenderer(env, size, camera or CAMERAS[0])


def _make_painter(env: CalvinEnv, size: int) -> Painter:
    return CalvinPainter(size)


SPEC = TaskSpec(
    action_names=ACTION_NAMES,
    state_names=STATE_NAMES,
    control_rate=CONTROL_RATE,
    robot_type="panda",
    cameras=CAMERAS,
    max_steps=72,
)
SUITE = Suite(
    name="calvin",
    title="CALVIN",
    check_task=check_task,
    describe=lambda task, settings: SPEC,
    make_env=lambda task, settings: CalvinEnv(task, SPEC.repeat(settings)),
    tasks=lambda: [PREFIX + skill for skill in SKILLS],
    # Each world takes about 90 MB.
    chunk_episodes=5,
    make_expert=make_expert,
    make_play=make_play,
    make_renderer=_make_renderer,
    make_painter=_make_painter,
)
