"""Settings of the real environment and of evaluation; no simulator is imported, since a run may have none."""

from dataclasses import dataclass

from burnish.config import within


@dataclass(frozen=True)
class SimulatorConfig:
    """The real environment."""

    action_repeat: int = within(2, 1)
    """Control steps per decision."""
    max_steps: int = within(100, 2)
    """Decisions after which an episode has failed."""
    cameras: tuple[str, ...] = ()
    """Cameras whose pictures observations carry, beside the state; the simulator has a list."""
    image_size: int = within(64, 8)
    """Height and width of these pictures in pixels."""


@dataclass(frozen=True)
class EvaluationConfig:
    """The proof on the real simulator."""

    episodes: int = within(100, 1)
    imagined_episodes: int = within(160, 1)
    """Imagined episodes that judge an iterate during refinement."""
    curve_points: int = within(4, 0)
    """Iterates whose real success is measured afterwards, for the report's curve; never used to choose."""
    curve_episodes: int = within(40, 1)
    videos: int = within(3, 0)
    video_size: int = within(240, 16)
