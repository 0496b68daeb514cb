"""A run that starts from the user's own data set: how it is read, and its copy in the run folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from burnish.data import ACTION, STATE, Dataset, SuccessRule, read_dataset, require_successes
from burnish.errors import InputError
from burnish.pipeline import Run, StageContext
from burnish.recipes.steps import store_dataset

_PARTS = {"own_data": "data", "own_meta": "meta", "own_videos": "videos"}


@dataclass(frozen=True)
class ReadingRule:
    """Which columns are read from a LeRobotDataset, and how success is told."""

    success_column: str | None = None
    """Column that tells success, frame by frame; default next.success or success."""
    success_last_frames: int | None = None
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

    def inputs(self, cameras: Sequence[str]) -> tuple[str, ...]:
        """The external inputs of a run that looks at `cameras`: the tables, and the videos where there are any."""
        with_videos = bool(cameras) and (self.path / "videos").is_dir()
        return ("own_data", "own_meta", "own_videos") if with_videos else ("own_data", "own_meta")

    def read(self, cameras: Sequence[str] = ()) -> Dataset:
        """Read and check it, with the pictures of `cameras`.

        Raises:
            InputError: it is not what the format and the rule say, or it has not a single success.
        """
        success = SuccessRule(self.rule.success_column, self.rule.success_last_frames)
        dataset = read_dataset(
            self.path, success, state=self.rule.state_key, action=self.rule.action_key, cameras=cameras
        )
        require_successes(dataset, self.path)
        return dataset

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

    def register(self, run: Run) -> None:
        """Make its content known to the run as an input."""
        for name, part in _PARTS.items():
            if (self.path / part).is_dir():
                run.external_input(name, self.path / part)


def copy_own_data(own: OwnData, task: str, cameras: Sequence[str], stage: StageContext) -> None:
    """Keep what the run reads of the data set (this task's observations, actions and success) in the run folder."""
    dataset = own.read(cameras)
    chosen = dataset.subset([index for index, name in enumerate(dataset.tasks) if name == task])
    require_successes(chosen, f"{own.path}, task '{task}'")
    stage.record("role", "collection")
    store_dataset(stage.folder, chosen.to_episodes(), chosen.info)
