"""Run folders and their stages: what is done, what is done again and why, and what is resumed."""

import errno
import fcntl
import hashlib
import os
import shutil
import signal
import time

import pytest

from burnish.config import load_yaml
from burnish.errors import InputError, RunError
from burnish.pipeline import Run, RunFolder, progress
from burnish.pipeline.run_folder import read_settings
from burnish.storage import read_json
from burnish.training.resume import DamagedResume
from tests.pipeline.fakes import Body, Settings, create, forked, wait_for

# --- the folder -------------------------------------------------------------------------------------------------------


def test_a_new_folder_describes_itself(tmp_path):
    with create(tmp_path / "a" / "run") as run:
        assert (run.recipe, run.task, run.seed) == ("world4rl", "push-v3", 0)
    config = {"start": 1, "steps": 12}
    expected = {"recipe": "world4rl", "task": "push-v3", "seed": 0, "config": config}
    assert load_yaml(tmp_path / "a/run/recipe.yaml") == read_settings(tmp_path / "a/run") == expected
    with Run.open(tmp_path / "a/run", device="cuda") as run:
        assert run.config == config
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


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_without_locks_is_named(tmp_path, monkeypatch, number):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match=r"this file system cannot lock files \(.*use --out on another disk"):
        create(tmp_path / "run")


DAMAGED = "its stage.json is damaged or of another version of Burnish"

# --- what is done, and done again -------------------------------------------------------------------------------------


def test_a_stage_is_done_once(tmp_path):
    first, second = Body("a", {"episodes": 3}), Body("b")
    for _ in range(3):
        with create(tmp_path) as run:
            run.stage("dataset", Settings(), [], first)
            folder = run.stage("model", {"width": 2}, ["dataset"], second)
            assert (folder / "out.txt").read_text() == "ba"
            assert run.reason("model", {"width": 2}, ["dataset"]) is None
            assert run.reason("model", {"width": 3}, ["dataset"]) is not None
            info = run.stage_info("dataset")
            assert info["outputs"] == {"episodes": 3} and info["config"] == {"start": 1, "steps": 12}
            assert list(run.seconds()) == list(run.stages()) == ["dataset", "model"]
    assert (first.calls, second.calls) == (1, 1)
    assert sorted(os.listdir(tmp_path)) == [".lock", "dataset", "manifest.json", "model", "recipe.yaml"]


def test_a_change_redoes_what_it_touches(tmp_path):
    bodies = {name: Body(name) for name in ("dataset", "other", "model")}

    def do(start, width, version=1):
        bodies["dataset"].text = f"data {start // 10}"
        with create(tmp_path, Settings(start)) as run:
            run.stage("dataset", Settings(start), [], bodies["dataset"])
            run.stage("other", {}, [], bodies["other"])
            run.stage("model", {"width": width}, ["dataset"], bodies["model"], version=version)
        return [body.calls for body in bodies.values()]

    assert do(10, 2) == [1, 1, 1]
    assert do(10, 3) == [1, 1, 2]
    assert do(20, 3) == [2, 1, 3]
    assert do(21, 3) == [3, 1, 3], "what comes out the same does not redo what follows"
    assert do(21, 3, version=2) == [3, 1, 4]
    assert do(21, 3, version=2) == [3, 1, 4]


def test_the_content_is_the_result_alone(tmp_path):
    """Neither logs nor settings nor resume state count; a file of the result does."""

    def body(value, log):
        def work(context):
            (context.folder / "model.json").write_text(value)
            (context.folder / "metrics.jsonl").write_text(log)
            (context.folder / "tensorboard").mkdir()
            (context.folder / f"tensorboard/events.out.tfevents.{log}").write_text(log)
            for part in ("", "part"):
                (context.folder / part).mkdir(exist_ok=True)
                (context.folder / part / "resume.safetensors").write_text(log)

        return work

    contents = []
    for name, value, log in (("one", "a", "1"), ("two", "a", "2"), ("three", "b", "1")):
        with create(tmp_path / name) as run:
            folder = run.stage("model", {"log": log}, [], body(value, log))
            contents.append(run.stage_info("model")["content"])
        assert not list(folder.rglob("resume.safetensors"))
        assert len(list((folder / "tensorboard").iterdir())) == 1
        shutil.rmtree(folder / "tensorboard")  # anybody may
        assert RunFolder(tmp_path / name).reason("model", {"log": log}, []) is None
    assert contents[0] == contents[1] != contents[2]


