"""How often this process touched the simulator: the evidence that refinement used it zero times."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SimulatorUse:
    """Control steps (one action held for one control period) and resets of real simulators."""

    control_steps: int = 0
    resets: int = 0

    def __add__(self, other: SimulatorUse) -> SimulatorUse:
        return SimulatorUse(self.control_steps + other.control_steps, self.resets + other.resets)

    def __sub__(self, other: SimulatorUse) -> SimulatorUse:
        return SimulatorUse(self.control_steps - other.control_steps, self.resets - other.resets)


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
