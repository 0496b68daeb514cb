"""Pictures in the run folder's own copy of a data set: beside its tables, as they were decoded, and not once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from burnish.data.checks import bad_input
from burnish.data.decoding import PictureJob
from burnish.data.frames import Frames, Shown
from burnish.data.lerobot_format import INFO_PATH, MAX_PIXELS, OWN_KEY
from burnish.data.mapped import MappedRows, RowFile, choose
from burnish.data.row_store import RowKind, stem

FOLDER = "pictures"
"""Below the data set's."""
_AT_ONCE = 1024

Sizes = dict[str, tuple[int, int]]
"""(height, width) by a camera's key."""


def file_of(key: str) -> str:
    """The name of the file of a camera's pictures."""
    return f"{stem(key)}{RowKind(()).suffix}"


def adopt(folder: Path, key: str, pictures: MappedRows) -> None:
    """Make a file below `folder` hold just the rows that are chosen of it, which must follow their order there.

    No other tensor over the file may be read afterwards.
    """
    path, rows = folder / FOLDER / file_of(key), pictures.file_rows()
    assert pictures.file.path == path, f"{pictures.file.path} is not {path}"
    assert bool((rows[1:] > rows[:-1]).all()), "the rows of a file change places"
    count, row_bytes = len(rows), pictures[0].nbytes
    with open(path, "r+b") as file:
        if count < len(pictures.file):
            for start in range(0, count, _AT_ONCE):
                file.seek(start * row_bytes)
                file.write(choose(pictures, slice(start, start + _AT_ONCE)).numpy().data)
        file.truncate(count * row_bytes)


def sizes_told(path: Path, own: dict[str, Any]) -> Sizes:
    """What info.json (`path`) tells of stored pictures in Burnish's part.

    Raises:
        InputError: it tells nonsense.
    """
    told, sizes = own.get(FOLDER, {}), {}
    field = f"{OWN_KEY}/{FOLDER}"
    if not isinstance(told, dict):
        raise bad_input(path, type(told).__name__, "an object", field=field)
    for key, size in told.items():
        fine = isinstance(size, list) and len(size) == 2 and all(type(each) is int and each > 0 for each in size)
        if not fine or size[0] * size[1] > MAX_PIXELS:
            raise bad_input(path, f"{size!r} of '{key}'", "height and width", field=field)
        sizes[key] = (size[0], size[1])
    return sizes


def open_stored(root: Path, key: str, size: tuple[int, int], total: int) -> MappedRows:
    """All stored pictures of a camera, uint8 (total, H, W, 3).

    Raises:
        InputError: there is no such file, or one of another size.
    """
    path, shape = root / FOLDER / file_of(key), (total, *size, 3)
    try:
        return MappedRows(RowFile(path, torch.uint8, shape))
    except (OSError, ValueError) as error:
        expected = f"{total} pictures of {size[0]} x {size[1]} as {INFO_PATH} says"
        raise bad_input(path, f"a file that cannot be read ({error})", expected, field=key) from error


def of_frames(pictures: MappedRows, lengths: np.ndarray, frames: Frames) -> MappedRows:
    """The pictures of some episodes of a data set whose episodes have `lengths`."""
    if len(frames.numbers) == len(lengths):
        return pictures
    first = (lengths.cumsum() - lengths)[frames.numbers] - frames.starts
    return pictures.choose(torch.from_numpy(np.arange(frames.total) + np.repeat(first, frames.lengths)))


def jobs(pictures: MappedRows, frames: Frames, numbers: Sequence[int], shown: Shown) -> list[PictureJob]:
    """What resizes the stored pictures of `frames`."""
    return [PictureJob(tuple(numbers), partial(_resized, pictures, frames, numbers, shown))]


def _resized(
    pictures: MappedRows, frames: Frames, numbers: Sequence[int], shown: Shown, threads: int
) -> Iterator[np.ndarray]:
    for episode in np.searchsorted(frames.numbers, numbers).tolist():
        start = int(frames.starts[episode])
        for frame in shown.stride.kept(int(frames.lengths[episode])):
            yield shown.view.apply(pictures[start + frame].numpy())
