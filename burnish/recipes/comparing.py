"""`burnish compare`: methods and recipes on the same data, tasks or data sets × seeds, side by side and resumable."""

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Generic

import torch
import tyro

from burnish.config import check, config_hash, from_dict, load_yaml, save_yaml, to_dict, within
from burnish.data.formats import ReadingRule
from burnish.errors import BurnishError, InputError, RunError
from burnish.exit_codes import run_command
from burnish.pipeline import Run, SharedRun, Stage, execute, ordered
from burnish.pipeline.manifest import versions
from burnish.pipeline.side_by_side import Job, run_side_by_side
from burnish.recipes.base import Config
from burnish.recipes.catalogue import entry
from burnish.recipes.columns import Column, columns, on_data
from burnish.recipes.methods import BaselineConfig, check_method, default_methods, measured, other_recipe
from burnish.recipes.runs import Resolved
from burnish.report.comparison import PUBLISHED_TASKS, Comparison, render_html, render_markdown
from burnish.report.outcomes import return_summary, success_count
from burnish.storage import read_json, write_bytes_atomic, write_json
from burnish.training import ALONE

SETTINGS_FILE = "comparison.yaml"
_RESULTS, _LOGS = "results", "logs"
_RESULT_VERSION = 1
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
    """Columns; by default the six of World4RL's Table II. With --datasets: where policies are judged, one task for all
    of them or one for each."""
    datasets: tuple[Path, ...] = ()
    """Columns instead: data sets of your own, from which every method learns."""
    reading: Annotated[ReadingRule, tyro.conf.OmitArgPrefixes] = field(default_factory=ReadingRule)
    """How your own data sets are read."""
    seeds: tuple[int, ...] = within((0, 1, 2), 0)
    methods: tuple[str, ...] = ()
    """Rows: bc filtered_bc td3_bc iql planning, RECIPE, RECIPE-gated (what the trust gate lets pass), and
    RECIPE-no-PART, where PART is one of halting, anchor, disagreement, distance, members, average, choice. By default
    all of these up to no-anchor. Any other recipe, and OTHER-gated: with its own preset, on the same data."""
    preset: str | None = None
    """Where the configuration starts from; single settings can be changed below."""
    out: Path = Path("runs/compare")
    """Folder of the runs, the results and the table. The same command again does what is left to do."""
    workers: int = within(2, 1)
    """Pairs of a task and a seed that are worked on side by side, with one thread each."""
    baselines: BaselineConfig = field(default_factory=BaselineConfig)
    """Every setting of the baselines."""

    def resolve(self) -> "ResolvedComparison":
        """Check everything before anything is done; InputError where it is wrong."""
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
        if self.datasets and self.tasks == TABLE_II:
            raise InputError("--datasets: found no task, expected the one where policies are judged (--tasks gym:ID)")
        own = tuple(path.absolute() for path in self.datasets)
        others = {each: self._other(each) for name in methods if (each := other_recipe(name, self.recipe)) is not None}
        found = ResolvedComparison(
            *(self.recipe, columns(self.tasks, own), self.seeds, methods, config, self.baselines),
            *(others, self._rule),
        )
        for column in found.columns:
            for recipe, settings in {self.recipe: config, **(others if own else {})}.items():
                _ = column.run(recipe, settings, self.seeds[0], found.reading).plan  # says what does not fit
        return found

    def _other(self, recipe: str) -> Any:
        """The settings of another recipe: its preset of the same name, where it has one, judged like this one's."""
        found, own = entry(recipe), self.config
        settings = found.preset(self.preset if self.preset in found.presets else None)
        said = {name: getattr(own.reward, name) for name in ("kind", "with_success", "terms", "function")}
        alike = {name: getattr(own, name) for name in ("simulator", "evaluation", "held_out")}
        return replace(settings, **alike, reward=replace(settings.reward, **said))

    @property
    def _rule(self) -> ReadingRule:
        labels = self.reading.labels
        return self.reading if labels is None else replace(self.reading, labels=labels.absolute())


