"""Stages that do not wait for each other, side by side: training in workers, everything else in this process.

A worker does a stage's work in the stage's partial folder, as this process would; then this process finds it done and
completes it. So whatever is killed, the same command takes up what was left, and results are the same bit for bit as
one after the other with as many threads.
"""

import contextlib
import fcntl
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import torch

from burnish.errors import BurnishError, InputError, RunError
from burnish.pipeline import progress
from burnish.pipeline.executors import Executor, ExecutorConfig, Handle, opened, wait
from burnish.pipeline.graph import Stage
from burnish.pipeline.outlook import Outlook, Underway
from burnish.pipeline.run import Due, Run, StageBody
from burnish.pipeline.spread import Spread
from burnish.pipeline.stages import StageContext, lock_path, partial_folder, partial_notes
from burnish.pipeline.worker import Asked
from burnish.training.resume import DamagedResume

_INTERVAL = 1.0
"""Seconds between two looks at how far the workers are."""
_LOGS = ".executor"
"""Folder of a run's folder in which a cluster keeps what its jobs said."""


def execute_beside(stages: Sequence[Stage], run: Run, bodies: dict[str, StageBody], where: ExecutorConfig) -> None:
    """Do all stages, each as soon as its inputs are there.

    Args:
        stages: in an order in which each comes after its inputs.
        run: whose folder receives them.
        bodies: of the stages by name, for those that this process does itself (`alone`).
        where: the workers.

    Raises:
        InputError: a stage that no worker could be sent, before anything begins.
        RunError: a worker died.
        BurnishError: a stage's own error, raised when everything that does not need that stage is done.
    """
    _check_can_be_sent([each for each in stages if not each.alone])
    with opened(where, run.folder / _LOGS) as executor:
        _Beside(list(stages), run, bodies, executor, where).work()


class _Beside:
    """What waits, what is under way, and what is done."""

    def __init__(
        self, stages: list[Stage], run: Run, bodies: dict[str, StageBody], executor: Executor, where: ExecutorConfig
    ) -> None:
        self.run, self.bodies, self.executor, self.where = run, bodies, executor, where
        self.waiting, self.running, self.done = stages, dict[int, tuple[Handle, Stage]](), set[str]()
        self.count, self.outlook = len(stages), Outlook(stages, where.jobs)
        self.failed: BurnishError | None = None

    def work(self) -> None:
        """Until all is done that can be."""
        while self.running or any(self._ready(each) for each in self.waiting):
            alone = next((each for each in self.waiting if self._ready(each) and each.alone), None)
            # While this process works itself, nobody hands in more.
            self._hand_in(everything=alone is not None)
            if alone is not None:
                self.waiting.remove(alone)
                body = self._spreading(self.bodies[alone.name])
                self.run.stage(alone.name, alone.describe(), input_names(alone), body)
                self._has_done(alone)
            elif self._is_full() or (self.running and not any(self._ready(each) for each in self.waiting)):
                self._collect()
        if self.failed is not None:
            raise self.failed

    def _spreading(self, body: StageBody) -> StageBody:
        """The body, which on a cluster may have pieces of its work done there; on this machine it has processes of its
        own."""
        if self.where.kind == "local":
            return body

        def spreading(context: StageContext) -> None:
            asked = Asked.by_this_process(self.where)
            context.spread = Spread(self.executor, asked, self.run.folder, context.folder)
            body(context)
            context.spread.clear()

        return spreading

    def _is_full(self, more: int = 0) -> bool:
        return len(self.running) + more >= self.where.jobs

    def _hand_in(self, everything: bool) -> None:
        """As many stages as there are workers for, the first of the graph first: what refinement waits for comes before
        the gate's worlds. Of everything that is ready at once the longest first, so that no core is idle at the end
        (R. L. Graham, SIAM J. Appl. Math. 17, 1969). What is up to date is done at once."""
        due: list[tuple[Stage, Due]] = []
        ready = [one for one in self.waiting if self._ready(one) and not one.alone]
        if everything:
            ready.sort(key=lambda one: -self.outlook.usual(one.name))
        for each in ready:
            if self._is_full(len(due)) and not everything:
                break
            self.waiting.remove(each)
            found = self.run.due(each.name, each.describe(), input_names(each))
            if found is None:
                self._complete(each)
            else:
                progress.report_stage_start(each.name)
                # Another machine has another working directory.
                inputs = {name: path.absolute() for name, path in found.inputs.items()}
                due.append((each, replace(found, folder=found.folder.absolute(), inputs=inputs)))
        if due:
            asked = Asked.by_this_process(self.where)
            calls = [(each, found, asked) for each, found in due]
            for handle, (each, _) in zip(self.executor.submit(work, calls), due, strict=True):
                self.running[id(handle)] = handle, each

    def _collect(self) -> None:
        """Wait until a worker has finished, showing how far all of them are, and complete what it did."""
        overview = progress.Overview()
        while not (finished := wait([handle for handle, _ in self.running.values()], _INTERVAL)):
            overview.show(self._shown())
        overview.clear()
        for handle in finished:
            _, each = self.running.pop(id(handle))
            try:
                handle.result()
            except BurnishError as error:
                if not isinstance(error, InputError):
                    error = RunError(f"{each.name}: {error}")
                progress.say(f"{each.name}: failed; what does not need it goes on")
                self.failed = self.failed or error
            else:
                self._complete(each)

    def _complete(self, each: Stage) -> None:
        """Let the run complete a stage whose work is done, or find that it is up to date."""
        self.run.stage(each.name, each.describe(), input_names(each), _nothing, announce=False)
        self._has_done(each)

    def _has_done(self, each: Stage) -> None:
        self.done.add(each.name)
        self.outlook.done(each.name, self.run.stage_info(each.name)["seconds"])

    def _ready(self, each: Stage) -> bool:
        return all(found.name in self.done for found in each.inputs if isinstance(found, Stage))

    def _shown(self) -> str:
        """`6 of 18 stages · world_model 43 % · ensemble 88 % · about 4:10 to go`."""
        underway = {}
        for _, each in self.running.values():
            found = partial_notes(partial_folder(self.run.folder, each.name))
            share = found.get("share")
            known = share if isinstance(share, float | int) else None
            underway[each.name] = Underway(found.get("seconds", 0.0), known)
        at_work = [f"{name} {now.share:.0%}" for name, now in underway.items() if now.share is not None]
        so_far = f"{len(self.done)} of {self.count} stages"
        return " · ".join(part for part in (so_far, *at_work, self.outlook.words(underway)) if part)


