"""Where stages are worked on: in processes of this machine, as jobs of Slurm, or as tasks of Ray.

A stage is a folder on a file system that all workers see, so an executor only has to run one function somewhere. What
is done, how far it is and what failed is read from the run folder, never from the engine.
"""

import concurrent.futures
import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Protocol

from burnish.config import within
from burnish.errors import InputError, RunError
from burnish.exit_codes import interrupts_wait

Kind = Literal["local", "slurm", "ray"]
LOST = "a process that trained a stage was ended; run the same command again to resume"
LOG_LINES = 12
"""Of what a failed job said, in its error."""


@dataclass(frozen=True)
class ExecutorConfig:
    """Where stages are worked on, and with what."""

    kind: Kind = "local"
    jobs: int = within(1, 1)
    """Stages at once; on Ray what its resources allow, too."""
    cpus: int = within(1, 1)
    """PyTorch's threads of each stage; results have the same bits for the same number."""
    gpus: float = within(0.0, 0)
    """GPUs of each stage, on Slurm whole ones, on Ray also a share; 0: it is worked on by the CPU."""
    options: tuple[str, ...] = ()
    """NAME=VALUE of the cluster's own: of Slurm what submitit takes (slurm_partition=gpu timeout_min=240), of Ray its
    resources (robots=1)."""

    def __post_init__(self) -> None:
        for each in self.options:
            if "=" not in each:
                raise InputError(f"executor options: found '{each}', expected NAME=VALUE")
        if self.kind == "local" and (self.options or self.gpus):
            raise InputError("executor options and GPUs are for slurm and ray; found them with the executor 'local'")
        if self.kind == "ray" and self.gpus > 1 and self.gpus % 1:
            raise InputError(f"gpus is {self.gpus}, expected a share of one or whole ones")
        wrong = [name for name, value in self.named.items() if not isinstance(value, int) or value < 0]
        if self.kind == "ray" and wrong:
            raise InputError(f"executor options: found '{wrong[0]}={self.named[wrong[0]]}', expected a number of them")

    @property
    def named(self) -> dict[str, Any]:
        """The options by name, numbers as numbers."""
        pairs = (each.split("=", 1) for each in self.options)
        return {name: int(value) if value.lstrip("-").isdigit() else value for name, value in pairs}


class Handle(Protocol):
    """One piece of work that was handed in."""

    def done(self) -> bool:
        """Whether it has ended."""
        ...

    def result(self) -> None:
        """Nothing, or the work's own error (BurnishError), or RunError where the worker was lost."""
        ...


