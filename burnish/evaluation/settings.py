"""Settings of evaluation."""

from dataclasses import dataclass


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
