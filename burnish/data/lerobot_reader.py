"""Reads a LeRobotDataset v3.0, ours or anybody's, and trusts nothing in it; `lerobot_v2` has what differs in v2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from burnish.data import lerobot_format as layout
from burnish.data.checks import EpisodeFault, Faults, bad_input
from burnish.data.dataset import Dataset
from burnish.data.decoding import PictureJob
from burnish.data.episodes import ACTION, IMAGES, STATE
from burnish.data.frames import Frames, Shown, Source
from burnish.data.large_columns import LargeColumns
from burnish.data.lerobot_format import ColumnError, Feature
from burnish.data.lerobot_meta import (
    EpisodeTable,
    read_columns,
    read_episode_table,
    read_header,
    read_tasks,
    read_video_table,
)
from burnish.data.lerobot_pictures import Camera, CameraFiles, camera_of
from burnish.data.mapped import MappedRows
from burnish.data.reading import Choice, assemble
from burnish.data.row_store import RowCache, RowStore
from burnish.data.stored_pictures import jobs as resizing
from burnish.data.stored_pictures import of_frames, open_stored
from burnish.data.success import SuccessRule
from burnish.errors import InputError

_READ_BY_DEFAULT = SuccessRule()
_INDEX = ("episode_index", "frame_index", "index", "task_index")
_NUMBERS = ("episode_index", "frame_index", "index")
_TEMPLATE_FIELDS = re.compile(r"\{[a-z_]+(?::0\dd)?\}")


def read_dataset(
    path: Path | str,
    success: SuccessRule = _READ_BY_DEFAULT,
    *,
    state: str | Sequence[str] = STATE,
    action: str = ACTION,
    other_observations: Sequence[str] = (),
    cameras: Sequence[str] | None = None,
    cache: Path | None = None,
) -> Dataset:
    """Read a LeRobotDataset v3.0: numbers into memory, pictures into a memory-mapped file.

    Only the named columns and cameras are read; everything else is left alone.

    Args:
        path: the dataset's folder.
        success: how success is told.
        state: the column, or columns to be joined, that become `observation.state`; flattened to (F, D).
        action: the column that becomes the action, in whatever units it is; flattened to (F, A).
        other_observations: further columns of numbers to keep under their own names and shapes.
        cameras: whose pictures to read (`top` for `observation.images.top`); None for all there are, () for none.
        cache: a folder in which decoded pictures are kept for the next time; None for a file that goes with them.

    Returns:
        The dataset on the CPU, everything in float32, pictures in uint8 (F, H, W, 3). Episodes that Burnish did not
        record have source `unknown` and seed -1. Rewards and terminations are those of `next.reward` and `next.done`,
        where the dataset has them.

    Raises:
        InputError: anything that is not as the format says; names the file, the episode and the field.
    """
    states = (state,) if isinstance(state, str) else tuple(state)
    choice = Choice(states, action, tuple(other_observations), success)
    store = RowStore() if cache is None else RowCache(cache)
    return assemble(LeRobotSource(Path(path)), choice, cameras, store)


class LeRobotSource(Source):
    """An opened LeRobotDataset v3.0."""

    versions: ClassVar[tuple[str, ...]] = (layout.VERSION,)

    def __init__(self, root: Path) -> None:
        """Read what `meta/` says; InputError where that is wrong."""
        if not root.is_dir():
            raise bad_input(root, "no such folder", "the folder of a LeRobotDataset")
        self.root, self.header = root, read_header(root, self.versions)
        self.table = self._table()
        numeric = {name: each for name, each in self.header.features.items() if each.is_numeric}
        super().__init__(
            where=root / layout.INFO_PATH,
            info=self.header.info,
            columns={name: each.shape for name, each in numeric.items()},
            episode_columns=self.table.outcomes,
            state=tuple(name for name in ("state", "observations.state", "obs") if name in numeric)[:1],
            action=next((name for name in ("actions",) if name in numeric), ""),
            cameras=_camera_names([*self.header.pictures, *self.header.stored]),
            names={name: each.names for name, each in numeric.items() if each.names},
            placeholders=self.header.placeholders,
            notes=list(self.table.notes),
        )

    def _table(self) -> EpisodeTable:
        return read_episode_table(self.root, self.header)

    def _tasks(self) -> dict[int, str]:
        return read_tasks(self.root)

    def _videos(self, key: str) -> tuple[list[str], np.ndarray]:
        return read_video_table(self.root, self.header, key)

    @property
    def num_episodes(self) -> int:
        """As info.json counts them."""
        return self.header.total_episodes

    def column(self, name: str) -> str:
        """As of every source; what is no column of numbers is said by its type."""
        feature = self.header.features.get(name)
        if feature is not None and not feature.is_numeric:
            raise bad_input(self.where, f"dtype '{feature.dtype}'", "numbers", field=name)
        return super().column(name)

    def load(self, names: Sequence[str], faults: Faults, store: RowStore) -> Frames:
        """Columns of all data files, put in the order of the episodes wherever these lie."""
        tasks = self._tasks()
        rows = _Rows(self, list(dict.fromkeys([*names, *_INDEX])), faults, store).read()
        numbers = np.array([e for e in range(self.num_episodes) if e not in faults.found], np.int64)
        table, lengths = self.table, self.table.lengths[numbers]
        starts = lengths.cumsum() - lengths
        index = rows.columns.pop("task_index")[:, 0] if len(numbers) else np.zeros(0, np.int64)
        place = {file: str(self.root / file) for file in set(rows.files)}
        frames = Frames(
            columns={name: rows.columns[name] for name in names if name in rows.columns},
            lengths=lengths,
            numbers=numbers,
            places=tuple(place[rows.files[number]] for number in numbers.tolist()),
            tasks=tuple(tasks.get(int(index[start]), "") for start in starts),
            sources=tuple(table.sources[number] for number in numbers),
            seeds=tuple(table.seeds[number] for number in numbers),
            first_success=table.first_success[numbers],
            notes=(*rows.notes, *_changing_tasks(index, numbers, lengths)),
            stored=rows.stored,
        )
        for episode, task in enumerate(frames.tasks):
            if not task:
                found, expected = str(index[starts[episode]]), f"one of {sorted(tasks)}"
                faults.add(frames.episode_fault(episode, found, expected, "task_index"))
        return frames

    def picture_size(self, camera: str, frames: Frames) -> tuple[int, int]:
        """As info.json declares it."""
        if self.cameras[camera] in self.header.stored:
            return self.header.stored[self.cameras[camera]]
        declared = self._camera(camera)
        return declared.height, declared.width

    def picture_jobs(self, camera: str, frames: Frames, numbers: Sequence[int], shown: Shown) -> list[PictureJob]:
        """One for each video, or data file."""
        stored = self.stored_pictures(camera, frames)
        if stored is not None:
            return resizing(stored, frames, numbers, shown)
        return self._camera_files(camera, frames).jobs(numbers, shown)

    def picture_identity(self, camera: str, frames: Frames) -> str:
        """The files' names, sizes and times, and where the episodes are in them."""
        if self.cameras[camera] in self.header.stored:
            return ""
        return self._camera_files(camera, frames).identity()

    def stored_pictures(self, camera: str, frames: Frames) -> MappedRows | None:
        """Those of a run folder's copy of somebody's data."""
        key, lengths = self.cameras[camera], self.table.lengths
        if key not in self.header.stored:
            return None
        every = open_stored(self.root, key, self.header.stored[key], int(lengths.sum()))
        return of_frames(every, lengths, frames)

    def _camera(self, camera: str) -> Camera:
        return camera_of(self.where, self.cameras[camera], self.header.pictures[self.cameras[camera]])

    def _camera_files(self, camera: str, frames: Frames) -> CameraFiles:
        declared = self._camera(camera)
        videos = self._videos(declared.key) if declared.kind == "video" else None
        return CameraFiles(self.root, self.info.fps, frames, declared, videos)


