"""Stages side by side: the same results as one after the other, errors of workers, and what a kill leaves."""

import json
import os

import pytest

from burnish.errors import InputError, RunError
from burnish.pipeline import ExecutorConfig, Run, SharedRun, execute, stage
from burnish.training import join
from tests.pipeline.beside_stages import add, die_once, meet, refuse


def run(folder, targets, jobs):
    where = ExecutorConfig(jobs=jobs) if jobs > 1 else None
    with Run.create(folder, "toy", None, 0, {}) as opened:
        execute(targets, SharedRun(opened, folder, join(None, "cpu")), where=where)


def outputs(folder, name):
    return json.loads((folder / name / "stage.json").read_text())["outputs"]


def number(folder, name):
    return json.loads((folder / name / "number.json").read_text())["number"]


def graph():
    """One stage, two that wait for it alone, one that this process does, and the sum of all."""
    first = stage(add, "first", number=1)
    branches = [stage(add, f"branch/n_{n}", number=n, parts=(first.folder,)) for n in (10, 20)]
    own = stage(add, "own", alone=True, number=100, parts=(first.folder,))
    return stage(add, "last", number=0, parts=tuple(each.folder for each in (*branches, own)))


def test_side_by_side_is_one_after_the_other(tmp_path):
    for jobs in (1, 2):
        run(tmp_path / str(jobs), [graph()], jobs)
    assert number(tmp_path / "1", "last") == number(tmp_path / "2", "last") == 11 + 21 + 101
    alone, beside = tmp_path / "1", tmp_path / "2"
    assert {outputs(alone, name)["pid"] for name in ("first", "branch/n_10", "own")} == {os.getpid()}
    assert outputs(beside, "own")["pid"] == os.getpid() != outputs(beside, "first")["pid"]
    assert outputs(beside, "branch/n_10")["threads_here"] == 1


def test_stages_are_worked_on_at_once(tmp_path):
    pair = [stage(meet, f"branch/n_{n}", number=n, place=str(tmp_path)) for n in (0, 1)]
    run(tmp_path / "run", pair, 2)
    assert [number(tmp_path / "run", each.name) for each in pair] == [0, 1]


def test_what_is_done_stays_done(tmp_path, capfd):
    run(tmp_path / "run", [graph()], 2)
    before = {name: outputs(tmp_path / "run", name) for name in ("first", "branch/n_10", "own", "last")}
    capfd.readouterr()
    run(tmp_path / "run", [graph()], 2)
    assert before == {name: outputs(tmp_path / "run", name) for name in before}
    assert capfd.readouterr().err.count("up to date") == 5


def test_an_error_of_a_worker_is_the_runs(tmp_path):
    with pytest.raises(InputError, match=r"number.json: found nothing"):
        run(tmp_path / "run", [stage(add, "last", number=0, parts=(stage(refuse, "bad", number=1).folder,))], 2)
    assert not (tmp_path / "run" / "last").exists()


def test_a_killed_worker_is_said_and_the_same_command_goes_on(tmp_path):
    def target():
        return stage(die_once, "fragile", number=5, marker=str(tmp_path / "died"))

    with pytest.raises(RunError, match="run the same command again"):
        run(tmp_path / "run", [target()], 2)
    run(tmp_path / "run", [target()], 2)
    assert number(tmp_path / "run", "fragile") == 5


def test_the_first_of_the_graph_come_first(tmp_path, capfd):
    """What others wait for does not queue behind what nothing waits for."""
    first = stage(add, "first", number=1)
    chain = stage(add, "chain_b", number=1, parts=(stage(add, "chain_a", number=1, parts=(first.folder,)).folder,))
    aside = [stage(add, f"aside/n_{n}", number=n, parts=(first.folder,)) for n in range(6)]
    run(tmp_path / "run", [chain, *aside], 2)
    begun = [line.split()[1] for line in capfd.readouterr().err.splitlines() if line.endswith(": started")]
    assert begun.index("chain_b") < begun.index("aside/n_3"), begun
