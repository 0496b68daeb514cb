"""Reads the data files of a LeRobotDataset that may come from anybody, v3.0 or v2: numbers, by episode and frame."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from burnish.data import lerobot_format as layout
from burnish.data.checks import EpisodeFault, Faults, bad_input
from burnish.data.large_columns import LargeColumns
from burnish.data.lerobot_format import ColumnError, Feature
from burnish.data.lerobot_index import EpisodeTable
from burnish.data.lerobot_info import Header
from burnish.data.mapped import MappedRows
from burnish.data.parquet import read_columns
from burnish.data.row_store import RowStore
from burnish.errors import InputError

INDEX = ("episode_index", "frame_index", "index", "task_index")
"""The columns of whole numbers by which rows are found and put in their order."""
_NUMBERS = ("episode_index", "frame_index", "index")
_TEMPLATE_FIELDS = re.compile(r"\{[a-z_]+(?::0\dd)?\}")


class Rows:
    """Wanted columns of all data files, in the order of the episodes, without those that are faults."""

    def __init__(
        self, root: Path, header: Header, table: EpisodeTable, wanted: list[str], faults: Faults, store: RowStore
    ) -> None:
        """Read nothing yet."""
        self.root, self.header, self.table = root, header, table
        self.wanted, self.faults = wanted, faults
        self.files = list(self.table.files)
        self.columns: dict[str, np.ndarray] = {}
        self.notes: list[str] = []
        self.large = LargeColumns(self.root, self.header, self.table.files, wanted, store)
        self.stored: dict[str, MappedRows] = {}
        self._unreadable: dict[str, InputError] = {}

    def read(self) -> Rows:
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
                parts[name].append(_narrow(values) if name in INDEX else values)
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
