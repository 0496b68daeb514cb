"""What is written comes back, whatever the episodes and however many files."""

import json
import tempfile
import weakref
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.data import STATE, DatasetInfo, Episode, SuccessRule, read_dataset, require_successes, write_dataset
from burnish.errors import InputError
from tests.data.support import INFO, assert_same, edit_info, edit_table, episode_lists, make_episode

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(episodes=episode_lists(), shard_megabytes=st.sampled_from([100.0, 0.001, 1e-6]))
def test_round_trip_keeps_every_value(episodes: list[Episode], shard_megabytes: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "dataset"
        write_dataset(root, iter(episodes), INFO, shard_megabytes=shard_megabytes)
        others = [key for key in episodes[0].observation if key != STATE]
        dataset = read_dataset(root, other_observations=others)
        assert dataset.info == INFO
        assert dataset.num_episodes == len(episodes)
        if shard_megabytes == 1e-6:
            assert len(list(root.glob("data/*/*.parquet"))) == len(episodes)
            assert len(list(root.glob("meta/episodes/*/*.parquet"))) == len(episodes)
        for found, expected in zip(dataset.to_episodes(), episodes, strict=True):
            assert_same(found, expected)


def test_more_files_than_fit_in_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("burnish.data.parquet_shards.FILES_PER_CHUNK", 3)
    episodes = [make_episode(2, seed=index, dim=1, actions=1) for index in range(8)]
    write_dataset(tmp_path / "d", episodes, INFO, shard_megabytes=1e-6)
    assert (tmp_path / "d/data/chunk-002/file-001.parquet").is_file()
    assert len(list((tmp_path / "d").glob("data/*/*.parquet"))) == 8
    assert read_dataset(tmp_path / "d").seeds == tuple(range(8))


def test_columns_on_disk_by_hand(tmp_path: Path) -> None:
    first = make_episode(3, seed=7, success_at=1)
    second = make_episode(2, seed=8, success_at=0, task="hammer-v3", source="policy")
    write_dataset(tmp_path / "d", [first, second], INFO)
    table = pq.read_table(tmp_path / "d" / DATA).to_pydict()
    assert table["next.success"] == [True, True, True, True, True]
    assert table["next.reward"] == [1.0] * 5
    assert table["next.done"] == [False, False, True, False, True]
    assert table["frame_index"] == [0, 1, 2, 0, 1]
    assert table["episode_index"] == [0, 0, 0, 1, 1]
    assert table["index"] == [0, 1, 2, 3, 4]
    assert table["task_index"] == [0, 0, 0, 1, 1]
    assert table["timestamp"] == [0.0, *(pytest.approx(value) for value in (1 / 40, 2 / 40, 0.0, 1 / 40))]
    episodes = pq.read_table(tmp_path / "d" / EPISODES).to_pydict()
    assert episodes["dataset_from_index"] == [0, 3]
    assert episodes["dataset_to_index"] == [3, 5]
    assert episodes["tasks"] == [["drawer-open-v3"], ["hammer-v3"]]
    assert read_dataset(tmp_path / "d").success.tolist() == [False, True, True, True, True]


def test_statistics_are_those_of_all_frames(tmp_path: Path) -> None:
    episodes = [make_episode(length, seed=length, dim=2) for length in (2, 9, 30)]
    write_dataset(tmp_path / "d", episodes, INFO)
    stats = json.loads((tmp_path / "d/meta/stats.json").read_text())
    states = np.concatenate([episode.observation[STATE] for episode in episodes]).astype(np.float64)
    assert stats[STATE]["count"] == [41]
    assert stats[STATE]["min"] == states.min(0).tolist()
    assert stats[STATE]["max"] == states.max(0).tolist()
    np.testing.assert_allclose(stats[STATE]["mean"], states.mean(0), rtol=1e-12)
    np.testing.assert_allclose(stats[STATE]["std"], states.std(0), rtol=1e-12)
    assert stats["frame_index"]["max"] == [29]
    # 30 frames numbered from 0: the smallest with at least 10 % of the frames at or below it is the third.
    rows = pq.read_table(tmp_path / "d" / EPISODES).to_pylist()
    assert rows[2]["stats/frame_index/q10"] == [2.0]
    assert rows[2]["stats/frame_index/q50"] == [14.0]
    assert rows[2]["stats/frame_index/q99"] == [29.0]
    expected = (2 * 0.0 + 9 * 4.0 + 30 * 14.0) / 41  # the episodes' medians weighted by their lengths
    assert stats["frame_index"]["q50"] == [pytest.approx(expected)]


def test_episodes_are_consumed_one_at_a_time(tmp_path: Path) -> None:
    """The stream may be longer than the memory: the writer never asks for an episode before it stored the last."""
    given_out: list[weakref.ref[Episode]] = []

    def stream():
        for index in range(40):
            assert sum(each() is not None for each in given_out) <= 2, "episodes pile up in the writer"
            episode = make_episode(2000, seed=index, dim=40)
            given_out.append(weakref.ref(episode))
            yield episode
            del episode

    write_dataset(tmp_path / "d", stream(), INFO, shard_megabytes=2)
    assert read_dataset(tmp_path / "d").num_frames == 80_000


def test_first_success_is_not_lost_and_last_is_not_invented(tmp_path: Path) -> None:
    flags = [[True, False, False], [False, True, False], [False, False, True], [False, False, False]]
    episodes = [
        Episode(e.observation, e.action, np.array(flag), "x", 1, "t")
        for flag, e in ((flag, make_episode(3)) for flag in flags)
    ]
    write_dataset(tmp_path / "d", episodes, INFO)
    dataset = read_dataset(tmp_path / "d")
    assert dataset.success.reshape(4, 3).tolist() == flags
    assert dataset.episode_success.tolist() == [True, True, True, False]


def test_foreign_next_success_on_the_last_row_counts(tmp_path: Path) -> None:
    """Many datasets stop at the first success and show it only in the last row's next.success."""
    write_dataset(tmp_path / "d", [make_episode(4, success_at=None)], INFO)
    edit_table(tmp_path / "d" / DATA, "next.success", lambda _: [False, False, False, True])
    assert read_dataset(tmp_path / "d").success.tolist() == [False, False, False, True]


def test_success_rules(tmp_path: Path) -> None:
    root = tmp_path / "d"
    write_dataset(root, [make_episode(4, success_at=None), make_episode(3, success_at=None)], INFO)

    edit_table(root / DATA, "next.reward", lambda _: [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    rule = SuccessRule("next.reward", last_frames=2)
    assert read_dataset(root, rule).success.tolist() == [False, False, True, True, False, False, False]
    with pytest.raises(InputError, match="without a single success"):
        require_successes(read_dataset(root), root)
    with pytest.raises(InputError, match="field 'nothing'"):
        read_dataset(root, SuccessRule("nothing"))
    with pytest.raises(InputError, match="at least 1"):
        SuccessRule(last_frames=0)


def _add_close(root: Path) -> bool:
    """Rename next.done to a column of zeros with a name that says nothing of the next frame."""
    edit_info(root, lambda info: info["features"].update(is_close=info["features"].pop("next.done")))
    path = root / DATA
    table = pq.read_table(path)
    pq.write_table(table.rename_columns(["is_close" if name == "next.done" else name for name in table.schema.names]),
                   path)  # fmt: skip
    edit_table(path, "is_close", lambda values: [False] * len(values))
    return True


def test_an_aligned_column_is_not_shifted(tmp_path: Path) -> None:
    root = tmp_path / "d"
    write_dataset(root, [make_episode(4, success_at=None)], INFO)
    _add_close(root)
    edit_table(root / DATA, "is_close", lambda _: [False, True, False, False])
    assert read_dataset(root, SuccessRule("is_close")).success.tolist() == [False, True, False, False]


def test_demonstrations_without_any_success_column(tmp_path: Path) -> None:
    root = tmp_path / "d"
    write_dataset(root, [make_episode(4), make_episode(2)], INFO)
    edit_info(root, lambda info: info["features"].pop("next.success"))
    with pytest.raises(InputError, match=r"--success-column NAME.*--success-last-frames N") as caught:
        read_dataset(root)
    assert str(root) in str(caught.value)
    dataset = read_dataset(root, SuccessRule(last_frames=3))
    assert dataset.success.tolist() == [False, True, True, True, True, True]


def test_joined_and_chosen_columns(tmp_path: Path) -> None:
    base = make_episode(4, dim=2)
    grid = np.arange(24, dtype=np.float32).reshape(4, 2, 3) / 24
    episode = Episode({**base.observation, "observation.grid": grid}, base.action, base.success, "x", 0, "t")
    info = DatasetInfo(fps=10, state_names=("height", "angle"))
    write_dataset(tmp_path / "d", [episode], info)
    dataset = read_dataset(tmp_path / "d", state=[STATE, "observation.grid"], action="observation.grid")
    expected = np.concatenate([base.observation[STATE], grid.reshape(4, 6)], axis=1)
    assert torch.equal(dataset.observations[STATE], torch.from_numpy(expected))
    assert torch.equal(dataset.actions, torch.from_numpy(grid.reshape(4, 6)))
    assert list(dataset.observations) == [STATE]
    assert read_dataset(tmp_path / "d").info.state_names == ("height", "angle")
