"""`burnish compare`: several methods on the data of a recipe's runs, tasks × seeds, side by side and resumable."""

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic

import torch

from burnish.config import check, config_hash, from_dict, load_yaml, save_yaml, to_dict, within
from burnish.errors import BurnishError, InputError, RunError
from burnish.evaluation.intervals import wilson_interval
from burnish.exit_codes import run_command
from burnish.pipeline import ExecutorConfig, Run, SharedRun, Stage, execute, ordered
from burnish.pipeline.executors import Kind, opened, wait
from burnish.pipeline.manifest import versions
from burnish.pipeline.side_by_side import Job, run_side_by_side
from burnish.pipeline.worker import Asked, words_to
from burnish.recipes.base import RunSpec
from burnish.recipes.catalogue import entry
from burnish.recipes.methods import BaselineConfig, check_method, default_methods, measured
from burnish.recipes.runs import Config, Resolved
from burnish.report.comparison import PUBLISHED_TASKS, Comparison, render_html, render_markdown
from burnish.storage import read_json, write_bytes_atomic, write_json
from burnish.training import ALONE

SETTINGS_FILE = "comparison.yaml"
_RESULTS, _LOGS = "results", "logs"
_RESULT_VERSION = 1
_INTERVAL = 1.0
_COLLECTING = ("demonstrations", "dataset")
TABLE_II = tuple(f"{task}-v3" for task in PUBLISHED_TASKS)


@dataclass(frozen=True)
class NewComparison(Generic[Config]):
    """Everything that one can say about a comparison."""

    config: Config
    """Every setting of the recipe."""
    recipe: str = "world4rl"
    """Whose runs give the data, the pretrained policy and the models."""
    tasks: tuple[str, ...] = TABLE_II
    """Columns; by default the six of World4RL's Table II."""
    seeds: tuple[int, ...] = within((0, 1, 2), 0)
    methods: tuple[str, ...] = ()
    """Rows: bc filtered_bc td3_bc iql planning, RECIPE, RECIPE-gated (what the trust gate lets pass), and
    RECIPE-no-PART, where PART is one of halting, anchor, disagreement, distance, members, average, choice. By default
    all of these up to no-anchor."""
    preset: str | None = None
    """Where the configuration starts from; single settings can be changed below."""
    out: Path = Path("runs/compare")
    """Folder of the runs, the results and the table. The same command again does what is left to do."""
    workers: int = within(2, 1)
    """Pairs of a task and a seed that are worked on side by side, with one thread each."""
    executor: Kind = "local"
    """Where pairs are worked on: processes of this machine, jobs of Slurm, or tasks of Ray."""
    executor_options: tuple[str, ...] = ()
    """NAME=VALUE for the cluster (docs/clusters.md)."""
    baselines: BaselineConfig = field(default_factory=BaselineConfig)
    """Every setting of the baselines."""

    def resolve(self) -> "ResolvedComparison":
        """Check everything before anything is done; InputError where it is wrong."""
        from burnish.simulators.tasks import check_task

        for name, values in (("task", self.tasks), ("seed", self.seeds), ("method", self.methods)):
            if len(set(values)) != len(values):
                raise InputError(f"a {name} was named twice: {' '.join(map(str, values))}")
        if not self.tasks or not self.seeds:
            raise InputError("a comparison needs at least one task and one seed")
        check(self, "")
        config: Any = self.config
        methods = self.methods or default_methods(self.recipe, config)
        for name in methods:
            check_method(name, self.recipe, config)
        for task in self.tasks:
            check_task(task)
        return ResolvedComparison(self.recipe, self.tasks, self.seeds, methods, config, self.baselines)


@dataclass(frozen=True)
class ResolvedComparison:
    """A comparison with everything decided; what comparison.yaml holds."""

    recipe: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    config: Any
    baselines: BaselineConfig

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """All tasks of the first seed, then all of the next: a comparison that is stopped has whole columns."""
        return [(task, seed) for seed in self.seeds for task in self.tasks]

    def identity(self, task: str, seed: int, name: str) -> str:
        """What a result depends on, as a hash."""
        parts = {"version": _RESULT_VERSION, "recipe": self.recipe, "task": task, "seed": seed, "method": name}
        return config_hash({**parts, "config": self.config, "baselines": self.baselines.of(name)})


