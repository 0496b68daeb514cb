"""What methods are compared on: tasks whose data a recipe records, or data sets of one's own, judged in a simulator."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.data.formats import ReadingRule
from burnish.errors import InputError
from burnish.recipes.runs import NewRun, Resolved


@dataclass(frozen=True)
class Column:
    """One column of a comparison.

    Attributes:
        name: what the table calls it.
        task: where every policy is judged, and, without a data set, whose data the recipe records.
        dataset: one's own, from which every method learns.
    """

    name: str
    task: str
    dataset: Path | None = None

    @property
    def folder(self) -> str:
        """The name as part of a file's."""
        return self.name.replace(":", "-").replace("/", "-")

    def run(self, recipe: str, config: Any, seed: int, rule: ReadingRule) -> Resolved:
        """A recipe's run on it; InputError where its data are not what the recipe needs."""
        if self.dataset is None:
            return NewRun(config, task=self.task, seed=seed).resolve(recipe)
        return on_data(self.dataset, self.task, recipe, config, seed, rule)

    def contents(self) -> list[tuple[str, int, int]]:
        """Names, sizes and times of the data set's files: where none has changed, no result needs to be looked at."""
        if self.dataset is None:
            return []
        files = sorted(path for path in self.dataset.rglob("*") if path.is_file())
        told = [(path.relative_to(self.dataset).as_posix(), path.stat()) for path in files]
        return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in told]


def on_data(dataset: Path, task: str, recipe: str, config: Any, seed: int, rule: ReadingRule | None = None) -> Resolved:
    """A recipe's run on a data set that is there, judged in `task`."""
    judge = task if ":" in task else f"metaworld:{task}"
    return NewRun(config, task=judge, seed=seed, dataset=dataset, reading=rule or ReadingRule()).resolve(recipe)


def columns(tasks: Sequence[str], datasets: Sequence[Path]) -> tuple[Column, ...]:
    """The columns of a table.

    Args:
        tasks: of simulators. Where there are data sets, one in which all of them are judged, or one for each.
        datasets: one's own.

    Raises:
        InputError: no such task, or the two do not go together.
    """
    from burnish.simulators.tasks import check_task

    for task in tasks:
        check_task(task)
    if not datasets:
        return tuple(Column(task, task) for task in tasks)
    if len(tasks) not in (1, len(datasets)):
        raise InputError(
            f"--tasks: found {len(tasks)} for {len(datasets)} data sets, expected one where all of them are judged, or "
            "one for each"
        )
    for path in datasets:
        if not path.is_dir():
            raise InputError(f"--datasets: found no folder {path}, expected a data set")
    judged = tasks if len(tasks) == len(datasets) else [*tasks] * len(datasets)
    paths = [path.resolve() for path in datasets]
    return tuple(Column(_name(path, paths), task, path) for path, task in zip(paths, judged, strict=True))


def _name(path: Path, others: Sequence[Path]) -> str:
    """The shortest end of its path that no other data set has."""
    for length in range(1, len(path.parts)):
        end = path.parts[-length:]
        if sum(other.parts[-length:] == end for other in others) == 1:
            return "/".join(end)
    raise InputError(f"--datasets: {path} was named twice")
