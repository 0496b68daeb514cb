"""One column and seed of a comparison: its methods' results, and the process that leaves them."""

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from burnish.config import config_hash, from_dict, load_yaml
from burnish.data.formats import ReadingRule
from burnish.errors import BurnishError, InputError, RunError
from burnish.exit_codes import run_command
from burnish.pipeline import Run, SharedRun, Stage, execute, ordered
from burnish.pipeline.manifest import versions
from burnish.pipeline.progress import say
from burnish.pipeline.side_by_side import Job
from burnish.pipeline.worker import Asked, words_to
from burnish.recipes.catalogue import entry
from burnish.recipes.columns import Column, on_data
from burnish.recipes.methods import BaselineConfig, measured, other_recipe
from burnish.recipes.runs import Resolved
from burnish.report.outcomes import return_summary, success_count
from burnish.storage import read_json, write_json
from burnish.training import ALONE

SETTINGS_FILE = "comparison.yaml"
LOGS = "logs"
_RESULTS = "results"
_RESULT_VERSION = 1
_COLLECTING = ("demonstrations", "dataset")


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


def do_pair(out: Path, comparison: ResolvedComparison, column: Column, seed: int) -> None:
    """Do all methods of one column and seed that have no result yet, each recipe's in a run folder of its own.

    Raises:
        RunError: a method failed; the others were done nevertheless.
    """
    c, failed = comparison, []
    for name in missing(out, c, column, seed):
        result: dict[str, Any] = {"schema": 1, "identity": c.identity(column, seed, name), "recipe": c.recipe}
        result |= {"column": column.name, "task": column.task, "seed": seed, "method": name, "success": None}
        try:
            result |= _do_method(out, c, column, seed, name)
        except BurnishError as error:
            say(f"{name} failed: {error}")
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


def stored(out: Path, comparison: ResolvedComparison, column: Column, seed: int, name: str) -> dict[str, Any] | None:
    """The result that a file holds, None where there is none for these settings."""
    path = _result_file(out, column, seed, name)
    try:
        result = read_json(path) if path.exists() else None
    except BurnishError:
        return None  # cut off, or no JSON: it is done again
    identity = comparison.identity(column, seed, name)
    return result if isinstance(result, dict) and result.get("identity") == identity else None


def missing(out: Path, comparison: ResolvedComparison, column: Column, seed: int) -> list[str]:
    """The methods that have no result, or a failure."""
    found = {name: stored(out, comparison, column, seed, name) for name in comparison.methods}
    return [name for name, result in found.items() if result is None or "error" in result]


# ---------------------------------------------------------------------------------------------------------------------
# A process for each pair: of this machine, or of a cluster.


def job(out: Path, column: Column, seed: int) -> Job:
    """The command that does a pair, and its log."""
    arguments = (sys.executable, "-W", "ignore", "-m", __name__, str(out), column.name, str(seed))
    return Job(arguments, _log(out, column.name, seed))


def do_pair_there(out: str, name: str, seed: int, asked: Asked) -> None:
    """`do_pair` in a worker, whose words go to the pair's log.

    Raises:
        InputError: this machine does not see the folder, or has other versions than the one that asks.
        RunError: a method failed.
    """
    folder, log = Path(out), _log(Path(out), name, seed)
    asked.prepare(folder)
    with words_to(log):
        code = run_command(lambda: _do_named(folder, name, seed))
    if code:
        raise RunError(f"exit code {code}, see {log}")


def _log(out: Path, name: str, seed: int) -> Path:
    return out / LOGS / f"{Column(name, '').folder}-{seed}.log"


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