def test_the_reason_is_told(tmp_path, capfd):
    config = {"ppo": {"gamma": 0.99, "hidden": (64, 64)}, "views": ({"name": "front"},), "seed": 0, "note": None}
    other = {"ppo": {"gamma": 0.9, "hidden": (64,)}, "views": ({"name": "top"},), "seed": 0.0, "clip": 0.2}
    with create(tmp_path) as run:
        run.stage("dataset", {"n": 1}, [], Body("one"))
        run.stage("model", config, ["dataset"], Body())
        stay = "; doing it again, and the earlier result stays until the new one is complete"
        changes = "ppo.gamma 0.99 -> 0.9, ppo.hidden [64, 64] -> [64], views.0.name front -> top and 2 more changed"
        assert run.reason("model", config, ["dataset"]) is None
        assert run.reason("model", other, ["dataset"]) == changes
        assert run.reason("model", {**config, "seed": False}, ["dataset"]) == "seed 0 -> False changed"
        assert run.reason("model", {**config, "seed": None}, ["dataset"]) == "seed 0 -> none changed"
        assert run.reason("model", config, ["dataset"], version=2) == "its code (version 1 -> 2) changed"
        assert run.reason("model", config, []) == "its inputs changed (dataset -> none)"
        assert run.reason("refined", config, ["model"]) == "not done yet"
        plan = run.plan([("dataset", {"n": 2}, [], 1), ("model", config, ["dataset"], 1)])
        assert plan == {
            "dataset": "n 1 -> 2 changed",
            "model": "it follows dataset, done before it, unless that comes out the same",
        }
        capfd.readouterr()
        run.stage("model", other, ["dataset"], Body())
        assert f"[burnish] model: {changes}{stay}\n" in capfd.readouterr().err
        run.stage("dataset", {"n": 2}, [], Body("two"))
        assert run.reason("model", other, ["dataset"]) == "its input dataset changed"
        assert "dataset: n 1 -> 2 changed" in capfd.readouterr().err


def test_a_plan_touches_nothing(tmp_path):
    assert RunFolder(tmp_path / "none").plan([("dataset", {}, [], 1), ("model", {}, ["dataset"], 1)]) == {
        "dataset": "not done yet",
        "model": "not done yet",
    }
    assert not (tmp_path / "none").exists() and RunFolder(tmp_path / "none").stages() == {}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "out.txt").unlink(), "its file out.txt is missing"),
        (lambda folder: (folder / "out.txt").write_text("tex"), "its file out.txt has 3 bytes, expected 4"),
        (lambda folder: (folder / "out.txt").write_text("next"), "its file out.txt was changed since it was written"),
        (
            lambda folder: (folder / "stage.json").write_text("{"),
            DAMAGED,
        ),
        (
            lambda folder: (folder / "stage.json").write_text("[]"),
            DAMAGED,
        ),
        (
            lambda folder: (folder / "stage.json").write_text((folder / "stage.json").read_text().replace("3", "4", 1)),
            DAMAGED,
        ),
        (lambda folder: (folder / "stage.json").unlink(), "it has no stage.json"),
    ],
)
def test_damage_is_found_and_named(tmp_path, capfd, damage, said):
    """The stage is done again; what follows is not, as it comes out the same."""
    body, after = Body(outputs={"n": 3}), Body()
    with create(tmp_path) as run:
        folder = run.stage("dataset", {"width": 3}, [], body)
        run.stage("model", {}, ["dataset"], after)
        damage(folder)
    with create(tmp_path) as run:
        with pytest.raises(InputError, match=rf"dataset: this stage must be done again \({said}"):
            run.stage_info("dataset")
        run.stage("dataset", {"width": 3}, [], body)
        run.stage("model", {}, ["dataset"], after)
        assert (body.calls, after.calls) == (2, 1) and (folder / "out.txt").read_text() == "text"
    assert f"[burnish] dataset: {said}; doing it again" in capfd.readouterr().err


