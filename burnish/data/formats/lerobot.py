"""LeRobotDataset v3.0, the format that Burnish writes, and v2, which many data sets still have."""

from collections.abc import Sequence
from pathlib import Path

from burnish.data.formats.base import SourceFormat
from burnish.data.frames import Source
from burnish.data.lerobot_reader import LeRobotSource
from burnish.data.lerobot_v2 import EPISODES_PATH, LeRobotV2Source


class LeRobot(SourceFormat):
    """Parquet tables and MP4 or PNG pictures; other versions of the format are refused by name when they are read."""

    name = "lerobot"
    title = "LeRobotDataset v3.0 (meta/info.json)"

    def detect(self, path: Path) -> bool:
        """By its meta folder."""
        others = (EPISODES_PATH, "meta/episode_ends")
        return (path / "meta").is_dir() and not any((path / other).exists() for other in others)

    def open(self, path: Path) -> Source:
        """Reads `meta/`."""
        return LeRobotSource(path)

    def parts(self, path: Path, cameras: Sequence[str]) -> dict[str, Path]:
        """Tables, and videos where some are looked at."""
        names = ["data", "meta", *(["videos"] if cameras and (path / "videos").is_dir() else [])]
        return {name: path / name for name in names}


class LeRobotV2(LeRobot):
    """One file an episode; the values are read as from v3.0."""

    name = "lerobot-v2"
    title = "LeRobotDataset v2.1 (meta/episodes.jsonl)"

    def detect(self, path: Path) -> bool:
        """By the index of its episodes, which later versions have not."""
        return (path / EPISODES_PATH).exists()

    def open(self, path: Path) -> Source:
        """Reads `meta/`."""
        return LeRobotV2Source(path)
