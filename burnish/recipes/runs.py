"""Runs of recipes: new ones, finished ones that are looked at again, and single stages of them."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
import yaml

from burnish.config import from_dict, to_dict
from burnish.errors import InputError
from burnish.pipeline import Run
from burnish.pipeline.run import read_settings
from burnish.recipes import world4rl
from burnish.recipes.own_data import OwnData, ReadingRule
from burnish.recipes.reporting import publish
from burnish.recipes.steps import run_steps
from burnish.recipes.world4rl_config import PRESETS, World4RLConfig

RECIPE = "world4rl"
STAGES = {
    "collect": ("dataset",),
    "pretrain": ("policy",),
    "train-world-model": ("world_model", "ensemble"),
    "train-classifier": ("classifier",),
    "refine": ("refined",),
    "evaluate": ("evaluation",),
    "report": ("report",),
}
"""Commands for single stages, and the stages that they do (with those that these need)."""
_DATA = "dataset"  # where a run's configuration keeps its own data set


@dataclass(frozen=True)
class NewRun:
    """Everything that one can say about a run of World4RL."""

    task: str | None = None
    """Task to learn; with a data set of your own, the default is its only task."""
    seed: int = 0
    """Seed of the data, of all training and of refinement."""
    out: Path | None = None
    """Run folder; default runs/RECIPE-TASK-SEED. The same command again resumes or redoes what changed."""
    preset: Literal["default", "contacts", "tiny", "paper"] = "default"
    """Where the configuration starts from; single settings can be changed below."""
    dataset: Path | None = None
    """Your own LeRobotDataset v3.0; then no simulator is used."""
    reading: Annotated[ReadingRule, tyro.conf.OmitArgPrefixes] = field(default_factory=ReadingRule)
    """How your own data set is read."""
    threads: int | None = None
    """PyTorch's threads; default one for each core."""
    dry_run: bool = False
    """Print the resolved configuration and do nothing."""
    config: World4RLConfig = field(default_factory=World4RLConfig)
    """Every setting of the recipe."""

    def resolve(self) -> "Resolved":
        """Check the task (or take the data set's) before a run folder is made; InputError where it is wrong."""
        if self.seed < 0:
            raise InputError(f"the seed is {self.seed}, expected 0 or more")
        if self.dataset is not None:
            own = OwnData(self.dataset.absolute(), self.reading)
            return Resolved(RECIPE, own.task(self.task), self.seed, self.config, own)
        if self.reading != ReadingRule():
            raise InputError("it was said how to read your own data set, but not which: name it with --dataset")
        if self.task is None:
            raise InputError("which task? name one with --task, or your own data set with --dataset")
        from burnish.simulators.tasks import task_class

        task_class(self.task)
        return Resolved(RECIPE, self.task, self.seed, self.config, None)

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
    config: World4RLConfig
    own: OwnData | None

    def settings(self) -> dict[str, Any]:
        """What recipe.yaml keeps as the run's configuration."""
        own = {"path": str(self.own.path), **to_dict(self.own.rule)} if self.own else None
        return {**to_dict(self.config), _DATA: own}

    def to_yaml(self) -> str:
        """The resolved configuration, in the form of recipe.yaml."""
        plain = {"recipe": self.recipe, "task": self.task, "seed": self.seed, "config": self.settings()}
        return yaml.safe_dump(plain, sort_keys=False)


def preset(name: str) -> World4RLConfig:
    """The configuration that a preset names; InputError where there is none."""
    if name not in PRESETS:
        raise InputError(f"unknown preset '{name}', expected one of: {', '.join(PRESETS)}")
    return PRESETS[name](World4RLConfig())


def reopen(folder: Path) -> Resolved:
    """What an existing run folder's recipe.yaml says."""
    settings = read_settings(folder)
    source = str(folder / "recipe.yaml")
    if settings["recipe"] != RECIPE:
        raise InputError(f"{source}: unknown recipe '{settings['recipe']}', expected {RECIPE}")
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
        settings["recipe"], settings["task"], settings["seed"], from_dict(World4RLConfig, config, source), own
    )


def run_world4rl(
    folder: Path, resolved: Resolved, targets: Sequence[str] = ("report",), threads: int | None = None
) -> dict[str, Any] | None:
    """Do what is left to do in a run folder for the stages `targets`.

    threads: for PyTorch, default one for each core; on a CPU the weights are the same bit for bit for the same number.

    Returns report.json's content when the report was asked for, else None.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}, expected at least 1")
    torch.set_num_threads(threads or _cores())
    r = resolved
    with Run.create(folder, r.recipe, r.task, r.seed, r.settings()) as run:
        if r.own is not None:
            r.own.register(run)
            run_steps(run, world4rl.steps(r.config, r.task, r.seed, own=r.own), targets)
        else:
            from burnish.recipes.recording import Recorder

            with Recorder(r.task, r.seed, r.config.simulator) as recorder:
                run_steps(run, world4rl.steps(r.config, r.task, r.seed, recorder), targets)
        return publish(run) if "report" in targets else None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
