"""Camera pictures: what is written comes back, is decoded once, and goes wherever states go."""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.data import (
    STATE,
    Dataset,
    Episode,
    Streams,
    Windows,
    image_key,
    in_chunks,
    is_image_key,
    read_dataset,
    write_dataset,
)
from burnish.errors import InputError
from tests.data.pictures import TOP, VIDEO, WRIST, edit_bytes, picture_episode, png, smooth_pictures
from tests.data.support import INFO, assert_same, edit_info, make_episode

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def read(root: Path, cameras: Sequence[str] | None = None) -> Dataset:
    """With a cache beside the data."""
    return read_dataset(root, cameras=cameras, cache=root / ".cache/burnish")


def cached(root: Path) -> list[Path]:
    return sorted((root / ".cache/burnish").iterdir()) if (root / ".cache").exists() else []


def test_keys() -> None:
    assert image_key("top") == "observation.images.top"
    assert is_image_key(TOP) and not is_image_key(STATE)


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 5), min_size=1, max_size=5),
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=2),
    shard_megabytes=st.sampled_from([100.0, 0.001, 1e-6]),
)
def test_images_come_back_bit_for_bit(lengths: list[int], sizes: list[tuple[int, int]], shard_megabytes: float) -> None:
    generator = np.random.default_rng(0)
    episodes = []
    for index, length in enumerate(lengths):
        cameras = {
            f"camera {number}": generator.integers(0, 256, (length, *size, 3), np.uint8)
            for number, size in enumerate(sizes)
        }
        episodes.append(picture_episode(length, index, **cameras))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "d"
        write_dataset(root, iter(episodes), INFO, shard_megabytes=shard_megabytes)
        for _ in ("decoded", "from the cache"):
            for found, expected in zip(read(root).to_episodes(), episodes, strict=True):
                assert_same(found, expected)


@pytest.mark.parametrize("shard_megabytes", [100.0, 0.001, 1e-6])
def test_videos_come_back_nearly(tmp_path: Path, shard_megabytes: float) -> None:
    episodes = [picture_episode(length, seed) for seed, length in enumerate([9, 2, 14, 3, 5])]
    root = tmp_path / "d"
    write_dataset(root, iter(episodes), INFO, pictures="video", shard_megabytes=shard_megabytes)
    files = sorted(root.glob("videos/*/*/*.mp4"))
    assert len(files) == {100.0: 1, 1e-6: 5}.get(shard_megabytes, len(files))
    if shard_megabytes == 0.001:
        assert 1 < len(files) < 5
    dataset = read(root)
    for found, expected in zip(dataset.to_episodes(), episodes, strict=True):
        # Successive frames are 8 levels apart: a picture of another frame would show.
        error = found.observation[TOP].astype(int) - expected.observation[TOP]
        assert np.abs(error).mean() < 2 and np.abs(error).max() <= 8
        np.testing.assert_array_equal(found.observation[STATE], expected.observation[STATE])
    assert torch.equal(read(root).observations[TOP], dataset.observations[TOP])


def test_on_disk_by_hand(tmp_path: Path) -> None:
    episodes = [picture_episode(4, 0), picture_episode(2, 1)]
    write_dataset(tmp_path / "images", episodes, INFO)
    write_dataset(tmp_path / "videos", episodes, INFO, pictures="video")
    shape = {"shape": [16, 32, 3], "names": ["height", "width", "channels"]}
    info = json.loads((tmp_path / "images/meta/info.json").read_text())
    assert info["features"][TOP] == {"dtype": "image", **shape}
    assert info["video_path"] is None
    cell = pq.read_table(tmp_path / "images" / DATA).column(TOP).to_pylist()[5]
    assert cell["path"] == "frame-000001.png" and cell["bytes"].startswith(b"\x89PNG")

    info = json.loads((tmp_path / "videos/meta/info.json").read_text())
    assert info["video_path"] == "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    described = info["features"][TOP].pop("info")
    assert info["features"][TOP] == {"dtype": "video", **shape}
    assert described["video.fps"] == 40 and described["video.codec"] in ("h264", "av1")
    assert TOP not in pq.read_table(tmp_path / "videos" / DATA).schema.names
    rows = pq.read_table(tmp_path / "videos" / EPISODES).to_pylist()
    names = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
    assert [[row[f"videos/{TOP}/{name}"] for name in names] for row in rows] == [[0, 0, 0.0, 0.1], [0, 0, 0.1, 0.15]]


