"""CALVIN as one of the simulators."""

from __future__ import annotations

from burnish.simulators.base import Painter, Renderer, Simulator
from burnish.simulators.calvin.env import CalvinEnv
from burnish.simulators.calvin.experts import make_expert, make_play
from burnish.simulators.calvin.rendering import CAMERAS, CalvinPainter, CalvinRenderer
from burnish.simulators.calvin.skills import check_task
from burnish.simulators.calvin.state import ACTION_NAMES, STATE_NAMES
from burnish.simulators.calvin.world import CONTROL_RATE


def _make_renderer(env: CalvinEnv, size: int | tuple[int, int], camera: str | None) -> Renderer:
    return CalvinRenderer(env, size, camera or CAMERAS[0])


def _make_painter(env: CalvinEnv, size: int) -> Painter:
    return CalvinPainter(size)


CALVIN = Simulator(
    name="calvin",
    title="CALVIN",
    robot_type="panda",
    action_names=ACTION_NAMES,
    state_names=STATE_NAMES,
    control_rate=CONTROL_RATE,
    control_step_limit=None,
    cameras=CAMERAS,
    # Each world takes about 90 MB.
    chunk_episodes=5,
    check_task=check_task,
    make_env=CalvinEnv,
    make_expert=make_expert,
    make_play=make_play,
    make_renderer=_make_renderer,
    make_painter=_make_painter,
)
