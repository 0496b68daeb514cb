"""Demonstrations, rollouts and play from folders of their own: who is cloned, who is judged, who only shows motion."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import burnish
from burnish.cli import main
from burnish.data import STATE, UNLABELLED, DatasetInfo, Episode, read_dataset, write_dataset
from burnish.errors import InputError
from burnish.recipes.own_data import OwnData
from burnish.recipes.runs import reopen
from burnish.rewards import RewardConfig
from tests.recipes.small_runs import WORLD4RL, flags, redone, stage_files


def point(
    folder: Path, toward: tuple[float, ...], task: str = "center", labelled: bool = True, length: int = 20
) -> Path:
    """Episodes in which a point is pushed toward the origin (1) or away from it (-1)."""
    generator, episodes = np.random.default_rng(len(toward)), []
    for sign in toward:
        position = generator.uniform(0.5, 1.0, 2) * generator.choice([-1.0, 1.0], 2)
        states, actions = [], []
        for _ in range(length):
            push = np.clip(-sign * position + generator.normal(0, 0.2, 2), -1, 1)
            states.append(position)
            actions.append(90 * push)
            position = position + 0.2 * push
        state = np.array(states, np.float32)
        success = np.linalg.norm(state, axis=1) < 0.2
        episodes.append(Episode({STATE: state}, np.array(actions, np.float32), success, "somebody", -1, task))
    write_dataset(folder, episodes, DatasetInfo(fps=20))
    if not labelled:
        unlabel(folder)
    return folder


def unlabel(folder: Path) -> None:
    """Take the column of success out, as in most people's data."""
    info = json.loads((folder / "meta/info.json").read_text())
    for name in ("next.success", "next.reward", "next.done"):
        info["features"].pop(name)
        for path in (folder / "data").rglob("*.parquet"):
            table = pq.read_table(path)
            pq.write_table(table.drop_columns([name]) if name in table.column_names else table, path)
    info.pop("burnish")
    (folder / "meta/info.json").write_text(json.dumps(info))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, list[str]]:
    root = tmp_path_factory.mktemp("several")
    return {
        "demonstrations": [str(point(root / "demos", (1,) * 4)), str(point(root / "more", (1,) * 3))],
        "rollouts": [str(point(root / "rollouts", (1, -1) * 6))],
        "play": [str(point(root / "play", (1, -1, -1), task="whatever", labelled=False, length=60))],
    }


def command(folders, out: Path, *more: str) -> list[str]:
    given = [word for role, paths in folders.items() for word in (f"--{role}", *paths)]
    return ["run", "world4rl", *given, "--preset", "tiny", "--threads", "1", "--out", str(out), *flags(WORLD4RL), *more]


def test_episodes_of_other_tasks_teach_the_world_model_alone(tmp_path):
    """What they succeed in is not this task's success."""
    pushed, pulled = (point(tmp_path / name, (1, -1, 1), task=name) for name in ("push", "pull"))
    episodes = [e for folder in (pushed, pulled) for e in read_dataset(folder).to_episodes()]
    write_dataset(tmp_path / "both", episodes, DatasetInfo(fps=20))
    own = OwnData.of(tmp_path / "both")
    chosen = own.read_task("pull", RewardConfig())
    assert chosen.sources == (UNLABELLED,) * 3 + ("somebody",) * 3 and chosen.tasks == ("push",) * 3 + ("pull",) * 3
    assert not bool(chosen.success[:60].any()) and torch.equal(chosen.success[60:], own.read().success[60:])
    assert chosen.num_judged == 3 and int(chosen.judged.episode_success.sum()) == 2
    assert own.read_task("pull", RewardConfig()).num_frames == own.read().num_frames == 120
    alone = OwnData.of(pulled).read_task("pull", RewardConfig())
    assert alone.sources == ("somebody",) * 3


def test_a_run_on_several_folders(folders, tmp_path):
    out = tmp_path / "run"
    short = {"world-model-training.steps": 30, "ensemble-training.steps": 20, "classifier-training.steps": 20}
    small = flags({**short, "pretraining.steps": 30, "refine.iterations": 2})
    assert main(command(folders, out, *small)) == 0
    data = read_dataset(out / "dataset")
    assert data.sources == ("expert",) * 7 + ("policy",) * 12 + (UNLABELLED,) * 3
    assert set(data.tasks) == {"center", "whatever"}
    report = json.loads((out / "report.json").read_text())
    assert report["task"] == "center"
    # Rollouts have both outcomes, ten of each at least being asked for: the back-test takes all that are judged.
    gate = json.loads((out / "accepted/gate.json").read_text())["back_test"]
    assert sum(gate[name] for name in ("both", "only_real", "only_imagined", "neither")) == 19
    # An episode has failed after its own length, not after that of an hour of play.
    own = reopen(out).run.own
    assert own is not None and [folder.role for folder in own.folders] == ["demonstrations"] * 2 + ["rollouts", "play"]
    # From Python it is the same run: everything is there already.
    stages = stage_files(out)
    config = reopen(out).config
    again = burnish.run("world4rl", dataset={**folders, "play": folders["play"][0]}, out=out, preset=config)
    assert again["task"] == "center" and not redone(stages, stage_files(out))
    # Again: nothing to do; the folders' order and roles are part of what was read.
    before = (out / "report.json").stat().st_mtime_ns
    assert main(["report", str(out), "--threads", "1"]) == 0
    assert (out / "report.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"demonstrations": [], "rollouts": []}, "--play alone, expected --demonstrations or --rollouts"),
        ({"rollouts": "play", "play": []}, "no column that says which rollouts succeed"),
        ({"dataset": "demonstrations"}, "--dataset beside folders with a role"),
    ],
)
def test_folders_that_cannot_be(folders, change, said, tmp_path, capsys):
    given = dict(folders)
    for role, value in change.items():
        given[role] = folders[value][:1] if isinstance(value, str) else value
    given = {role: paths for role, paths in given.items() if paths}
    assert main(command(given, tmp_path / "run", "--dry-run")) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_roles_that_are_none():
    with pytest.raises(
        InputError, match=r"found \['demos'\], expected a path, or paths by demonstrations, rollouts, play"
    ):
        burnish.run("world4rl", dataset={"demos": "somewhere"})


def test_labels_number_one_data_set(folders, tmp_path, capsys):
    more = ["--success-last-frames", "3", "--failed-episodes", "1", "--dry-run"]
    assert main(command(folders, tmp_path / "run", *more)) == 2
    assert "number the episodes of one data set" in capsys.readouterr().err
