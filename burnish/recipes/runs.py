"""Runs of recipes: new ones, finished ones that are looked at again, and single stages of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Generic

import torch
import tyro
import yaml

from burnish import lanes
from burnish.config import check, from_dict, to_dict, within
from burnish.data.formats import ReadingRule
from burnish.errors import InputError
from burnish.pipeline import Run, RunFolder, SharedRun, Stage, execute, planned, progress
from burnish.pipeline.executors import Kind
from burnish.pipeline.run_folder import read_settings
from burnish.policies.given import Source
from burnish.recipes.base import Config, Plan, RunSpec
from burnish.recipes.catalogue import entry
from burnish.recipes.how import How, chosen_device, cores
from burnish.recipes.own_data import SOURCES, OwnData, Role
from burnish.recipes.stages.reporting import publish
from burnish.recipes.stages.taking import check_given
from burnish.recipes.tracking import TrackerKind, tracked
from burnish.report.summary import read_report
from burnish.training import join

_RUN = "run"  # where recipe.yaml keeps what is said of a run beside the recipe's settings


@dataclass(frozen=True)
class NewRun(Generic[Config]):
    """Everything that one can say about a run of a recipe."""

    config: Config
    """Every setting of the recipe."""

    task: str | None = None
    """Task to learn: drawer-open-v3, gym:ID, module:function. With data of your own: where it is judged."""
    seed: int = within(0, 0)
    """Seed of the data, of all training and of refinement."""
    out: Path | None = None
    """Run folder; default runs/RECIPE-TASK-SEED. The same command again resumes or redoes what changed."""
    preset: str | None = None
    """Where the configuration starts from; single settings can be changed below."""
    dataset: Path | None = None
    """Your own data set; models learn from it alone."""
    demonstrations: tuple[Path, ...] = ()
    """Instead of --dataset, several of your own: episodes of an expert, which are cloned."""
    rollouts: tuple[Path, ...] = ()
    """And what a policy did, successes and failures; a column must tell which."""
    play: tuple[Path, ...] = ()
    """And anything else that the robot did; where no column tells success, only the world model learns from it."""
    data_task: str | None = None
    """The task of your data set to learn; default its only one."""
    policy: str | None = None
    """Start from this policy instead of cloning one: a folder of Burnish's or LeRobot's (ACT, Diffusion),
    module:factory, or ws://host:port."""
    reading: Annotated[ReadingRule, tyro.conf.OmitArgPrefixes] = field(default_factory=ReadingRule)
    """How your own data set is read."""
    threads: int | None = within(None, 1)
    """PyTorch's threads of each process; by default the processes share the cores."""
    jobs: int | None = within(None, 1)
    """Stages side by side that do not wait for each other (the gate's worlds, above all), each with one thread; by
    default as many as there are cores, up to four, and 1 where threads, processes or a GPU are named."""
    executor: Kind = "local"
    """Where stages are worked on that do not use a simulator: in processes of this machine, as jobs of Slurm, or as
    tasks of Ray (docs/clusters.md)."""
    cpus: int = within(1, 1)
    """Of each stage on Slurm or Ray."""
    gpus: float = within(0.0, 0)
    """The same; Ray takes shares."""
    executor_options: tuple[str, ...] = ()
    """NAME=VALUE for the cluster: of Slurm as submitit names them (slurm_partition=gpu), of Ray its resources."""
    processes: int | None = within(None, 1)
    """Processes that train together, on this machine; default one, or as many as torchrun started."""
    device: str = "cpu"
    """Where models train and imagine: cpu or cuda."""
    track: TrackerKind | None = None
    """Hand the curves on to an experiment tracker, wandb or mlflow, as these are set up (docs/report.md)."""
    verify: bool = False
    """Read every file of finished stages again and compare its hash."""
    dry_run: bool = False
    """Print the resolved configuration and what would be done, and do nothing."""

    def resolve(self, recipe: str) -> "Resolved":
        """Check everything that can be before a run folder is made; InputError where it is wrong."""
        check(self, "")
        roles = {"demonstrations": self.demonstrations, "rollouts": self.rollouts, "play": self.play}
        if self.dataset is not None and any(roles.values()):
            raise InputError("found --dataset beside folders with a role, expected either")
        if self.dataset is not None:
            return self._own(recipe, OwnData.of(self.dataset.absolute(), self._reading))
        if any(roles.values()):
            paths: dict[Role, list[Path]] = {role: [path.absolute() for path in roles[role]] for role in SOURCES}
            return self._own(recipe, OwnData.with_roles(paths, self._reading))
        if self.reading != ReadingRule() or self.data_task is not None:
            raise InputError("it was said how to read your own data set, but not which: name it with --dataset")
        if self.task is None:
            raise InputError("which task? name one with --task, or your own data set with --dataset")
        from burnish.simulators.tasks import check_task

        check_task(self.task)
        return Resolved(RunSpec(recipe, self.task, self.seed, None, self.task, self._policy()), self.config)

    def _policy(self) -> Source | None:
        if self.policy is None:
            return None
        source = Source(self.policy)
        if source.kind == "folder":
            source = Source(str(Path(self.policy).absolute()))
        source.allow()
        check_given(source, self.config)
        return source

    @property
    def _reading(self) -> ReadingRule:
        labels = self.reading.labels
        return self.reading if labels is None else replace(self.reading, labels=labels.absolute())

    def _own(self, recipe: str, own: OwnData) -> "Resolved":
        # A bare name is one of the data set's tasks; one with a suite before it is where the policy is judged.
        judged = self.task is not None and ":" in self.task
        if self.task is not None and self.data_task is not None and not judged:
            raise InputError(f"found the tasks '{self.task}' and '{self.data_task}' of your data set, expected one")
        task = own.task(self.data_task or (None if judged else self.task))
        simulator = self.task if judged else None
        run = RunSpec(recipe, task, self.seed, own, simulator, self._policy())
        dataset = own.read()
        cameras: Sequence[str] = getattr(self.config, "cameras", ())
        own.require_observed(dataset, cameras)
        self.config.check_data(dataset)  # type: ignore[attr-defined]
        scaling, reward = own.scaling(dataset, cameras), self.config.reward  # type: ignore[attr-defined]
        for each in own.findings(own.read_task(task, reward, dataset), reward):
            progress.say(f"{each.level}: {each.text}")
        if run.policy is not None:
            check_given(run.policy, self.config, dataset.scaled(scaling), own.rule.state_key)
        if simulator is not None:
            run.real(self.config).recorder.spec.check_data(simulator, dataset, scaling)
        return Resolved(run, self.config)

    def folder(self, resolved: "Resolved") -> Path:
        """The run folder."""
        if self.out is not None:
            return self.out
        task = re.sub(r"[^A-Za-z0-9._-]+", "-", resolved.run.task)[:60].strip(".-")
        return Path("runs") / f"{resolved.run.recipe}-{task}-{resolved.run.seed}"


