"""Data sets whose episodes are arrays (HDF5, zarr, NumPy): what is a column, what is a camera, and reading them."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from burnish.data.checks import EpisodeFault, Faults, bad_input
from burnish.data.decoding import PictureJob, cores
from burnish.data.episodes import ACTION
from burnish.data.frames import UNKNOWN_SEED, UNKNOWN_SOURCE, Frames, Shown, Source
from burnish.data.info import DatasetInfo
from burnish.data.lerobot_format import ColumnError
from burnish.data.row_store import RowStore
from burnish.data.success import DONE, REWARD
from burnish.errors import InputError

DEFAULT_FPS = 10
"""Where the files do not say: it only matters for videos, and is named in what is said of the data."""

_OURS = {
    "action": ACTION,
    "actions": ACTION,
    "reward": REWARD,
    "rewards": REWARD,
    "done": DONE,
    "dones": DONE,
    "terminals": DONE,
    "terminations": DONE,
    "success": "success",
    "successes": "success",
}


def our_name(name: str) -> str:
    """The name of a column here: actions, rewards and ends have LeRobot's, everything else keeps its own."""
    return _OURS.get(name, name)


def natural_order(path: Path) -> list[Any]:
    """Sorts episode_2 before episode_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


class ArraySource(Source):
    """A data set whose episodes are read one at a time, as arrays."""

    at_once: ClassVar[int] = 2**25
    """Bytes of pictures that each core reads at a time: those of an episode may be larger than memory."""

    def describe(self, found: Mapping[str, Any], state: Sequence[str] = ()) -> None:
        """Sort the arrays of one episode (name to anything with dtype and shape) into columns and cameras.

        Args:
            found: the arrays that an episode has.
            state: the columns that make the state where nobody says, those of them that there are.

        Raises:
            InputError: nothing is called an action.
        """
        action = next((name for name in found if our_name(name) == ACTION), None)
        if action is None:
            there = ", ".join(sorted(found)) or "nothing"
            raise bad_input(self.where, f"the arrays {there}", "'action' or 'actions' among them", field=ACTION)
        frames = found[action].shape[0] if len(found[action].shape) else 0
        for name, values in found.items():
            if _is_pictures(values):
                self.cameras[name.rpartition("/")[2]] = name
            elif len(values.shape) and values.shape[0] == frames and values.dtype.kind in "biuf":
                self.columns[our_name(name)] = tuple(values.shape[1:]) or (1,)
                self.aliases[name] = our_name(name)
        self.state = tuple(our_name(name) for name in state if our_name(name) in self.columns)

    def own_name(self, name: str) -> str:
        """The file's own name of a column."""
        return next((own for own, ours in self.aliases.items() if ours == name), name)

    @abstractmethod
    def place(self, number: int) -> str:
        """Where an episode is, for messages."""

    @abstractmethod
    def arrays(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Arrays of one episode by their own names, (T, ...) each.

        Raises:
            InputError: they are missing or broken.
        """

    def blocks(self, number: int, name: str) -> Iterator[np.ndarray]:
        """One array of an episode as successive rows, about `at_once` bytes at a time; here all in one.

        Raises:
            InputError: as `arrays`.
        """
        yield self.arrays(number, [name])[name]

    def task(self, number: int) -> str:
        """The task of an episode."""
        return self.where.stem or "task"

    def seed(self, number: int) -> int:
        """The seed of an episode."""
        return UNKNOWN_SEED

    def load(self, names: Sequence[str], faults: Faults, store: RowStore) -> Frames:
        """Read episode after episode; one that cannot be read, or is unlike the first, is a fault."""
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        numbers, lengths = [], []
        for number in range(self.num_episodes):
            found = self._episode(number, names, parts, faults)
            if found is None:
                continue
            for name, values in found.items():
                parts[name].append(values)
            numbers.append(number)
            lengths.append(len(next(iter(found.values()))))
        return Frames(
            columns={name: np.concatenate(each) for name, each in parts.items() if each},
            lengths=np.array(lengths, np.int64),
            numbers=np.array(numbers, np.int64),
            places=tuple(self.place(number) for number in numbers),
            tasks=tuple(self.task(number) for number in numbers),
            sources=(UNKNOWN_SOURCE,) * len(numbers),
            seeds=tuple(self.seed(number) for number in numbers),
            first_success=np.zeros(len(numbers), bool),
        )

    def picture_size(self, camera: str, frames: Frames) -> tuple[int, int]:
        """That of the first one."""
        first = next(self._pictures_of(camera, frames, 0), None)
        if first is None or not len(first):
            raise frames.episode_fault(0, "no pictures", "one for each frame", self.cameras[camera])
        return first.shape[1], first.shape[2]

    def picture_jobs(self, camera: str, frames: Frames, numbers: Sequence[int], shown: Shown) -> list[PictureJob]:
        """Episodes shared between the cores."""
        parts = [tuple(part.tolist()) for part in np.array_split(np.array(numbers), min(cores(), len(numbers)))]
        return [PictureJob(part, partial(self._shown, camera, frames, part, shown)) for part in parts]

    def decoded(self, name: str, values: np.ndarray) -> np.ndarray:
        """Pictures as uint8 (T, H, W, 3) from rows of the array that is in the file."""
        if values.ndim == 4 and values.shape[3] != 3 and values.shape[1] == 3:
            values = values.transpose(0, 2, 3, 1)
        if values.ndim != 4 or values.shape[3] != 3 or values.dtype.kind not in "uif":
            raise bad_input(self.where, f"{values.dtype} of shape {values.shape}", "RGB pictures", field=name)
        if values.dtype != np.uint8:
            whole = np.isfinite(values).all() and (values == np.round(values)).all()
            if not whole or values.min() < 0 or values.max() > 255:
                raise bad_input(self.where, f"pictures of {values.dtype}", "whole numbers from 0 to 255", field=name)
        return values.astype(np.uint8, copy=False)

    def _shown(
        self, camera: str, frames: Frames, numbers: Sequence[int], shown: Shown, threads: int
    ) -> Iterator[np.ndarray]:
        for episode in np.searchsorted(frames.numbers, numbers).tolist():
            key, first, length = self.cameras[camera], 0, int(frames.lengths[episode])
            kept = shown.stride.kept(length)
            for found in self._pictures_of(camera, frames, episode):
                if found.shape[1:3] != shown.size:
                    expected = "{} x {} as in the first episode".format(*shown.size)
                    wrong = f"pictures of {found.shape[1]} x {found.shape[2]}"
                    raise frames.episode_fault(episode, wrong, expected, key)
                for frame in kept:
                    if first <= frame < first + len(found):
                        yield self._as_shown(shown, found[frame - first], frames, episode, key)
                first += len(found)
            if first != length:
                raise frames.episode_fault(episode, f"{first} pictures", f"{length}, one for each frame", key)

    @staticmethod
    def _as_shown(shown: Shown, picture: np.ndarray, frames: Frames, episode: int, key: str) -> np.ndarray:
        try:
            return shown.view.apply(picture)
        except ColumnError as error:
            raise frames.episode_fault(episode, error.found, error.expected, key) from error

    def _episode(
        self, number: int, names: Sequence[str], parts: Mapping[str, list[np.ndarray]], faults: Faults
    ) -> dict[str, np.ndarray] | None:
        """Columns of one episode; None where it is bad."""
        try:
            found = self.arrays(number, [self.own_name(name) for name in names])
            found = {name: found[self.own_name(name)] for name in names}
            self._check(number, found, {name: each[0] for name, each in parts.items() if each})
        except EpisodeFault as fault:
            faults.add(fault)
        except InputError as error:
            faults.add(EpisodeFault(str(error), number))
        else:
            return found
        return None

    def _check(self, number: int, found: dict[str, np.ndarray], like: dict[str, np.ndarray]) -> None:
        where = self.place(number)
        first = next(iter(found))
        for name, values in found.items():
            if values.dtype.kind not in "biuf":
                raise bad_input(where, f"values of type {values.dtype}", "numbers", field=name, episode=number)
            if values.ndim == 0 or len(values) != len(found[first]):
                expected = f"{len(found[first])} frames as of '{first}'"
                raise bad_input(where, f"shape {values.shape}", expected, field=name, episode=number)
            if len(values) < 2:
                raise bad_input(where, str(len(values)), "at least 2 frames", field="length", episode=number)
            if name in like and values.shape[1:] != like[name].shape[1:]:
                expected = f"{like[name].shape[1:]} as in the episodes before"
                raise bad_input(where, f"shape {values.shape[1:]}", expected, field=name, episode=number)

    def _pictures_of(self, camera: str, frames: Frames, episode: int) -> Iterator[np.ndarray]:
        """The pictures of an episode, some at a time."""
        number, key = int(frames.numbers[episode]), self.cameras[camera]
        try:
            for stored in self.blocks(number, key):
                yield self.decoded(key, stored)
        except EpisodeFault:
            raise
        except InputError as error:
            raise EpisodeFault(str(error), number) from error


def rate(fps: float | None, notes: list[str]) -> DatasetInfo:
    """What holds for all episodes where no more than the rate is known, if that."""
    if fps is None:
        notes.append(f"the files say nothing of a frame rate: taken for {DEFAULT_FPS} frames a second (--fps)")
        fps = DEFAULT_FPS
    return DatasetInfo(fps=int(fps) if fps == int(fps) else fps)


def _is_pictures(values: Any) -> bool:
    shape, kind = tuple(values.shape), values.dtype
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        return False
    return kind == np.uint8 or (kind.kind == "f" and min(shape[1:3]) >= 8)
