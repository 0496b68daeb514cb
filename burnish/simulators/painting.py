"""The painters of this process: one for each task and size, shared by all of its environments."""

from __future__ import annotations

import atexit

from burnish.errors import InputError
from burnish.simulators.base import Painter, SimulatorEnv
from burnish.simulators.tasks import suite_of

_KEPT = 4  # drawing contexts are expensive to make and to keep

_painters: dict[tuple[str, int], Painter] = {}


def painter_of(env: SimulatorEnv, size: int) -> Painter:
    """The painter of an environment's task; made at the first call, closed when four others were used since.

    A drawing context belongs to the thread that made it: one thread of a process draws.

    Args:
        env: any environment of the task.
        size: height and width of the pictures in pixels.

    Raises:
        InputError: the suite draws no pictures.
        RunError: no off-screen drawing on this machine.
    """
    key = (env.task, size)
    painter = _painters.pop(key, None)
    if painter is None:
        while len(_painters) >= _KEPT:
            _painters.pop(next(iter(_painters))).close()
        suite = suite_of(env.task)
        if suite.make_painter is None:
            raise InputError(f"{suite.title} draws no pictures")
        painter = suite.make_painter(env, size)
        # After the first: what is registered last runs first, and MuJoCo ends OpenGL when Python ends.
        atexit.unregister(close_painters)
        atexit.register(close_painters)
    # The dictionary's order is that of the latest uses.
    _painters[key] = painter
    return painter


def close_painters() -> None:
    """Close all painters; the next picture makes new ones."""
    while _painters:
        _painters.popitem()[1].close()
