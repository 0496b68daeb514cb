"""Independent pieces of one process's work side by side: each in a thread of its own, on a core of its own.

PyTorch's own threads share one operation and wait for each other after it. Operations on some hundred rows are too
short for that: a second thread hardly helps, and a process that spins at such a barrier while its other core is a
neighbour's stands still. Pieces wait for each other once, and nobody spins. Results do not depend on how many lanes
there are.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

MOST = 3
"""Lanes that any work here has pieces for."""
_offered = [1]
_pools: list[ThreadPoolExecutor] = []


def cores() -> int:
    """Of this machine, as far as this process may use them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def offer(count: int) -> None:
    """Say how many cores the lanes of this process may use; 1, as at first, is none beside the caller's thread."""
    _offered[0] = max(1, count)


@contextlib.contextmanager
def opened(worthwhile: bool = True) -> Iterator[None]:
    """Let `together` use what was offered; PyTorch's own threads are shared out among the lanes meanwhile.

    With `worthwhile` false nothing happens: operations on many pictures are large enough for PyTorch's own threads.
    """
    lanes, threads = min(_offered[0], MOST) if worthwhile else 1, torch.get_num_threads()
    if lanes == 1:
        yield
        return
    torch.set_num_threads(max(1, threads // lanes))
    pool = ThreadPoolExecutor(lanes - 1, thread_name_prefix="lane")
    _pools.append(pool)
    try:
        yield
    finally:
        _pools.remove(pool)
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def together(*pieces: Callable[[], Any]) -> list[Any]:
    """What all pieces return, in their order; one after the other where no lanes are open.

    They must not depend on each other's effects, nor draw from the same random numbers: at most one of them draws. They
    have the caller's gradient mode. The first piece is the caller's own, and so is whatever nobody has begun when that
    is done.
    """
    if not _pools or len(pieces) < 2:
        return [piece() for piece in pieces]
    graded = torch.is_grad_enabled()
    others = [_pools[-1].submit(_in_lane, piece, graded) for piece in pieces[1:]]
    try:
        found = [pieces[0]()]
        # From the last: the lanes take the first ones first.
        rest = [_finish(future, piece) for future, piece in reversed(list(zip(others, pieces[1:], strict=True)))]
        return found + rest[::-1]
    finally:
        for future in others:
            future.cancel()


def _in_lane(piece: Callable[[], Any], graded: bool) -> Any:
    with torch.set_grad_enabled(graded):
        return piece()


def _finish(future: "Future[Any]", piece: Callable[[], Any]) -> Any:
    return piece() if future.cancel() else future.result()
