"""`burnish sweep`: a recipe's runs over tasks × seeds × settings, side by side here or on a cluster, as one table.

Every run is `burnish run` in a folder of its own. What is done, under way or failed is read from the folders; the same
command does what is left to do. A file `cancel` in the sweep's folder ends it, wherever its runs are.
"""

import contextlib
import itertools
import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.config import check, from_dict, within
from burnish.errors import BurnishError, InputError, RunError
from burnish.exit_codes import run_command
from burnish.pipeline import ExecutorConfig
from burnish.pipeline.executors import Kind, opened, wait
from burnish.pipeline.progress import Overview, say
from burnish.pipeline.stages import PARTIAL
from burnish.pipeline.worker import Asked, words_to
from burnish.report.summary import read_report
from burnish.report.sweep import Row, render_markdown
from burnish.storage import read_json, write_bytes_atomic, write_json

SWEEP_FILE, CANCEL_FILE, TABLE = "sweep.json", "cancel", "sweep.md"
_LOGS, _ENDED = "logs", "ended"
_INTERVAL = 1.0


@dataclass(frozen=True)
class NewSweep:
    """What one can say about a sweep, beside the options of `burnish run`, which all of its runs get."""

    tasks: tuple[str, ...] = ()
    """Of the runs; `burnish tasks` lists them."""
    seeds: tuple[int, ...] = within((0, 1, 2), 0)
    set: tuple[str, ...] = ()
    """config.NAME=VALUE,VALUE: the settings that are tried, all of them with all others."""
    out: Path = Path("runs/sweep")
    """Folder of the runs and the table."""
    jobs: int = within(2, 1)
    """Runs at once."""
    executor: Kind = "local"
    """Where runs are worked on: processes of this machine, jobs of Slurm, or tasks of Ray."""
    cpus: int = within(1, 1)
    """PyTorch's threads of each run, and on a cluster the CPUs that it asks for."""
    gpus: float = within(0.0, 0)
    """GPUs of each run on a cluster."""
    executor_options: tuple[str, ...] = ()
    """NAME=VALUE for the cluster (docs/clusters.md)."""


@dataclass(frozen=True)
class Cell:
    """One run: its place in the table, its folder's name, and its command after `burnish`."""

    task: str
    seed: int
    settings: str
    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Sweep:
    """All runs of a sweep; what sweep.json holds."""

    recipe: str
    command: str
    cells: tuple[Cell, ...] = field(default=())


def planned(recipe: str, new: NewSweep, rest: Sequence[str], command: str) -> Sweep:
    """The runs of a sweep.

    Args:
        recipe: whose runs they are.
        new: tasks, seeds and settings.
        rest: options of `burnish run` for all of them.
        command: as the user wrote it, for the table.

    Raises:
        InputError: nothing to do, something named twice, or a run that `burnish run` would refuse.
    """
    check(new, "")
    if not new.tasks or not new.seeds:
        raise InputError(
            "a sweep needs at least one task and one seed: burnish sweep RECIPE --tasks TASK --seeds 0 1 2"
        )
    for name, values in (("task", new.tasks), ("seed", new.seeds), ("setting", new.set)):
        if len(set(values)) != len(values):
            raise InputError(f"a {name} was named twice: {' '.join(map(str, values))}")
    cells = []
    for settings in itertools.product(*map(_values, new.set)):
        for seed, task in itertools.product(new.seeds, new.tasks):
            label = " ".join(f"{name.removeprefix('config.')}={value}" for name, value in settings)
            name = "-".join(part for part in (_word(task), str(seed), _word(label)) if part)
            given = [word for setting, value in settings for word in (f"--{setting}", value)]
            place = ["--task", task, "--seed", str(seed), "--out", str(new.out / name)]
            machine = [] if new.gpus else ["--threads", str(new.cpus)]
            arguments = ("run", recipe, *rest, *given, *place, *machine, *(["--device", "cuda"] if new.gpus else []))
            cells.append(Cell(task, seed, label, name, arguments))
    for cell in {each.settings: each for each in cells}.values():
        _resolved(recipe, cell)
    return Sweep(recipe, command, tuple(cells))


