"""LeRobotDataset v3.0, the format that Burnish writes."""

from collections.abc import Sequence
from pathlib import Path

from burnish.data.dataset import Dataset
from burnish.data.formats.base import Format, ReadingRule
from burnish.data.lerobot_reader import read_dataset
from burnish.data.success import SuccessRule


class LeRobot(Format):
    """Parquet tables and MP4 or PNG pictures; other versions of the format are refused by name when they are read."""

    name = "lerobot"
    title = "LeRobotDataset v3.0 (meta/info.json)"

    def detect(self, path: Path) -> bool:
        """By its meta folder."""
        return (path / "meta").is_dir()

    def read(self, path: Path, rule: ReadingRule, cameras: Sequence[str] | None = ()) -> Dataset:
        """Numbers into memory, pictures into a memory-mapped file."""
        success = SuccessRule(rule.success_column, rule.success_last_frames)
        return read_dataset(path, success, state=rule.state_key, action=rule.action_key, cameras=cameras)

    def parts(self, path: Path, cameras: Sequence[str]) -> dict[str, Path]:
        """Tables, and videos where some are looked at."""
        names = ["data", "meta", *(["videos"] if cameras and (path / "videos").is_dir() else [])]
        return {name: path / name for name in names}
