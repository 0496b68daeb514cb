"""Settings of evaluation."""

from dataclasses import dataclass

from burnish.config import within


@dataclass(frozen=True)
class EvaluationConfig:
    """The proof on the real simulator."""

    episodes: int = within(100, 1)
    curve_points: int = within(4, 0)
    """Iterates whose real success is measured afterwards, for the report's curve; never used to choose."""
    curve_episodes: int = within(40, 1)
    videos: int = within(3, 0)
    video_size: int = within(240, 16)
    picture_windows: int = within(100, 1)
    """Held-out windows of each kind of episode whose imagined pictures are compared with the recorded ones, and
    held-out episodes of pictures that are imagined to their ends."""
