"""What a data set can and cannot support, and what is odd about its numbers: found where it is, not found elsewhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode, image_key, write_dataset
from burnish.data.formats import ReadingRule
from burnish.data.inspection import inspect
from burnish.data.prospects import prospects, require_prospects
from burnish.data.signals import signals
from burnish.errors import InputError
from burnish.recipes.data_commands import summary
from burnish.report.data_page import data_page
from tests.data.support import edit_info, edit_table

DATA = "data/chunk-000/file-000.parquet"


def episodes(count: int = 12, failures: int = 6, length: int = 40, seed: int = 0) -> list[Episode]:
    """Smooth motion of two joints that follow their targets three frames later, and a gripper that closes."""
    g, made = np.random.default_rng(seed), []
    for number in range(count):
        times = np.arange(length + 3) / 10
        path = np.stack([np.sin(times + g.uniform(0, 6)), np.cos(0.7 * times + g.uniform(0, 6))], 1)
        closed = (np.arange(length) > length // 2).astype(float)
        state = np.column_stack([path[:length], closed]).astype(np.float32)
        action = np.column_stack([path[3:], closed]).astype(np.float32)
        success = (np.arange(length) >= length - 4) & (number >= failures)
        made.append(Episode({STATE: state}, action, success, "expert" if number % 2 else "policy", -1, "t"))
    return made


def dataset(made: list[Episode], **info: object) -> Dataset:
    return Dataset.from_episodes(made, DatasetInfo(fps=10, **info))


def codes(findings) -> dict[str, str]:
    return {each.code: each.text for each in findings}


def test_good_data_say_little():
    found = codes([*prospects(dataset(episodes())), *signals(dataset(episodes()))])
    assert set(found) == {"action-targets", "binary-action", "binary-state", "lag"}
    assert "there 3 frames (0.30 s) later" in found["lag"]


@pytest.mark.parametrize("made, code, said", [
    (episodes(1, 0), "one-episode", "at least 2"),
    (episodes(12, 12), "no-success", "--success-above NAME=VALUE"),
    (episodes(12, 0), "no-failures", "0 by definition"),
    (episodes(12, 2), "few-outcomes", "2 failures among 12"),
    (episodes(6, 3), "few-episodes", "6 episodes are few"),
    (episodes(10, 5, 300), "long-episodes", "--stride 4"),
])  # fmt: skip
def test_prospects(made, code, said):
    assert said in codes(prospects(dataset(made)))[code]


def test_rewards_that_are_the_same_everywhere_teach_nothing():
    """Unless some episodes end by themselves: then a reward for every frame says to go on."""
    data = dataset(episodes(12, 12))
    earned = torch.ones(data.num_frames).index_fill_(0, data.starts, 0.0)
    ended = torch.zeros_like(data.success)
    assert "no-success" in codes(prospects(replace(data, reward=earned, terminated=ended)))
    varied = earned.clone().index_fill_(0, data.starts + 3, 2.0)
    assert "rewards-only" in codes(prospects(replace(data, reward=varied, terminated=ended)))
    ended[39] = True
    assert "rewards-only" in codes(prospects(replace(data, reward=earned, terminated=ended)))


def test_pictures_without_a_state(tmp_path):
    made = [replace(e, observation={image_key("top"): np.zeros((len(e), 8, 8, 3), np.uint8)}) for e in episodes()]
    write_dataset(tmp_path / "d", made, DatasetInfo(fps=10))
    found = inspect(tmp_path / "d", ReadingRule())
    facts = found.to_json()
    assert facts["state"] == [] and len(facts["action"]) == 3 and facts["cameras"] == ["top"] and facts["usable"]
    assert "--preset pixels" in codes(found.findings)["no-state"]
    assert "state of 0, action of 3" in summary(found)
    page = data_page(found)
    assert "Action: all" in page and "State: all" not in page


def test_actions_that_are_all_equal():
    data = dataset(episodes())
    still = replace(data, actions=torch.full_like(data.actions, 0.25))
    assert "--action-key" in codes(prospects(still))["constant-actions"]
    with pytest.raises(InputError, match="x: the action is the same in every frame"):
        require_prospects(still, "x")


def test_last_frames_longer_than_episodes():
    data = dataset(episodes(12, 0))
    data.success[:] = True
    with pytest.raises(InputError, match=r"x: --success-last-frames is 500, expected less than 40"):
        require_prospects(data, "x", 500)
    with pytest.raises(InputError, match="every episode begins in success"):
        require_prospects(data, "x")
    data.success[:40] = False
    assert "11 of 12 episodes begin in success" in codes(prospects(data))["some-begin-in-success"]


def test_quaternions_that_flip():
    g = np.random.default_rng(0)
    data = dataset(episodes())
    turned = torch.linspace(0, 1, data.num_frames)
    quaternion = torch.stack([turned.cos(), turned.sin(), 0 * turned, 0 * turned], 1)
    states = torch.cat([data.observations[STATE][:, :2], quaternion], 1)
    data.observations[STATE] = states.contiguous()
    assert "quaternion-flips" not in codes(signals(data))
    flipped = np.flatnonzero(g.random(data.num_frames) < 0.3)
    states[flipped, 2:] *= -1
    assert "the quaternion 2, 3, 4, 5 flips its sign" in codes(signals(data))["quaternion-flips"]


def test_odd_numbers():
    data = dataset(episodes(), state_names=("a", "b", "grip"))
    data.observations[STATE][205:, 1] += 50  # episode 5, frame 5
    data.actions[:, 0] = (data.actions[:, 0] * 300).clamp(max=150)
    data.actions[:, 1] = 0.5
    found = codes(signals(data))
    assert "1 jumps in the state dimensions b (the first: episode 5, frame 5)" in found["jumps"]
    assert "0 (" in found["saturated"] and "reaches ±" in found["action-units"]
    assert found["constant-action"] == "action dimensions 1 never change"
    assert found["binary-state"] == "state dimensions grip have two values only"


def test_angles_that_wrap():
    data = dataset(episodes())
    angle = torch.arange(data.num_frames) * 0.02
    data.observations[STATE][:, 0] = (angle + torch.pi) % (2 * torch.pi) - torch.pi
    assert "angles that wrap around" in codes(signals(data))["jumps"]


def test_a_state_that_stands_still():
    data = dataset(episodes())
    data.observations[STATE][:] = data.observations[STATE][torch.arange(data.num_frames) // 3 * 3]
    assert "stands still in" in codes(signals(data))["frozen-state"]


def test_clocks():
    data = dataset(episodes(12, 6, 40))
    times = np.tile(np.arange(40) / 10, 12)
    assert not {"dropped-frames", "drift", "clock-back"} & set(codes(signals(data, times)))
    assert "episode 0: +2.0%" in codes(signals(data, times * 1.02))["drift"]
    late = times.copy()
    late[53:80] += 0.2
    assert "1 gaps in the timestamps, as of dropped frames (the first: episode 1, frame 13)" in codes(
        signals(data, late))["dropped-frames"]  # fmt: skip
    late[90] = late[91]
    assert "episode 2, frame 11" in codes(signals(data, late))["clock-back"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "d", episodes(), DatasetInfo(fps=10, state_names=("a", "b", "grip")))
    return tmp_path / "d"


def test_a_whole_look(root):
    found = inspect(root, ReadingRule())
    facts = found.to_json()
    assert found.usable and facts["episodes"] == 12 and facts["lengths"] == {"min": 40, "median": 40, "max": 40}
    assert facts["sources"] == {"policy": {"episodes": 6, "successes": 3}, "expert": {"episodes": 6, "successes": 3}}
    assert [each["kind"] for each in facts["state"]] == ["continuous", "continuous", "binary"]
    assert facts["state"][0]["max"] == pytest.approx(float(found.dataset.observations[STATE][:, 0].max()))


def test_tasks_that_change_within_an_episode(root):
    edit_table(root / DATA, "task_index", lambda values: [int(row % 40 > 14) for row in range(len(values))])
    tasks = root / "meta/tasks.parquet"
    table = pq.read_table(tasks).to_pydict()
    import pyarrow as pa

    pq.write_table(pa.table({"task_index": [0, 1], "__index_level_0__": [*table["__index_level_0__"], "u"]}), tasks)
    found = codes(inspect(root, ReadingRule()).findings)
    assert "within 12 of 12 episodes (the first is episode 0, at frame 15)" in found["read"]


def test_a_look_goes_on_where_a_run_stops(root):
    """Success that is not told, and bad episodes, are said beside everything else."""
    edit_table(root / DATA, "action", lambda values: [[float("nan"), 0.0, 0.0], *values[1:]])
    found = inspect(root, ReadingRule())
    assert not found.usable and found.dataset.num_episodes == 11
    assert "--skip-bad" in codes(found.findings)["bad-episodes"]
    assert inspect(root, ReadingRule(skip_bad=True)).usable
    edit_info(root, lambda info: info["features"].pop("next.success"))
    found = inspect(root, ReadingRule(skip_bad=True))
    assert not found.usable and "--success-last-frames" in codes(found.findings)["success"]
