"""Pictures of several cameras and files decoded side by side, each once, straight to where they are kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from burnish.data.checks import EpisodeFault, Faults
from burnish.data.row_store import RowStore
from burnish.storage import raise_run_error


@dataclass(frozen=True)
class PictureJob:
    """Pictures that are decoded in one go: those of whole episodes.

    Attributes:
        numbers: of the episodes, in the order of their pictures.
        pictures: decodes them with so many threads, one by one: uint8 (H, W, 3), as they are to be kept.
    """

    numbers: tuple[int, ...]
    pictures: Callable[[int], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Target:
    """Where the pictures of a camera go.

    Attributes:
        key: the camera's, in the store.
        spans: the rows of each episode's pictures, by its number.
        jobs: what is to be done for some episodes.
    """

    key: str
    spans: Mapping[int, range]
    jobs: Callable[[Sequence[int]], list[PictureJob]]


def decode(targets: Sequence[Target], store: RowStore, faults: Faults) -> None:
    """Decode everything with all cores; episodes with bad pictures are `faults`.

    Raises:
        InputError: a picture is missing or broken, and bad episodes are not to be left out.
        RunError: the disk is full.
    """
    total = sum(len(span) for target in targets for span in target.spans.values())
    names = ", ".join(target.key.rpartition(".")[2] for target in targets)
    due = [(target, job) for target in targets for job in _jobs(target, list(target.spans), faults)]
    with tqdm(total=total, desc=f"decoding {names}", unit="frame", delay=2, leave=False, disable=None) as bar:
        while due:
            found = _side_by_side(due, store, _Progress(bar, faults.skip))
            again: list[tuple[Target, PictureJob]] = []
            for (target, job), fault in zip(due, found, strict=True):
                if fault is None:
                    continue
                faults.add(fault)
                behind = job.numbers[job.numbers.index(fault.episode) + 1 :]
                again += [(target, each) for each in _jobs(target, behind, faults)]
            due = again


class _Progress:
    """A bar that threads share; all end early once one of them found a fault that is not to be left out."""

    def __init__(self, bar: tqdm, skip: bool) -> None:
        self.stopped, self._skip = False, skip
        self._bar, self._lock = bar, threading.Lock()

    def add(self) -> None:
        with self._lock:
            self._bar.update()

    def failed(self) -> None:
        """One of the threads found a fault."""
        self.stopped |= not self._skip


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _side_by_side(
    due: Sequence[tuple[Target, PictureJob]], store: RowStore, progress: _Progress
) -> list[EpisodeFault | None]:
    """Do the jobs; what is wrong with one of the episodes of each."""
    workers = min(cores(), len(due))
    threads = max(1, cores() // workers)
    with ThreadPoolExecutor(workers) as pool:
        try:
            under_way = [pool.submit(_do, target, job, threads, store, progress) for target, job in due]
            return [each.result() for each in under_way]
        except OSError as error:
            raise_run_error(error, store.folder)
        finally:
            progress.stopped = True
            pool.shutdown(cancel_futures=True)


def _do(target: Target, job: PictureJob, threads: int, store: RowStore, progress: _Progress) -> EpisodeFault | None:
    rows = (row for number in job.numbers for row in target.spans[number])
    try:
        for row, picture in zip(rows, job.pictures(threads), strict=True):
            if progress.stopped:
                return None
            store.write(target.key, row, picture)
            progress.add()
    except EpisodeFault as fault:
        progress.failed()
        return fault
    return None


def _jobs(target: Target, numbers: Sequence[int], faults: Faults) -> list[PictureJob]:
    """What is to be done for some episodes; those of which that cannot be said are faults."""
    while numbers:
        try:
            return target.jobs(numbers)
        except EpisodeFault as fault:
            faults.add(fault)
            numbers = [number for number in numbers if number not in faults.found]
    return []
