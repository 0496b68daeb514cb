"""Run folders from elsewhere: links, files of the user's, damage of every kind."""

import contextlib
import hashlib
import json
import os
import random
import shutil

import pytest

from burnish.errors import BurnishError, InputError
from burnish.pipeline import Run, RunFolder
from burnish.pipeline.publishing import publish_stage
from burnish.storage import read_json, write_json
from tests.pipeline.fakes import Body, Settings, create, snapshot


def report(context):
    (context.folder / "report.html").write_text("page")
    (context.folder / "report.json").write_text("{}")
    (context.folder / "videos").mkdir(exist_ok=True)
    for number in range(2):
        (context.folder / f"videos/{number}.mp4").write_text("video")


def whole(folder, width=1, **options):
    """All stages of a small run."""
    with create(folder, **options) as run:
        run.check_places(["dataset", "gate/model", "report"])
        run.stage("dataset", Settings(), [], Body("data"))
        run.stage("gate/model", {"width": width}, ["dataset"], Body("model"))
        run.stage("report", {"width": width}, ["gate/model"], report)
        publish_stage(run, "report")


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "run"
    whole(folder)
    return folder


@pytest.fixture
def outside(tmp_path):
    """Somebody's folder, not to be changed: it looks like what Burnish would look for."""
    folder = tmp_path / "outside"
    for name in ("dataset", "policy", "data", "report"):
        (folder / name).mkdir(parents=True)
        (folder / name / "stage.json").write_text("{}")
    for name in ("package.json", "holiday.mp4", "0.mp4", "notes.txt", "out.txt", "resume.safetensors"):
        (folder / name).write_text("mine")
    return folder


def link(path, target):
    """Put a link in the place of what is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


PLACES = [
    *(".trash", ".partial", "videos", "dataset", "gate", "gate/model", "report"),
    *(".trash/policy", ".partial/dataset", "dataset/data", "gate/model/more"),
]
FILES = [
    *(".lock", "recipe.yaml", "manifest.json", "report.json", "report.html", ".published.json"),
    *("dataset/out.txt", "dataset/stage.json", "report/videos/0.mp4", ".partial/dataset.json", ".trash/x"),
]


@pytest.mark.parametrize("place", PLACES + FILES)
def test_a_link_is_named_before_anything_is_touched(run_folder, outside, tmp_path, place):
    link(run_folder / place, outside if place in PLACES else outside / "package.json")
    before = snapshot(tmp_path)
    for _ in range(2):
        for width in (1, 2):
            with pytest.raises(
                InputError, match=rf"run/{place}: this is a link, and .*; replace it by a copy .* again"
            ):
                whole(run_folder, width)
    # What a run notes of itself (recipe.yaml, manifest.json) it may have noted.
    notes = (run_folder / "recipe.yaml", run_folder / "manifest.json", run_folder / ".lock")
    assert snapshot(tmp_path, but=notes) == {p: was for p, was in before.items() if p not in map(str, notes)}
    (run_folder / place).unlink()  # as the message says
    if place != "recipe.yaml":
        whole(run_folder, 2)


def test_a_stage_that_was_moved_and_linked_back(run_folder, tmp_path):
    """Named while it is whole, and when it would have to be done again; then the run goes on."""
    shutil.move(run_folder / "report", tmp_path / "elsewhere")
    link(run_folder / "report", tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(InputError, match=r"run/report: this is a link"):
            whole(run_folder)
        (tmp_path / "elsewhere/stage.json").unlink(missing_ok=True)
    (run_folder / "report").unlink()
    whole(run_folder)
    assert (tmp_path / "elsewhere/report.html").exists()


def test_the_run_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    link(tmp_path / "run", tmp_path / "disk")
    whole(tmp_path / "run")
    assert (tmp_path / "disk/report.html").exists()
    link(tmp_path / "nowhere", tmp_path / "missing")
    with pytest.raises(InputError, match="a link to nowhere"):
        whole(tmp_path / "nowhere")


def test_the_users_own_files_stay(run_folder, outside, capfd):
    """Beside Burnish's own, in them, and under names that Burnish used once."""
    (run_folder / "videos/holiday.mp4").write_text("mine")
    (run_folder / "videos/1.mp4").write_text("my own cut")
    (run_folder / "notes").mkdir()
    (run_folder / "notes/stage.json").write_text("mine")
    (run_folder / "my-link").symlink_to(outside)
    (run_folder / "gate/model/remarks.txt").write_text("mine")
    before = snapshot(outside)

    def shorter(context):
        (context.folder / "report.html").write_text("page")

    with create(run_folder) as run:
        run.stage("gate/model", {"width": 2}, ["dataset"], Body("model"))
        run.stage("report", {}, [], shorter)
        for _ in range(2):
            publish_stage(run, "report")
    assert sorted(os.listdir(run_folder / "videos")) == ["1.mp4", "holiday.mp4"]
    assert (run_folder / "videos/1.mp4").read_text() == "my own cut"
    assert not (run_folder / "report.json").exists() and (run_folder / "report.html").exists()
    assert (run_folder / "notes/stage.json").read_text() == "mine" and snapshot(outside) == before
    assert (run_folder / "gate/model.kept1/remarks.txt").read_text() == "mine"
    assert "holds files of somebody else's; it is kept as" in capfd.readouterr().err
    with create(run_folder) as run:
        assert set(run.stages()) == {"dataset", "gate/model", "report"}