class _Rows:
    """Wanted columns of all data files, in the order of the episodes, without those that are faults."""

    def __init__(self, source: LeRobotSource, wanted: list[str], faults: Faults, store: RowStore) -> None:
        self.root, self.header, self.table = source.root, source.header, source.table
        self.wanted, self.faults = wanted, faults
        self.files = list(self.table.files)
        self.columns: dict[str, np.ndarray] = {}
        self.notes: list[str] = []
        self.large = LargeColumns(self.root, self.header, self.table.files, wanted, store)
        self.stored: dict[str, MappedRows] = {}
        self._unreadable: dict[str, InputError] = {}

    def read(self) -> _Rows:
        """Read every file once; an episode is where its `episode_index` is, whatever the index of the episodes says."""
        self.wanted = [name for name in self.wanted if name not in self.large.there]
        parts: dict[str, list[np.ndarray]] = {name: [] for name in self.wanted if name not in self.large.begins}
        moved: set[int] = set()
        for file in self._all_files():
            content = self._content(file)
            found = None if content is None else self._decoded(file, content)
            if found is None:
                continue
            self.large.take(self.root / file, found)
            for name, values in found.items():
                parts[name].append(_narrow(values) if name in _INDEX else values)
            here = [e for e in np.unique(found["episode_index"]).tolist() if self.files[e] != file]
            moved.update(here)
            for episode in here:
                self.files[episode] = file
        if not parts["episode_index"]:
            self._fail_missing(np.zeros(self.header.total_episodes, np.int64))
            return self
        # One after the other: of millions of frames even the numbers of rows are large.
        self._arrange({name: np.concatenate(parts.pop(name)) for name in list(parts)})
        if moved:
            first = min(moved)
            self.notes.append(
                f"{self.root / 'meta/episodes'}: data/file_index is wrong for {len(moved)} episodes (the first is "
                f"episode {first}: found {self.table.files[first]}, expected {self.files[first]}); found by looking"
            )
        return self

    def _all_files(self) -> list[str]:
        """Those that the index names, and whatever else is named like them."""
        pattern = _TEMPLATE_FIELDS.sub("*", self.header.data_template)
        there = {path.relative_to(self.root).as_posix() for path in self.root.glob(pattern)}
        return sorted(there | set(self.table.files))

    def _content(self, file: str) -> pa.Table | None:
        try:
            return read_columns(self.root / file, self.wanted)
        except InputError as error:
            self._unreadable[file] = error
            return None

    def _decoded(self, file: str, content: pa.Table) -> dict[str, np.ndarray] | None:
        """The wanted columns of a file, without the rows of bad episodes; None where no row is left."""
        features = self.header.features | layout.FRAME_FEATURES
        episodes = self._column(file, content, "episode_index", features, None)[:, 0]
        strange = (episodes < 0) | (episodes >= self.header.total_episodes)
        if strange.any():
            found = f"an episode {episodes[np.argmax(strange)]}"
            expected = f"0 to {self.header.total_episodes - 1}"
            raise bad_input(self.root / file, found, expected, field="episode_index")
        while True:
            keep = ~np.isin(episodes, list(self.faults.found))
            if not keep.all():
                content, episodes = content.filter(pa.array(keep)), episodes[keep]
            if not len(episodes):
                return None
            try:
                return {name: self._column(file, content, name, features, episodes) for name in self.wanted}
            except EpisodeFault as fault:
                self.faults.add(fault)

    def _column(
        self, file: str, content: pa.Table, name: str, features: dict[str, Feature], episodes: np.ndarray | None
    ) -> np.ndarray:
        if name not in content.schema.names:
            raise bad_input(self.root / file, "no such column", "a column as declared in info.json", field=name)
        try:
            return layout.decode_column(content.column(name), features[name])
        except ColumnError as error:
            episode = None if error.row is None or episodes is None else int(episodes[error.row])
            raise bad_input(self.root / file, error.found, error.expected, field=name, episode=episode) from error

    def _arrange(self, columns: dict[str, np.ndarray]) -> None:
        """Put the rows in the order of the episodes, and check that each has all of its frames."""
        episodes = columns["episode_index"][:, 0]
        counts = np.bincount(episodes, minlength=self.header.total_episodes)
        self._fail_missing(counts)
        good = np.array([e for e in range(len(counts)) if e not in self.faults.found], np.int64)
        order = None
        if len(good) < len(counts) or (np.diff(episodes) < 0).any():
            order = np.argsort(episodes, kind="stable")
            order = order[np.isin(episodes[order], good)]
            columns = {name: values[order] for name, values in columns.items()}
        lengths = counts[good]
        frame = _narrow(np.arange(int(lengths.sum())))
        frame -= np.repeat(_narrow(lengths.cumsum() - lengths), lengths)
        self._check_numbers("frame_index", columns["frame_index"][:, 0], frame, good, lengths)
        index, expected = columns["index"][:, 0], (counts.cumsum() - counts)[good]
        begins = index[lengths.cumsum() - lengths]
        frame = frame + np.repeat(begins, lengths)
        self._check_numbers("index", index, frame, good, lengths)
        if (begins != expected).any():
            wrong = int(np.argmax(begins != expected))
            self.notes.append(
                f"{self.root / self.files[good[wrong]]}: the column index of episode {good[wrong]} begins with "
                f"{begins[wrong]}, expected {expected[wrong]}; counted anew"
            )
        bad = [e for e in good.tolist() if e in self.faults.found]
        if bad:
            keep = ~np.isin(np.repeat(good, lengths), bad)
            columns = {name: values[keep] for name, values in columns.items()}
            order = keep.nonzero()[0] if order is None else order[keep]
        self.columns = {name: values for name, values in columns.items() if name not in _NUMBERS}
        self.stored = self.large.finish(order, whole=not self.faults.found)

    def _fail_missing(self, counts: np.ndarray) -> None:
        """Episodes that are too short, not there, or not whole."""
        lengths = self.table.lengths
        for episode in np.flatnonzero((counts != lengths) | (lengths < 2)).tolist():
            if episode in self.faults.found:
                continue
            where, error = self.root / self.files[episode], self._unreadable.get(self.files[episode])
            if lengths[episode] < 2:
                found, expected = str(lengths[episode]), "at least 2 frames"
                fault = bad_input(self.root / "meta", found, expected, field="length", episode=episode)
            elif error is not None and not counts[episode]:
                fault = EpisodeFault(str(error), episode)
            else:
                expected = f"{lengths[episode]} as the index of the episodes says"
                fault = bad_input(where, f"{counts[episode]} frames", expected, field="length", episode=episode)
            assert isinstance(fault, EpisodeFault)
            self.faults.add(fault)

    def _check_numbers(
        self, name: str, found: np.ndarray, expected: np.ndarray, good: np.ndarray, lengths: np.ndarray
    ) -> None:
        wrong = np.flatnonzero(found != expected)
        owners = np.searchsorted(lengths.cumsum(), wrong, side="right")
        for row in wrong[np.unique(owners, return_index=True)[1]].tolist():
            episode = int(good[np.searchsorted(lengths.cumsum(), row, side="right")])
            where = self.root / self.files[episode]
            fault = bad_input(where, str(found[row]), str(expected[row]), field=name, episode=episode)
            assert isinstance(fault, EpisodeFault)
            self.faults.add(fault)


