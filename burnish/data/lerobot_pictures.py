"""Reads the cameras' pictures of a LeRobotDataset v3.0 that may come from anybody, stored as images or as videos."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from torch import Tensor
from tqdm import tqdm

from burnish.data.checks import bad_input
from burnish.data.episodes import IMAGES
from burnish.data.frames import Frames
from burnish.data.lerobot_format import ColumnError
from burnish.data.lerobot_meta import read_columns
from burnish.data.picture_cache import cached_pictures
from burnish.data.png import decode_pictures
from burnish.data.video import decode_video
from burnish.errors import InputError

CACHE_FOLDER = ".cache/burnish"
"""Below the dataset's folder; LeRobot's own tools keep their caches in `.cache`, too."""

MAX_PIXELS = 2**25
"""No camera's picture is larger; what declares more would fill memory and disk before anything is wrong with it."""

_TOLERANCE_FRAMES = 0.25
_CHANNELS_FIRST = ("channels", "channel", "c", "rgb")


@dataclass(frozen=True)
class Camera:
    """A camera of a dataset, as info.json declares it."""

    key: str
    kind: str
    height: int
    width: int


@dataclass(frozen=True)
class _Part:
    """Successive episodes whose pictures lie in one file: when a video shows each (seconds), else their numbers."""

    file: str
    first_frame: int
    frames: int
    times: np.ndarray | None = None
    numbers: tuple[int, ...] = ()


def read_pictures(
    root: Path, fps: float, frames: Frames, camera: Camera, videos: tuple[list[str], np.ndarray] | None
) -> Tensor:
    """All pictures of a camera, uint8 (F, H, W, 3), over the file that caches them.

    Args:
        root: the dataset's folder.
        fps: frames per second.
        frames: the episodes that are wanted.
        camera: as info.json declares it.
        videos: the video file of every episode of the dataset, and the second at which it begins there; None where
            the pictures are in the data files.

    Raises:
        InputError: a picture is missing, broken or of another size; names the file, the episode and the frame.
    """
    parts = _images(root, frames) if videos is None else _videos(root, fps, frames, camera, *videos)
    shape = (frames.total, camera.height, camera.width, 3)
    pictures = partial(_decoded, root, fps, frames, camera, parts)
    return cached_pictures(root / CACHE_FOLDER, camera.key, _identity(root, fps, camera, parts), shape, pictures)


def camera_of(path: Path, key: str, entry: dict) -> Camera:
    """A camera from its entry in info.json (`path`), which may declare its channels first or last.

    Raises:
        InputError: its pictures are declared as something else than RGB.
    """
    shape, names = entry.get("shape"), entry.get("names")
    field = f"features/{key}"
    if not isinstance(shape, list) or len(shape) != 3 or not all(type(size) is int and size > 0 for size in shape):
        raise bad_input(path, f"shape {shape!r}", "height, width and 3 channels", field=field)
    first = isinstance(names, list) and len(names) == 3 and names[0] in _CHANNELS_FIRST
    channels = next((axis for axis in ((0, 2) if first else (2, 0)) if shape[axis] == 3), None)
    if channels is None:
        raise bad_input(path, f"shape {shape}", "height, width and 3 channels (RGB)", field=field)
    height, width = (size for axis, size in enumerate(shape) if axis != channels)
    if height * width > MAX_PIXELS:
        raise bad_input(path, f"pictures of {height} x {width}", f"at most {MAX_PIXELS} pixels", field=field)
    return Camera(key, entry["dtype"], height, width)


def _images(root: Path, frames: Frames) -> list[_Part]:
    files = [Path(place).relative_to(root).as_posix() for place in frames.places]
    parts = []
    for file, group in groupby(range(len(files)), key=files.__getitem__):
        episodes = list(group)
        rows = tuple(frames.numbers[episodes].tolist())
        parts.append(_Part(file, int(frames.starts[episodes[0]]), int(frames.lengths[episodes].sum()), numbers=rows))
    return parts


