"""Data sets in the studio: what is in them, and labels that `--labels` reads."""

import json
from dataclasses import replace

import numpy as np
import pytest

from burnish.data import IMAGINED, SuccessRule, read_dataset, write_dataset
from burnish.data.formats import ReadingRule
from burnish.data.inspection import inspect
from burnish.errors import InputError
from burnish.recipes.own_data import OwnData
from burnish.studio.datasets import DataSets
from burnish.studio.folders import Folders
from tests.recipes.small_runs import write_point_data


@pytest.fixture
def sets(tmp_path):
    folder = write_point_data(tmp_path / "points", episodes=4, length=9, strays=1, camera="top")
    (tmp_path / "runs").mkdir()
    return DataSets([folder], Folders([tmp_path / "runs"]), tmp_path / "out")


def test_what_is_in_it(sets, tmp_path):
    (listed,) = sets.listed(None)
    found = sets.summary(listed["id"])
    data = read_dataset(tmp_path / "points")
    assert listed["name"] == "points" and found["cameras"] == ["top"] and len(found["rows"]) == 4
    assert [row["success"] for row in found["rows"]] == data.episode_success.tolist()
    assert found["findings"] == json.loads(
        json.dumps(inspect(tmp_path / "points", ReadingRule()).to_json()["findings"])
    )
    episode = sets.episode(listed["id"], 2)
    assert np.allclose(episode["states"], data.observations["observation.state"][18:27].numpy(), atol=1e-5)
    assert episode["success"] == data.success[18:27].tolist()
    content, kind = sets.picture(listed["id"], 2, 3, "top")
    assert kind == "image/png" and content.startswith(b"\x89PNG")
    for wrong in (lambda: sets.episode(listed["id"], 4), lambda: sets.picture(listed["id"], 0, 9, "top"),
                  lambda: sets.picture(listed["id"], 0, 0, "../up"), lambda: sets.summary("nothing")):  # fmt: skip
        with pytest.raises(InputError):
            wrong()


def test_what_was_imagined_is_no_data(tmp_path):
    write_point_data(tmp_path / "points", episodes=3)
    data = read_dataset(tmp_path / "points")
    imagined = [replace(each, source=IMAGINED) for each in data.to_episodes()]
    write_dataset(tmp_path / "imagined", imagined, data.info)
    found = inspect(tmp_path / "imagined", ReadingRule())
    assert not found.usable and "3 of 3 episodes were imagined" in found.findings[0].text
    with pytest.raises(InputError, match="a world model imagined"):
        OwnData.with_roles({"rollouts": [tmp_path / "imagined"]}).read()


def test_labels_are_read_by_a_run(sets, tmp_path):
    key = sets.listed(None)[0]["id"]
    labels = [{"episode": 0, "success": True, "frame": 7}, {"episode": 1, "success": False, "frame": None},
              {"episode": 3, "success": True, "frame": 0}]  # fmt: skip
    saved = sets.save_labels(key, "first", json.dumps({"labels": labels}).encode())
    assert saved["labelled"] == 3 and saved["missing"] == 1
    assert sets.labels(key, "first")["labels"] == labels and sets.labels(key, "other") == {"labels": []}
    labels.append({"episode": 2, "success": False, "frame": None})
    saved = sets.save_labels(key, "first", json.dumps({"labels": labels}).encode())
    path = tmp_path / "out" / "labels" / "first.csv"
    assert path.read_text() == "episode,success,frame\n0,1,7\n1,0,\n2,0,\n3,1,0\n"
    assert saved["command"].endswith(f"--labels {path}")
    told = read_dataset(tmp_path / "points", SuccessRule(labels=path)).success.view(4, 9)
    assert told.sum(1).tolist() == [2, 0, 0, 9] and told[0, 7:].all()
    labels[0]["frame"] = None
    saved = sets.save_labels(key, "first", json.dumps({"labels": labels}).encode())
    assert path.read_text().startswith("episode,success\n0,1\n") and "--success-last-frames" in saved["command"]


@pytest.mark.parametrize(
    "labels",
    [None, [], [{}], [3], [{"episode": 9, "success": True}], [{"episode": 0, "success": 1}],
     [{"episode": 0, "success": True, "frame": 9}], [{"episode": 0, "success": False, "frame": 1}],
     [{"episode": 0, "success": True}, {"episode": 0, "success": True}]],
    ids=range(9),
)  # fmt: skip
def test_labels_that_are_none(labels, sets, tmp_path):
    with pytest.raises(InputError):
        sets.save_labels(sets.listed(None)[0]["id"], "wrong", json.dumps({"labels": labels}).encode())
    assert not (tmp_path / "out").exists()
