"""Settings of the real environment and of evaluation; no simulator is imported, since a run may have none."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SimulatorConfig:
    """The real environment."""

    action_repeat: int = 2
    """Control steps per decision."""
    max_steps: int = 100
    """Decisions after which an episode has failed."""
    cameras: tuple[str, ...] = ()
    """Cameras whose pictures observations carry, beside the state; the simulator has a list."""
    image_size: int = 64
    """Height and width of these pictures in pixels."""


@dataclass(frozen=True)
class EvaluationConfig:
    """The proof on the real simulator."""

    episodes: int = 100
    curve_points: int = 4
    """Iterates whose real success is measured afterwards, for the report's curve; never used to choose."""
    curve_episodes: int = 40
    videos: int = 3
    video_size: int = 240
    picture_windows: int = 100
    """Held-out windows of each kind of episode whose imagined pictures are compared with the recorded ones, and
    held-out episodes of pictures that are imagined to their ends."""