def test_a_copied_run_is_up_to_date_and_damage_behind_old_times_is_found_on_request(tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr("burnish.pipeline.finished.hash_file", lambda path: hashed.append(path.name) or hash_file(path))
    body = Body()
    with create(tmp_path / "one") as run:
        run.stage("dataset", {}, [], body)
    shutil.copytree(tmp_path / "one", tmp_path / "two", copy_function=shutil.copy)  # new times
    for looks in (1, 0):
        hashed.clear()
        with create(tmp_path / "two") as run:
            run.stage("dataset", {}, [], body)
        assert hashed == ["out.txt"] * looks and body.calls == 1
    path = tmp_path / "two/dataset/out.txt"
    status = path.stat()
    path.write_text("next")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with create(tmp_path / "two") as run:
        run.stage("dataset", {}, [], body)
    assert body.calls == 1
    with create(tmp_path / "two", verify=True) as run:
        run.stage("dataset", {}, [], body)
    assert body.calls == 2 and path.read_text() == "text"


def hash_file(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_input_must_be_done(tmp_path):
    with create(tmp_path) as run, pytest.raises(InputError, match="dataset: not done yet; run it first"):
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


def test_nested_stages(tmp_path):
    """Folders in folders; unfinished ones lie beside each other."""
    seen = []

    def body(context):
        seen.append(context.folder.relative_to(tmp_path).as_posix())
        Body()(context)

    with create(tmp_path) as run:
        for name in ("gate/world_0/model", "gate/world_0/classifier", "gate/world_1", "gate_x"):
            run.stage(name, {}, [], body)
        folder = run.stage("gate/verdict", {}, ["gate/world_0/model", "gate/world_1"], body)
        assert folder == tmp_path / "gate/verdict" and (folder / "out.txt").read_text() == "text" * 3
        run.stage("gate/world_1", {"n": 2}, [], body)
        names = ["gate/world_0/model", "gate/world_0/classifier", "gate_x", "gate/verdict", "gate/world_1"]
        assert list(run.stages()) == list(run.seconds()) == names
        for name in ("gate", "gate/world_0"):
            with pytest.raises(InputError, match=f"{name}: other stages lie in this folder"):
                run.stage(name, {}, [], body)
        with pytest.raises(InputError, match="gate_x: this is a stage of its own, so 'gate_x/a' finds no place"):
            run.check_places(["gate/verdict", "gate_x/a"])
        for name in ("Gate", "gate//a", "gate/", "/gate", "gate/../a", "gate/.trash", "a.kept1"):
            with pytest.raises(ValueError, match="a stage name is lower case"):
                run.stage(name, {}, [], body)
    assert seen[:2] == [".partial/gate-world_0-model", ".partial/gate-world_0-classifier"]
    assert sorted(os.listdir(tmp_path)) == [".lock", "gate", "gate_x", "manifest.json", "recipe.yaml"]


# --- resuming ---------------------------------------------------------------------------------------------------------


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
            run.stage("gate/dataset", {}, [], fail)
        assert not (tmp_path / "gate").exists()
        run.stage("gate/dataset", {}, [], finish)
        assert run.stage_info("gate/dataset")["outputs"] == {"simulator_steps": 7}
        assert run.seconds()["gate/dataset"] >= 0.05


def test_work_of_other_settings_is_not_resumed(tmp_path):
    def fail(context):
        (context.folder / "half.txt").write_text("half")
        raise RunError("stop")

    with create(tmp_path) as run:
        with pytest.raises(RunError):
            run.stage("dataset", {"a": 1}, [], fail)
        folder = run.stage("dataset", {"a": 2}, [], Body())
        assert sorted(os.listdir(folder)) == ["out.txt", "stage.json"]


def test_a_failed_redo_keeps_the_earlier_result(tmp_path):
    def fail(context):
        raise OSError(errno.ENOSPC, "No space left on device", "x.bin")

    with create(tmp_path) as run:
        run.stage("dataset", {"a": 1}, [], Body())
        with pytest.raises(RunError, match=r"x\.bin: the disk is full"):
            run.stage("dataset", {"a": 2}, [], fail)
        assert run.reason("dataset", {"a": 1}, []) is None


def test_damaged_resume_state_costs_the_stage_not_the_run(tmp_path, capfd):
    def body(context):
        state = context.folder / "resume.safetensors"
        if state.exists():
            raise DamagedResume(f"{state}: the resume state is damaged (cut off)")
        state.write_text("state")
        if len(calls) == 0:
            calls.append(1)
            context.record("half", True)
            raise RunError("stop")
        assert context.outputs == {} and context.seconds_before == 0
        Body()(context)

    calls = []
    with create(tmp_path) as run:
        with pytest.raises(RunError, match="stop"):
            run.stage("dataset", {}, [], body)
        folder = run.stage("dataset", {}, [], body)
    assert sorted(os.listdir(folder)) == ["out.txt", "stage.json"]
    assert "the resume state is damaged (cut off); so this stage's work starts again" in capfd.readouterr().err


@pytest.mark.parametrize("notes", ["[]", '{"identity": 1, "seconds": "x", "outputs": 3}', "{", '"' + "x" * 9])
def test_notes_that_cannot_be_read_cost_the_stages_work(tmp_path, notes):
    def fail(context):
        (context.folder / "half.txt").write_text("half")
        raise RunError("stop")

    with create(tmp_path) as run:
        with pytest.raises(RunError):
            run.stage("dataset", {}, [], fail)
        (tmp_path / ".partial/dataset.json").write_text(notes)
        assert sorted(os.listdir(run.stage("dataset", {}, [], Body()))) == ["out.txt", "stage.json"]


def test_a_busy_machine_is_told_once(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(progress, "_warned", [])
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    with create(tmp_path) as run:
        for load, count in ((2.5, 0), (8.0, 1), (8.0, 1)):
            monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
            run.stage("dataset", {"load": load + count}, [], Body())
            assert len(progress._warned) == count
    error = capfd.readouterr().err
    assert error.count("this machine is busy (load 8.0 on 2 cores)") == 1 and "--threads 1 helps" in error