def compare(out: Path, comparison: ResolvedComparison, where: ExecutorConfig, command: str = "") -> Path:
    """Do what is left to do, write compare.md and compare.html, and return the former's path.

    Args:
        out: folder of the runs, the results and the tables.
        comparison: what is compared.
        where: pairs of a task and a seed are worked on, and how many of them at once.
        command: as the user wrote it, for the table.

    Raises:
        RunError: some runs failed; the table has the others, and the same call again tries those anew.
    """
    save_yaml(out / SETTINGS_FILE, to_dict(comparison))
    waiting = [pair for pair in comparison.pairs if _missing(out, comparison, *pair)]
    done = len(comparison.pairs) - len(waiting)
    _say(f"{done} of {len(comparison.pairs)} pairs of a task and a seed are up to date")
    try:
        if where.kind == "local":
            _here(out, waiting, where.jobs)
        else:
            _there(out, waiting, where)
    finally:
        table = write_tables(out, comparison, command)
    failed = [f"{task} {seed}" for task, seed in comparison.pairs if _missing(out, comparison, task, seed)]
    if failed:
        raise RunError(f"{out}: some methods failed on {', '.join(failed)}; {table} says which")
    return table


def write_tables(out: Path, comparison: ResolvedComparison, command: str) -> Path:
    """compare.md and compare.html from the results that are there."""
    c = comparison
    found = [_stored(out, c, task, seed, name) for task, seed in c.pairs for name in c.methods]
    results = [result for result in found if result is not None]
    shown = Comparison(c.recipe, c.tasks, c.seeds, c.methods, results, command)
    write_bytes_atomic(out / "compare.html", render_html(shown).encode())
    write_bytes_atomic(out / "compare.md", render_markdown(shown).encode())
    return out / "compare.md"


# ---------------------------------------------------------------------------------------------------------------------
# One task and seed.


def do_pair(out: Path, comparison: ResolvedComparison, task: str, seed: int) -> None:
    """Do all methods of one task and seed that have no result yet, in the recipe's run folder.

    Raises:
        RunError: a method failed; the others were done nevertheless.
    """
    c = comparison
    recipe, run_spec = entry(c.recipe), RunSpec(c.recipe, task, seed, None, task)
    folder, settings = _folder(out, task, seed), Resolved(run_spec, c.config).settings()
    failed = []
    with Run.create(folder, c.recipe, task, seed, settings) as run:
        for name in _missing(out, c, task, seed):
            result: dict[str, Any] = {"schema": 1, "identity": c.identity(task, seed, name), "recipe": c.recipe}
            result |= {"task": task, "seed": seed, "method": name, "success": None}
            try:
                result |= _do_method(run, measured(name, recipe, c.config, run_spec, c.baselines))
            except BurnishError as error:
                _say(f"{name} failed: {error}")
                failed.append(name)
                result["error"] = " ".join(str(error).split())
            write_json(_result_file(out, task, seed, name), result)
    if failed:
        raise RunError(f"{task}, seed {seed}: failed {', '.join(failed)}")


def _do_method(run: Run, wanted: Stage) -> dict[str, Any]:
    execute([wanted], SharedRun(run, run.folder, ALONE))
    outcomes = read_json(run.folder / wanted.name / "success.json")["success"]
    low, high = wilson_interval(sum(outcomes), len(outcomes))
    success = {"successes": sum(outcomes), "episodes": len(outcomes), "rate": sum(outcomes) / len(outcomes)}
    found = run.stage_info(wanted.name)
    before = {each.name: run.stage_info(each.name) for each in ordered([wanted]) if each is not wanted}
    everything = [found, *before.values()]
    return {
        "success": {**success, "ci95": [round(low, 4), round(high, 4)]},
        "outcomes": outcomes,
        "seconds": {
            "collect": _seconds(before, collecting=True),
            "learn": _seconds(before, collecting=False),
            "evaluate": found["seconds"],
        },
        "imagined_steps": int(sum(info["outputs"].get("imagined_steps", 0) for info in everything)),
        "real_steps": sum(info["outputs"].get("simulator_steps", 0) for info in before.values()),
        "evaluation_steps": found["outputs"]["simulator_steps"],
        "versions": versions(),
    }


def _seconds(stages: dict[str, dict[str, Any]], collecting: bool) -> float:
    chosen = [info["seconds"] for name, info in stages.items() if (name in _COLLECTING) == collecting]
    return round(sum(chosen), 3)