class Executor(Protocol):
    """Runs functions somewhere else; a context manager that ends everything which still runs."""

    def submit(self, function: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> list[Handle]:
        """Hand in the same function for several arguments at once."""
        ...

    def close(self) -> None:
        """End what still runs."""
        ...


def wait(handles: Sequence[Handle], seconds: float) -> list[Handle]:
    """Those that are done, as soon as any is, or after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        found = [each for each in handles if each.done()]
        if found or time.monotonic() >= until:
            return found
        time.sleep(0.02)


@contextlib.contextmanager
def opened(config: ExecutorConfig, logs: Path) -> Iterator[Executor]:
    """The executor; it is closed however the block ends.

    Args:
        config: which one.
        logs: a folder that workers see, for what a cluster writes.

    Raises:
        InputError: its package is not installed, the cluster cannot be joined, or has not what each stage asks for.
    """
    makers: dict[Kind, Callable[[], Executor]] = {
        "local": lambda: LocalExecutor(config.jobs, config.cpus),
        "slurm": lambda: SlurmExecutor(config, logs),
        "ray": lambda: _on_ray(config),
    }
    executor = makers[config.kind]()
    try:
        yield executor
    finally:
        executor.close()


def _on_ray(config: ExecutorConfig) -> Executor:
    from burnish.pipeline.on_ray import RayExecutor

    return RayExecutor(config)


# ---------------------------------------------------------------------------------------------------------------------
# This machine.


class LocalExecutor:
    """Worker processes that end when this one does, however it ends."""

    def __init__(self, jobs: int, threads: int = 1) -> None:
        self._kept_open, watched = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._pool = concurrent.futures.ProcessPoolExecutor(jobs, context, _begin, (watched, threads))
        self._futures: list[concurrent.futures.Future[None]] = []

    def submit(self, function: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> list[Handle]:
        """Hand in the same function for several arguments at once."""
        try:
            with interrupts_wait():
                futures = [self._pool.submit(function, *arguments) for arguments in calls]
        except BrokenProcessPool as error:
            raise RunError(LOST) from error
        self._futures = [each for each in self._futures if not each.done()] + futures
        return [_Local(each) for each in futures]

    def close(self) -> None:
        """End the workers: idle ones by themselves, others as they watch a pipe that nobody holds open any more."""
        idle = all(each.cancel() or each.done() for each in self._futures)
        if not idle:
            self._kept_open.close()
        self._pool.shutdown(wait=idle, cancel_futures=True)
        self._kept_open.close()


@dataclass(frozen=True)
class _Local:
    future: "concurrent.futures.Future[None]"

    def done(self) -> bool:
        return self.future.done()

    def result(self) -> None:
        try:
            self.future.result()
        except BrokenProcessPool as error:
            raise RunError(LOST) from error


def _begin(watched: Connection, threads: int) -> None:
    """So many threads, no Ctrl-C of its own, and an end when the process that asks for work ends."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()


def _end_with(watched: Connection) -> None:
    try:
        watched.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


# ---------------------------------------------------------------------------------------------------------------------
# Slurm, through submitit.


class SlurmExecutor:
    """Job arrays; a job that Slurm preempts is queued again, and takes up what it had."""

    def __init__(self, config: ExecutorConfig, logs: Path) -> None:
        try:
            submitit: Any = importlib.import_module("submitit")
        except ModuleNotFoundError:
            raise InputError("--executor slurm: submitit is not installed; pip install -e '.[slurm]'") from None
        options = config.named
        cluster = options.pop("cluster", None)  # "local" tries the same without Slurm
        try:
            self._executor = submitit.AutoExecutor(folder=str(logs), cluster=cluster)
            parameters: dict[str, Any] = {"cpus_per_task": config.cpus, "timeout_min": 24 * 60}
            if config.gpus:
                parameters["gpus_per_node"] = max(1, int(config.gpus))
            if self._executor.cluster == "slurm":
                parameters |= {"slurm_array_parallelism": config.jobs, "slurm_job_name": "burnish"}
            self._executor.update_parameters(**(parameters | options))
        except (RuntimeError, ValueError, NameError, TypeError) as error:
            raise InputError(f"--executor slurm: {' '.join(str(error).split())}") from error
        self._jobs: list[Any] = []

    def submit(self, function: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> list[Handle]:
        """Hand in the same function for several arguments at once, as one array."""
        with self._executor.batch():
            jobs = [self._executor.submit(_Call(function, arguments)) for arguments in calls]
        self._jobs += jobs
        return [_Submitted(job) for job in jobs]

    def close(self) -> None:
        """Cancel the jobs that are not done."""
        for job in self._jobs:
            if not job.done():
                with contextlib.suppress(Exception):
                    job.cancel()


@dataclass(frozen=True)
class _Call:
    """A function with its arguments, which Slurm may interrupt: the same call again takes up what was done."""

    function: Callable[..., None]
    arguments: tuple[Any, ...]

    def __call__(self) -> None:
        self.function(*self.arguments)

    def checkpoint(self, *args: Any) -> Any:
        """What submitit queues when Slurm preempts the job."""
        return importlib.import_module("submitit.helpers").DelayedSubmission(self)


@dataclass(frozen=True)
class _Submitted:
    job: Any

    def done(self) -> bool:
        return self.job.done()

    def result(self) -> None:
        error = self.job.exception()
        if error is None:
            return
        said = (self.job.stderr() or self.job.stdout() or "").strip().splitlines()
        last = "\n  ".join(said[-LOG_LINES:])
        raise RunError(f"job {self.job.job_id} failed; its last lines:\n  {last or error}") from error


def here() -> str:
    """This machine's name, for messages."""
    import platform

    return f"{platform.node()} (Python {sys.version.split()[0]})"
