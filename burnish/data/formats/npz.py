"""A folder of .npz files, one an episode, with an array `action` or `actions` and others of as many frames."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from burnish.data import npz
from burnish.data.arrays import ArraySource, natural_order, rate
from burnish.data.formats.base import SourceFormat
from burnish.data.frames import Source

_STATES = ("observation.state", "state", "states", "observations", "observation", "obs", "qpos")


class Npz(SourceFormat):
    """The state is the first of `observation.state`, `state`, `observations`, `obs`, `qpos` that there is."""

    name = "npz"
    title = "a folder of .npz files, one an episode"

    def detect(self, path: Path) -> bool:
        """By its files, unless they are CALVIN's, which are one a frame."""
        return path.is_dir() and bool(_files(path)) and not (path / "ep_start_end_ids.npy").exists()

    def open(self, path: Path) -> Source:
        """Looks at the first file."""
        return _Npz(path)


class _Npz(ArraySource):
    def __init__(self, path: Path) -> None:
        notes: list[str] = []
        self.files = _files(path)
        super().__init__(where=path, info=rate(None, notes), notes=notes)
        found = npz.headers(self.files[0])
        self.describe(found, [name for name in _STATES if name in found][:1])

    @property
    def num_episodes(self) -> int:
        return len(self.files)

    def place(self, number: int) -> str:
        return str(self.files[number])

    def task(self, number: int) -> str:
        return self.where.name or "task"

    def arrays(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        return npz.read(self.files[number], names)

    def blocks(self, number: int, name: str) -> Iterator[np.ndarray]:
        return npz.blocks(self.files[number], name, self.at_once)


def _files(path: Path) -> list[Path]:
    return sorted((each for each in path.iterdir() if each.suffix == ".npz"), key=natural_order)
