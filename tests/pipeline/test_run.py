import contextlib
import errno
import os
import random
import re
import shutil
import signal
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest

from burnish.config import load_yaml
from burnish.errors import InputError, RunError
from burnish.pipeline import Run
from burnish.pipeline.run_folder import read_settings
from burnish.storage import load_state, read_json, save_state, write_json


@dataclass(frozen=True)
class Settings:
    start: int = 1
    steps: int = 12


def create(folder, config=None, seed=0, task="push-v3", recipe="world4rl"):
    return Run.create(folder, recipe, task, seed, config or Settings())


class Body:
    """Writes one file, and counts its calls."""

    def __init__(self, text="text", outputs=None):
        self.calls = 0
        self.text = text
        self.outputs = outputs

    def __call__(self, context):
        self.calls += 1
        text = self.text + "".join((path / "out.txt").read_text() for path in context.inputs.values())
        (context.folder / "out.txt").write_text(text)
        return self.outputs


# --- the folder -------------------------------------------------------------------------------------------------------


def test_a_new_folder_describes_itself(tmp_path):
    with create(tmp_path / "a" / "run") as run:
        assert (run.recipe, run.task, run.seed) == ("world4rl", "push-v3", 0)
    assert load_yaml(tmp_path / "a/run/recipe.yaml") == {
        "recipe": "world4rl",
        "task": "push-v3",
        "seed": 0,
        "config": {"start": 1, "steps": 12},
    }
    with Run.open(tmp_path / "a/run", device="cuda") as run:
        assert run.config == {"start": 1, "steps": 12}
    manifest = read_json(tmp_path / "a/run/manifest.json")
    assert [entry["device"] for entry in manifest["invocations"]] == ["cpu", "cuda"]
    assert manifest["schema"] == 1 and {"burnish", "torch", "python"} <= set(manifest["versions"])


@pytest.mark.parametrize(("name", "value"), [("seed", 1), ("task", "door-open-v3"), ("recipe", "diwa")])
def test_another_run_is_refused(tmp_path, name, value):
    create(tmp_path).close()
    before = (tmp_path / "recipe.yaml").read_bytes()
    with pytest.raises(InputError, match=rf"this run has {name} .*{value!r}; use another --out"):
        create(tmp_path, **{name: value})
    assert (tmp_path / "recipe.yaml").read_bytes() == before


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"not a run folder and not empty \(it holds 'notes\.txt'\)"):
        create(tmp_path)
    assert os.listdir(tmp_path) == ["notes.txt"]
    with pytest.raises(InputError, match="found a file"):
        create(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="not a run folder"):
        Run.open(tmp_path)


def test_a_damaged_recipe_is_named(tmp_path):
    create(tmp_path).close()
    (tmp_path / "recipe.yaml").write_text("recipe: world4rl\ntask: push-v3\nseed: zero\nconfig: {}\n")
    with pytest.raises(InputError, match=r"recipe\.yaml: field 'seed' is missing or wrong, found 'zero'"):
        read_settings(tmp_path)


def test_only_one_process_works_on_a_run(tmp_path):
    with create(tmp_path), pytest.raises(RunError, match="another process is working on this run"):
        create(tmp_path)
    create(tmp_path).close()


def test_the_lock_ends_with_its_process_even_if_a_worker_survives(tmp_path):
    def hold():
        create(tmp_path)
        if os.fork() == 0:
            time.sleep(20)  # an orphaned worker
            os._exit(0)
        (tmp_path / "locked").touch()
        time.sleep(20)

    with forked(hold) as pid:
        wait_for(tmp_path / "locked")
        (tmp_path / "locked").unlink()
        with pytest.raises(RunError, match="another process"):
            create(tmp_path)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    create(tmp_path).close()


# --- stages -----------------------------------------------------------------------------------------------------------


def test_a_stage_is_done_once(tmp_path):
    first, second = Body("a", {"episodes": 3}), Body("b")
    for _ in range(3):
        with create(tmp_path) as run:
            run.stage("dataset", Settings(), [], first)
            folder = run.stage("model", {"width": 2}, ["dataset"], second)
            assert (folder / "out.txt").read_text() == "ba"
            assert run.is_done("model", {"width": 2}, ["dataset"])
            assert not run.is_done("model", {"width": 3}, ["dataset"])
            info = run.stage_info("dataset")
            assert info["outputs"] == {"episodes": 3} and info["config"] == {"start": 1, "steps": 12}
            assert list(run.seconds()) == ["dataset", "model"]
    assert (first.calls, second.calls) == (1, 1)
    assert sorted(os.listdir(tmp_path)) == [".lock", "dataset", "manifest.json", "model", "recipe.yaml"]


