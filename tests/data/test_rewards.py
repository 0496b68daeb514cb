"""Rewards and terminations beside success: on disk, in tensors, in windows and chunks, and data without success."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from burnish.data import Dataset, Episode, Windows, folds, in_chunks, read_dataset, require_outcomes, write_dataset
from burnish.errors import InputError
from tests.data.support import INFO, edit_info, edit_table, make_episode

DATA = "data/chunk-000/file-000.parquet"


def rewarded(reward: list[float], terminated: list[bool] | None = None, **settings: object) -> Episode:
    """An episode without success that earned `reward`."""
    episode = make_episode(len(reward), success_at=None, **settings)  # type: ignore[arg-type]
    ended = None if terminated is None else np.array(terminated)
    return replace(episode, reward=np.array(reward, np.float32), terminated=ended)


def two() -> Dataset:
    """Returns 3 and -1; the second ends by itself."""
    episodes = [rewarded([0, 1, 2], [False] * 3), rewarded([0, 0.5, 0.5, -2], [False, False, False, True], seed=1)]
    return Dataset.from_episodes(episodes, INFO)


def test_returns_by_hand() -> None:
    data = two()
    assert data.has_reward and not data.has_success
    assert data.episode_return.tolist() == [3.0, -1.0]
    assert data.subset([1]).episode_return.tolist() == [-1.0]
    assert data.to("cpu").terminated.tolist() == [False] * 6 + [True]


def test_on_disk_rewards_are_on_the_frame_before(tmp_path: Path) -> None:
    """As LeRobot has it; the last row has nothing to add."""
    write_dataset(tmp_path / "d", two().to_episodes(), INFO)
    table = pq.read_table(tmp_path / "d" / DATA).to_pydict()
    assert table["next.reward"] == [1, 2, 0, 0.5, 0.5, -2, 0]
    assert table["next.done"] == [False, False, False, False, False, True, True]
    found = read_dataset(tmp_path / "d")
    assert found.reward.tolist() == two().reward.tolist() and found.terminated.tolist() == two().terminated.tolist()
    assert not found.success.any()


def test_what_was_not_recorded_is_not_read(tmp_path: Path) -> None:
    """Other readers find success and the record's end there; to us they say nothing."""
    write_dataset(tmp_path / "d", [make_episode(4)], INFO)
    found = read_dataset(tmp_path / "d")
    assert found.reward is None and found.terminated is None
    with pytest.raises(InputError, match=r"next\.reward"):
        _ = found.episode_return


def test_other_peoples_last_reward_is_kept(tmp_path: Path) -> None:
    """The frame that the last action led to was not recorded; what it earned is the last recorded frame's."""
    write_dataset(tmp_path / "d", two().to_episodes(), INFO)
    edit_table(tmp_path / "d" / DATA, "next.reward", lambda _: [0, 0, 1, 0, 0, 1, 2])
    edit_info(tmp_path / "d", lambda info: info["features"].pop("next.success"))
    found = read_dataset(tmp_path / "d")
    assert found.reward.tolist() == [0, 0, 1, 0, 0, 0, 3] and found.episode_return.tolist() == [1, 3]
    edit_table(tmp_path / "d" / DATA, "next.reward", lambda _: [0, 0, 1, 0, float("nan"), 1, 2])
    with pytest.raises(InputError, match=r"episode 1, field 'next\.reward': found a value that is not finite"):
        read_dataset(tmp_path / "d")


def test_an_episode_earns_nothing_before_it_began() -> None:
    with pytest.raises(InputError, match=r"field 'reward': found 1\.0 at frame 0, expected 0"):
        rewarded([1, 0])
    with pytest.raises(InputError, match="field 'terminated': found an array of int64"):
        replace(make_episode(2), terminated=np.array([0, 1]))
    with pytest.raises(InputError, match="episode 1, field 'reward'"):
        Dataset.from_episodes([rewarded([0, 1]), make_episode(3)], INFO)


def test_there_must_be_something_to_learn_from() -> None:
    require_outcomes(two())
    require_outcomes(Dataset.from_episodes([make_episode(3)], INFO))
    with pytest.raises(InputError, match="a reward of 0 at every frame"):
        require_outcomes(Dataset.from_episodes([rewarded([0, 0])], INFO))
    with pytest.raises(InputError, match="without a single success"):
        require_outcomes(Dataset.from_episodes([make_episode(3, success_at=None)], INFO))


def test_windows_hold_rewards() -> None:
    """Padding earns nothing."""
    batch = Windows(two(), history=2, horizon=1).gather(torch.tensor([0, 5]))
    assert batch.reward.tolist() == [[0, 0, 1], [0.5, 0.5, -2]]
    assert batch.terminated.tolist() == [[False] * 3, [False, False, True]]


def test_a_chunk_earns_what_its_actions_do() -> None:
    """Frames 0, 2 and 1, 3 of an episode of four: nothing led to 1 there, and 1 and 2 led to 3."""
    chunked, order = in_chunks(two().subset([1]), 2)
    assert order.tolist() == [0, 2, 1, 3]
    assert chunked.reward.tolist() == [0, 1.0, 0, -1.5] and chunked.terminated.tolist() == [False, False, False, True]


def test_splits_share_out_good_and_bad_returns() -> None:
    """Ten returns: each fold has one above the median and one below, or on, it."""
    data = Dataset.from_episodes([rewarded([0, float(k)], seed=k) for k in range(10)], INFO)
    for _, held_out in [*folds(data, 5, seed=0), data.split(0.2, seed=1)]:
        assert (held_out.episode_return > 4).sum() == 1 and held_out.num_episodes == 2
