"""The table of runs: read from folders alone, quickly, and whatever lies in them."""

import json
import os
import shutil
import time

import pytest

from burnish.errors import InputError
from burnish.studio.folders import Folders, served_file
from burnish.studio.listing import ALIVE, Listing, state_of
from burnish.studio.plain import read_plain
from burnish.studio.remaining import Took, remaining


def test_a_finished_run(small_run):
    (row,) = Listing(Folders([small_run.parent])).rows()
    report = json.loads((small_run / "report.json").read_text())
    assert (row["name"], row["recipe"], row["task"], row["seed"]) == ("small", "world4rl", "drawer-open-v3", 0)
    rate = report["policies"]["refined"]["success"]
    assert row["policies"]["refined"] == {"value": rate["rate"], "low": rate["ci95"][0], "high": rate["ci95"][1]}
    assert row["state"] == {"is": "done", "stages": [], "quiet": None} and row["gate"] == "none"
    assert "no gate" in row["headline"] and row["problem"] is None


def test_a_run_under_way(tmp_path):
    run = tmp_path / "run"
    (run / ".partial").mkdir(parents=True)
    notes = run / ".partial" / "world_model.json"
    notes.write_text(json.dumps({"identity": "x", "seconds": 30.0, "outputs": {}, "share": 0.25}))
    state = state_of(run, False)
    assert state["is"] == "running" and state["stages"] == [
        {"stage": "world_model", "seconds": 30.0, "share": 0.25, "left": 90.0}
    ]
    os.utime(notes, (time.time() - ALIVE - 5,) * 2)
    assert state_of(run, False)["is"] == "stopped"
    notes.write_text(json.dumps({"seconds": 3, "share": 0}))
    assert state_of(run, False)["stages"][0] == {"stage": "world_model", "seconds": 3.0, "share": None, "left": None}
    notes.write_text('{"share": NaN}')
    assert state_of(run, True) == {"is": "done", "stages": [], "quiet": None}
    shutil.rmtree(run / ".partial")
    assert state_of(run, False)["is"] == "running", "between two stages"
    os.utime(run, (time.time() - ALIVE - 5,) * 2)
    assert state_of(run, False) == {"is": "stopped", "stages": [], "quiet": pytest.approx(ALIVE + 5, abs=2)}


def test_until_all_is_done(tmp_path):
    """By hand: half as fast as the finished run so far, so that what is left takes twice as long as there."""

    def begin(name, seed, gate=0):
        run = tmp_path / name
        run.mkdir()
        (run / "recipe.yaml").write_text(f"recipe: r\ntask: t\nseed: {seed}\nconfig:\n  gate: {gate}\n")
        return run

    def finished(run, stage, seconds):
        (run / stage).mkdir(parents=True)
        (run / stage / "stage.json").write_text(json.dumps({"seconds": seconds}))

    old, new, other = begin("old", 0), begin("new", 1), begin("other", 1, gate=4)
    stages = [{"name": name, "seconds": s} for name, s in (("data", 10), ("world", 100), ("gate/a", 60), ("end", 30))]
    took = Took.of(old, {"name": "old", "recipe": "r"}, {"stages": stages, "clock_seconds": 100})
    assert took is not None and took.beside == 0.5
    finished(new, "data", 20.0)
    underway = [{"stage": "world", "seconds": 50.0, "share": 0.25, "left": 150.0}]
    # 20 + 200 s where there were 10 + 100: (60 + 30) × 2 for the rest, and 150 of this stage; half of it side by side.
    assert remaining(new, "r", underway, [took]) == {"seconds": 0.5 * (150 + 180), "like": "old"}
    early = [{"stage": "gate-a", "seconds": 5.0, "share": 0.01, "left": 495.0}]
    finished(new, "world", 200.0)
    assert remaining(new, "r", early, [took]) == {"seconds": 0.5 * (120 - 5 + 60), "like": "old"}
    assert remaining(new, "q", early, [took]) is None and remaining(other, "r", early, [took]) is None
    assert Took.of(old, {"name": "old", "recipe": "r"}, {"stages": [{"name": 3}, None]}) is None


def test_a_run_under_way_beside_a_finished_one(small_run, tmp_path):
    shutil.copytree(small_run, tmp_path / "done")
    going = shutil.copytree(small_run, tmp_path / "going")
    (going / "report.json").unlink()
    for name in ("evaluation", "refined"):
        shutil.rmtree(going / name)
    (going / ".partial").mkdir()
    (going / ".partial" / "refined.json").write_text(json.dumps({"seconds": 1.0, "share": 0.5}))
    rows = {row["name"]: row["state"] for row in Listing(Folders([tmp_path])).rows()}
    evaluation = next(
        each["seconds"]
        for each in json.loads((small_run / "report.json").read_text())["stages"]
        if each["name"] == "evaluation"
    )
    assert "left" not in rows["done"] and rows["going"]["left"]["like"] == "done"
    assert 0 < rows["going"]["left"]["seconds"] < 5 * (1 + evaluation)


def test_five_hundred_runs_in_a_second(small_run, tmp_path):
    for number in range(500):
        folder = tmp_path / f"group-{number % 10}" / f"run-{number}"
        folder.mkdir(parents=True)
        for name in ("recipe.yaml", "manifest.json", "report.json"):
            shutil.copy(small_run / name, folder / name)
    listing = Listing(Folders([tmp_path]))
    began = time.process_time()
    assert len(listing.rows()) == 500
    first, began = time.process_time() - began, time.process_time()
    listing.rows()
    assert first < 1.0 and time.process_time() - began < 0.5  # of this process alone: others may be busy


def test_nothing_outside_of_the_folders(small_run, tmp_path):
    shutil.copytree(small_run, tmp_path / "outside")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "linked").symlink_to(tmp_path / "outside")
    shutil.copytree(small_run, runs / "own")
    (runs / "own" / "report.json").unlink()
    (runs / "own" / "report.json").symlink_to("/etc/passwd")
    folders = Folders([runs])
    assert list(folders.runs().values()) == [runs / "own"]
    (row,) = Listing(folders).rows()
    assert "report.json: cannot be read" in row["problem"]
    for name in ("report.json", "../outside/report.json", "recipe.yaml", "/etc/passwd"):
        with pytest.raises(InputError, match="no such file"):
            served_file(runs / "own", name)
    with pytest.raises(InputError, match="no such run"):
        folders.run("../../etc")
    with pytest.raises(InputError, match="no such folder"):
        Folders([tmp_path / "nothing"])


@pytest.mark.parametrize("text", ["[" * 100_000, "NaN", '{"a": Infinity}', "[1]", "", '"text"', "\x00"], ids=range(7))
def test_json_that_nobody_vouches_for(text, tmp_path):
    (tmp_path / "found.json").write_text(text)
    with pytest.raises(InputError, match=r"found\.json: found"):
        read_plain(tmp_path / "found.json")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputError, match=r"pipe\.json"):
        read_plain(tmp_path / "pipe.json")
