"""The pool of worker processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from burnish.errors import InputError, RunError
from burnish.simulators.counter import SimulatorUse, count_control_step, simulator_use
from burnish.simulators.parallel import WorkerPool, run_chunks


def slower_first(number):
    time.sleep(0.2 if number == 0 else 0.0)
    count_control_step()
    return number * number, os.getpid()


def settings(_):
    return os.environ["OMP_NUM_THREADS"], "torch" in sys.modules


def misbehave(how):
    if how == "exit":
        os._exit(9)
    if how == "input":
        raise InputError("no such thing")
    if how == "bug":
        raise ZeroDivisionError("one over nought")
    return how


def test_results_come_in_order_and_one_pool_serves_several_calls():
    before = simulator_use()
    with WorkerPool(2) as pool:
        first = list(pool.run(slower_first, range(6)))
        second = list(run_chunks(slower_first, range(3), pool))
        assert list(pool.run(settings, [0])) == [("1", False)], "workers use one thread and import no torch"
    assert [value for value, _ in first] == [0, 1, 4, 9, 16, 25]
    workers = {process for _, process in first + second}
    assert os.getpid() not in workers
    assert len(workers) <= 2
    assert simulator_use() - before == SimulatorUse(control_steps=9)


def test_without_workers_everything_runs_here():
    before = simulator_use()
    assert list(run_chunks(slower_first, range(3), 0)) == [(n * n, os.getpid()) for n in range(3)]
    assert simulator_use() - before == SimulatorUse(control_steps=3)


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_come_through(workers):
    with pytest.raises(InputError, match="no such thing"):
        list(run_chunks(misbehave, ["input"], workers))
    with pytest.raises(RunError, match="ZeroDivisionError: one over nought"):
        list(run_chunks(misbehave, ["bug"], workers))


def test_a_dying_worker_is_reported_and_the_pool_recovers():
    with WorkerPool(1) as pool:
        with pytest.raises(RunError, match="worker process died"):
            list(pool.run(misbehave, ["fine", "exit", "fine"]))
        assert list(pool.run(misbehave, ["fine"])) == ["fine"]


def test_progress_counts_sizes():
    reported = []
    list(run_chunks(misbehave, ["a", "b"], 0, progress=lambda *counts: reported.append(counts), sizes=[10, 3]))
    assert reported == [(10, 13), (13, 13)]


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(InputError, match="workers"):
        WorkerPool(-1)


SCRIPT = """
import os, sys
sys.path.insert(0, {folder!r})
from burnish.simulators.parallel import run_chunks
from test_parallel import report_and_sleep
print("script runs", flush=True)   # a worker that imported this script would print it again
list(run_chunks(report_and_sleep, [{pids!r}] * 2, 2))
"""


def report_and_sleep(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_an_unguarded_script(tmp_path, signal_number):
    pids = tmp_path / "pids"
    pids.mkdir()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parent), pids=str(pids)))
    process = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores Ctrl-C, and so do its children; ours are to hear it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: len(list(pids.iterdir())) == 2, 30)
    process.send_signal(signal_number)
    output, errors = process.communicate(timeout=20)
    assert output == "script runs\n"
    if signal_number == signal.SIGINT:
        assert "KeyboardInterrupt" in errors
    wait_until(lambda: not any(alive(int(path.name)) for path in pids.iterdir()), 10)


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def alive(pid):
    try:
        # A zombie whose parent is gone may wait for init; it is dead all the same.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
