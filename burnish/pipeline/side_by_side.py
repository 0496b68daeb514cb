"""Commands run side by side, each in a process of its own: what ails one of them leaves the others alone."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.storage import raise_run_error


@dataclass(frozen=True)
class Job:
    """A command line, and the file that receives what it says (output and errors, after what is there already)."""

    arguments: tuple[str, ...]
    log: Path


OnEnd = Callable[[int, int], None]
"""Called with (the job's number, its exit code) as soon as it has ended."""


def run_side_by_side(jobs: Sequence[Job], workers: int, on_end: OnEnd | None = None) -> list[int]:
    """Run all jobs, `workers` at a time, and return their exit codes; -9 and the like where a signal ended one.

    Whatever interrupts this function ends the commands that still run. Their standard input is a pipe that nobody
    writes to; it ends with this process, even if that one is killed.
    """
    codes: dict[int, int] = {}
    running: dict[int, subprocess.Popen[bytes]] = {}
    waiting = list(range(len(jobs)))
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                number = waiting.pop(0)
                running[number] = _start(jobs[number])
            for number, process in list(running.items()):
                code = process.poll()
                if code is not None:
                    codes[number] = code
                    _close(running.pop(number))
                    if on_end is not None:
                        on_end(number, code)
            time.sleep(0.05)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
            _close(process)
    return [codes[number] for number in range(len(jobs))]


def _start(job: Job) -> subprocess.Popen[bytes]:
    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            return subprocess.Popen(job.arguments, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
    except OSError as error:
        raise_run_error(error, job.log)


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
