"""Stages as jobs of Slurm (submitit's local executor; no Slurm is here) and as tasks of a real Ray cluster."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import pytest

from burnish.errors import InputError, RunError
from burnish.pipeline import ExecutorConfig, Run, SharedRun, execute, stage
from burnish.pipeline.beside import Asked, work
from burnish.pipeline.executors import opened, wait
from burnish.pipeline.manifest import versions
from burnish.pipeline.on_ray import RayExecutor
from burnish.pipeline.run import Due
from burnish.training import join
from tests.pipeline.beside_stages import Nowhere, add, die_once, divide, fail, refuse, slowly, wait_for


def run(folder, targets, where):
    with Run.create(folder, "toy", None, 0, {}) as opened:
        execute(targets, SharedRun(opened, folder, join(None, "cpu")), where=where)


def number(folder, name):
    return json.loads((folder / name / "number.json").read_text())["number"]


def outputs(folder, name):
    return json.loads((folder / name / "stage.json").read_text())["outputs"]


def graph():
    first = stage(add, "first", number=1)
    branches = [stage(add, f"branch/n_{n}", number=n, parts=(first.folder,)) for n in (10, 20)]
    own = stage(add, "own", alone=True, number=100, parts=(first.folder,))
    return stage(add, "last", number=0, parts=tuple(each.folder for each in (*branches, own)))


class Finishes:
    def __init__(self, at):
        self.at = time.monotonic() + at

    def done(self):
        return time.monotonic() >= self.at


def test_waiting_ends_with_the_first_or_with_the_time():
    soon, never = Finishes(0.05), Finishes(1e9)
    assert wait([never, soon], 60) == [soon]
    assert wait([never], 0.05) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gpus": 1.0}, "are for slurm and ray"),
        ({"options": ("time=3",)}, "are for slurm and ray"),
        ({"kind": "ray", "options": ("robots",)}, "found 'robots', expected NAME=VALUE"),
        ({"kind": "ray", "options": ("robots=many",)}, "found 'robots=many', expected a number of them"),
        ({"kind": "ray", "options": ("robots=-1",)}, "found 'robots=-1', expected a number of them"),
        ({"kind": "ray", "gpus": 1.5}, "gpus is 1.5, expected a share of one or whole ones"),
    ],
)
def test_settings_that_do_not_go_together(settings, message):
    with pytest.raises(InputError, match=message):
        ExecutorConfig(**settings)


def test_a_worker_checks_that_it_sees_the_folder_and_has_the_versions(tmp_path):
    due = Due(tmp_path / "nowhere" / ".partial" / "first", {}, "identity")
    with pytest.raises(InputError, match=r"does not see .*nowhere; a run folder must lie on a file system"):
        work(graph(), due, Asked(ExecutorConfig(), (), (), versions()))
    there = Due(tmp_path / ".partial" / "first", {}, "identity")
    with pytest.raises(InputError, match=r"has other versions .*: torch .*, expected 1.0"):
        work(graph(), there, Asked(ExecutorConfig(), (), (), {**versions(), "torch": "1.0"}))


def test_what_does_not_need_a_failed_stage_goes_on(tmp_path):
    bad = stage(refuse, "bad", number=1)
    good = stage(add, "good", number=2)
    needs = stage(add, "needs", number=3, parts=(bad.folder, good.folder))
    with pytest.raises(InputError, match=r"number.json: found nothing"):
        run(tmp_path / "run", [needs], ExecutorConfig(jobs=2))
    assert number(tmp_path / "run", "good") == 2 and not (tmp_path / "run" / "needs").exists()


def test_while_this_process_works_itself_the_longest_is_begun_first(tmp_path):
    begun = stage(add, "short/n_0", number=1).folder, stage(slowly, "long/n_0", number=2, seconds=0.2).folder
    own = stage(add, "own", alone=True, number=3, parts=begun)
    short = stage(add, "short/n_1", number=4, parts=begun)
    long = stage(slowly, "long/n_1", number=5, seconds=0.2, parts=begun)
    run(
        tmp_path / "run",
        [stage(add, "last", number=0, parts=(own.folder, short.folder, long.folder))],
        ExecutorConfig(),
    )
    ends = [(tmp_path / "run" / each / "number.json").stat().st_mtime_ns for each in ("long/n_1", "short/n_1")]
    assert ends[0] < ends[1] and number(tmp_path / "run", "last") == 3 * 3 + 3 + 4 + 5


@dataclass(frozen=True)
class Holds:
    """A setting that says how to do something, and brings along a function which has no name."""

    number: int = 1
    function: object = field(default=None, init=False)


@pytest.mark.parametrize("kind", ["local", "slurm", "ray"])
def test_what_no_worker_could_be_sent_is_said_before_anything_begins(kind, tmp_path):
    setting = Holds()
    object.__setattr__(setting, "function", lambda: 1)
    targets = [stage(add, "good", number=1), stage(add, "bad", number=2, setting=setting)]
    message = r"stage 'bad', argument 'setting': cannot be sent to a worker \(.*lambda.*\); expected plain data"
    with pytest.raises(InputError, match=message):
        run(tmp_path / "run", targets, ExecutorConfig(kind, 2))
    assert not (tmp_path / "run" / "good").exists() and not (tmp_path / "run" / ".partial").exists()
    run(tmp_path / "run", targets, None)
    assert number(tmp_path / "run", "bad") == 2, "as the message says, one process can"


# ---------------------------------------------------------------------------------------------------------------------
# Slurm. submitit's "local" cluster starts the same jobs as processes.

SLURM = ExecutorConfig("slurm", 2, options=("cluster=local", "timeout_min=5"))


def test_jobs_of_submitit(tmp_path):
    pytest.importorskip("submitit")
    run(tmp_path / "run", [graph()], SLURM)
    assert number(tmp_path / "run", "last") == 11 + 21 + 101
    assert outputs(tmp_path / "run", "own")["pid"] == os.getpid() != outputs(tmp_path / "run", "first")["pid"]
    assert outputs(tmp_path / "run", "first")["threads_here"] == 1


def test_a_stage_of_this_process_has_pieces_of_its_work_done_by_jobs(tmp_path):
    pytest.importorskip("submitit")
    run(tmp_path / "run", [stage(divide, "whole", alone=True, numbers=(1, 2, 3))], SLURM)
    assert number(tmp_path / "run", "whole") == 12
    workers = outputs(tmp_path / "run", "whole")["workers"]
    assert len(workers) == 2 and os.getpid() not in workers
    assert sorted(path.name for path in (tmp_path / "run" / "whole").iterdir()) == ["number.json", "stage.json"]


def test_the_last_lines_of_a_failed_job_are_in_the_error(tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(RunError, match=r"bad: job \d+ failed; its last lines:(.|\n)*number.json: found nothing"):
        run(tmp_path / "run", [stage(refuse, "bad", number=1)], SLURM)


def test_without_slurm_it_is_said(tmp_path):
    pytest.importorskip("submitit")
    with pytest.raises(InputError, match="--executor slurm: "):
        run(tmp_path / "run", [graph()], ExecutorConfig("slurm", options=("cluster=slurm",)))


# ---------------------------------------------------------------------------------------------------------------------
# Ray. The cluster is real; its nodes are processes of this machine.


@pytest.mark.slow
def test_tasks_of_ray_are_one_after_the_other(tmp_path, cluster):
    cluster.add_node(num_cpus=1)
    run(tmp_path / "ray", [graph()], ExecutorConfig("ray", 2))
    run(tmp_path / "here", [graph()], None)
    assert number(tmp_path / "ray", "last") == number(tmp_path / "here", "last")
    assert outputs(tmp_path / "ray", "own")["pid"] == os.getpid() != outputs(tmp_path / "ray", "first")["pid"]


@pytest.mark.slow
def test_a_request_to_end_means_what_it_meant_before_ray(cluster):
    cluster.add_node(num_cpus=1)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        executor = RayExecutor(ExecutorConfig("ray"))
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        executor.close()
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
def test_a_killed_worker_of_ray_is_started_again(tmp_path, cluster):
    fragile = stage(die_once, "fragile", number=5, marker=str(tmp_path / "died"))
    run(tmp_path / "run", [fragile], ExecutorConfig("ray"))
    assert number(tmp_path / "run", "fragile") == 5 and (tmp_path / "died").exists()


@pytest.mark.slow
def test_a_lost_node_costs_its_stage_only(tmp_path, cluster):
    nodes = [cluster.add_node(num_cpus=1, resources={"robots": 1}) for _ in range(2)]
    begun, go = tmp_path / "begun", tmp_path / "go"
    lost = stage(wait_for, "lost", number=2, begun=str(begun), go=str(go))

    def lose_it():
        while not (begun.exists() and len(begun.read_text().split()) == 2):
            time.sleep(0.05)
        node_id, pid = begun.read_text().split()
        cluster.remove_node(next(node for node in nodes if node.node_id == node_id), allow_graceful=False)
        with contextlib.suppress(ProcessLookupError):  # of a lost node nothing is left
            os.kill(int(pid), signal.SIGKILL)
        go.touch()

    thread = threading.Thread(target=lose_it)
    thread.start()
    run(tmp_path / "run", [lost, stage(add, "other", number=1)], ExecutorConfig("ray", 2, options=("robots=1",)))
    thread.join()
    assert (number(tmp_path / "run", "other"), number(tmp_path / "run", "lost")) == (1, 2)
    assert outputs(tmp_path / "run", "lost")["node"] != begun.read_text().split()[0]


@pytest.mark.slow
def test_resources_that_no_node_has(tmp_path, cluster):
    with pytest.raises(InputError, match=r"a stage asks for {'CPU': 64.0}, and the most that nodes have is {'CPU': 1"):
        run(tmp_path / "run", [graph()], ExecutorConfig("ray", cpus=64))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere"])
def test_a_cluster_that_cannot_be_joined(address, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=rf"^--executor ray: the cluster at RAY_ADDRESS={address} cannot be joined: "):
        run(tmp_path / "run", [graph()], ExecutorConfig("ray"))


@pytest.mark.slow
def test_what_fails_on_a_node_of_ray_is_told_in_its_own_words(tmp_path, cluster, monkeypatch):
    """One sentence where there is one, else the worker's last lines; what does not need it goes on."""
    where, folder = ExecutorConfig("ray"), tmp_path / "run"
    with pytest.raises(InputError, match=r"^number.json: found nothing, expected something$"):
        run(folder, [stage(refuse, "bad", number=1), stage(add, "good", number=2)], where)
    assert number(folder, "good") == 2
    with pytest.raises(RunError, match=r"^mistaken: a worker of Ray failed; its last lines:\n(.|\n)*KeyError: 7$"):
        run(folder, [stage(fail, "mistaken", number=7), stage(add, "other", number=3)], where)
    assert number(folder, "other") == 3

    with opened(where, tmp_path) as executor:
        [handle] = executor.submit(add, [(Nowhere(), 1)])
        with pytest.raises(RunError, match=r"a worker of Ray failed(.|\n)*No module named 'nowhere_but_here'") as told:
            handle.result()
        assert "\x1b" not in str(told.value), "no colours in a message"
        there = Due(tmp_path / "nowhere" / ".partial" / "first", {}, "identity")
        [handle] = executor.submit(work, [(graph(), there, Asked.by_this_process(where))])
        with pytest.raises(InputError, match=r"^\S+ \(Python .*\): does not see .*nowhere; a run folder must lie on"):
            handle.result()
    monkeypatch.setattr("burnish.pipeline.worker.versions", lambda: {**versions(), "torch": "1.0"})
    with pytest.raises(InputError, match=r"^\S+ \(Python .*\): has other versions than .*: torch .*, expected 1.0$"):
        run(folder, [stage(add, "third", number=4)], where)


