"""Diffusion Policy's replay buffer in zarr: `data/NAME` for all episodes, whose ends are in `meta/episode_ends`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from burnish.data.arrays import ArraySource, rate
from burnish.data.checks import bad_input
from burnish.data.formats.base import SourceFormat
from burnish.data.frames import Source
from burnish.data.zarr_store import Store, ZarrArray

_ENDS = "meta/episode_ends"
_HEADERS = (".zarray", "zarr.json")
"""Of an array in zarr's version 2, and in 3, which is not read."""
_STATES = ("state", "obs", "agent_pos", "robot_eef_pose", "robot0_eef_pos", "robot_eef_pos")


class ReplayBuffer(SourceFormat):
    """Folders, and ZIP files of them (`.zarr.zip`); zarr's version 2, which Diffusion Policy and UMI write."""

    name = "replay-buffer"
    title = "Diffusion Policy's zarr (meta/episode_ends)"

    def detect(self, path: Path) -> bool:
        """By the ends of its episodes."""
        if path.is_dir():
            return any((path / _ENDS / name).is_file() for name in _HEADERS)
        return path.suffix == ".zip" and any(Store(path).read(f"{_ENDS}/{name}") is not None for name in _HEADERS)

    def open(self, path: Path) -> Source:
        """Reads the headers of all arrays."""
        return _ReplayBuffer(path)


class _ReplayBuffer(ArraySource):
    def __init__(self, path: Path) -> None:
        notes: list[str] = []
        super().__init__(where=path, info=rate(None, notes), notes=notes)
        store = Store(path)
        if store.read(f"{_ENDS}/zarr.json") is not None:
            expected = (
                "version 2: copy its arrays into zarr.open_group(OUT, mode='w', zarr_format=2), or save them as .npz"
            )
            raise bad_input(path, "zarr's version 3", expected, field="zarr_format")
        ends = ZarrArray(store, _ENDS)
        if len(ends.shape) != 1 or ends.dtype.kind not in "iu" or ends.shape[0] < 1:
            raise bad_input(ends.where, f"{ends.dtype} of shape {ends.shape}", "the end of every episode")
        self.ends = ends.rows(0, ends.shape[0]).astype(np.int64)
        if (np.diff(self.ends, prepend=0) < 0).any():
            raise bad_input(ends.where, "ends that go back", "the end of every episode, in their order")
        self.every = {name: ZarrArray(store, f"data/{name}") for name in store.arrays("data")}
        short = [name for name, each in self.every.items() if each.shape[0] != self.ends[-1]]
        if short:
            found = f"{self.every[short[0]].shape[0]} frames"
            raise bad_input(self.every[short[0]].where, found, f"{self.ends[-1]}, where the last episode ends")
        low = [name for name in _STATES if name in self.every and len(self.every[name].shape) == 2]
        self.describe(self.every, low[:1])

    @property
    def num_episodes(self) -> int:
        return len(self.ends)

    def place(self, number: int) -> str:
        return str(self.where)

    def task(self, number: int) -> str:
        return self.where.name.removesuffix(".zip").removesuffix(".zarr") or "task"

    def arrays(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        start, stop = self._bounds(number)
        return {name: self.every[name].rows(start, stop) for name in names}

    def blocks(self, number: int, name: str) -> Iterator[np.ndarray]:
        return self.every[name].blocks(*self._bounds(number), self.at_once)

    def _bounds(self, number: int) -> tuple[int, int]:
        return int(self.ends[number - 1]) if number else 0, int(self.ends[number])
