"""A run that starts from the user's own data set: where it lies, and how it is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.data import ActionScaling, Dataset, check_unit
from burnish.data.formats import ReadingRule, format_of
from burnish.data.prospects import Finding, prospects, require_prospects
from burnish.data.signals import signals
from burnish.errors import InputError
from burnish.pipeline import External
from burnish.rewards import RewardConfig


@dataclass(frozen=True)
class OwnData:
    """A data set on disk, of any format that is known."""

    path: Path
    rule: ReadingRule = ReadingRule()

    def parts(self, cameras: Sequence[str]) -> dict[str, External]:
        """What a run that looks at `cameras` depends on."""
        found = format_of(self.path).parts(self.path, cameras)
        if self.rule.labels is not None:
            found["labels"] = self.rule.labels
        return {name: External(f"own_{name}", path) for name, path in found.items()}

    @property
    def place(self) -> External:
        """Where it lies, which is of no account."""
        return External("own_path", self.path, counted=False)

    def read(self, cameras: Sequence[str] = ()) -> Dataset:
        """Read and check it, with the pictures of `cameras`.

        Raises:
            InputError: it is not what its format and the rule say.
        """
        return format_of(self.path).read(self.path, self.rule, cameras)

    def scaling(self, dataset: Dataset) -> ActionScaling | None:
        """How the whole data set's actions are brought into [-1, 1]; None where they are recorded so.

        Raises:
            InputError: they are said to be, or are Burnish's own, and are not.
        """
        if dataset.info.scaling is not None:
            raise InputError(f"{self.path}: its actions are those of a run, scaled already; give the data that it had")
        units = self.rule.action_units
        if units == "own" or (units == "auto" and dataset.info.simulator is None):
            return ActionScaling.of(dataset.actions, dataset.info.action_names)
        check_unit(dataset.actions, self.path)
        return None

    def read_task(self, task: str, reward: RewardConfig, dataset: Dataset | None = None) -> Dataset:
        """The episodes of one task, of the data set as `read` gives it where it was not read yet.

        Raises:
            InputError: as `read`; or there is nothing that a policy could be refined by, as `reward` sees it.
        """
        dataset = self.read() if dataset is None else dataset
        chosen = dataset.subset([index for index, name in enumerate(dataset.tasks) if name == task])
        require_prospects(reward.view(chosen), f"{self.path}, task '{task}'", self.rule.success_last_frames)
        return chosen

    def findings(self, chosen: Dataset, reward: RewardConfig) -> list[Finding]:
        """What is to be said of `chosen` before anything trains; `burnish data inspect` says more."""
        seen = prospects(reward.view(chosen), self.rule.success_last_frames)
        return [each for each in [*seen, *signals(chosen)] if each.level == "warning"]

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