@dataclass(frozen=True)
class Resolved:
    """A run with everything decided, before anything is done."""

    run: RunSpec
    config: Any

    @property
    def plan(self) -> Plan:
        """The graph of its stages."""
        return entry(self.run.recipe).build(self.config, self.run)

    def settings(self) -> dict[str, Any]:
        """What recipe.yaml keeps as the run's configuration."""
        own = self.run.own
        data = own.to_plain() if own else None
        policy = self.run.policy.place if self.run.policy else None
        return {**to_dict(self.config), _RUN: {"dataset": data, "simulator": self.run.simulator, "policy": policy}}

    def to_yaml(self) -> str:
        """The resolved configuration, in the form of recipe.yaml."""
        r = self.run
        plain = {"recipe": r.recipe, "task": r.task, "seed": r.seed, "config": self.settings()}
        return yaml.safe_dump(plain, sort_keys=False)


def reopen(folder: Path, trust_code: bool = False) -> Resolved:
    """What an existing run folder's recipe.yaml says.

    Raises:
        InputError: it is damaged, or names modules to be imported and called, which only `trust_code` allows.
    """
    settings = read_settings(folder)
    source = str(folder / "recipe.yaml")
    config = dict(settings["config"])
    said = config.pop(_RUN, None)
    if not isinstance(said, dict) or not isinstance(said.get("simulator"), str | None) or settings["task"] is None:
        raise InputError(
            f"{source}: found {said!r} as field 'config.{_RUN}' and {settings['task']!r} as 'task', expected where the "
            "data come from and a task; runs of Burnish before 0.2 are made again"
        )
    data, own = said.get("dataset"), None
    if data is not None:
        own = OwnData.from_plain(data, f"{source}: field 'config.{_RUN}.dataset'")
    policy = None if said.get("policy") is None else Source(str(said["policy"]))
    named = _code(settings["recipe"], said["simulator"]) or (policy.code if policy is not None else None)
    _require_trust(source, named, trust_code)
    recipe = entry(settings["recipe"])
    run = RunSpec(settings["recipe"], settings["task"], settings["seed"], own, said["simulator"], policy)
    resolved = from_dict(recipe.config_class, config, source)
    _require_trust(source, resolved.code, trust_code)
    return Resolved(run, resolved)


