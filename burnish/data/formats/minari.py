"""Minari's HDF5: `data/main_data.hdf5` with groups `episode_N`, which have one observation more than actions."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burnish.data import hdf5
from burnish.data.arrays import ArraySource, rate
from burnish.data.checks import bad_input
from burnish.data.formats.base import SourceFormat
from burnish.data.frames import UNKNOWN_SEED, Source

_FILE, _EPISODE = "main_data.hdf5", "episode_"
_SUCCESS = ("infos/success", "infos/is_success")


class Minari(SourceFormat):
    """The last observation, after the last action, is not read; what was earned on the way there is kept."""

    name = "minari"
    title = "Minari's HDF5 (data/main_data.hdf5)"

    def detect(self, path: Path) -> bool:
        """By the file of the data, and its episodes."""
        file = _file(path)
        return "episode_0" in hdf5.top(file)

    def open(self, path: Path) -> Source:
        """Looks at the first episode."""
        return _Minari(path)


class _Minari(ArraySource):
    def __init__(self, path: Path) -> None:
        notes: list[str] = []
        super().__init__(where=path, info=rate(None, notes), notes=notes)
        self.file = _file(path)
        self.episodes = hdf5.groups(self.file, "", _EPISODE)
        self.dataset = _id(self.file)
        with hdf5.opened(self.file) as opened:
            found = hdf5.arrays_below(hdf5.child(opened, self.episodes[0]))
            self.seeds = [_seed(hdf5.child(opened, name).attrs.get("seed")) for name in self.episodes]
            frames = len(found["actions"]) if "actions" in found and found["actions"].ndim else 0
            seen = [name for name in found if name.split("/")[0] == "observations"]
            self.describe({name: _Cut(each, frames) for name, each in found.items()})
        self.state = tuple(name for name in seen if name in self.columns and len(self.columns[name]) == 1)
        # What is told after each action.
        for name in [name for name in self.columns if name.startswith("infos/")]:
            shape = self.columns.pop(name)
            ours = "next.success" if name in _SUCCESS and "next.success" not in self.columns else f"next.{name}"
            self.columns[ours], self.aliases[name] = shape, ours

    @property
    def num_episodes(self) -> int:
        return len(self.episodes)

    def place(self, number: int) -> str:
        return f"{self.file}/{self.episodes[number]}"

    def task(self, number: int) -> str:
        return self.dataset

    def seed(self, number: int) -> int:
        return self.seeds[number]

    def arrays(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        with hdf5.opened(self.file) as opened:
            group = hdf5.child(opened, self.episodes[number])
            frames = len(hdf5.numbers(group, "actions"))
            return {name: self._cut(number, name, hdf5.numbers(group, name), frames) for name in names}

    def blocks(self, number: int, name: str) -> Iterator[np.ndarray]:
        with hdf5.opened(self.file) as opened:
            group = hdf5.child(opened, self.episodes[number])
            frames, entry = len(hdf5.numbers(group, "actions")), hdf5.plain(group, name)
            count = entry.shape[0] if entry.ndim else 0
            yield from hdf5.blocks(group, name, self.at_once, self._kept(number, name, count, frames))

    def _cut(self, number: int, name: str, values: np.ndarray, frames: int) -> np.ndarray:
        return values[self._kept(number, name, len(values), frames)] if values.ndim else values

    def _kept(self, number: int, name: str, count: int, frames: int) -> slice:
        """Which of so many rows belong to frames."""
        if count == frames + 1:
            return slice(1, None) if name.startswith("infos/") else slice(-1)
        if name.startswith("observations"):
            expected = f"{frames + 1}, one more than actions"
            raise bad_input(self.place(number), f"{count} frames", expected, field=name, episode=number)
        return slice(None)


class _Cut:
    """An array as long as the actions, as far as its shape goes."""

    def __init__(self, entry: Any, frames: int) -> None:
        longer = len(entry.shape) > 0 and entry.shape[0] == frames + 1
        self.dtype, self.shape = entry.dtype, (frames, *entry.shape[1:]) if longer else entry.shape


def _file(path: Path) -> Path:
    return next((each for each in (path / "data" / _FILE, path / _FILE) if each.is_file()), path)


def _id(file: Path) -> str:
    """The data set's name."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        told = json.loads((file.parent / "metadata.json").read_text(encoding="utf-8"))
        if isinstance(told, dict) and isinstance(told.get("dataset_id"), str) and told["dataset_id"]:
            return told["dataset_id"]
    with hdf5.opened(file) as opened:
        return hdf5.text(opened, "dataset_id") or file.stem


def _seed(value: Any) -> int:
    """A seed as the file has it; there may be none, or a large one."""
    if isinstance(value, int | np.integer) and -(2**63) <= int(value) < 2**63:
        return int(value)
    return UNKNOWN_SEED