@pytest.mark.parametrize("stage", ["dataset", "gate/model"])
def test_a_folder_or_file_in_a_stages_place(tmp_path, stage, capfd):
    """A folder that no stage made is moved aside, with what is in it; a file is refused."""
    create(tmp_path / "run").close()
    (tmp_path / "run" / stage).mkdir(parents=True)
    (tmp_path / "run" / stage / "thesis.txt").write_text("mine")
    whole(tmp_path / "run")
    assert (tmp_path / f"run/{stage}.kept1/thesis.txt").read_text() == "mine"
    shutil.rmtree(tmp_path / "run" / stage)
    (tmp_path / "run" / stage).write_text("mine")
    with pytest.raises(InputError, match=f"run/{stage}: expected a folder of this run's, found a file; move it away"):
        whole(tmp_path / "run")


def test_a_list_of_published_files_is_not_believed(run_folder, outside):
    names = ["../outside/holiday.mp4", str(outside / "0.mp4"), "videos/../../outside/0.mp4", "", "x" * 5000, "\0"]
    before = snapshot(outside)
    mine = hashlib.sha256(b"mine").hexdigest()
    for content in ({name: mine for name in names}, [], {"a": 5}, "x"):
        write_json(run_folder / ".published.json", content)
        whole(run_folder)
        assert snapshot(outside) == before


@pytest.mark.parametrize("content", ['{"invocations": 5}', "[]", "{", "5", '{"a": 1}', '"\\ud800"', ""])
def test_a_history_that_cannot_be_read_is_kept_aside(run_folder, content, capfd):
    (run_folder / "manifest.json").write_text(content)
    for _ in range(2):
        whole(run_folder)
    assert (run_folder / "manifest.json.kept1").read_text() == content
    assert len(read_json(run_folder / "manifest.json")["invocations"]) == 2
    assert capfd.readouterr().err.count("this history of the run cannot be read; it is kept as") == 1


def test_odd_entries_of_the_history_are_kept(run_folder):
    odd = [5, {"time": None}, "\ud800"]
    (run_folder / "manifest.json").write_text(json.dumps({"invocations": odd, "created": 3}))
    whole(run_folder)
    assert read_json(run_folder / "manifest.json")["invocations"][:3] == odd


@pytest.mark.parametrize(
    "content",
    [
        *("", "5", "[]", "{", "seed: 1", "recipe: [a]\ntask: b\nseed: 0\nconfig: {}"),
        "recipe: world4rl\ntask: push-v3\nseed: true\nconfig: {}",
        "recipe: world4rl\ntask: push-v3\nseed: zero\nconfig: {}",
        "recipe: world4rl\ntask: push-v3\nseed: 0\nconfig: {a: 2020-01-01}",
        "recipe: world4rl\ntask: push-v3\nseed: 0\nconfig: &a {a: *a}",
        "recipe: !!python/object:os.system {}",
    ],
)
def test_a_recipe_that_cannot_be_read_is_named(run_folder, content):
    (run_folder / "recipe.yaml").write_text(content)
    with pytest.raises(InputError, match=r"recipe\.yaml: "):
        Run.open(run_folder)


def damaged_value(draw):
    return draw.choice([5, -1, 1e300, None, True, "x", [], {}, [[]], {"a": {}}, "\ud800", "../../outside/notes.txt"])


def spoil_json(path, draw):
    """Another value or another name somewhere in a JSON file."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return
    place = content
    while isinstance(place, dict | list) and place:
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if draw.random() < 0.5 or not isinstance(place[key], dict | list) or not place[key]:
            if isinstance(place, dict) and draw.random() < 0.3:
                place[str(damaged_value(draw))] = place.pop(key)
            else:
                place[key] = damaged_value(draw)
            break
        place = place[key]
    path.write_text(json.dumps(content))


def spoil(folder, outside, draw):
    """One piece of damage somewhere in a run folder."""
    paths = sorted(path for path in folder.rglob("*") if not path.is_symlink() and not path.is_fifo())
    path = draw.choice(paths)
    kind = draw.choice(["flip", "cut", "remove", "link", "json", "folder", "grow", "fifo", "partial"])
    if kind == "link":
        link(path, draw.choice([outside, outside / "notes.txt", outside / "nothing"]))
    elif kind == "remove":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif kind == "partial":
        shutil.copytree(folder / "dataset", folder / draw.choice([".partial", ".trash"]) / "gate-model", symlinks=True)
    elif path.is_dir():
        (path / "odd").write_text("odd")
    elif kind in ("folder", "fifo"):
        path.unlink()
        path.mkdir() if kind == "folder" else os.mkfifo(path)
    elif kind == "json":
        spoil_json(path, draw)
    else:
        content = bytearray(path.read_bytes())
        place = draw.randrange(len(content)) if content else 0
        if kind == "flip" and content:
            content[place] ^= 1 << draw.randrange(8)
        path.write_bytes({"cut": content[:place], "grow": content + b"\xff"}.get(kind, content))


@pytest.mark.parametrize("seed", range(12))
def test_random_damage(tmp_path, outside, seed, monkeypatch):
    """No error but those for the user, nothing outside changes, and what was not refused ends with the same result."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    draw = random.Random(seed)
    before = snapshot(outside)
    whole(tmp_path / "good")
    expected = {name: manifest["content"] for name, manifest in RunFolder(tmp_path / "good").stages().items()}
    ends = set()
    for number in range(20):
        folder = tmp_path / f"run{number}"
        shutil.copytree(tmp_path / "good", folder)
        for _ in range(draw.randint(1, 3)):
            spoil(folder, outside, draw)
        with contextlib.suppress(BurnishError):
            RunFolder(folder).seconds()
        try:
            whole(folder, verify=draw.random() < 0.5)
            assert {name: m["content"] for name, m in RunFolder(folder).stages().items()} == expected
            ends.add("mended")
        except BurnishError as error:
            assert str(folder) in str(error)
            ends.add("refused")
        assert snapshot(outside) == before
    assert {"mended", "refused"} <= ends
