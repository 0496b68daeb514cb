"""The table of runs: read from folders alone, quickly, and whatever lies in them."""

import json
import os
import shutil
import time

import pytest

from burnish.errors import InputError
from burnish.studio.folders import Folders, served_file
from burnish.studio.listing import ALIVE, Listing, read_plain, state_of


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
    assert state["is"] == "running" and state["stages"] == [{"stage": "world_model", "share": 0.25, "left": 90.0}]
    os.utime(notes, (time.time() - ALIVE - 5,) * 2)
    assert state_of(run, False)["is"] == "stopped"
    notes.write_text(json.dumps({"seconds": 3, "share": 0}))
    assert state_of(run, False)["stages"][0] == {"stage": "world_model", "share": None, "left": None}
    notes.write_text('{"share": NaN}')
    assert state_of(run, True) == {"is": "done", "stages": [], "quiet": None}
    shutil.rmtree(run / ".partial")
    assert state_of(run, False)["is"] == "running", "between two stages"
    os.utime(run, (time.time() - ALIVE - 5,) * 2)
    assert state_of(run, False) == {"is": "stopped", "stages": [], "quiet": pytest.approx(ALIVE + 5, abs=2)}


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
