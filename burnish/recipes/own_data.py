"""A run that starts from the user's own data set: where it lies, and how it is read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from burnish.config import within
from burnish.data import ACTION, STATE, Dataset, SuccessRule, read_dataset, require_outcomes
from burnish.errors import InputError
from burnish.pipeline import External
from burnish.rewards import RewardConfig


@dataclass(frozen=True)
class ReadingRule:
    """Which columns are read from a LeRobotDataset, and how success is told."""

    success_column: str | None = None
    """Column that tells success, frame by frame; default next.success or success."""
    success_last_frames: int | None = within(None, 1)
    """Success is the last so many frames of every successful episode."""
    state_key: tuple[str, ...] = (STATE,)
    """Column, or columns to be joined, that make the state."""
    action_key: str = ACTION
    """Column of the action, in [-1, 1]."""


@dataclass(frozen=True)
class OwnData:
    """A LeRobotDataset v3.0 on disk."""

    path: Path
    rule: ReadingRule = field(default_factory=ReadingRule)

    def parts(self, cameras: Sequence[str]) -> dict[str, External]:
        """The folders that a run which looks at `cameras` depends on: tables, and videos where there are any."""
        names = ["data", "meta"]
        if cameras and (self.path / "videos").is_dir():
            names.append("videos")
        return {name: External(f"own_{name}", self.path / name) for name in names}

    def read(self, cameras: Sequence[str] = ()) -> Dataset:
        """Read and check it, with the pictures of `cameras`.

        Raises:
            InputError: it is not what the format and the rule say.
        """
        success = SuccessRule(self.rule.success_column, self.rule.success_last_frames)
        return read_dataset(self.path, success, state=self.rule.state_key, action=self.rule.action_key, cameras=cameras)

    def read_task(self, task: str, reward: RewardConfig, cameras: Sequence[str] = ()) -> Dataset:
        """The episodes of one task.

        Raises:
            InputError: as `read`; or there is nothing that a policy could be refined by, as `reward` sees it.
        """
        dataset = self.read(cameras)
        chosen = dataset.subset([index for index, name in enumerate(dataset.tasks) if name == task])
        require_outcomes(reward.view(chosen), f"{self.path}, task '{task}'")
        return chosen

    def task(self, wanted: str | None) -> str:
        """The task to learn: the one that is wanted, or the data set's only one.

        Raises:
            InputError: the data set has no such task, or several and none was named.
        """
        names = list(self.read().task_names)
        if wanted is None and len(names) > 1:
            raise InputError(f"{self.path}: found the tasks {', '.join(names)}; name one with --task")
        if wanted is not None and wanted not in names:
            raise InputError(f"{self.path}: found no task '{wanted}', expected one of: {', '.join(names)}")
        return wanted or names[0]