def _folder(out: Path, task: str, seed: int) -> Path:
    return out / f"{task.replace(':', '-')}-{seed}"


def _result_file(out: Path, task: str, seed: int, name: str) -> Path:
    return out / _RESULTS / f"{_folder(out, task, seed).name}-{name}.json"


def _stored(out: Path, comparison: ResolvedComparison, task: str, seed: int, name: str) -> dict[str, Any] | None:
    """The result that a file holds, None where there is none for these settings."""
    path = _result_file(out, task, seed, name)
    try:
        result = read_json(path) if path.exists() else None
    except BurnishError:
        return None  # cut off, or no JSON: it is done again
    identity = comparison.identity(task, seed, name)
    return result if isinstance(result, dict) and result.get("identity") == identity else None


def _missing(out: Path, comparison: ResolvedComparison, task: str, seed: int) -> list[str]:
    """The methods that have no result, or a failure."""
    found = {name: _stored(out, comparison, task, seed, name) for name in comparison.methods}
    return [name for name, result in found.items() if result is None or result["success"] is None]


# ---------------------------------------------------------------------------------------------------------------------
# A process for each pair: of this machine, where what ails one leaves the others alone, or of a cluster.


def _here(out: Path, pairs: list[tuple[str, int]], workers: int) -> None:
    jobs = [_job(out, *pair) for pair in pairs]

    def ended(number: int, code: int) -> None:
        task, seed = pairs[number]
        _say(f"{task} {seed}: {'done' if code == 0 else f'exit code {code}, see {jobs[number].log}'}")

    run_side_by_side(jobs, workers, ended)


def _there(out: Path, pairs: list[tuple[str, int]], where: ExecutorConfig) -> None:
    with opened(where, out / _LOGS / "jobs") as executor:
        asked = Asked.by_this_process(where)
        calls = [(str(out.absolute()), task, seed, asked) for task, seed in pairs]
        running = dict(zip(executor.submit(do_pair_there, calls), pairs, strict=True)) if calls else {}
        while running:
            for handle in wait(list(running), _INTERVAL):
                task, seed = running.pop(handle)
                try:
                    handle.result()
                except BurnishError as error:
                    _say(f"{task} {seed}: {error}")
                else:
                    _say(f"{task} {seed}: done")


def do_pair_there(out: str, task: str, seed: int, asked: Asked) -> None:
    """`do_pair` in a worker, whose words go to the pair's log.

    Raises:
        InputError: this machine does not see the folder, or has other versions than the one that asks.
        RunError: a method failed.
    """
    folder, log = Path(out), _log(Path(out), task, seed)
    asked.prepare(folder)
    with words_to(log):
        code = run_command(lambda: do_pair(folder, read_comparison(folder), task, seed))
    if code:
        raise RunError(f"exit code {code}, see {log}")


def _log(out: Path, task: str, seed: int) -> Path:
    return out / _LOGS / f"{_folder(out, task, seed).name}.log"


def _job(out: Path, task: str, seed: int) -> Job:
    arguments = (sys.executable, "-W", "ignore", "-m", __name__, str(out), task, str(seed))
    return Job(arguments, _log(out, task, seed))


def read_comparison(out: Path) -> ResolvedComparison:
    """What `compare` noted in a folder."""
    path = out / SETTINGS_FILE
    data = load_yaml(path)
    if not isinstance(data.get("recipe"), str):
        raise InputError(f"{path}: field 'recipe' is missing")
    config = from_dict(entry(data["recipe"]).config_class, data.pop("config", None), str(path))
    return replace(from_dict(ResolvedComparison, {**data, "config": None}, str(path)), config=config)


def main(arguments: Sequence[str]) -> int:
    """OUT TASK SEED: the process of one pair; it ends when its standard input does, since nobody waits for it then."""
    out, task, seed = Path(arguments[0]), arguments[1], int(arguments[2])
    threading.Thread(target=_end_with_input, daemon=True).start()
    torch.set_num_threads(1)
    return run_command(lambda: do_pair(out, read_comparison(out), task, seed))


def _end_with_input() -> None:
    # Not through sys.stdin: a thread that waits there would hold its lock while the interpreter ends.
    os.read(0, 1)
    os._exit(1)


def _say(message: str) -> None:
    print(f"[burnish] {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
