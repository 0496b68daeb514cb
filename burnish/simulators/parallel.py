"""Work spread over a pool of spawned processes, with results in order and independent of the number of processes."""

from __future__ import annotations

import atexit
import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from burnish.errors import BurnishError, InputError, RunError
from burnish.exit_codes import interrupts_wait
from burnish.simulators.counter import SimulatorUse, count_use, simulator_use

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (done, total), in units of whatever the chunks contain; from another thread when there are workers."""


class WorkerPool:
    """A pool of worker processes that serves several calls and is closed by leaving its `with` block.

    Workers use one thread each, ignore Ctrl-C (the parent stops them) and end when the parent dies. They import
    only the modules of the functions sent to them, never the main script.

    Args:
        workers: number of processes; 0 runs everything in this process, one chunk after another.

    Raises:
        InputError: a negative number of workers.
    """

    def __init__(self, workers: int) -> None:
        if workers < 0:
            raise InputError(f"workers must be at least 0, not {workers}")
        self.workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.terminate()

    def run(
        self,
        function: Callable[[Chunk], Result],
        chunks: Sequence[Chunk],
        progress: Progress | None = None,
        sizes: Sequence[int] | None = None,
    ) -> Iterator[Result]:
        """Yield `function(chunk)` for every chunk, in the order of the chunks.

        Args:
            function: a module's function (not one of the main script).
            chunks: its arguments; both they and the results travel between processes.
            progress: called whenever a chunk is done.
            sizes: how much each chunk counts in `progress`; default 1.

        Raises:
            BurnishError: as raised by the function.
            RunError: the function raised anything else, or a worker died.
        """
        tracker = _Tracker(progress, list(sizes) if sizes is not None else [1] * len(chunks))
        if self.workers == 0:
            yield from _run_here(function, chunks, tracker)
            return
        futures = self._submit(function, chunks, tracker)
        try:
            for future in futures:
                result, use = _outcome(future)
                count_use(use)
                yield result
        except BaseException:
            for future in futures:
                future.cancel()
            self.terminate()
            raise

    def _submit(
        self, function: Callable[[Chunk], Result], chunks: Sequence[Chunk], tracker: _Tracker
    ) -> list[Future[tuple[Result, SimulatorUse]]]:
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_start_worker)
        futures = []
        with _main_script_hidden(), interrupts_wait():
            for index, chunk in enumerate(chunks):
                future = self._executor.submit(_counted, function, chunk)
                future.add_done_callback(lambda done, index=index: tracker.ended(done, index))
                futures.append(future)
        return futures

    def close(self) -> None:
        """Let the workers finish, and end them."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def terminate(self) -> None:
        """End the workers now."""
        if self._executor is None:
            return
        processes = list((getattr(self._executor, "_processes", None) or {}).values())
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        self._executor = None


def run_chunks(
    function: Callable[[Chunk], Result],
    chunks: Sequence[Chunk],
    workers: int | WorkerPool,
    progress: Progress | None = None,
    sizes: Sequence[int] | None = None,
) -> Iterator[Result]:
    """`WorkerPool.run` on a given pool, or on one of `workers` processes that lives for this call."""
    if isinstance(workers, WorkerPool):
        yield from workers.run(function, chunks, progress, sizes)
        return
    with WorkerPool(min(workers, len(chunks))) as pool:
        yield from pool.run(function, chunks, progress, sizes)


def default_workers() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Tracker:
    """Adds up the sizes of finished chunks; called from the pool's thread."""

    def __init__(self, progress: Progress | None, sizes: list[int]) -> None:
        self._progress, self._sizes, self._finished = progress, sizes, 0
        self._lock = threading.Lock()

    def ended(self, future: Future[Any], index: int) -> None:
        if not future.cancelled() and future.exception() is None:
            self.done(index)

    def done(self, index: int) -> None:
        with self._lock:
            self._finished += self._sizes[index]
            if self._progress is not None:
                self._progress(self._finished, sum(self._sizes))


def _run_here(function: Callable[[Chunk], Result], chunks: Sequence[Chunk], tracker: _Tracker) -> Iterator[Result]:
    for index, chunk in enumerate(chunks):
        try:
            result = function(chunk)
        except BurnishError:
            raise
        except Exception as error:
            raise _failure(error) from error
        tracker.done(index)
        yield result


def _counted(function: Callable[[Chunk], Result], chunk: Chunk) -> tuple[Result, SimulatorUse]:
    before = simulator_use()
    result = function(chunk)
    return result, simulator_use() - before


def _outcome(future: Future[Any]) -> Any:
    try:
        return future.result()
    except BurnishError:
        raise
    except BrokenProcessPool as error:
        raise RunError(
            "a worker process died (killed, out of memory, or unable to import the function it was sent)"
        ) from error
    except Exception as error:
        raise _failure(error) from error


def _failure(error: Exception) -> RunError:
    return RunError(f"a worker failed: {type(error).__name__}: {error}")


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    # Mesa's software renderer would start one thread for each core, which slow each other down.
    os.environ["LP_NUM_THREADS"] = "0"
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _main_script_hidden() -> Iterator[None]:
    """Keep spawned processes from importing the main script: slow, and endless where it lacks a __main__ guard."""
    main = sys.modules["__main__"]
    hidden = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
    main.__spec__ = None
    if "__file__" in hidden:
        del main.__file__
    try:
        yield
    finally:
        vars(main).update(hidden)


@functools.cache
def shared_pool() -> WorkerPool:
    """Worker processes, one for each core, that live as long as this process."""
    pool = WorkerPool(default_workers())
    atexit.register(pool.close)
    return pool
