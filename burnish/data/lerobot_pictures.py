"""Reads the cameras' pictures of a LeRobotDataset v3.0 that may come from anybody, stored as images or as videos."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from burnish.data.checks import bad_input
from burnish.data.decoding import PictureJob
from burnish.data.frames import Frames, Shown
from burnish.data.lerobot_format import MAX_PIXELS, ColumnError
from burnish.data.parquet import read_columns
from burnish.data.png import decode_pictures
from burnish.data.video import Wanted, decode_video

_TOLERANCE_FRAMES = 0.25
_CHANNELS_FIRST = ("channels", "channel", "c", "rgb")


@dataclass(frozen=True)
class Camera:
    """A camera of a dataset, as info.json declares it."""

    key: str
    kind: str
    height: int
    width: int


class CameraFiles:
    """Where the pictures of a camera are."""

    def __init__(
        self, root: Path, fps: float, frames: Frames, camera: Camera, videos: tuple[list[str], np.ndarray] | None
    ) -> None:
        """Look at nothing yet.

        Args:
            root: the dataset's folder.
            fps: frames per second.
            frames: the episodes that are wanted.
            camera: as info.json declares it.
            videos: the video file of every episode of the dataset, and the second at which it begins there; None where
                the pictures are in the data files.
        """
        self.root, self.fps, self.frames, self.camera, self._videos = root, fps, frames, camera, videos
        self._place = {number: index for index, number in enumerate(frames.numbers.tolist())}

    def jobs(self, numbers: Sequence[int], shown: Shown) -> list[PictureJob]:
        """One for each file, which decodes the pictures of its episodes.

        Raises:
            InputError: a picture is missing, broken or of another size; names the file, the episode and the frame.
        """
        found = []
        for file, episodes in self._by_file(numbers):
            self._check_file(file, episodes)
            if self._videos is None:
                found.append(PictureJob(episodes, partial(self._images, file, episodes, shown)))
            else:
                times = self._times(file, episodes, shown)
                found.append(PictureJob(episodes, partial(self._video, file, episodes, times, shown)))
        return found

    def identity(self) -> str:
        """Everything that the decoded pictures depend on: the declaration, the frames, the files' sizes and times."""
        camera, files = self.camera, []
        for file, episodes in self._by_file(self.frames.numbers.tolist()):
            self._check_file(file, episodes)
            stat = (self.root / file).stat()
            begins = None if self._videos is None else self._videos[1][list(episodes)].tolist()
            files.append([file, stat.st_size, stat.st_mtime_ns, episodes, begins])
        lengths = self.frames.lengths.tolist()
        return json.dumps([camera.kind, camera.height, camera.width, self.fps, lengths, files])

    def _by_file(self, numbers: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
        for file, group in groupby(numbers, key=self._file):
            yield file, tuple(group)

    def _file(self, number: int) -> str:
        if self._videos is not None:
            return self._videos[0][number]
        return Path(self.frames.places[self._place[number]]).relative_to(self.root).as_posix()

    def _check_file(self, file: str, episodes: tuple[int, ...]) -> None:
        if not (self.root / file).exists():
            alone = episodes[0] if len(episodes) == 1 else None
            expected = f"a file of {self.camera.kind}s"
            raise bad_input(self.root / file, "no such file", expected, field=self.camera.key, episode=alone)

    def _length(self, number: int) -> int:
        return int(self.frames.lengths[self._place[number]])

    def _times(self, file: str, episodes: tuple[int, ...], shown: Shown) -> np.ndarray:
        """When each wanted picture is shown, in seconds of the file."""
        assert self._videos is not None
        begins, fps = self._videos[1], self.fps
        for before, episode in pairwise(episodes):
            end = begins[before] + self._length(before) / fps
            if begins[episode] < end - _TOLERANCE_FRAMES / fps:
                field = f"videos/{self.camera.key}/from_timestamp"
                expected = f"at least {end:.6g}, the end of the episode before it in {file}"
                found = f"{begins[episode]:.6g}"
                raise bad_input(self.root / "meta/episodes", found, expected, field=field, episode=episode)
        kept = {number: np.array(shown.stride.kept(self._length(number))) for number in episodes}
        return np.concatenate([begins[number] + kept[number] / fps for number in episodes])

    def _video(
        self, file: str, episodes: tuple[int, ...], times: np.ndarray, shown: Shown, threads: int
    ) -> Iterator[np.ndarray]:
        wanted = Wanted(times, _TOLERANCE_FRAMES / self.fps, self.camera.height, self.camera.width, shown.view)
        yield from self._explained(file, episodes, shown, decode_video(self.root / file, wanted, threads))

    def _images(self, file: str, episodes: tuple[int, ...], shown: Shown, threads: int) -> Iterator[np.ndarray]:
        camera, path = self.camera, self.root / file

        def pictures() -> Iterator[np.ndarray]:
            column = _column(path, camera, episodes, [shown.stride.kept(self._length(each)) for each in episodes])
            for row, picture in enumerate(decode_pictures(column, camera.height, camera.width)):
                try:
                    yield shown.view.apply(picture)
                except ColumnError as error:
                    raise ColumnError(error.found, error.expected, row) from error

        yield from self._explained(file, episodes, shown, pictures())

    def _explained(
        self, file: str, episodes: tuple[int, ...], shown: Shown, pictures: Iterator[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """The pictures; what is wrong with one is said with the file, the episode and the frame."""
        path, key = self.root / file, self.camera.key
        try:
            yield from pictures
        except ColumnError as error:
            if error.row is None:
                alone = episodes[0] if len(episodes) == 1 else None
                raise bad_input(path, error.found, error.expected, field=key, episode=alone) from error
            row = error.row
            for number in episodes:
                kept = shown.stride.kept(self._length(number))
                if row < len(kept):
                    found = f"{error.found} at frame {kept[row]}"
                    raise bad_input(path, found, error.expected, field=key, episode=number) from error
                row -= len(kept)
            raise


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


def _column(path: Path, camera: Camera, episodes: Sequence[int], kept: Sequence[range]) -> pa.ChunkedArray:
    """Pictures of some episodes, as they lie in a data file that may hold others too, in any order."""
    content = read_columns(path, [camera.key, "episode_index"])
    if camera.key not in content.schema.names:
        raise ColumnError("no such column", "a column as declared in info.json")
    owners = content.column("episode_index").to_numpy()
    rows = np.concatenate([np.flatnonzero(owners == each)[list(k)] for each, k in zip(episodes, kept, strict=True)])
    pictures = content.column(camera.key)
    return pictures if np.array_equal(rows, np.arange(len(owners))) else pictures.take(pa.array(rows))