@dataclass(frozen=True)
class ResolvedComparison:
    """A comparison with everything decided; what comparison.yaml holds."""

    recipe: str
    columns: tuple[Column, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    config: Any
    baselines: BaselineConfig
    others: dict[str, Any] = field(default_factory=dict)
    """The settings of the other recipes."""
    reading: ReadingRule = ReadingRule()

    @property
    def pairs(self) -> list[tuple[Column, int]]:
        """All columns of the first seed, then all of the next: a comparison that is stopped has whole columns."""
        return [(column, seed) for seed in self.seeds for column in self.columns]

    def identity(self, column: Column, seed: int, name: str) -> str:
        """What a result depends on, as a hash."""
        parts = {"version": _RESULT_VERSION, "recipe": self.recipe, "task": column.task, "seed": seed, "method": name}
        parts |= {"config": self.config, "baselines": self.baselines.of(name)}
        if (other := other_recipe(name, self.recipe)) is not None:
            parts["other"] = self.others[other]
        if column.dataset is not None:
            parts |= {"reading": self.reading, "data": column.contents()}
        return config_hash(parts)


def compare(out: Path, comparison: ResolvedComparison, workers: int, command: str = "") -> Path:
    """Do what is left to do, write compare.md and compare.html, and return the former's path.

    Raises:
        RunError: some runs failed; the table has the others, and the same call again tries those anew.
    """
    save_yaml(out / SETTINGS_FILE, to_dict(comparison))
    waiting = [pair for pair in comparison.pairs if _missing(out, comparison, *pair)]
    done, kind = len(comparison.pairs) - len(waiting), "a data set" if comparison.columns[0].dataset else "a task"
    _say(f"{done} of {len(comparison.pairs)} pairs of {kind} and a seed are up to date")
    jobs = [_job(out, *pair) for pair in waiting]

    def ended(number: int, code: int) -> None:
        column, seed = waiting[number]
        _say(f"{column.name} {seed}: {'done' if code == 0 else f'exit code {code}, see {jobs[number].log}'}")

    try:
        run_side_by_side(jobs, workers, ended)
    finally:
        table = write_tables(out, comparison, command)
    failed = [f"{column.name} {seed}" for column, seed in comparison.pairs if _missing(out, comparison, column, seed)]
    if failed:
        raise RunError(f"{out}: some methods failed on {', '.join(failed)}; {table} says which")
    return table


def write_tables(out: Path, comparison: ResolvedComparison, command: str) -> Path:
    """compare.md and compare.html from the results that are there."""
    c = comparison
    found = [_stored(out, c, column, seed, name) for column, seed in c.pairs for name in c.methods]
    results = [result for result in found if result is not None]
    shown = Comparison(c.recipe, tuple(column.name for column in c.columns), c.seeds, c.methods, results, command)
    write_bytes_atomic(out / "compare.html", render_html(shown).encode())
    write_bytes_atomic(out / "compare.md", render_markdown(shown).encode())
    return out / "compare.md"


# ---------------------------------------------------------------------------------------------------------------------
# One column and seed.


def do_pair(out: Path, comparison: ResolvedComparison, column: Column, seed: int) -> None:
    """Do all methods of one column and seed that have no result yet, each recipe's in a run folder of its own.

    Raises:
        RunError: a method failed; the others were done nevertheless.
    """
    c, failed = comparison, []
    for name in _missing(out, c, column, seed):
        result: dict[str, Any] = {"schema": 1, "identity": c.identity(column, seed, name), "recipe": c.recipe}
        result |= {"column": column.name, "task": column.task, "seed": seed, "method": name, "success": None}
        try:
            result |= _do_method(out, c, column, seed, name)
        except BurnishError as error:
            _say(f"{name} failed: {error}")
            failed.append(name)
            result["error"] = " ".join(str(error).split())
        write_json(_result_file(out, column, seed, name), result)
    if failed:
        raise RunError(f"{column.name}, seed {seed}: failed {', '.join(failed)}")


def _do_method(out: Path, c: ResolvedComparison, column: Column, seed: int, name: str) -> dict[str, Any]:
    resolved, folder = column.run(c.recipe, c.config, seed, c.reading), out / f"{column.folder}-{seed}"
    other = other_recipe(name, c.recipe)
    if other is not None:
        if column.dataset is None:  # on what the first recipe recorded
            with _opened(folder, resolved) as run:
                execute([resolved.plan.data], SharedRun(run, run.folder, ALONE))
            resolved = on_data(folder / resolved.plan.data.name, column.task, other, c.others[other], seed)
        else:
            resolved = column.run(other, c.others[other], seed, c.reading)
        folder = folder.with_name(f"{folder.name}-{other}")
    with _opened(folder, resolved) as run:
        r = resolved.run
        return _measured(run, measured(name, entry(r.recipe), resolved.config, r, c.baselines))


def _opened(folder: Path, resolved: Resolved) -> Run:
    r = resolved.run
    return Run.create(folder, r.recipe, r.task, r.seed, resolved.settings())


def _measured(run: Run, wanted: Stage) -> dict[str, Any]:
    execute([wanted], SharedRun(run, run.folder, ALONE))
    played = read_json(run.folder / wanted.name / "success.json")
    outcomes, returns = played["success"], tuple(played.get("returns", ()))
    found = run.stage_info(wanted.name)
    before = {each.name: run.stage_info(each.name) for each in ordered([wanted]) if each is not wanted}
    everything = [found, *before.values()]
    return {
        "success": success_count(sum(outcomes), len(outcomes)) if outcomes else None,
        "return": return_summary(returns) if returns else None,
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


def _result_file(out: Path, column: Column, seed: int, name: str) -> Path:
    return out / _RESULTS / f"{column.folder}-{seed}-{name}.json"


def _stored(out: Path, comparison: ResolvedComparison, column: Column, seed: int, name: str) -> dict[str, Any] | None:
    """The result that a file holds, None where there is none for these settings."""
    path = _result_file(out, column, seed, name)
    try:
        result = read_json(path) if path.exists() else None
    except BurnishError:
        return None  # cut off, or no JSON: it is done again
    identity = comparison.identity(column, seed, name)
    return result if isinstance(result, dict) and result.get("identity") == identity else None


def _missing(out: Path, comparison: ResolvedComparison, column: Column, seed: int) -> list[str]:
    """The methods that have no result, or a failure."""
    found = {name: _stored(out, comparison, column, seed, name) for name in comparison.methods}
    return [name for name, result in found.items() if result is None or "error" in result]


# ---------------------------------------------------------------------------------------------------------------------
# A process for each pair.


def _job(out: Path, column: Column, seed: int) -> Job:
    arguments = (sys.executable, "-W", "ignore", "-m", __name__, str(out), column.name, str(seed))
    return Job(arguments, out / _LOGS / f"{column.folder}-{seed}.log")


def read_comparison(out: Path) -> ResolvedComparison:
    """What `compare` noted in a folder."""
    path = out / SETTINGS_FILE
    data = load_yaml(path)
    if not isinstance(data.get("recipe"), str) or not isinstance(data.get("others"), dict):
        raise InputError(f"{path}: field 'recipe' or 'others' is missing")
    config = from_dict(entry(data["recipe"]).config_class, data.pop("config", None), str(path))
    said = data.pop("others").items()
    others = {name: from_dict(entry(name).config_class, settings, str(path)) for name, settings in said}
    return replace(from_dict(ResolvedComparison, {**data, "config": None}, str(path)), config=config, others=others)


def main(arguments: Sequence[str]) -> int:
    """OUT COLUMN SEED: the process of one pair; it ends when its standard input does: nobody waits for it then."""
    out, name, seed = Path(arguments[0]), arguments[1], int(arguments[2])
    threading.Thread(target=_end_with_input, daemon=True).start()
    torch.set_num_threads(1)
    return run_command(lambda: _do_named(out, name, seed))


def _do_named(out: Path, name: str, seed: int) -> None:
    comparison = read_comparison(out)
    do_pair(out, comparison, next(column for column in comparison.columns if column.name == name), seed)


def _end_with_input() -> None:
    # Not through sys.stdin: a thread that waits there would hold its lock while the interpreter ends.
    os.read(0, 1)
    os._exit(1)


def _say(message: str) -> None:
    print(f"[burnish] {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