def test_statistics_are_those_of_the_pixels(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    parts = [generator.integers(low, 200, (length, 3, 5, 3), np.uint8) for low, length in ((0, 2), (50, 7))]
    write_dataset(tmp_path / "d", [picture_episode(len(part), 0, top=part) for part in parts], INFO)
    found = json.loads((tmp_path / "d/meta/stats.json").read_text())[TOP]
    pixels = np.concatenate(parts) / 255
    assert found["count"] == [9]
    for name in ("min", "max", "mean", "std"):
        expected = getattr(pixels, name)((0, 1, 2)).reshape(3, 1, 1)
        np.testing.assert_allclose(found[name], expected, rtol=1e-12)
    row = pq.read_table(tmp_path / "d" / EPISODES).to_pylist()[1]
    ordered = np.sort(parts[1].reshape(-1, 3), axis=0) / 255  # 105 pixels: the 95th is the first with 90 % at or below
    np.testing.assert_allclose(np.ravel(row[f"stats/{TOP}/q90"]), ordered[94])
    np.testing.assert_allclose(np.ravel(row[f"stats/{TOP}/q01"]), ordered[1])


def test_cameras_are_chosen(tmp_path: Path) -> None:
    episode = picture_episode(3, 0, top=smooth_pictures(3), wrist=smooth_pictures(3, 8, 8))
    write_dataset(tmp_path / "d", [episode], INFO)
    assert set(read(tmp_path / "d", cameras=()).observations) == {STATE}
    assert cached(tmp_path / "d") == []
    assert set(read(tmp_path / "d", cameras=["wrist"]).observations) == {STATE, WRIST}
    assert set(read(tmp_path / "d", cameras="top").observations) == {STATE, TOP}
    assert set(read(tmp_path / "d").observations) == {STATE, TOP, WRIST}
    with pytest.raises(InputError, match=r"images.left': found the cameras top, wrist, expected 'left' among them"):
        read(tmp_path / "d", cameras=["top", "left"])
    write_dataset(tmp_path / "states", [make_episode()], INFO)
    with pytest.raises(InputError, match="found no camera, expected 'top'"):
        read(tmp_path / "states", cameras=["top"])


@pytest.mark.parametrize("kind", ["image", "video"])
def test_states_do_not_decode_pictures(tmp_path: Path, kind: str) -> None:
    write_dataset(tmp_path / "d", [picture_episode()], INFO, pictures=kind)  # type: ignore[arg-type]
    if kind == "video":
        (tmp_path / "d" / VIDEO).unlink()
    else:
        edit_bytes(tmp_path / "d" / DATA, 0, lambda _: b"nothing")
    assert read(tmp_path / "d", cameras=()).num_frames == 4
    with pytest.raises(InputError):
        read(tmp_path / "d")


def test_channels_declared_first_and_jpeg(tmp_path: Path) -> None:
    root = tmp_path / "d"
    write_dataset(root, [picture_episode()], INFO)
    expected = read(root).observations[TOP].clone()
    for shape, names in (
        ([3, 16, 32], ["channels", "height", "width"]),
        ([3, 16, 32], None),
        ([16, 32, 3], ["height", "width", "channel"]),
    ):
        edit_info(root, lambda info, s=shape, n=names: info["features"][TOP].update(shape=s, names=n))
        assert torch.equal(read(root).observations[TOP], expected)
    edit_bytes(root / DATA, 0, lambda _: png(smooth_pictures(1)[0], kind="JPEG"))
    assert read(root).observations[TOP].shape == (4, 16, 32, 3)


def test_decoded_once_and_again_when_the_data_changed(tmp_path: Path) -> None:
    root = tmp_path / "d"
    write_dataset(root, [picture_episode(seed=1)], INFO)
    read(root)
    (file,) = cached(root)
    assert file.stat().st_size == 4 * 16 * 32 * 3
    written = file.stat().st_mtime_ns
    read(root)
    assert cached(root) == [file] and file.stat().st_mtime_ns == written

    white = np.full((16, 32, 3), 255, np.uint8)
    edit_bytes(root / DATA, 2, lambda _: png(white))
    assert (read(root).observations[TOP][2] == 255).all()
    assert len(cached(root)) == 1 and cached(root) != [file], "the outdated file is gone"


def test_the_cache_is_what_is_read(tmp_path: Path) -> None:
    root = tmp_path / "d"
    write_dataset(root, [picture_episode()], INFO)
    expected = read(root).observations[TOP].clone()
    (file,) = cached(root)
    file.write_bytes(bytes([7]) * file.stat().st_size)
    assert (read(root).observations[TOP] == 7).all()
    file.write_bytes(b"cut off")
    assert torch.equal(read(root).observations[TOP], expected)


def test_the_mapping_is_private_and_torch_does_not_warn(tmp_path: Path) -> None:
    root = tmp_path / "d"
    write_dataset(root, [picture_episode()], INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = read(root).observations[TOP]
    before = first.clone()
    with pytest.raises(TypeError, match="cannot be written into"):
        first.zero_()
    first.numpy()[:] = 0
    assert torch.equal(read(root).observations[TOP], before)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "d"
    episode = picture_episode()
    write_dataset(root, [episode], INFO)
    (root / ".cache").write_text("in the way")
    assert_same(read(root).to_episodes()[0], episode)
    (root / ".cache").unlink()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert_same(read(root).to_episodes()[0], episode)
    assert cached(root) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    root = tmp_path / "d"
    episode = picture_episode()
    write_dataset(root, [episode], INFO)
    root.chmod(0o555)
    try:
        assert_same(read(root).to_episodes()[0], episode)
    finally:
        root.chmod(0o755)


KILLED = """
import os, signal, sys
from pathlib import Path

from burnish.data import read_dataset

os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
read_dataset(sys.argv[1], cache=Path(sys.argv[1], '.cache/burnish'))
"""


def test_a_killed_reader_leaves_nothing_to_be_taken_for_a_cache(tmp_path: Path) -> None:
    root = tmp_path / "d"
    episode = picture_episode()
    write_dataset(root, [episode], INFO)
    subprocess.run([sys.executable, "-c", KILLED, str(root)], check=False, cwd=Path(__file__).parents[2])
    (left,) = cached(root)
    assert left.name.startswith(".")
    assert_same(read(root).to_episodes()[0], episode)
    assert left in cached(root), "another process may still be writing it"
    day_ago = time.time() - 86_400
    os.utime(left, (day_ago, day_ago))
    edit_bytes(root / DATA, 0, lambda content: content + b" ")
    read(root)
    assert len(cached(root)) == 1 and left not in cached(root)


def dataset_of(lengths: list[int]) -> Dataset:
    episodes = []
    for seed, length in enumerate(lengths):
        numbered = np.arange(length, dtype=np.uint8) + 10 * seed
        pictures = np.broadcast_to(numbered[:, None, None, None], (length, 2, 4, 3)).copy()
        episodes.append(picture_episode(length, seed, top=pictures))
    return Dataset.from_episodes(episodes, INFO)


def test_subset_split_and_device() -> None:
    dataset = dataset_of([3, 2, 4, 3])
    assert dataset.observations[TOP].dtype == torch.uint8
    chosen = dataset.subset([2, 0])
    assert chosen.observations[TOP][:, 0, 0, 0].tolist() == [20, 21, 22, 23, 0, 1, 2]
    neighbours = dataset.subset([1, 2])
    assert neighbours.observations[TOP][:, 1, 3, 2].tolist() == [10, 11, 20, 21, 22, 23]
    assert neighbours.starts.tolist() == [0, 2]
    pointer = dataset.observations[TOP][3:].data_ptr()
    assert neighbours.observations[TOP].data_ptr() == pointer, "pictures are not copied needlessly"
    for part in dataset.split(0.5, seed=0):
        assert part.observations[TOP].dtype == torch.uint8
        for found in part.to_episodes():
            assert (found.observation[TOP] // 10 == found.seed).all()
    assert dataset.to("cpu").observations[TOP].dtype == torch.uint8
    assert dataset.to("meta").observations[TOP].shape == (12, 2, 4, 3)


def test_windows_streams_and_chunks_hand_out_bytes() -> None:
    dataset = dataset_of([3, 4])
    windows = Windows(dataset, history=2, horizon=1)
    batch = windows.gather(torch.tensor([0, 4])).to("cpu")
    assert batch.observation[TOP].dtype == torch.uint8
    assert batch.observation[TOP].shape == (2, 3, 2, 4, 3)
    assert batch.observation[TOP][..., 0, 0, 0].tolist() == [[0, 0, 1], [10, 11, 12]]
    sequences = Streams(dataset, 3).sample(2, torch.Generator())
    assert sequences.observation[TOP].dtype == torch.uint8
    assert sequences.observation[TOP][..., 0, 0, 0].tolist() == [[0, 1, 2], [10, 11, 12]]
    chunked, order = in_chunks(dataset, 2)
    assert torch.equal(chunked.observations[TOP], dataset.observations[TOP][order])


def test_bad_pictures_are_refused_when_the_episode_is_made() -> None:
    good = smooth_pictures(4)
    cases = {
        "found an array of float32, expected a NumPy array of uint8": good.astype(np.float32),
        r"found shape \(4, 3, 16, 32\), expected \(T, H, W, 3\)": good.transpose(0, 3, 1, 2),
        r"found shape \(4, 16, 32\)": good[..., 0],
        "found 3 frames, expected 4": good[:3],
    }
    for message, pictures in cases.items():
        with pytest.raises(InputError, match=message):
            picture_episode(4, 0, top=pictures)
    base = make_episode(4)
    for name in ("", "a{b}", "a\\b", "a/b"):
        with pytest.raises(InputError, match="'observation'"):
            Episode({image_key(name): good}, base.action, base.success, "x", 0, "t")
