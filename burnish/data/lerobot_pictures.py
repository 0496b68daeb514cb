"""Reads the cameras' pictures of a LeRobotDataset v3.0 that may come from anybody, stored as images or as videos."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from burnish.data.checks import bad_input
from burnish.data.episodes import IMAGES, image_key
from burnish.data.lerobot_format import ColumnError
from burnish.data.lerobot_meta import EpisodeTable, Header, read_columns, read_video_table
from burnish.data.picture_cache import cached_pictures
from burnish.data.png import decode_pictures
from burnish.data.video import decode_video

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
    """Successive episodes whose pictures lie in one file; of a video also when each picture is shown (seconds)."""

    file: str
    first_frame: int
    frames: int
    times: np.ndarray | None = None


def choose_cameras(path: Path, header: Header, cameras: Sequence[str] | None) -> list[Camera]:
    """The named cameras (None: all) of the dataset whose info.json is `path`.

    Raises:
        InputError: there is no such camera, or its pictures are declared as something else than RGB.
    """
    present = [key.removeprefix(IMAGES) for key in header.pictures]
    wanted = present if cameras is None else [cameras] if isinstance(cameras, str) else list(dict.fromkeys(cameras))
    for name in wanted:
        if name not in present:
            found = f"the cameras {', '.join(present)}" if present else "no camera"
            raise bad_input(path, found, f"'{name}' among them", field=image_key(name))
    return [_camera(path, image_key(name), header.pictures[image_key(name)]) for name in wanted]


def read_pictures(root: Path, header: Header, table: EpisodeTable, camera: Camera) -> Tensor:
    """All pictures of a camera, uint8 (F, H, W, 3), over the file that caches them.

    Raises:
        InputError: a picture is missing, broken or of another size; names the file, the episode and the frame.
    """
    parts = _images(table) if camera.kind == "image" else _videos(root, header, table, camera)
    shape = (header.total_frames, camera.height, camera.width, 3)
    pictures = partial(_decoded, root, header.info.fps, table, camera, parts)
    return cached_pictures(root / CACHE_FOLDER, camera.key, _identity(root, header, camera, parts), shape, pictures)


def _camera(path: Path, key: str, entry: dict) -> Camera:
    """A camera from its entry in info.json, which may declare its channels first or last."""
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


def _images(table: EpisodeTable) -> list[_Part]:
    parts = []
    for file, group in groupby(range(len(table.files)), key=table.files.__getitem__):
        episodes = list(group)
        parts.append(_Part(file, int(table.starts[episodes[0]]), int(table.lengths[episodes].sum())))
    return parts


def _videos(root: Path, header: Header, table: EpisodeTable, camera: Camera) -> list[_Part]:
    files, begins = read_video_table(root, header, camera.key)
    fps = header.info.fps
    parts = []
    for file, group in groupby(range(len(files)), key=files.__getitem__):
        episodes = list(group)
        for before, episode in pairwise(episodes):
            end = begins[before] + table.lengths[before] / fps
            if begins[episode] < end - _TOLERANCE_FRAMES / fps:
                field = f"videos/{camera.key}/from_timestamp"
                expected = f"at least {end:.6g}, the end of the episode before it in {file}"
                raise bad_input(
                    root / "meta/episodes", f"{begins[episode]:.6g}", expected, field=field, episode=episode
                )
        times = np.concatenate([begins[episode] + np.arange(table.lengths[episode]) / fps for episode in episodes])
        parts.append(_Part(file, int(table.starts[episodes[0]]), len(times), times))
    return parts


def _decoded(root: Path, fps: int, table: EpisodeTable, camera: Camera, parts: list[_Part]) -> Iterator[np.ndarray]:
    """Every picture in the order of the frames, with a progress bar where it takes long."""
    total = sum(part.frames for part in parts)
    name = camera.key.removeprefix(IMAGES)
    with tqdm(total=total, desc=f"decoding {name}", unit="frame", delay=2, leave=False, disable=None) as progress:
        for part in parts:
            for picture in _decoded_part(root, fps, table, camera, part):
                yield picture
                progress.update()


def _decoded_part(root: Path, fps: int, table: EpisodeTable, camera: Camera, part: _Part) -> Iterator[np.ndarray]:
    path = root / part.file
    try:
        if part.times is not None:
            yield from decode_video(path, part.times, _TOLERANCE_FRAMES / fps, camera.height, camera.width)
            return
        content = read_columns(path, [camera.key])
        if camera.key not in content.schema.names:
            raise ColumnError("no such column", "a column as declared in info.json")
        if len(content) != part.frames:
            raise ColumnError(f"{len(content)} frames", f"{part.frames} as in meta/episodes")
        yield from decode_pictures(content.column(camera.key), camera.height, camera.width)
    except ColumnError as error:
        if error.row is None:
            raise bad_input(path, error.found, error.expected, field=camera.key) from error
        episode, frame = table.place(part.first_frame + error.row)
        found = f"{error.found} at frame {frame}"
        raise bad_input(path, found, error.expected, field=camera.key, episode=episode) from error


def _identity(root: Path, header: Header, camera: Camera, parts: list[_Part]) -> str:
    """Everything that the decoded pictures depend on: the declaration, the frames, the files' sizes and times."""
    files = []
    for part in parts:
        try:
            stat = (root / part.file).stat()
        except OSError as error:
            raise bad_input(root / part.file, "no such file", f"a file of {camera.kind}s", field=camera.key) from error
        times = None if part.times is None else part.times.tolist()
        files.append([part.file, stat.st_size, stat.st_mtime_ns, part.first_frame, part.frames, times])
    return json.dumps([camera.kind, camera.height, camera.width, header.info.fps, files])