def _check_can_be_sent(stages: Sequence[Stage]) -> None:
    """Whatever the executor, workers import functions and classes by their names: what works here works there."""
    for each in stages:
        for name, value in {"body": each.body, **each.arguments}.items():
            try:
                ForkingPickler.dumps(value)
            except Exception as error:  # whatever a class of somebody's own raises there
                raise InputError(
                    f"stage '{each.name}', argument '{name}': cannot be sent to a worker ({error}); expected plain "
                    "data, and functions and classes of a module. --jobs 1 does all stages in one process"
                ) from error


def input_names(each: Stage) -> list[str]:
    """The names of a stage's inputs, each once."""
    return list(dict.fromkeys(found.name for found in each.inputs))


def _nothing(context: StageContext) -> None:
    return None


# ---------------------------------------------------------------------------------------------------------------------
# In a worker.


class _QuietContext(StageContext):
    """Several bars at once would be none: how far a worker is, it writes into the stage's notes."""

    stream = io.StringIO()


def work(each: Stage, due: Due, asked: Asked) -> None:
    """Do the work of a stage in its partial folder.

    Raises:
        InputError: this machine does not see the folder, or has other versions than the one that asks.
    """
    from burnish.pipeline.execute import body_of

    asked.prepare(Path(due.folder).parent.parent)
    with _held(Path(due.folder)):
        context = _QuietContext(each.name, Path(due.folder), due.inputs, due.identity)
        body = body_of(each, torch.device("cuda" if asked.where.gpus else "cpu"))
        try:
            body(context)
        except DamagedResume:
            context.discard()
            context = _QuietContext(each.name, Path(due.folder), due.inputs, due.identity)
            body(context)
        finally:
            context.save()


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """One worker at a time: a job of an earlier driver may still be at work on a cluster."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(lock_path(folder), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with os.fdopen(handle, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
