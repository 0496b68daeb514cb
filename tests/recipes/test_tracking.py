"""What the stages of a run log reaches a tracker once, also over an interruption."""

import json
import sys
from typing import ClassVar

import pytest

from burnish.errors import InputError
from burnish.recipes import tracking
from burnish.recipes.tracking import STATE, Follower, Tracker, flat, rows, summary, tracked


class Kept(Tracker):
    """Keeps what it gets."""

    made: ClassVar[list["Kept"]] = []

    def __init__(self, name, settings, known):
        self.name, self.settings, self.id = name, settings, known or "first"
        self.rows, self.end = [], None
        self.made.append(self)

    def log(self, stage, step, values):
        self.rows.append((stage, step, values))

    def finish(self, summary):
        self.end = summary


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    monkeypatch.setitem(tracking.TRACKERS, "wandb", Kept)
    monkeypatch.setattr(Kept, "made", [])


def log(folder, *lines):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def test_a_run_that_goes_on_is_the_same_one(tmp_path):
    run = tmp_path / "mine"
    log(run / ".partial/gate/world_0/world_model", '{"step": 1, "loss": 0.5}')
    with tracked("wandb", run, {"seed": 0}):
        pass
    (first,) = Kept.made
    assert (first.name, first.rows) == ("mine", [("gate/world_0/world_model", 1, {"loss": 0.5})])
    log(run / ".partial/gate/world_0/world_model", '{"step": 2, "loss": 0.25}', '{"step": 3, "lo')
    (run / "gate/world_0").mkdir(parents=True)
    (run / ".partial/gate/world_0/world_model").rename(run / "gate/world_0/world_model")
    with tracked("wandb", run, {"seed": 0}):
        log(run / "refined", '{"step": 0, "eval/score": 1}')
    again = Kept.made[1]
    assert again.id == "first", "known from tracking.json"
    assert again.rows == [("gate/world_0/world_model", 2, {"loss": 0.25}), ("refined", 0, {"eval/score": 1.0})]
    assert json.loads((run / STATE).read_text())["seen"] == {"gate/world_0/world_model": 2, "refined": 0}


def test_what_was_rewound_is_not_said_twice(tmp_path):
    log(tmp_path / "refined", '{"step": 1, "x": 1}', '{"step": 2, "x": 2}')
    follower = Follower(Kept("", {}, None), tmp_path, {})
    follower.look()
    log(tmp_path / "refined", '{"step": 2, "x": 2}', '{"step": 3, "x": 3}')
    follower.look()
    assert [step for _, step, _ in follower.tracker.rows] == [1, 2, 3]


def test_a_tracker_that_fails_stops_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tracking, "EVERY", 0.01)
    monkeypatch.setattr(Kept, "log", lambda *given: 1 / 0)
    log(tmp_path / "refined", '{"step": 1, "x": 1}')
    with tracked("wandb", tmp_path, {}):
        pass
    assert "the tracker gave up: division by zero" in "".join(capsys.readouterr())


def test_a_tracker_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(InputError, match=r"needs the extra 'mlflow'"), tracked("mlflow", tmp_path, {}):
        pass


def test_what_the_report_says(tmp_path):
    assert summary(tmp_path) == {}
    policies = {"pretrained": {"success": {"rate": 0.5}}, "refined": {"return": {"mean": -2}}}
    (tmp_path / "report.json").write_text(json.dumps({"accepted": True, "policies": policies}))
    assert summary(tmp_path) == {"accepted": 1.0, "pretrained/success": 0.5, "refined/return": -2.0}


def test_lines_that_say_nothing(tmp_path):
    log(tmp_path, "[1]", "", '{"x": 1}', '{"step": 4, "x": "a"}', '{"step": 5, "x": 0.5}')
    assert list(rows(tmp_path / "metrics.jsonl")) == [(5, {"x": 0.5})]
    assert list(rows(tmp_path / "nothing.jsonl")) == []


def test_settings_by_their_dotted_names():
    assert dict(flat({"a": 1, "b": {"c": [2], "d": {"e": None}}})) == {"a": 1, "b.c": [2], "b.d.e": None}


def test_mlflow_itself(tmp_path, monkeypatch):
    """Its own store in a file; where MLflow is installed."""
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    log(tmp_path / "run/refined", '{"step": 1, "loss": 0.5}', '{"step": 2, "loss": 0.25}')
    with tracked("mlflow", tmp_path / "run", {"ppo": {"clip": 0.2}}):
        pass
    from mlflow.tracking import MlflowClient

    run = MlflowClient().get_run(json.loads((tmp_path / "run" / STATE).read_text())["id"])
    assert run.data.params == {"ppo.clip": "0.2"} and run.info.status == "FINISHED"
    history = MlflowClient().get_metric_history(run.info.run_id, "refined/loss")
    assert [(each.step, each.value) for each in history] == [(1, 0.5), (2, 0.25)]
