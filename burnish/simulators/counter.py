"""How often this process touched the simulator: the evidence that refinement used it zero times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

LOST_TRACKS = "lost_tracks"
"""The entry of an environment's `info` that says how many named things its tracker lost in the latest picture."""


@dataclass(frozen=True)
class SimulatorUse:
    """Control steps (one action held for one control period) and resets of real simulators; pictures in which named
    things were followed, and how often one was lost."""

    control_steps: int = 0
    resets: int = 0
    tracked_pictures: int = 0
    lost_tracks: int = 0

    def __add__(self, other: SimulatorUse) -> SimulatorUse:
        return SimulatorUse(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __sub__(self, other: SimulatorUse) -> SimulatorUse:
        return SimulatorUse(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(self)))


_total = SimulatorUse()


def simulator_use() -> SimulatorUse:
    """Everything counted since this process began, its worker processes included."""
    return _total


def count_use(use: SimulatorUse) -> None:
    """Add to the count."""
    global _total
    _total = _total + use


def count_control_step() -> None:
    """Count one control step."""
    count_use(SimulatorUse(control_steps=1))


def count_reset() -> None:
    """Count one reset."""
    count_use(SimulatorUse(resets=1))


def count_tracking(info: Mapping[str, Any]) -> None:
    """Count what an environment says of its tracker, if it has one."""
    if LOST_TRACKS in info:
        count_use(SimulatorUse(tracked_pictures=1, lost_tracks=int(info[LOST_TRACKS])))
