"""What LeRobot opens is read: stale indices are counted anew and said; bad episodes are left out on request."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from burnish.data import STATE, DatasetInfo, read_dataset, write_dataset
from burnish.data.formats import ReadingRule, format_of
from burnish.errors import InputError
from tests.data.layouts import lerobot_v2, recorded
from tests.data.pictures import TOP, picture_episode
from tests.data.support import edit_info, edit_table, make_episode

EPISODES = "meta/episodes/chunk-000/file-000.parquet"
RECORDED = [make_episode(length, seed=length) for length in (40, 30, 50, 20, 35)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five episodes in several files."""
    write_dataset(tmp_path / "d", RECORDED, DatasetInfo(fps=10), shard_megabytes=0.005)
    assert len(list((tmp_path / "d/data").rglob("*.parquet"))) >= 2
    return tmp_path / "d"


def read(root: Path, **rule: object):
    return format_of(root).read(root, ReadingRule(**rule))


def assert_all(found) -> None:
    expected = np.concatenate([e.observation[STATE] for e in RECORDED])
    np.testing.assert_array_equal(found.observations[STATE].numpy(), expected)


def test_a_stale_file_index_is_found_by_looking(root):
    edit_table(root / EPISODES, "data/file_index", lambda values: [0, *values[:-1]])
    found = read(root)
    assert_all(found)
    assert len(found.info.notes) == 1 and "data/file_index is wrong for" in found.info.notes[0]


def test_scrambled_bounds_are_counted_anew(root):
    edit_table(root / EPISODES, "dataset_from_index", lambda values: values[::-1])
    edit_table(root / EPISODES, "dataset_to_index", lambda values: [v + 3 for v in values])
    found = read(root)
    assert_all(found)
    assert [note.split(": ")[1].split()[0] for note in found.info.notes] == ["dataset_from_index", "dataset_to_index"]


def test_rows_in_any_order(root):
    """Episodes swapped within a file, and their frames with them."""
    file = root / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    order = np.argsort(-table["episode_index"].to_numpy(), kind="stable")
    pq.write_table(table.take(order), file)
    assert_all(read(root))


@pytest.mark.parametrize("fps", [29.97, 30.0, 12.5])
def test_frame_rates(root, fps, tmp_path):
    edit_info(root, lambda info: info.update(fps=fps))
    found = read(root)
    assert found.info.fps == fps
    write_dataset(tmp_path / "again", found.to_episodes(), found.info)
    assert read_dataset(tmp_path / "again").info.fps == fps
    assert read(root, fps=15.0).info.fps == 15


def test_a_video_of_29_97(tmp_path):
    episodes = [picture_episode(length, length) for length in (6, 9)]
    write_dataset(tmp_path / "d", episodes, DatasetInfo(fps=29.97), pictures="video")
    found = read_dataset(tmp_path / "d")
    assert len(found.observations[TOP]) == 15
    error = found.observations[TOP].float() - torch.from_numpy(np.concatenate([e.observation[TOP] for e in episodes]))
    assert error.abs().mean() < 8


@pytest.mark.parametrize("key", ["observation.image", "image", "observation.images.top"])
def test_any_key_of_a_camera(tmp_path, key):
    episodes = [picture_episode(length, length) for length in (3, 4)]
    write_dataset(tmp_path / "d", episodes, DatasetInfo(fps=10), pictures="video")
    root = tmp_path / "d"
    if key != TOP:
        (root / "videos" / TOP).rename(root / "videos" / key)
        edit_info(root, lambda info: info["features"].update({key: info["features"].pop(TOP)}))
        table = pq.read_table(root / EPISODES)
        pq.write_table(table.rename_columns([name.replace(TOP, key) for name in table.column_names]), root / EPISODES)
    short = key.rpartition(".")[2]
    for name in (short, key):
        found = format_of(root).read(root, ReadingRule(), [name])
        assert found.observations[f"observation.images.{short}"].shape[0] == 7


def test_several_bad_episodes(root):
    """NaN in two, one without its last frame: the others are whole."""
    for file in sorted((root / "data").rglob("*.parquet")):
        table = pq.read_table(file)
        owners = table["episode_index"].to_pylist()
        if 3 in owners:
            edit_table(file, "action", lambda v, o=owners: [[float("nan"), 0.0] if e == 3 else a
                                                            for a, e in zip(v, o, strict=True)])  # fmt: skip
        if 1 in owners:
            last = max(row for row, owner in enumerate(owners) if owner == 1)
            keep = [row for row in range(len(owners)) if row != last]
            pq.write_table(pq.read_table(file).take(keep), file)
    with pytest.raises(InputError, match=r"episode 1, field 'length': found 29 frames, expected 30 .*--skip-bad"):
        read(root)
    found = read(root, skip_bad=True)
    assert found.lengths.tolist() == [40, 50, 35]
    assert found.info.notes[-3].startswith("2 of 5 episodes are bad")
    assert found.seeds == tuple(RECORDED[e].seed for e in (0, 2, 4))


def test_all_are_bad(root):
    for file in (root / "data").rglob("*.parquet"):
        edit_table(file, "action", lambda values: [[float("nan"), 0.0]] * len(values))
    with pytest.raises(InputError, match=r"all 5 episodes are bad; the first one: .*not finite"):
        read(root, skip_bad=True)


def test_pictures_of_a_bad_episode(tmp_path):
    """A video that ends early, with the whole episodes before it kept."""
    from tests.data.pictures import VIDEO, smooth_pictures
    from tests.data.test_pictures_bad_input import encode

    episodes = [picture_episode(length, length) for length in (4, 2, 5)]
    write_dataset(tmp_path / "d", episodes, DatasetInfo(fps=40), pictures="video")
    encode(tmp_path / "d" / VIDEO, smooth_pictures(9))
    with pytest.raises(InputError, match=r"episode 2.*the end of the video at frame 3.*--skip-bad"):
        format_of(tmp_path / "d").read(tmp_path / "d", ReadingRule(), None)
    found = format_of(tmp_path / "d").read(tmp_path / "d", ReadingRule(skip_bad=True), None)
    assert found.lengths.tolist() == [4, 2] and len(found.observations[TOP]) == 6


def test_v2_with_missing_episodes(tmp_path):
    episodes = recorded()
    root = lerobot_v2(tmp_path / "d", episodes)
    lines = (root / "meta/episodes.jsonl").read_text().splitlines()
    shutil.copytree(root, tmp_path / "short")
    (tmp_path / "short/meta/episodes.jsonl").write_text("\n".join([lines[0], lines[2]]))
    (root / "data/chunk-000/episode_000001.parquet").unlink()
    for path, said in (
        (root, "episode_000001.parquet: found no such file"),
        (tmp_path / "short", "episode 1.*found 0"),
    ):
        with pytest.raises(InputError, match=f"{said}.*--skip-bad"):
            read(path, success_last_frames=2)
        found = read(path, success_last_frames=2, skip_bad=True)
        np.testing.assert_array_equal(found.actions[:5].numpy(), episodes[0].action)
        np.testing.assert_array_equal(found.actions[5:].numpy(), episodes[2].action)


def test_v2_names_of_dimensions(tmp_path):
    found = read(lerobot_v2(tmp_path / "d", recorded()), success_last_frames=2)
    assert found.info.state_names == ("a", "b", "c") and found.info.robot_type == "arm"
