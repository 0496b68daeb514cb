"""Runs of recipes: new ones, finished ones that are looked at again, and single stages of them."""

import contextlib
import functools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import torch
import tyro
import yaml

from burnish.config import check, from_dict, to_dict, within
from burnish.errors import InputError
from burnish.pipeline import Run, SharedRun
from burnish.pipeline.run import read_settings
from burnish.recipes.catalogue import entry
from burnish.recipes.device import CPU, chosen_device
from burnish.recipes.own_data import OwnData, ReadingRule
from burnish.recipes.reporting import publish
from burnish.recipes.steps import Step, run_steps
from burnish.report.summary import read_report
from burnish.training import ALONE, Processes, join

if TYPE_CHECKING:  # a run on somebody's own data imports no simulator
    from burnish.recipes.recording import Recorder

STAGES = {
    "collect": ("dataset",),
    "pretrain": ("policy",),
    "train-world-model": ("world_model", "ensemble"),
    "train-classifier": ("classifier",),
    "refine": ("refined",),
    "gate": ("accepted",),
    "evaluate": ("evaluation",),
    "report": ("report",),
}
"""Commands for single stages, and the stages that they do (with those that these need)."""
_DATA = "dataset"  # where a run's configuration keeps its own data set


Config = TypeVar("Config")


@dataclass(frozen=True)
class NewRun(Generic[Config]):
    """Everything that one can say about a run of a recipe."""

    config: Config
    """Every setting of the recipe."""

    task: str | None = None
    """Task to learn; with a data set of your own, the default is its only task."""
    seed: int = within(0, 0)
    """Seed of the data, of all training and of refinement."""
    out: Path | None = None
    """Run folder; default runs/RECIPE-TASK-SEED. The same command again resumes or redoes what changed."""
    preset: str = "default"
    """Where the configuration starts from; single settings can be changed below."""
    observation: str | None = None
    """What everything that learns looks at: `state`, `pixels` (a compact latent of camera pictures), or, in world4rl,
    `frames`, the pictures themselves.  Default: the recipe's first."""
    dataset: Path | None = None
    """Your own LeRobotDataset v3.0; then no simulator is used."""
    reading: Annotated[ReadingRule, tyro.conf.OmitArgPrefixes] = field(default_factory=ReadingRule)
    """How your own data set is read."""
    threads: int | None = within(None, 1)
    """PyTorch's threads of each process; by default the processes share the cores."""
    processes: int | None = within(None, 1)
    """Processes that train together, on this machine; default one, or as many as torchrun started."""
    device: str = "cpu"
    """Where models train and imagine: cpu, or cuda where the recipe can."""
    dry_run: bool = False
    """Print the resolved configuration and do nothing."""
    verify: bool = False
    """Check the content of finished stages, not only their files' size and time."""

    def resolve(self, recipe: str) -> "Resolved":
        """Check the task (or take the data set's) before a run folder is made; InputError where it is wrong."""
        check(self, "")
        if self.dataset is not None:
            own = OwnData(self.dataset.absolute(), self.reading)
            return Resolved(recipe, own.task(self.task), self.seed, self.config, own)
        if self.reading != ReadingRule():
            raise InputError("it was said how to read your own data set, but not which: name it with --dataset")
        if self.task is None:
            raise InputError("which task? name one with --task, or your own data set with --dataset")
        from burnish.simulators.tasks import check_task

        check_task(self.task)
        return Resolved(recipe, self.task, self.seed, self.config, None)

    def folder(self, resolved: "Resolved") -> Path:
        """The run folder."""
        if self.out is not None:
            return self.out
        task = re.sub(r"[^A-Za-z0-9._-]+", "-", resolved.task)[:60].strip(".-")
        return Path("runs") / f"{resolved.recipe}-{task}-{resolved.seed}"


