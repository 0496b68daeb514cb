"""Broken and hostile pictures and videos: each gives one sentence that names the file, the episode and the frame."""

import builtins
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from burnish.data import read_dataset, write_dataset
from burnish.errors import InputError, RunError
from tests.data.pictures import TOP, VIDEO, edit_bytes, picture_episode, png, smooth_pictures
from tests.data.support import INFO, edit_info, edit_table

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
LENGTHS = (4, 2, 5)
SMALL = smooth_pictures(1, 8, 8)[0]
WHERE = rf"file-000.parquet, episode 1, field '{TOP}': found "
VIDEO_OF_TOP = rf"{VIDEO}, episode 2, field '{TOP}': found "

Damage = Callable[[Path], object]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    episodes = [picture_episode(length, seed) for seed, length in enumerate(LENGTHS)]
    for kind in ("image", "video"):
        write_dataset(root / kind, episodes, INFO, pictures=kind)  # type: ignore[arg-type]
    return root


def feature(**changes: object) -> Damage:
    return lambda root: edit_info(root, lambda info: info["features"][TOP].update(changes))


def frame(change: Callable[[bytes], bytes | None]) -> Damage:
    """Damage to the second picture of episode 1."""
    return lambda root: edit_bytes(root / DATA, 5, change)


def column(values: Callable[[int], pa.Array]) -> Damage:
    def damage(root: Path) -> None:
        table = pq.read_table(root / DATA)
        position = table.schema.get_field_index(TOP)
        pq.write_table(table.set_column(position, TOP, values(len(table))), root / DATA)

    return damage


