"""A recipe as a list of steps, of which a run does those that its target needs."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from burnish.data import DatasetInfo, Episode, read_dataset, write_dataset
from burnish.pipeline import SharedRun, StageContext
from burnish.recipes.memory import memory_explained
from burnish.report.section import save_sections
from burnish.report.sections_run import data_section
from burnish.training import current

_UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Step:
    """One stage of a recipe.

    Attributes:
        name: the stage's name and folder.
        config: everything of the configuration that its result depends on, and nothing else.
        inputs: the stages (or external inputs) that it reads.
        body: does the work in the stage's folder.
        alone: of several processes, only the first does the work: what uses a simulator, or trains nothing.
    """

    name: str
    config: Any
    inputs: tuple[str, ...]
    body: Callable[[StageContext], dict[str, Any] | None]
    alone: bool = False


def run_steps(run: SharedRun, steps: Sequence[Step], targets: Sequence[str]) -> None:
    """Do the steps `targets` and those that they need, in their order."""
    wanted = needed(steps, targets)
    for step in steps:
        if step.name in wanted:
            run.stage(step.name, step.config, step.inputs, _recording_threads(step.body), step.alone)


def needed(steps: Sequence[Step], targets: Sequence[str]) -> set[str]:
    """The names of the steps `targets` and of everything that they depend on."""
    by_name = {step.name: step for step in steps}
    found, waiting = set(), list(targets)
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in found:
            found.add(name)
            waiting.extend(by_name[name].inputs)
    return found


def store_dataset(folder: Path, episodes: Iterable[Episode], info: DatasetInfo) -> None:
    """Make a stage's folder itself a LeRobotDataset v3.0; what a killed attempt left there is removed."""
    for leftover in (*folder.glob(f".{_UNFINISHED}*"), folder / _UNFINISHED, folder / "data", folder / "meta"):
        if leftover.exists():
            shutil.rmtree(leftover)
    write_dataset(folder / _UNFINISHED, episodes, info)
    for part in sorted((folder / _UNFINISHED).iterdir()):
        part.rename(folder / part.name)
    (folder / _UNFINISHED).rmdir()
    recorded = read_dataset(folder, cameras=())
    lengths, success = recorded.lengths.tolist(), recorded.episode_success.tolist()
    save_sections(folder, [data_section(recorded.sources, lengths, success)])


def _recording_threads(body: Callable[[StageContext], dict[str, Any] | None]) -> Any:
    """A result is the same bit for bit only for the same number of threads and processes, so every stage notes them."""

    def recorded(stage: StageContext) -> dict[str, Any] | None:
        stage.record("threads", torch.get_num_threads())
        stage.record("processes", current().count)
        with memory_explained(stage.name):
            return body(stage)

    return recorded
