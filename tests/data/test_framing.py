"""Pictures as cameras make them: resized and cropped while they are decoded, each once, where they are wanted."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from burnish.data import STATE, Episode, read_dataset, write_dataset
from burnish.data.arrays import ArraySource
from burnish.data.formats import ReadingRule, format_of
from burnish.data.framing import Framing, View
from burnish.data.lerobot_format import ColumnError
from burnish.data.mapped import MappedRows
from burnish.data.row_store import RowStore
from burnish.errors import InputError
from tests.data.layouts import WRITERS, recorded
from tests.data.pictures import TOP, VIDEO, picture_episode, smooth_pictures
from tests.data.support import INFO, edit_info

LENGTHS = (5, 9, 4)


def test_area_by_hand() -> None:
    picture = np.zeros((2, 4, 3), np.uint8)
    picture[..., 0] = [[0, 40, 100, 100], [80, 80, 100, 140]]
    assert View((1, 2)).apply(picture)[..., 0].tolist() == [[50, 110]]
    assert View((1, 1), (0, 2, 2, 2)).apply(picture)[..., 0].tolist() == [[110]]
    assert View(None, "centre").apply(picture)[..., 0].tolist() == [[40, 100], [80, 100]]
    assert View((2, 4)).apply(picture) is picture


def test_regions() -> None:
    assert View(None, "centre").region(480, 640) == (0, 80, 480, 480)
    assert View((64, 64), (10, 20, 30, 40)).shape(480, 640) == (64, 64)
    assert View().keeps(480, 640) and not View((64, 64)).keeps(480, 640)
    with pytest.raises(ColumnError, match=r"found pictures of 480 x 640, expected the region 460,0,30,40 in them"):
        View(None, (460, 0, 30, 40)).region(480, 640)
    framing = Framing.told(64, ("centre", "wrist=1,2,3,4"))
    assert framing.of("top") == View((64, 64), "centre") and framing.of("wrist") == View((64, 64), (1, 2, 3, 4))


@pytest.mark.parametrize("words", ["middle", "1,2,3", "1,2,0,4", "-1,2,3,4", "top=", "1,2,3,4.5", "1,2,3,99999999"])
def test_crops_that_are_none(words: str) -> None:
    with pytest.raises(InputError, match=r"--crop is .*expected centre, or TOP,LEFT,HEIGHT,WIDTH"):
        Framing.told(None, (words,))
    with pytest.raises(InputError, match="found two regions of top, expected one"):
        Framing.told(None, ("top=centre", "top=centre"))


@pytest.fixture(scope="module", params=["video", "image"])
def filmed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("filmed") / request.param
    episodes = [picture_episode(n, s, top=smooth_pictures(n, 96, 128, s)) for s, n in enumerate(LENGTHS)]
    write_dataset(root, episodes, INFO, pictures=request.param)
    return root


def mean_of_areas(pictures: np.ndarray, rows: int, columns: int) -> np.ndarray:
    frames, height, width, _ = pictures.shape
    return pictures.reshape(frames, rows, height // rows, columns, width // columns, 3).mean((2, 4))


def read(root: Path, store: RowStore | None = None, **rule: object) -> torch.Tensor:
    return format_of(root).read(root, ReadingRule(**rule), ["top"], store).observations[TOP]  # type: ignore[arg-type]


def test_pictures_are_means_of_areas(filmed: Path) -> None:
    whole = read(filmed).numpy()
    assert whole.shape == (18, 96, 128, 3)
    found = read(filmed, picture_size=32).numpy()
    # A video's colours are halved in size, and FFmpeg shrinks them as they are.
    error = np.abs(found - mean_of_areas(whole, 32, 32))
    assert error.mean() < 1.5 and error.max() <= 8
    found = read(filmed, picture_size=16, crop=("centre",)).numpy()
    error = np.abs(found - mean_of_areas(whole[:, :, 16:112], 16, 16))
    assert error.mean() < 1.5 and error.max() <= 8
    found = read(filmed, crop=("top=8,4,48,64",)).numpy()
    assert found.shape == (18, 48, 64, 3) and np.abs(found - whole[:, 8:56, 4:68].astype(int)).mean() < 1.5


def test_only_kept_frames_are_kept(filmed: Path) -> None:
    every = read(filmed, picture_size=32).numpy()
    found = read(filmed, picture_size=32, stride=4).numpy()
    # Episodes of 5, 9 and 4 frames: the last of four is too short for two.
    np.testing.assert_array_equal(found, every[[0, 4, 5, 9, 13]])


def test_pictures_go_where_they_are_wanted_and_nowhere_else(filmed: Path, tmp_path: Path) -> None:
    before = sorted(filmed.rglob("*"))
    found = read(filmed, RowStore(tmp_path / "kept"), picture_size=32)
    assert isinstance(found, MappedRows)
    (file,) = (tmp_path / "kept").iterdir()
    assert file.stat().st_size == 18 * 32 * 32 * 3 and file.read_bytes() == found.numpy().tobytes()
    assert sorted(filmed.rglob("*")) == before


def test_a_crop_outside_of_the_pictures(filmed: Path) -> None:
    with pytest.raises(InputError, match=rf"'{TOP}': found pictures of 96 x 128, expected the region 90,0,10,10 in"):
        read(filmed, crop=("90,0,10,10",))


def test_there_is_no_room(filmed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"found 0\.00 GB of free disk space, expected .*--picture-size"):
        read(filmed, RowStore(tmp_path / "kept"))
    assert not list((tmp_path / "kept").glob("*"))


def test_a_bad_picture_costs_its_episode_alone(tmp_path: Path) -> None:
    lengths = (4, 6, 5)
    episodes = [picture_episode(n, s, top=smooth_pictures(n, 32, 32, s)) for s, n in enumerate(lengths)]
    write_dataset(tmp_path / "d", episodes, INFO, pictures="video", shard_megabytes=1e-6)
    good = read(tmp_path / "d", picture_size=16).numpy()
    (tmp_path / "d" / VIDEO.replace("file-000", "file-001")).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"file-001.*--skip-bad leaves"):
        read(tmp_path / "d", picture_size=16)
    found = read(tmp_path / "d", RowStore(tmp_path / "kept"), picture_size=16, skip_bad=True)
    np.testing.assert_array_equal(found.numpy(), np.concatenate([good[:4], good[10:]]))
    assert isinstance(found, MappedRows)


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in ("lerobot", "lerobot-v2", "minari")])
def test_every_format_resizes(name: str, tmp_path: Path) -> None:
    episodes = recorded()
    path = WRITERS[name](tmp_path / "d", episodes)
    found = format_of(path).read(path, ReadingRule(success_last_frames=2, picture_size=2), None)
    (key,) = (key for key in found.observations if key.startswith("observation.images"))
    pictures = np.concatenate([each.pictures for each in episodes])
    height, width = pictures.shape[1:3]
    assert found.observations[key].shape == (len(pictures), 2, 2, 3)
    if height % 2 == width % 2 == 0:
        assert np.abs(found.observations[key].numpy() - mean_of_areas(pictures, 2, 2)).max() <= 1


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in ("lerobot", "lerobot-v2")])
@pytest.mark.parametrize("at_once", [1, 2 * 8 * 8 * 3, 5 * 8 * 8 * 3 + 1])
def test_pictures_are_read_some_at_a_time(name: str, at_once: int, tmp_path: Path, monkeypatch) -> None:
    """Whatever lies together in the files; they are the same, and none is left out where one is missing or too many."""
    episodes = recorded((5, 4, 11))
    path = WRITERS[name](tmp_path / "d", episodes)
    if name == "minari":
        with h5py.File(path / "data/main_data.hdf5", "r+") as file:
            for number, e in enumerate(episodes):
                pictures = np.concatenate([e.pictures, e.pictures[-1:]])
                file.create_dataset(f"episode_{number}/observations/top", data=pictures, chunks=(3, 8, 8, 3))
    monkeypatch.setattr(ArraySource, "at_once", at_once)
    rule = ReadingRule(success_last_frames=2, stride=2)
    found = format_of(path).read(path, rule, None)
    (key,) = (key for key in found.observations if key.startswith("observation.images"))
    kept = [e.pictures[(len(e.pictures) - 1) % 2 :: 2] for e in episodes]
    np.testing.assert_array_equal(found.observations[key].numpy(), np.concatenate(kept))


@pytest.mark.parametrize("count", [3, 6])
@pytest.mark.parametrize("kind", ["npz", "aloha"])
def test_as_many_pictures_as_frames(kind: str, count: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ArraySource, "at_once", 2 * 8 * 8 * 3)
    episodes = recorded((4, 4))
    path = WRITERS[kind](tmp_path / "d", episodes)
    pictures = np.zeros((count, 8, 8, 3), np.uint8)
    if kind == "npz":
        e = episodes[1]
        np.savez(path / "run_1.npz", state=e.state, actions=e.action, rewards=e.reward, front=pictures)
    else:
        with h5py.File(path / "episode_1.hdf5", "r+") as file:
            del file["observations/images/top"]
            file["observations/images/top"] = pictures
    with pytest.raises(InputError, match=rf"episode 1, field '.*': found {count} pictures, expected 4, one for each"):
        format_of(path).read(path, ReadingRule(success_last_frames=2), None)
    found = format_of(path).read(path, ReadingRule(success_last_frames=2, skip_bad=True), None)
    assert found.num_frames == 4


def test_large_columns_lie_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    episodes = [
        Episode(
            {"observation.state": generator.normal(size=(n, 4)).astype(np.float32)},
            generator.uniform(-1, 1, (n, 2)).astype(np.float32),
            np.arange(n) == n - 1,
            "expert",
            n,
            "task",
        )
        for n in (3, 7, 5, 2)
    ]
    write_dataset(tmp_path / "d", episodes, INFO, shard_megabytes=1e-6)
    expected = read_dataset(tmp_path / "d")
    monkeypatch.setattr("burnish.data.large_columns.LARGE", 17 * 8)
    cache = tmp_path / "cache"
    for _ in ("written", "found"):
        found = read_dataset(tmp_path / "d", cache=cache)
        assert isinstance(found.observations["observation.state"], MappedRows)
        assert isinstance(found.actions, torch.Tensor) and not isinstance(found.actions, MappedRows)
        for one, other in zip(found.split(0.5, 0), expected.split(0.5, 0), strict=True):
            state = one.observations["observation.state"]
            assert isinstance(state, MappedRows) and torch.equal(state, other.observations["observation.state"])
        assert [file.stat().st_size for file in cache.iterdir()] == [17 * 4 * 4]
    for one, other in zip(found.to_episodes(), expected.to_episodes(), strict=True):
        np.testing.assert_array_equal(one.observation["observation.state"], other.observation["observation.state"])


def test_pictures_without_a_state(filmed: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(filmed, tmp_path / "d"))
    edit_info(root, lambda info: info["features"].pop(STATE))
    found = format_of(root).read(root, ReadingRule(), ["top"])
    assert list(found.observations) == [TOP] and found.info.state_names is None
    np.testing.assert_array_equal(found.observations[TOP].numpy(), read(filmed).numpy())
    # What is written without a state comes back without one.
    write_dataset(tmp_path / "again", found.episodes(), found.info)
    again = read_dataset(tmp_path / "again")
    assert list(again.observations) == [TOP] and torch.equal(again.actions, found.actions)
    with pytest.raises(InputError, match=r"'observation.state': found .*expected a state"):
        _ = again.observation_dim
    # Where a column is named, it is the state.
    named = format_of(root).read(root, ReadingRule(state_key=("action",)), ["top"])
    assert torch.equal(named.observations[STATE], named.actions)
