"""Stages that do not wait for each other, side by side: training in worker processes, everything else in this one.

A worker does a stage's work in the stage's partial folder, as this process would; then this process finds it done and
completes it. So whatever is killed, the same command takes up what was left, and results are the same bit for bit as
one after the other with one thread.
"""

import concurrent.futures
import importlib
import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from burnish.components import outside_modules
from burnish.errors import RunError
from burnish.pipeline import progress
from burnish.pipeline.graph import Stage
from burnish.pipeline.outlook import Outlook, Underway
from burnish.pipeline.run import Due, Run, StageBody
from burnish.pipeline.stages import StageContext, partial_folder, partial_notes
from burnish.training.resume import DamagedResume

_INTERVAL = 1.0
"""Seconds between two looks at how far the workers are."""
Running = dict["concurrent.futures.Future[None]", Stage]


def execute_beside(stages: Sequence[Stage], run: Run, bodies: dict[str, StageBody], jobs: int) -> None:
    """Do all stages, each as soon as its inputs are there, with `jobs` workers of one thread each.

    Args:
        stages: in an order in which each comes after its inputs.
        run: whose folder receives them.
        bodies: of the stages by name, for those that this process does itself (`alone`).
        jobs: worker processes.

    Raises:
        RunError: a worker died, or a stage's own error.
    """
    outlook = Outlook(stages, jobs)
    kept_open, watched = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(jobs, context, _begin, (watched,))
    waiting, running, done = list(stages), Running(), set[str]()
    try:
        while waiting or running:
            for each in [one for one in waiting if _ready(one, done) and not one.alone]:
                waiting.remove(each)
                due = run.due(each.name, each.describe(), input_names(each))
                if due is None:
                    _complete(each, run)
                    done.add(each.name)
                    outlook.done(each.name, run.stage_info(each.name)["seconds"])
                else:
                    progress.report_stage_start(each.name)
                    running[pool.submit(_work, each, due, outside_modules())] = each
            alone = next((one for one in waiting if _ready(one, done) and one.alone), None)
            if alone is not None:
                waiting.remove(alone)
                run.stage(alone.name, alone.describe(), input_names(alone), bodies[alone.name])
                done.add(alone.name)
                outlook.done(alone.name, run.stage_info(alone.name)["seconds"])
            elif running and not any(_ready(one, done) for one in waiting):
                _collect(running, run, done, outlook, len(stages))
    except BrokenProcessPool as error:
        raise RunError("a process that trained a stage was ended; run the same command again to resume") from error
    finally:
        # The workers end when nobody holds this open, however this process ends.
        kept_open.close()
        pool.shutdown(wait=False, cancel_futures=True)


def input_names(each: Stage) -> list[str]:
    """The names of a stage's inputs, each once."""
    return list(dict.fromkeys(found.name for found in each.inputs))


def _ready(each: Stage, done: set[str]) -> bool:
    return all(found.name in done for found in each.inputs if isinstance(found, Stage))


def _collect(running: Running, run: Run, done: set[str], outlook: Outlook, count: int) -> None:
    """Wait until a worker has finished, showing how far all of them are, and complete what it did."""
    overview = progress.Overview()
    while True:
        finished, _ = concurrent.futures.wait(running, _INTERVAL, concurrent.futures.FIRST_COMPLETED)
        if finished:
            break
        overview.show(_shown(running, run, outlook, f"{len(done)} of {count} stages"))
    overview.clear()
    for future in finished:
        each = running.pop(future)
        future.result()
        _complete(each, run)
        done.add(each.name)
        outlook.done(each.name, run.stage_info(each.name)["seconds"])


def _shown(running: Running, run: Run, outlook: Outlook, so_far: str) -> str:
    """`6 of 18 stages · world_model 43 % · ensemble 88 % · about 4:10 to go`."""
    underway = {}
    for each in running.values():
        found = partial_notes(partial_folder(run.folder, each.name))
        share = found.get("share")
        underway[each.name] = Underway(found.get("seconds", 0.0), share if isinstance(share, float | int) else None)
    at_work = [f"{name} {now.share:.0%}" for name, now in underway.items() if now.share is not None]
    return " · ".join(part for part in (so_far, *at_work, outlook.words(underway)) if part)


def _complete(each: Stage, run: Run) -> None:
    """Let the run complete a stage whose work is done, or find that it is up to date."""
    run.stage(each.name, each.describe(), input_names(each), _nothing, announce=False)


def _nothing(context: StageContext) -> dict[str, Any] | None:
    return None


# ---------------------------------------------------------------------------------------------------------------------
# In a worker.


class _QuietContext(StageContext):
    """Several bars at once would be none: how far a worker is, it writes into the stage's notes."""

    stream = io.StringIO()


def _begin(watched: Connection) -> None:
    """One thread, no Ctrl-C of its own, and an end when the process that asks for work ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()


def _end_with(watched: Connection) -> None:
    try:
        watched.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


def _work(each: Stage, due: Due, modules: Sequence[str]) -> None:
    """Do the work of a stage in its partial folder."""
    from burnish.pipeline.execute import body_of

    for module in modules:
        importlib.import_module(module)
    context = _QuietContext(each.name, Path(due.folder), due.inputs, due.identity)
    body = body_of(each, torch.device("cpu"))
    try:
        body(context)
    except DamagedResume:
        context.discard()
        context = _QuietContext(each.name, Path(due.folder), due.inputs, due.identity)
        body(context)
    finally:
        context.save()