def sweep(out: Path, plan: Sweep, where: ExecutorConfig) -> Path:
    """Do what is left to do, write the table, and return its path.

    Raises:
        RunError: some runs failed, or the sweep was cancelled; the same command does what is left.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_json(
        out / SWEEP_FILE, {"recipe": plan.recipe, "command": plan.command, "cells": [vars(c) for c in plan.cells]}
    )
    (out / CANCEL_FILE).unlink(missing_ok=True)
    (out / _ENDED).mkdir(exist_ok=True)
    left = [cell for cell in plan.cells if _state(out, cell) != "done"]
    say(f"{len(plan.cells) - len(left)} of {len(plan.cells)} runs are done")
    try:
        if left:
            _work(out, left, where)
    finally:
        write_bytes_atomic(out / TABLE, table(out, plan).encode())
    if (out / CANCEL_FILE).exists():
        raise RunError(f"{out}: cancelled; the same command does what is left")
    failed = [cell.name for cell in plan.cells if _state(out, cell) != "done"]
    if failed:
        raise RunError(f"{out}: failed {', '.join(failed)}; {out / _LOGS} says why")
    return out / TABLE


def table(out: Path, plan: Sweep) -> str:
    """sweep.md: every task and setting over its seeds."""
    rows: dict[tuple[str, str], Row] = {}
    for cell in plan.cells:
        row = rows.setdefault((cell.task, cell.settings), Row(cell.task, cell.settings))
        path = out / cell.name / "report.json"
        if _state(out, cell) == "done":
            row.reports[cell.seed] = read_report(path)
        else:
            row.missing.append(cell.seed)
    return render_markdown(plan.recipe, plan.command, list(rows.values()))


def status(out: Path) -> list[str]:
    """A line for each run: done, under way (and how far), failed, or waiting."""
    return [f"{cell.name}: {_told(out, cell)}" for cell in read_sweep(out).cells]


def cancel(out: Path) -> None:
    """End the sweep of a folder, wherever it is worked on; what was done stays."""
    read_sweep(out)
    (out / CANCEL_FILE).touch()


def read_sweep(out: Path) -> Sweep:
    """What `sweep` noted in its folder.

    Raises:
        InputError: there is none.
    """
    path = out / SWEEP_FILE
    if not path.is_file():
        raise InputError(f"{out}: not a sweep's folder ({SWEEP_FILE} is missing)")
    return from_dict(Sweep, read_json(path), str(path))


# ---------------------------------------------------------------------------------------------------------------------
# The runs.


def _work(out: Path, cells: list[Cell], where: ExecutorConfig) -> None:
    overview = Overview()
    with opened(where, out / _LOGS / "jobs") as executor:
        asked = Asked.by_this_process(where)
        calls = [(cell, str(out.absolute()), asked) for cell in cells]
        running = dict(zip(executor.submit(do_cell, calls), cells, strict=True))
        while running:
            for handle in wait(list(running), _INTERVAL):
                cell = running.pop(handle)
                overview.clear()
                try:
                    handle.result()
                except BurnishError as error:  # no run began there, or its worker was lost
                    say(f"{cell.name}: {error}")
                else:
                    say(f"{cell.name}: {_told(out, cell)}")
            overview.show(f"{len(cells) - len(running)} of {len(cells)} runs")
            if (out / CANCEL_FILE).exists():
                break
    overview.clear()


def do_cell(cell: Cell, out: str, asked: Asked) -> None:
    """One run, in a worker; its words go to logs/NAME.log, its exit code to ended/NAME.json.

    Raises:
        InputError: this machine does not see the folder, or has other versions than the one that asks.
    """
    folder = Path(out)
    asked.prepare(folder)
    if (folder / CANCEL_FILE).exists():
        return
    threading.Thread(target=_end_when_cancelled, args=(folder / CANCEL_FILE,), daemon=True).start()
    with words_to(folder / _LOGS / f"{cell.name}.log"):
        code = run_command(lambda: _run(cell.arguments[1], cell))
    write_json(folder / _ENDED / f"{cell.name}.json", {"code": code, "arguments": list(cell.arguments)})


def _end_when_cancelled(path: Path) -> None:
    while not path.exists():
        time.sleep(_INTERVAL)
    os._exit(1)


def _state(out: Path, cell: Cell) -> str:
    """done, failed, under way, or waiting."""
    path = out / _ENDED / f"{cell.name}.json"
    ended: Any = None
    with contextlib.suppress(BurnishError):
        ended = read_json(path) if path.is_file() else None
    if isinstance(ended, dict) and ended.get("arguments") == list(cell.arguments):
        there = ended.get("code") == 0 and (out / cell.name / "report.json").is_file()
        return "done" if there else "failed"
    return "under way" if (out / cell.name).is_dir() else "waiting"


def _told(out: Path, cell: Cell) -> str:
    state, folder = _state(out, cell), out / cell.name
    if state == "done":
        from burnish.report.verdict import verdict

        return f"done, {verdict(read_report(folder / 'report.json')).headline}"
    if state == "failed":
        log = out / _LOGS / f"{cell.name}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        return f"failed: {lines[-1] if lines else 'nothing was said'}"
    if state == "under way":
        notes = sorted((folder / PARTIAL).glob("*.json"), key=lambda path: path.stat().st_mtime)
        shares = [(path.stem, _share(path)) for path in notes]
        at = ", ".join(name + ("" if share is None else f" {share:.0%}") for name, share in shares)
        age = time.time() - max((path.stat().st_mtime for path in notes), default=folder.stat().st_mtime)
        return f"under way{f', {at}' if at else ''} ({age:.0f} s ago)"
    return "waiting"


def _share(path: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        share = json.loads(path.read_text()).get("share")
        return float(share) if isinstance(share, int | float) else None
    return None


# ---------------------------------------------------------------------------------------------------------------------
# What is asked for.


def _values(text: str) -> list[tuple[str, str]]:
    name, _, values = text.partition("=")
    found = [value for value in values.split(",") if value]
    if not name.startswith("config.") or not found or len(set(found)) != len(found):
        raise InputError(f"--set: found '{text}', expected config.NAME=VALUE,VALUE, each value once")
    return [(name, value) for value in found]


def _word(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in text).replace("=", "-")


def _resolved(recipe: str, cell: Cell) -> tuple[Any, Any]:
    """What `burnish run` makes of the cell's options; raises what it would raise."""
    from burnish.flags import parse
    from burnish.recipes.catalogue import entry
    from burnish.recipes.how import How
    from burnish.recipes.runs import NewRun
    from burnish.usage import value_of

    found, words = entry(recipe), list(cell.arguments[2:])
    default = NewRun(config=found.preset(value_of("--preset", words)))
    new, rest = parse(default, words, f"burnish sweep {recipe}", NewRun[found.config_class])
    if rest:
        raise InputError(f"found '{rest[0]}', expected nothing more")
    How.of(new).beside()
    return new, new.resolve(recipe)


def _run(recipe: str, cell: Cell) -> None:
    from burnish.recipes.how import How
    from burnish.recipes.runs import run_recipe

    new, resolved = _resolved(recipe, cell)
    run_recipe(new.folder(resolved), resolved, how=How.of(new))
