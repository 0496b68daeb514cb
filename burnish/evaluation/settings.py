"""Settings of evaluation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluationConfig:
    """The proof on the real simulator."""

    episodes: int = 100
    imagined_episodes: int = 160
    """Imagined episodes that judge an iterate during refinement."""
    curve_points: int = 4
    """Iterates whose real success is measured afterwards, for the report's curve; never used to choose."""
    curve_episodes: int = 40
    videos: int = 3
    video_size: int = 240
