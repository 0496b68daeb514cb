"""ACT's and ALOHA's HDF5: a folder of `episode_N.hdf5`, each with `action`, `observations/qpos` and pictures."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from burnish.data import hdf5
from burnish.data.arrays import ArraySource, natural_order
from burnish.data.checks import bad_input
from burnish.data.formats.base import SourceFormat
from burnish.data.frames import Source
from burnish.data.info import DatasetInfo

_IMAGES = "observations/images/"
_FPS = 50


class Aloha(SourceFormat):
    """The state is qpos; pictures may be arrays, or padded JPEGs as the mobile robot stores them."""

    name = "aloha"
    title = "ACT's HDF5 (a folder of episode_0.hdf5)"

    def detect(self, path: Path) -> bool:
        """By what the first file holds."""
        files = _files(path)
        return bool(files) and {"action", "observations"} <= hdf5.top(files[0])

    def open(self, path: Path) -> Source:
        """Looks at the first episode."""
        return _Aloha(path)


class _Aloha(ArraySource):
    def __init__(self, path: Path) -> None:
        self.files = _files(path)
        super().__init__(where=path, info=DatasetInfo(fps=_FPS))
        with hdf5.opened(self.files[0]) as opened:
            found = hdf5.arrays_below(opened)
            pictures = [name for name in found if name.startswith(_IMAGES)]
            self.describe({name: each for name, each in found.items() if name not in pictures}, ["observations/qpos"])
            self.cameras = {name.removeprefix(_IMAGES): name for name in pictures}

    @property
    def num_episodes(self) -> int:
        return len(self.files)

    def place(self, number: int) -> str:
        return str(self.files[number])

    def task(self, number: int) -> str:
        return self.where.name

    def arrays(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        with hdf5.opened(self.files[number]) as opened:
            return {name: hdf5.numbers(opened, name) for name in names}

    def blocks(self, number: int, name: str) -> Iterator[np.ndarray]:
        with hdf5.opened(self.files[number]) as opened:
            yield from hdf5.blocks(opened, name, self.at_once)

    def decoded(self, name: str, values: np.ndarray) -> np.ndarray:
        if values.ndim != 2 or values.dtype != np.uint8:
            return super().decoded(name, values)
        found = [self._jpeg(name, row) for row in values]
        if len({each.shape for each in found}) > 1:
            raise bad_input(self.where, "pictures of several sizes", "one size", field=name)
        return np.stack(found) if found else np.zeros((0, 0, 0, 3), np.uint8)

    def _jpeg(self, name: str, row: Any) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(row.tobytes()), formats=["JPEG", "PNG"]) as picture:
                values = np.asarray(picture.convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise bad_input(self.where, f"bytes that are no picture ({error})", "a JPEG", field=name) from error
        # ALOHA hands its RGB to an encoder that expects BGR, and back: what it calls red is the file's blue.
        return values[..., ::-1]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    found = [each for each in path.iterdir() if each.suffix in hdf5.SUFFIXES and each.name.startswith("episode_")]
    return sorted(found, key=natural_order)