def test_a_change_redoes_what_it_touches(tmp_path):
    first, second, other = Body("a"), Body("b"), Body("c")

    def do(start, width, version=1):
        with create(tmp_path, Settings(start)) as run:
            run.stage("dataset", Settings(start), [], first)
            run.stage("other", {}, [], other)
            run.stage("model", {"width": width}, ["dataset"], second, version=version)
        return first.calls, second.calls, other.calls

    assert do(1, 2) == (1, 1, 1)
    assert do(1, 3) == (1, 2, 1)
    assert do(2, 3) == (2, 3, 1)
    assert do(2, 3, version=2) == (2, 4, 1)
    assert do(2, 3, version=2) == (2, 4, 1)


@pytest.mark.parametrize("damage", ["remove", "truncate", "manifest"])
def test_a_damaged_result_is_done_again(tmp_path, damage):
    body = Body()
    with create(tmp_path) as run:
        folder = run.stage("dataset", {}, [], body)
        if damage == "remove":
            (folder / "out.txt").unlink()
        elif damage == "truncate":
            (folder / "out.txt").write_text("")
        else:
            (folder / "stage.json").write_text("{")
        run.stage("dataset", {}, [], body)
        assert body.calls == 2 and (folder / "out.txt").read_text() == "text"


def test_an_input_must_be_done(tmp_path):
    with create(tmp_path) as run, pytest.raises(InputError, match="dataset: this stage is not done yet"):
        run.stage("model", {}, ["dataset"], Body())


def test_an_external_input_counts_by_its_content(tmp_path):
    data = tmp_path / "data"
    (data / "meta").mkdir(parents=True)
    (data / "out.txt").write_text("one")
    body = Body()

    def do():
        with create(tmp_path / "run") as run:
            run.external_input("dataset", data)
            assert run.stage("model", {}, ["dataset"], body) == tmp_path / "run" / "model"
        return body.calls

    assert (do(), do()) == (1, 1)
    os.utime(data / "out.txt", (0, 0))
    assert do() == 1
    (data / "out.txt").write_text("two")
    assert do() == 2
    (data / "meta" / "more.json").write_text("")
    assert do() == 3
    with create(tmp_path / "run") as run, pytest.raises(InputError, match="no such file or folder"):
        run.external_input("dataset", tmp_path / "none")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("bug"), RunError("diverged")])
def test_a_failed_stage_resumes_where_it_stopped(tmp_path, error):
    def fail(context):
        context.record("simulator_steps", 5)
        (context.folder / "half.txt").write_text("half")
        time.sleep(0.05)
        raise error

    def finish(context):
        assert (context.folder / "half.txt").read_text() == "half"
        assert context.outputs == {"simulator_steps": 5}
        context.record("simulator_steps", context.outputs["simulator_steps"] + 2)
        assert context.seconds_before >= 0.05

    with create(tmp_path) as run:
        with pytest.raises(type(error)):
            run.stage("dataset", {}, [], fail)
        assert not (tmp_path / "dataset").exists()
        run.stage("dataset", {}, [], finish)
        assert run.stage_info("dataset")["outputs"] == {"simulator_steps": 7}
        assert run.seconds()["dataset"] >= 0.05


def test_work_of_other_settings_is_not_resumed(tmp_path):
    def fail(context):
        (context.folder / "half.txt").write_text("half")
        raise RunError("stop")

    with create(tmp_path) as run:
        with pytest.raises(RunError):
            run.stage("dataset", {"a": 1}, [], fail)
        folder = run.stage("dataset", {"a": 2}, [], Body())
        assert sorted(os.listdir(folder)) == ["out.txt", "stage.json"]


def test_what_a_part_records_has_its_name(tmp_path):
    """A part works in a folder of its own; parts of parts, too; the stage keeps one list of what was recorded."""

    def body(context):
        context.record("count", 1)
        for name in ("a", "b"):
            part = context.part(name)
            (part.folder / "out.txt").write_text(name)
            part.record("count", 2)
            part.part("inner").record("count", 3)
            assert part.inputs == context.inputs and part.outputs == context.outputs
        assert not (context.folder / "out.txt").exists()

    with create(tmp_path) as run:
        folder = run.stage("worlds", {}, [], body)
        expected = {"count": 1, "a/count": 2, "a/inner/count": 3, "b/count": 2, "b/inner/count": 3}
        assert run.stage_info("worlds")["outputs"] == expected
    assert [(folder / name / "out.txt").read_text() for name in ("a", "b")] == ["a", "b"]
    assert (folder / "a/inner").is_dir() and not (folder / "inner").exists()