def _narrow(values: np.ndarray) -> np.ndarray:
    """Whole numbers in half the room, where they fit: there may be one for each of millions of frames."""
    limit = np.iinfo(np.int32)
    fits = not values.size or (values.min() >= limit.min and values.max() <= limit.max // 2)
    return values.astype(np.int32) if fits else values


def _changing_tasks(index: np.ndarray, numbers: np.ndarray, lengths: np.ndarray) -> list[str]:
    """What to say where the task changes within an episode."""
    if not len(numbers):
        return []
    starts = lengths.cumsum() - lengths
    differs = index != np.repeat(index[starts], lengths)
    changing = np.flatnonzero(np.add.reduceat(differs, starts))
    if not len(changing):
        return []
    first = int(changing[0])
    frame = int(np.argmax(differs[starts[first] :]))
    return [
        f"the task changes within {len(changing)} of {len(numbers)} episodes (the first is episode {numbers[first]}, "
        f"at frame {frame}); each counts as one of its first task"
    ]


def _camera_names(pictures: Sequence[str]) -> dict[str, str]:
    """Short names of cameras: `observation.images.top` is top, `observation.image` and `image` are image."""
    names: dict[str, str] = {}
    for key in pictures:
        short = key.removeprefix(IMAGES).removeprefix("observation.")
        names[key if short in names else short] = key
    return names
