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
from burnish.pipeline.run import Due, Run, StageBody
from burnish.pipeline.stages import StageContext
from burnish.training.resume import DamagedResume

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
                else:
                    progress.report_stage_start(each.name)
                    running[pool.submit(_work, each, due, outside_modules())] = each
            alone = next((one for one in waiting if _ready(one, done) and one.alone), None)
            if alone is not None:
                waiting.remove(alone)
                run.stage(alone.name, alone.describe(), input_names(alone), bodies[alone.name])
                done.add(alone.name)
            elif running and not any(_ready(one, done) for one in waiting):
                _collect(running, run, done)
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


def _collect(running: Running, run: Run, done: set[str]) -> None:
    """Wait until a worker has finished, and complete what it did."""
    finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
    for future in finished:
        each = running.pop(future)
        future.result()
        _complete(each, run)
        done.add(each.name)


def _complete(each: Stage, run: Run) -> None:
    """Let the run complete a stage whose work is done, or find that it is up to date."""
    run.stage(each.name, each.describe(), input_names(each), _nothing, announce=False)


def _nothing(context: StageContext) -> dict[str, Any] | None:
    return None


# ---------------------------------------------------------------------------------------------------------------------
# In a worker.


class _QuietContext(StageContext):
    """Several bars at once would be none."""

    def progress(
        self, total: int | None, unit: str = "steps", description: str = "", initial: int = 0
    ) -> progress.Progress:
        stream = io.StringIO()
        return progress.Progress(total, unit, description or self.name, initial, on_update=self.tick, stream=stream)


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