def bomb(content: bytes) -> bytes:
    """A picture that unpacks to 30 GB, said in a few bytes."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return content[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def drop_column(root: Path) -> None:
    pq.write_table(pq.read_table(root / DATA).drop_columns([TOP]), root / DATA)


IMAGE_CASES: dict[str, tuple[Damage, str]] = {
    "other size": (frame(lambda _: png(SMALL)), WHERE + "a picture of 8 x 8 at frame 1, expected 16 x 32"),
    "turned": (frame(lambda _: png(smooth_pictures(1, 32, 16)[0])), WHERE + "a picture of 32 x 16 at frame 1"),
    "grey": (frame(lambda _: png(smooth_pictures(1)[0], "L")), WHERE + "a picture of mode 'L' at frame 1"),
    "transparent": (frame(lambda _: png(smooth_pictures(1)[0], "RGBA")), WHERE + "a picture of mode 'RGBA'"),
    "no picture": (frame(lambda _: b"<html>not found</html>"), WHERE + r"bytes that are no picture \(.*\) at frame 1"),
    "empty": (frame(lambda _: b""), WHERE + "bytes that are no picture"),
    "missing": (frame(lambda _: None), WHERE + "no bytes at frame 1, expected a whole PNG or JPEG"),
    "cut off": (frame(lambda content: content[: len(content) // 2]), WHERE + "bytes that are no picture"),
    "another format": (frame(lambda _: png(SMALL, kind="GIF")), WHERE + "bytes that are no picture"),
    "pickle": (frame(lambda _: b"\x80\x04cos\nsystem\n"), WHERE + "bytes that are no picture"),
    "bomb": (frame(bomb), WHERE + r"(a picture of 100000 x 100000|bytes that are no picture \(.*bomb)"),
    "declared size": (feature(shape=[32, 16, 3]), "episode 0.*found a picture of 16 x 32 at frame 0, expected 32 x 16"),
    "one channel": (feature(shape=[16, 32, 1]), rf"'features/{TOP}': found shape \[16, 32, 1\].*3 channels"),
    "shape a word": (feature(shape="big"), "found shape 'big', expected height, width and 3 channels"),
    "shape too deep": (feature(shape=[1, 16, 32, 3]), r"found shape \[1, 16, 32, 3\]"),
    "out of this world": (feature(shape=[10**6, 10**6, 3]), "found pictures of 1000000 x 1000000, expected at most"),
    "no column": (drop_column, rf"field '{TOP}': found no such column"),
    "numbers": (column(lambda n: pa.array(range(n))), "found values of type int64, expected struct<bytes"),
    "struct": (column(lambda n: pa.array([{"path": "x"}] * n)), "found values of type struct<path: string>, expected"),
    "nothing at all": (
        column(lambda n: pa.array([None] * n, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        "episode 0.*found no bytes at frame 0",
    ),
}


def encode(path: Path, pictures: np.ndarray, fps: int = 40) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())


def video(pictures: np.ndarray, fps: int = 40) -> Damage:
    return lambda root: encode(root / VIDEO, pictures, fps)


def spoil_late_picture(root: Path) -> None:
    """Overwrite the data of the ninth picture (frame 2 of episode 2)."""
    with av.open(str(root / VIDEO)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    position, size = packets[8]
    content = bytearray((root / VIDEO).read_bytes())
    content[position + 4 : position + size] = bytes(size - 4)
    (root / VIDEO).write_bytes(content)


def begins(values: list[float | None]) -> Damage:
    return lambda root: edit_table(root / EPISODES, f"videos/{TOP}/from_timestamp", lambda _: values)


def playlist(root: Path) -> None:
    """FFmpeg would follow it to another file."""
    shutil.copy(root / VIDEO, root / "secret.mp4")
    (root / VIDEO).write_text(f"ffconcat version 1.0\nfile {root / 'secret.mp4'}\n")


def drop_meta(root: Path) -> None:
    table = pq.read_table(root / EPISODES)
    pq.write_table(table.drop_columns([f"videos/{TOP}/file_index"]), root / EPISODES)


VIDEO_CASES: dict[str, tuple[Damage, str]] = {
    "missing": (lambda root: (root / VIDEO).unlink(), rf"file-000.mp4, field '{TOP}': found no such file, expected"),
    "a folder": (lambda root: [(root / VIDEO).unlink(), (root / VIDEO).mkdir()], "found a video that cannot be"),
    "empty": (lambda root: (root / VIDEO).write_bytes(b""), "found a video that cannot be decoded"),
    "cut off": (lambda root: (root / VIDEO).write_bytes((root / VIDEO).read_bytes()[:900]), "cannot be decoded"),
    "playlist": (playlist, "found a video that cannot be decoded"),
    "spoilt": (spoil_late_picture, VIDEO_OF_TOP + r"(a video that cannot be decoded|a broken picture).*at frame 2"),
    "too short": (video(smooth_pictures(9)), VIDEO_OF_TOP + "the end of the video at frame 3, expected a picture for"),
    "other size": (video(smooth_pictures(11, 16, 16)), "found a video of 16 x 16.*, expected 16 x 32 as declared"),
    "other rate": (
        video(smooth_pictures(11), fps=25),
        "episode 0.*found no picture at 0.025 s.*at frame 1",
    ),
    "begins late": (begins([0.0, 0.1, 9.0]), VIDEO_OF_TOP + "the end of the video at frame 0"),
    "overlap": (begins([0.0, 0.05, 0.15]), "episode 1, field 'videos/.*from_timestamp': found 0.05, expected at least"),
    "between frames": (begins([0.0, 0.1, 0.162]), VIDEO_OF_TOP + "no picture at 0.162 s"),
    "negative": (begins([-1.0, 0.1, 0.15]), "episode 0, field 'videos/.*from_timestamp': found -1.0"),
    "no number": (begins([float("nan"), 0.1, 0.15]), "episode 0, field 'videos/.*from_timestamp': found nan"),
    "no place": (drop_meta, "file_index': found no such column"),
    "no template": (lambda root: edit_info(root, lambda info: info.pop("video_path")), "'video_path': found None"),
    "climbing": (
        lambda root: edit_info(root, lambda info: info.update(video_path="../{video_key}.mp4")),
        "'video_path'.*inside the dataset",
    ),
    "depth map": (feature(shape=[16, 32, 1]), r"found shape \[16, 32, 1\]"),
}


def refused(whole: Path, tmp_path: Path, kind: str, damage: Damage, message: str) -> None:
    root = Path(shutil.copytree(whole / kind, tmp_path / "d"))
    damage(root)
    with pytest.raises(InputError, match=message) as caught:
        read_dataset(root)
    assert str(root) in str(caught.value)
    assert not [*(root / ".cache").rglob("*.*")], "a half-decoded cache was left behind"


@pytest.mark.parametrize("damage, message", IMAGE_CASES.values(), ids=IMAGE_CASES)
def test_images(whole: Path, tmp_path: Path, damage: Damage, message: str) -> None:
    refused(whole, tmp_path, "image", damage, message)


@pytest.mark.parametrize("damage, message", VIDEO_CASES.values(), ids=VIDEO_CASES)
def test_videos(whole: Path, tmp_path: Path, damage: Damage, message: str) -> None:
    refused(whole, tmp_path, "video", damage, message)


def test_a_key_that_climbs_out_of_the_dataset(whole: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(whole / "video", tmp_path / "d"))
    hostile = "observation.images./../../../secret"
    edit_info(root, lambda info: info["features"].update({hostile: info["features"].pop(TOP)}))
    with pytest.raises(InputError, match=r"'video_path'.*inside the dataset"):
        read_dataset(root)


def test_pyav_is_missing(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(shutil.copytree(whole / "video", tmp_path / "d"))
    real = builtins.__import__

    def without_av(name: str, *args: object) -> object:
        if name == "av":
            raise ImportError(name)
        return real(name, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_av)
    assert read_dataset(root, cameras=()).num_frames == 11
    with pytest.raises(InputError, match=r"pip install -e"):
        read_dataset(root)
    with pytest.raises(InputError, match=r"pip install -e"):
        write_dataset(tmp_path / "new", [picture_episode()], INFO, pictures="video")
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    odd = picture_episode(4, 0, top=smooth_pictures(4, 15, 32))
    with pytest.raises(InputError, match="found pictures of 15 x 32, expected even numbers"):
        write_dataset(tmp_path / "d", [odd], INFO, pictures="video")
    with pytest.raises(InputError, match="found pictures='gif', expected 'image' or 'video'"):
        write_dataset(tmp_path / "d", [odd], INFO, pictures="gif")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=rf"episode 1, field '{TOP}': found shape \(15, 32, 3\)"):
        write_dataset(tmp_path / "d", [picture_episode(), odd], INFO)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_a_video_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own refusal through FFmpeg: every video is a link to the device that is always full."""
    real = av.open

    def full(file: str, mode: str, **options: object) -> object:
        Path(file).symlink_to("/dev/full")
        return real(file, mode, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(av, "open", full)
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8)
    with pytest.raises(RunError, match=r"cannot be written to .*No space left on device"):
        write_dataset(tmp_path / "d", [picture_episode(40, 0, top=noise)] * 3, INFO, pictures="video")
    assert list(tmp_path.iterdir()) == []