def _require_trust(source: str, named: str | None, trust_code: bool) -> None:
    if named is not None and not trust_code:
        raise InputError(
            f"{source}: names code to be imported, '{named}'; where this folder is yours, add --trust-code"
        )


def _code(recipe: str, simulator: str | None) -> str | None:
    """The name that makes Burnish import and call a module which is none of its own or of an installed package."""
    if ":" in recipe:
        return recipe
    if simulator is None or ":" not in simulator:
        return None
    from burnish.simulators.tasks import names_code

    return simulator if names_code(simulator) else None


def run_recipe(
    folder: Path, resolved: Resolved, command: str = "report", how: How | None = None
) -> dict[str, Any] | None:
    """Do what is left to do in a run folder for a command (`Plan.commands`).

    Returns:
        report.json's content when the report was asked for, else None.

    Raises:
        InputError: the recipe's settings have nothing for this command, or the machine has no such device.
    """
    targets = resolved.plan.commands[command]
    if not targets:
        raise InputError(f"{command}: these settings have no such stage (gate.worlds is 0, so there is no gate)")
    report = execute_targets(folder, resolved, targets, how or How())
    return report if command == "report" else None


def execute_targets(folder: Path, resolved: Resolved, targets: Sequence[Stage], how: How) -> dict[str, Any] | None:
    """Do any stages of a run's graph; the report's content where it is among them."""
    if how.threads is not None and how.threads < 1:
        raise InputError(f"threads is {how.threads}, expected at least 1")
    where, r = chosen_device(how.device), resolved.run
    beside = how.beside()
    group = join(how.processes, where.type)
    threads = beside.cpus if beside is not None else how.threads or max(1, cores() // group.local)
    torch.set_num_threads(threads)
    # Lanes hold up no worker beside this process, so they may use what workers leave.
    offered = cores() if beside is not None and beside.kind == "local" else threads
    lanes.offer(offered if group.count == 1 and where.type == "cpu" else 1)
    reported = any(target.name == "report" for target in targets)
    with group.explained():
        run = None
        if group.first:
            run = Run.create(folder, r.recipe, r.task, r.seed, resolved.settings(), how.device, how.verify)
        try:
            with tracked(how.track if group.first else None, folder, resolved.settings()):
                execute(targets, SharedRun(run, folder, group), where, beside)
                report = publish(run) if reported and run is not None else None
        finally:
            if run is not None:
                run.close()
        group.agree(True)  # the others wait for the report
        return report if group.first or not reported else read_report(folder / "report.json")


def say_plan(folder: Path, resolved: Resolved) -> None:
    """Say, beside the output, what a run would do in a folder that is there, and why; changes nothing."""
    if not folder.is_dir():
        return
    there = RunFolder(folder)
    there.check_links()
    for name, reason in planned(resolved.plan.commands["report"], there).items():
        again = "redone" if (folder / name).exists() else "done"
        progress.say(f"{name}: up to date" if reason is None else f"{name}: would be {again}: {reason}")