def _videos(
    root: Path, fps: float, frames: Frames, camera: Camera, every_file: list[str], every_begin: np.ndarray
) -> list[_Part]:
    files = [every_file[number] for number in frames.numbers.tolist()]
    begins, lengths = every_begin[frames.numbers], frames.lengths
    parts = []
    for file, group in groupby(range(len(files)), key=files.__getitem__):
        episodes = list(group)
        for before, episode in pairwise(episodes):
            end = begins[before] + lengths[before] / fps
            if begins[episode] < end - _TOLERANCE_FRAMES / fps:
                field = f"videos/{camera.key}/from_timestamp"
                expected = f"at least {end:.6g}, the end of the episode before it in {file}"
                number = int(frames.numbers[episode])
                raise bad_input(root / "meta/episodes", f"{begins[episode]:.6g}", expected, field=field, episode=number)
        times = np.concatenate([begins[episode] + np.arange(lengths[episode]) / fps for episode in episodes])
        parts.append(_Part(file, int(frames.starts[episodes[0]]), len(times), times))
    return parts


def _decoded(root: Path, fps: float, frames: Frames, camera: Camera, parts: list[_Part]) -> Iterator[np.ndarray]:
    """Every picture in the order of the frames, with a progress bar where it takes long."""
    total = sum(part.frames for part in parts)
    name = camera.key.removeprefix(IMAGES)
    with tqdm(total=total, desc=f"decoding {name}", unit="frame", delay=2, leave=False, disable=None) as progress:
        for part in parts:
            for picture in _decoded_part(root, fps, frames, camera, part):
                yield picture
                progress.update()


def _decoded_part(root: Path, fps: float, frames: Frames, camera: Camera, part: _Part) -> Iterator[np.ndarray]:
    path = root / part.file
    try:
        if part.times is not None:
            yield from decode_video(path, part.times, _TOLERANCE_FRAMES / fps, camera.height, camera.width)
            return
        yield from decode_pictures(_rows(path, camera, part), camera.height, camera.width)
    except ColumnError as error:
        if error.row is None:
            raise bad_input(path, error.found, error.expected, field=camera.key) from error
        raise _fault(path, frames, part.first_frame + error.row, error, camera) from error


def _fault(path: Path, frames: Frames, frame: int, error: ColumnError, camera: Camera) -> InputError:
    episode = int(np.searchsorted(frames.starts, frame, side="right")) - 1
    found = f"{error.found} at frame {frame - int(frames.starts[episode])}"
    return bad_input(path, found, error.expected, field=camera.key, episode=int(frames.numbers[episode]))


def _rows(path: Path, camera: Camera, part: _Part) -> pa.ChunkedArray:
    """The pictures of a part's episodes, as they lie in a data file that may hold others too, in any order."""
    content = read_columns(path, [camera.key, "episode_index"])
    if camera.key not in content.schema.names:
        raise ColumnError("no such column", "a column as declared in info.json")
    owners = content.column("episode_index").to_numpy()
    rows = np.concatenate([np.flatnonzero(owners == number) for number in part.numbers])
    pictures = content.column(camera.key)
    return pictures if np.array_equal(rows, np.arange(len(owners))) else pictures.take(pa.array(rows))


def _identity(root: Path, fps: float, camera: Camera, parts: list[_Part]) -> str:
    """Everything that the decoded pictures depend on: the declaration, the frames, the files' sizes and times."""
    files = []
    for part in parts:
        try:
            stat = (root / part.file).stat()
        except OSError as error:
            raise bad_input(root / part.file, "no such file", f"a file of {camera.kind}s", field=camera.key) from error
        times = part.numbers if part.times is None else part.times.tolist()
        files.append([part.file, stat.st_size, stat.st_mtime_ns, part.first_frame, part.frames, times])
    return json.dumps([camera.kind, camera.height, camera.width, fps, files])
