"""Reads a LeRobotDataset v3.0, ours or anybody's, and trusts nothing in it; `lerobot_v2` has what differs in v2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from burnish.data import lerobot_format as layout
from burnish.data.checks import Faults, bad_input
from burnish.data.dataset import Dataset
from burnish.data.decoding import PictureJob
from burnish.data.episodes import ACTION, IMAGES, STATE
from burnish.data.frames import Frames, Shown, Source
from burnish.data.lerobot_index import EpisodeTable, read_episode_table, read_tasks, read_video_table
from burnish.data.lerobot_info import read_header
from burnish.data.lerobot_pictures import Camera, CameraFiles, camera_of
from burnish.data.lerobot_rows import INDEX, Rows
from burnish.data.mapped import MappedRows
from burnish.data.reading import Choice, assemble
from burnish.data.row_store import RowCache, RowStore
from burnish.data.stored_pictures import jobs as resizing
from burnish.data.stored_pictures import of_frames, open_stored
from burnish.data.success import SuccessRule

_READ_BY_DEFAULT = SuccessRule()


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
        rows = Rows(self.root, self.header, self.table, list(dict.fromkeys([*names, *INDEX])), faults, store).read()
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
