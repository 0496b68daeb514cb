"""kill -9 at any moment: the same command again ends with the same result."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

from burnish.storage import load_state, read_json, save_state
from tests.pipeline.fakes import Body, Settings, create, forked, run_forked


def checkpointed(context, settings, pause):
    """Work in steps that depend on each other, with a checkpoint now and then."""
    checkpoint = context.folder / "resume.safetensors"
    state = load_state(checkpoint) if checkpoint.exists() else {"value": settings.start, "step": 0}
    with context.progress(settings.steps, initial=state["step"]) as progress:
        while state["step"] < settings.steps:
            inputs = sum(int((path / "value.txt").read_text()) for path in context.inputs.values())
            state = {"value": (state["value"] * 31 + inputs + state["step"]) % 1_000_003, "step": state["step"] + 1}
            if state["step"] % 3 == 0:
                save_state(checkpoint, state)
            time.sleep(pause)
            progress.update()
    (context.folder / "value.txt").write_text(str(state["value"]))


def two_stages(folder, settings, pause=0.0):
    with create(folder, settings) as run:
        run.stage("dataset", settings, [], lambda context: checkpointed(context, settings, pause))
        run.stage("gate/model", settings, ["dataset"], lambda context: checkpointed(context, settings, pause))


def results(folder):
    """Everything that the result consists of; times differ from run to run."""
    found = {}
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock"):
        name = path.relative_to(folder).as_posix()
        found[name] = None if name == "manifest.json" else path.read_bytes()
        if path.name == "stage.json":
            manifest = read_json(path)
            files = {file: noted["sha256"] for file, noted in manifest["files"].items()}
            found[name] = [files, *(manifest[key] for key in ("identity", "config", "inputs", "content"))]
    return found


def kill_at_operation(number):
    """Make the present process kill itself just before its `number`-th change to the disk."""
    count = 0

    def killing(function):
        def wrapped(*arguments, **keywords):
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **keywords)

        return wrapped

    for name in ("replace", "fsync", "unlink", "rmdir", "mkdir"):
        setattr(os, name, killing(getattr(os, name)))


def test_killed_before_any_operation_on_the_disk(tmp_path, monkeypatch):
    """An old result is replaced by one of new settings, with a kill -9 at every single step of the way."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # slow, and of no use against a kill
    old, new = Settings(1, 3), Settings(2, 6)
    two_stages(tmp_path / "old", old)
    two_stages(tmp_path / "whole", new)
    expected = results(tmp_path / "whole")
    assert not [name for name in expected if "resume" in name]
    number, code = 0, -signal.SIGKILL
    while code != 0:
        number += 1
        folder = tmp_path / f"run{number}"
        shutil.copytree(tmp_path / "old", folder)

        def interrupted(folder=folder, number=number):
            kill_at_operation(number)
            two_stages(folder, new)

        code = run_forked(interrupted)
        assert code in (0, -signal.SIGKILL)
        two_stages(folder, new)
        assert results(folder) == expected, f"killed before operation {number}"
    assert number > 50


def test_killed_again_and_again_at_random_moments(tmp_path):
    settings = Settings(5, 30)
    two_stages(tmp_path / "whole", settings)
    moments, kills = random.Random(0), 0
    while True:
        with forked(lambda: two_stages(tmp_path / "run", settings, pause=0.004)) as pid:
            end = time.monotonic() + moments.uniform(0.02, 0.2)
            finished = 0
            while time.monotonic() < end and not finished:
                finished, status = os.waitpid(pid, os.WNOHANG)
                time.sleep(0.002)
            if finished:
                assert os.waitstatus_to_exitcode(status) == 0
                break
            os.kill(pid, signal.SIGKILL)
            kills += 1
            assert kills < 200, "no progress between kills"
    assert kills >= 1
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_killed_between_the_renames(tmp_path):
    """The old result is already moved away, the new one not yet in place; nested names, too."""
    folder, settings = tmp_path / "run", Settings(1, 3)
    two_stages(folder, settings)
    (folder / ".trash").mkdir()
    os.replace(folder / "gate/model", folder / ".trash/gate-model")
    # Without a complete new result the old one comes back ...
    create(folder, settings).close()
    assert (folder / "gate/model/value.txt").exists() and not (folder / ".trash").exists()
    # ... and with one, that is moved into place.
    (folder / ".trash/gate-model").mkdir(parents=True)
    (folder / ".trash/gate-model/value.txt").write_text("old")
    (folder / ".partial").mkdir()
    os.replace(folder / "gate/model", folder / ".partial/gate-model")
    with create(folder, settings) as run:
        assert list(run.stages()) == ["dataset", "gate/model"]
    assert (folder / "gate/model/value.txt").read_text() != "old"
    assert sorted(os.listdir(folder)) == [".lock", "dataset", "gate", "manifest.json", "recipe.yaml"]


def test_a_complete_partial_folder_is_not_done_again(tmp_path):
    """Killed after the manifest was written, and with the resume state still there."""
    body = Body()

    def killed():
        import burnish.pipeline.run as module

        module.put_in_place = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
        with create(tmp_path) as run:
            run.stage("dataset", {}, [], body)

    assert run_forked(killed) == -signal.SIGKILL
    (tmp_path / ".partial/dataset/resume.safetensors").write_text("left")
    with create(tmp_path) as run:
        run.stage("dataset", {}, [], body)
    assert body.calls == 0 and sorted(os.listdir(tmp_path / "dataset")) == ["out.txt", "stage.json"]


def test_the_clock_survives_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr("burnish.pipeline.stages._SAVE_INTERVAL", 0.01)

    def work():
        def body(context):
            with context.progress(None) as progress:
                for _ in range(20):
                    time.sleep(0.01)
                    progress.update()
            os.kill(os.getpid(), signal.SIGKILL)

        with create(tmp_path) as run:
            run.stage("dataset", {}, [], body)

    assert run_forked(work) == -signal.SIGKILL
    with create(tmp_path) as run:
        run.stage("dataset", {}, [], Body())
        assert run.seconds()["dataset"] > 0.15