@dataclass(frozen=True)
class Resolved:
    """A run with everything decided, before anything is done."""

    recipe: str
    task: str
    seed: int
    config: Any
    own: OwnData | None

    def settings(self) -> dict[str, Any]:
        """What recipe.yaml keeps as the run's configuration."""
        own = {"path": str(self.own.path), **to_dict(self.own.rule)} if self.own else None
        return {**to_dict(self.config), _DATA: own}

    def to_yaml(self) -> str:
        """The resolved configuration, in the form of recipe.yaml."""
        plain = {"recipe": self.recipe, "task": self.task, "seed": self.seed, "config": self.settings()}
        return yaml.safe_dump(plain, sort_keys=False)


def reopen(folder: Path) -> Resolved:
    """What an existing run folder's recipe.yaml says."""
    settings = read_settings(folder)
    source = str(folder / "recipe.yaml")
    config_class = entry(settings["recipe"]).config_class
    config = dict(settings["config"])
    data = config.pop(_DATA, None)
    own = None
    if data is not None:
        if not isinstance(data, dict) or not isinstance(data.get("path"), str):
            raise InputError(f"{source}: field 'config.dataset': expected a path and how it is read, found {data!r}")
        rule = {key: value for key, value in data.items() if key != "path"}
        own = OwnData(Path(data["path"]), from_dict(ReadingRule, rule, source))
    if settings["task"] is None:
        raise InputError(f"{source}: field 'task' is missing")
    return Resolved(
        settings["recipe"], settings["task"], settings["seed"], from_dict(config_class, config, source), own
    )


def run_recipe(
    folder: Path,
    resolved: Resolved,
    targets: Sequence[str] = ("report",),
    threads: int | None = None,
    processes: int | None = None,
    device: str = "cpu",
) -> dict[str, Any] | None:
    """Do what is left to do in a run folder for the stages `targets`.

    threads: for PyTorch, default one for each core; on a CPU the weights are the same bit for bit for the same number.
    processes: that train together (docs/multi_device.md); every one of them calls this, and only the first one writes.
    device: cpu or cuda; it is no part of the configuration, so a run may change it.

    Returns report.json's content when the report was asked for, else None.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}, expected at least 1")
    recipe, where = entry(resolved.recipe), chosen_device(device)
    if where.type != "cpu" and not recipe.gpu:
        raise InputError(f"{recipe.name} runs on the CPU only; expected --device cpu")
    group = join(processes, where.type)
    torch.set_num_threads(threads or max(1, _cores() // group.local))
    with group.explained(), contextlib.ExitStack() as stack:
        run, recorder = stack.enter_context(opened(folder, resolved, group, device))
        run_steps(SharedRun(run, folder, group), recipe_steps(resolved, recorder, where), targets)
        report = publish(run) if "report" in targets and run is not None else None
        group.agree(True)  # the others wait for the report
        return report if group.first or "report" not in targets else read_report(folder / "report.json")


@contextlib.contextmanager
def opened(
    folder: Path, resolved: Resolved, group: Processes = ALONE, device: str = "cpu"
) -> "Iterator[tuple[Run | None, Recorder | None]]":
    """The run folder (the first process has it), and the simulator where the run has one; closed afterwards."""
    r = resolved
    with contextlib.ExitStack() as stack:
        run = None
        if group.first:
            run = stack.enter_context(Run.create(folder, r.recipe, r.task, r.seed, r.settings(), device))
            for name, path in entry(r.recipe).external_inputs(r.config).items():
                run.external_input(name, path)
        if r.own is not None:
            if run is not None:
                r.own.register(run)
            yield run, None
        else:
            from burnish.recipes.recording import Recorder

            yield run, stack.enter_context(Recorder(r.task, r.seed, r.config.simulator))


def recipe_steps(resolved: Resolved, recorder: "Recorder | None", device: torch.device = CPU) -> list[Step]:
    """The recipe's stages with this run's settings, on `device` where the recipe can use another one than the CPU."""
    r, recipe = resolved, entry(resolved.recipe)
    steps = functools.partial(recipe.steps, device=device) if recipe.gpu else recipe.steps
    return steps(r.config, r.task, r.seed, recorder, r.own)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
