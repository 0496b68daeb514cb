"""A dataset is whole or not there: after kill -9, a full disk, a read-only place, an exception, Ctrl-C."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from burnish.data import STATE, Episode, read_dataset, write_dataset
from burnish.errors import InputError, RunError
from tests.data.support import INFO, make_episode

# One interpreter, forked before anything was written: each child is killed at another moment of the same write.
KILLED = """
import os, pathlib, signal, sys
from burnish.data import write_dataset
from tests.data.support import INFO, make_episode

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def stream(fatal):
    for index in range(30):
        if index == fatal:
            die()
        yield make_episode(300, seed=index, dim=30)

def in_place_of(owner, name, before):
    real = getattr(owner, name)
    def killed(*args, **options):
        if not before:
            real(*args, **options)
        die()
    setattr(owner, name, killed)

folder = pathlib.Path(sys.argv[1])
cases = {
    "at-the-start": lambda: None, "half-way": lambda: None,
    "flushing": lambda: in_place_of(os, "fsync", True),
    "renaming": lambda: in_place_of(pathlib.Path, "rename", True),
    "renamed": lambda: in_place_of(pathlib.Path, "rename", False),
}
fatal = {"at-the-start": 0, "half-way": 20}
for name, prepare in cases.items():
    child = os.fork()
    if child == 0:
        prepare()
        write_dataset(folder / name, stream(fatal.get(name)), INFO, shard_megabytes=0.5)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (name, status)
"""


def test_killed_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=True, cwd=Path(__file__).parents[2])
    for name in ("at-the-start", "half-way", "flushing", "renaming"):
        assert not (tmp_path / name).exists(), name
    assert read_dataset(tmp_path / "renamed").num_episodes == 30
    # What a killed write left behind does not stand in the way of the next one.
    write_dataset(tmp_path / "half-way", [make_episode()], INFO)
    assert read_dataset(tmp_path / "half-way").num_episodes == 1


def test_an_existing_path_is_refused_and_untouched(tmp_path: Path) -> None:
    write_dataset(tmp_path / "d", [make_episode(seed=1)], INFO)
    with pytest.raises(InputError, match="found an existing file or folder"):
        write_dataset(tmp_path / "d", [make_episode(seed=2)], INFO)
    assert read_dataset(tmp_path / "d").seeds == (1,)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="existing"):
        write_dataset(tmp_path / "dangling", [make_episode()], INFO)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunError, match=r"cannot be written to .*file/d: (Not a directory|File exists)"):
        write_dataset(tmp_path / "file" / "d", [make_episode()], INFO)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("moment", ["pages", "close", "json"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    targets = {"pages": (pq.ParquetWriter, "write_table"), "close": (pq.ParquetWriter, "close"),
               "json": (Path, "write_text")}  # fmt: skip
    monkeypatch.setattr(*targets[moment], full)
    with pytest.raises(RunError, match=r"cannot be written to .*d: No space left on device; nothing was left"):
        write_dataset(tmp_path / "d", (make_episode(500, seed=i, dim=40) for i in range(100)), INFO)
    gc.collect()
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


def test_a_really_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own refusal through pyarrow: every data file is a link to the device that is always full."""
    real = pq.ParquetWriter.__init__

    def full(self: pq.ParquetWriter, where: Path, *args: object, **options: object) -> None:
        where.symlink_to("/dev/full")
        real(self, where, *args, **options)

    monkeypatch.setattr(pq.ParquetWriter, "__init__", full)
    with pytest.raises(RunError, match=r"cannot be written to .*No space left on device"):
        write_dataset(tmp_path / "d", (make_episode(500, seed=i, dim=40) for i in range(100)), INFO)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError])
def test_an_exception_of_the_collector_passes_through(tmp_path: Path, error: type[BaseException]) -> None:
    def stream():
        yield make_episode()
        raise error("from the collector")

    with pytest.raises(error, match="from the collector"):
        write_dataset(tmp_path / "d", stream(), INFO)
    assert os.listdir(tmp_path) == []


def test_episodes_that_do_not_go_together(tmp_path: Path) -> None:
    other = make_episode()
    cases = {
        "episode 1, field 'observation.state': found shape": [make_episode(dim=3), make_episode(dim=4)],
        "episode 1, field 'action': found shape": [make_episode(actions=1), make_episode(actions=2)],
        "episode 1, field 'observation': found": [
            other,
            Episode({"observation.x": other.observation[STATE]}, other.action, other.success, "x", 0, "t"),
        ],
        "found no episode": [],
        "field 'observation': found no observation": [Episode({}, other.action, other.success, "x", 0, "t")],
    }
    for message, episodes in cases.items():
        with pytest.raises(InputError, match=message):
            write_dataset(tmp_path / "d", episodes, INFO)
        assert os.listdir(tmp_path) == []


def test_bad_episodes_are_refused_when_they_are_made() -> None:
    good = make_episode(4)

    def made(**changes: object) -> None:
        fields = {"observation": good.observation, "action": good.action, "success": good.success}
        Episode(**{**fields, "source": "x", "seed": 0, "task": "t", **changes})  # type: ignore[arg-type]

    state = good.observation[STATE]
    hole = state.copy()
    hole[2, 1] = np.nan
    cases = {
        "field 'observation.state': found a value that is not finite at frame 2": {"observation": {STATE: hole}},
        "field 'observation.state': found 3 frames, expected 4": {"observation": {STATE: state[:3]}},
        "field 'observation.state': found an array of float64": {"observation": {STATE: state.astype(np.float64)}},
        "field 'observation.state': found shape": {"observation": {STATE: state[:, 0]}},
        "field 'observation': found 'state'": {"observation": {"state": state}},
        "found 1 frames, expected at least 2": {"action": good.action[:1]},
        "field 'action': found shape": {"action": good.action[:, 0]},
        "field 'action': found list": {"action": good.action.tolist()},
        "field 'success': found an array of int64": {"success": good.success.astype(np.int64)},
        "field 'success': found 3 frames": {"success": good.success[:3]},
        "field 'task': found ''": {"task": ""},
        "field 'seed': found 1.5": {"seed": 1.5},
    }
    for message, changes in cases.items():
        with pytest.raises(InputError, match=message):
            made(**changes)
