"""The real environment's settings, apart from the simulator itself: a run on somebody's own data imports none."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SimulatorConfig:
    """The real environment."""

    action_repeat: int = 2
    """Control steps per decision."""
    max_steps: int = 100
    """Decisions after which an episode has failed."""