@pytest.mark.slow
def test_a_killed_driver_is_started_again(tmp_path, cluster):
    slow = stage(slowly, "slow", number=3, seconds=3.0)
    targets = [stage(add, "last", number=0, parts=(slow.folder, stage(add, "quick", number=4).folder))]
    driver = multiprocessing.get_context("spawn").Process(
        target=run, args=(tmp_path / "run", targets, ExecutorConfig("ray", 2))
    )
    driver.start()
    until = time.monotonic() + 120
    while not (tmp_path / "run" / "quick").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    before = outputs(tmp_path / "run", "quick")
    assert driver.pid is not None
    os.kill(driver.pid, signal.SIGKILL)
    driver.join()
    run(tmp_path / "run", targets, ExecutorConfig("ray", 2))
    assert number(tmp_path / "run", "last") == 7 and outputs(tmp_path / "run", "quick") == before


LEAVES = """
import sys, time
from burnish.pipeline.executors import LocalExecutor, wait
from tests.pipeline.beside_stages import with_a_lock

if __name__ == "__main__":
    executor = LocalExecutor(1)
    handles = executor.submit(with_a_lock, [(float(sys.argv[1]),)])
    if sys.argv[1] == "0":
        wait(handles, 30)
    else:
        time.sleep(2)
    executor.close()
"""


@pytest.mark.parametrize("busy", ["0", "60"])
def test_workers_leave_nothing_behind(busy, tmp_path):
    """Idle ones end by themselves, with their semaphores (a progress bar has one); others do not hold us up."""
    script = tmp_path / "leaves.py"
    script.write_text(LEAVES)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    begun = time.monotonic()
    done = subprocess.run([sys.executable, script, busy], env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert busy != "0" or "leaked" not in done.stderr
    assert time.monotonic() - begun < 45