def test_a_finished_part_is_not_done_again(tmp_path):
    """The second attempt finds the first part done, and the second part's checkpoint where it was left."""
    calls = []

    def train(name, fails=False):
        def body(part):
            calls.append((name, (part.folder / "resume.safetensors").exists()))
            (part.folder / "resume.safetensors").write_text("checkpoint")
            if fails:
                raise RunError("stop")
            (part.folder / "out.txt").write_text(name)

        return body

    def work(fails):
        def body(context):
            for world in ("one", "two"):
                part = context.part(world)
                part.once("model", train(world, fails and world == "two"))
                part.once("judge", train(f"{world}'s judge"))
                assert not (part.folder / "model/resume.safetensors").exists()

        return body

    with create(tmp_path) as run:
        with pytest.raises(RunError):
            run.stage("worlds", {}, [], work(fails=True))
        folder = run.stage("worlds", {}, [], work(fails=False))
        done = [f"{world}/{part}/done" for world in ("one", "two") for part in ("model", "judge")]
        assert run.stage_info("worlds")["outputs"] == dict.fromkeys(done, True)
    assert calls == [("one", False), ("one's judge", False), ("two", False), ("two", True), ("two's judge", False)]
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "one/judge/out.txt",
        "one/model/out.txt",
        "stage.json",
        "two/judge/out.txt",
        "two/model/out.txt",
    ]


def test_parts_of_other_settings_are_done_again(tmp_path):
    """Another identity of the stage: neither the notes nor the folder of the earlier attempt are believed."""
    calls = []

    def work(context):
        context.once("model", lambda part: calls.append(sorted(os.listdir(part.folder))))
        if len(calls) == 1:
            raise RunError("stop")

    with create(tmp_path) as run:
        with pytest.raises(RunError):
            run.stage("worlds", {"a": 1}, [], work)
        run.stage("worlds", {"a": 2}, [], work)
    assert calls == [[], []]


def test_a_failed_redo_keeps_the_earlier_result(tmp_path):
    def fail(context):
        raise OSError(errno.ENOSPC, "No space left on device", "x.bin")

    with create(tmp_path) as run:
        run.stage("dataset", {"a": 1}, [], Body())
        with pytest.raises(RunError, match=r"x\.bin: the disk is full"):
            run.stage("dataset", {"a": 2}, [], fail)
        assert run.is_done("dataset", {"a": 1}, [])


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


# --- kill -9 ----------------------------------------------------------------------------------------------------------


def checkpointed(context):
    """Work in steps that depend on each other, with a checkpoint now and then."""
    settings, checkpoint = context.settings, context.folder / "resume.safetensors"
    state = load_state(checkpoint) if checkpoint.exists() else {"value": settings.start, "step": 0}
    with context.progress(settings.steps, initial=state["step"]) as progress:
        while state["step"] < settings.steps:
            inputs = sum(int((path / "value.txt").read_text()) for path in context.inputs.values())
            state = {"value": (state["value"] * 31 + inputs + state["step"]) % 1_000_003, "step": state["step"] + 1}
            if state["step"] % 3 == 0:
                save_state(checkpoint, state)
            time.sleep(context.pause)
            progress.update()
    (context.folder / "value.txt").write_text(str(state["value"]))
    checkpoint.unlink()


def two_stages(folder, settings, pause=0.0):
    def body(context):
        context.settings, context.pause = settings, pause
        checkpointed(context)

    with create(folder, settings) as run:
        run.stage("dataset", settings, [], body)
        run.stage("model", settings, ["dataset"], body)


def results(folder):
    """Everything that the result consists of; times differ from run to run."""
    found = {}
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock"):
        name = path.relative_to(folder).as_posix()
        found[name] = None if name == "manifest.json" else path.read_bytes()
        if path.name == "stage.json":
            manifest = read_json(path)
            found[name] = {key: manifest[key] for key in ("identity", "config", "inputs", "content", "files")}
    return found


class forked:
    """A child process that runs a function; killed at the end."""

    def __init__(self, function):
        self.function = function

    def __enter__(self):
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                # Its own group, so that its orphans can be found and ended.
                os.setpgid(0, 0)
                self.function()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        return self.pid

    def __exit__(self, *exception):
        for end in (lambda: os.killpg(self.pid, signal.SIGKILL), lambda: os.waitpid(self.pid, 0)):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                end()


def run_forked(function):
    with forked(function) as pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_for(path, seconds=10.0):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.01)


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
    """The old result is already moved away, the new one not yet in place."""
    two_stages(tmp_path / "run", Settings(1, 3))
    (tmp_path / "run/.trash").mkdir()
    os.replace(tmp_path / "run/dataset", tmp_path / "run/.trash/dataset")
    # Without a complete new result the old one comes back ...
    create(tmp_path / "run", Settings(1, 3)).close()
    assert (tmp_path / "run/dataset/value.txt").exists() and not (tmp_path / "run/.trash").exists()
    # ... and with one, that is moved into place.
    (tmp_path / "run/.trash").mkdir()
    (tmp_path / "run/.partial").mkdir()
    os.replace(tmp_path / "run/dataset", tmp_path / "run/.partial/dataset")
    (tmp_path / "run/.trash/dataset").mkdir()
    write_json(tmp_path / "run/.trash/dataset/stage.json", {"identity": "old", "files": {}})
    with create(tmp_path / "run", Settings(1, 3)) as run:
        assert re.fullmatch("[0-9a-f]{64}", run.stage_info("dataset")["identity"])
    assert sorted(os.listdir(tmp_path / "run")) == [".lock", "dataset", "manifest.json", "model", "recipe.yaml"]
