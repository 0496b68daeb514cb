"""Reads and checks the tables of `meta/` of a LeRobotDataset v3.0 that may come from anybody (v2: `lerobot_v2`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from burnish.data import lerobot_format as layout
from burnish.data.checks import bad_input
from burnish.data.frames import UNKNOWN_SEED, UNKNOWN_SOURCE
from burnish.data.lerobot_format import ColumnError, Feature
from burnish.data.lerobot_info import Header
from burnish.data.parquet import read_columns

_SCALAR = Feature("int64", (1,))
_SECONDS = Feature("float64", (1,))
_EPISODE_COLUMNS = (
    "episode_index",
    "length",
    "dataset_from_index",
    "dataset_to_index",
    "data/chunk_index",
    "data/file_index",
)
_OWN = {name: f"{layout.OWN_KEY}/{name}" for name in ("source", "seed", "first_success")}


@dataclass(frozen=True)
class EpisodeTable:
    """What the index of the episodes tells, one entry per episode.

    Attributes:
        lengths: int64 (E,) the number of frames.
        files: the data file that each should be in, relative to the dataset.
        sources: who acted.
        seeds: the seed.
        first_success: bool (E,) whether the first frame shows success.
        outcomes: further columns of one number an episode.
        notes: what was repaired, in words.
    """

    lengths: np.ndarray
    files: list[str]
    sources: tuple[str, ...]
    seeds: tuple[int, ...]
    first_success: np.ndarray
    outcomes: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()

    @property
    def starts(self) -> np.ndarray:
        """int64 (E,) the first frame."""
        return self.lengths.cumsum() - self.lengths


def read_episode_table(root: Path, header: Header) -> EpisodeTable:
    """Read meta/episodes; where the episodes lie in the files is found by looking there (`lerobot_rows`).

    Raises:
        InputError: files are missing or broken, or the episodes are not those that info.json counts.
    """
    where, table = _read_episodes(root, None)
    number = {name: _integers(where, table, name) for name in _EPISODE_COLUMNS}
    count = len(number["length"])
    if count != header.total_episodes:
        raise bad_input(where, f"{count} episodes", f"{header.total_episodes} as in {layout.INFO_PATH}")
    if int(number["length"].astype(object).sum()) != header.total_frames:
        found = f"{number['length'].astype(object).sum()} frames in all"
        raise bad_input(where, found, f"{header.total_frames} as in {layout.INFO_PATH}", field="length")
    starts = number["length"].cumsum() - number["length"]
    _check_column(where, "episode_index", number["episode_index"], np.arange(count))
    for name in ("data/chunk_index", "data/file_index"):
        _check_from_zero(where, name, number[name])
    own = {name: _own_column(where, table, column) for name, column in _OWN.items()}
    bounds = (("dataset_from_index", starts), ("dataset_to_index", starts + number["length"]))
    notes = [_stale(where, name, number[name], expected) for name, expected in bounds]
    pairs = list(zip(number["data/chunk_index"].tolist(), number["data/file_index"].tolist(), strict=True))
    paths = {pair: layout.file_path(header.data_template, *pair) for pair in set(pairs)}
    return EpisodeTable(
        lengths=number["length"],
        files=[paths[pair] for pair in pairs],
        sources=tuple(source if isinstance(source, str) and source else UNKNOWN_SOURCE for source in own["source"]),
        seeds=tuple(UNKNOWN_SEED if seed is None else int(seed) for seed in own["seed"]),
        first_success=np.array([bool(value) for value in own["first_success"]]),
        outcomes=_outcomes(table),
        notes=tuple(note for note in notes if note),
    )


def _stale(where: Path, name: str, found: np.ndarray, expected: np.ndarray) -> str | None:
    """What to say of a redundant column that is wrong, whose values are counted anew; None where it is right."""
    wrong = np.flatnonzero(found != expected)
    if not len(wrong):
        return None
    first = int(wrong[0])
    return (
        f"{where}: {name} is wrong for {len(wrong)} episodes (the first is episode {first}: found {found[first]}, "
        f"expected {expected[first]}); counted anew"
    )


def _outcomes(table: pa.Table) -> dict[str, np.ndarray]:
    """Columns of the index that nobody needs to find an episode: one number an episode."""
    known = (*_EPISODE_COLUMNS, *_OWN.values())
    free = [field for field in table.schema if "/" not in field.name and field.name not in known]
    numbers = [field.name for field in free if _is_number(field.type) and not table.column(field.name).null_count]
    return {name: table.column(name).combine_chunks().to_numpy(zero_copy_only=False) for name in numbers}


def read_video_table(root: Path, header: Header, key: str) -> tuple[list[str], np.ndarray]:
    """Read from meta/episodes where the videos of a camera are.

    Returns:
        The video file of every episode, relative to the dataset, and float64 (E,): the second at which it begins there.

    Raises:
        InputError: the columns are missing or hold something impossible, or info.json has no template of the path.
    """
    template = header.video_template
    try:
        layout.file_path(template or "{", 0, 0, key)
    except ValueError as error:
        expected = f"a path inside the dataset like '{layout.VIDEO_TEMPLATE}'"
        raise bad_input(root / layout.INFO_PATH, repr(template), expected, field="video_path") from error
    names = [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    where, table = _read_episodes(root, names)
    chunks, files = (_integers(where, table, name) for name in names[:2])
    begins = _decoded(where, table, names[2], _SECONDS, "a column of seconds").astype(np.float64)
    if len(begins) != header.total_episodes:
        raise bad_input(where, f"{len(begins)} episodes", f"{header.total_episodes} as in {layout.INFO_PATH}")
    for name, values in zip(names, (chunks, files, begins), strict=True):
        _check_from_zero(where, name, values)
    paths = [layout.file_path(template or "", *place, key) for place in zip(chunks, files, strict=True)]
    return paths, begins


def read_tasks(root: Path) -> dict[int, str]:
    """Read meta/tasks.parquet: every task's index and its name.

    Raises:
        InputError: it is missing or broken, or has no column of names.
    """
    path = root / layout.TASKS_PATH
    table = read_columns(path, None)
    named = [field.name for field in table.schema if _is_text(field.type)]
    if len(named) != 1:
        raise bad_input(path, f"the columns {table.schema.names}", "'task_index' and one column of names")
    names = table.column(named[0]).to_pylist()
    if not all(isinstance(name, str) and name for name in names):
        raise bad_input(path, "a missing name", "a name for every task", field=named[0])
    return dict(zip(_integers(path, table, "task_index").tolist(), names, strict=True))


def _check_column(where: Path, name: str, found: np.ndarray, expected: np.ndarray) -> None:
    if (found != expected).any():
        wrong = int(np.argmax(found != expected))
        raise bad_input(where, str(found[wrong]), str(expected[wrong]), field=name, episode=wrong)


def _check_from_zero(where: Path, name: str, found: np.ndarray) -> None:
    fine = (found >= 0) & np.isfinite(found)
    if not fine.all():
        wrong = int(np.argmin(fine))
        raise bad_input(where, str(found[wrong]), "a number from 0", field=name, episode=wrong)


def _read_episodes(root: Path, columns: list[str] | None) -> tuple[Path, pa.Table]:
    """Columns of meta/episodes (those that it has; None: all but its statistics), and where it is."""
    files = sorted(root.glob("meta/episodes/*/*.parquet"))
    if not files:
        raise bad_input(root / "meta/episodes", "no Parquet file", "the index of the episodes")
    where = files[0] if len(files) == 1 else root / "meta/episodes"
    tables = [read_columns(file, columns, unless="stats/") for file in files]
    try:
        return where, pa.concat_tables(tables, promote_options="default")
    except pa.ArrowException as error:
        raise bad_input(where, f"files whose columns differ ({error})", "the same types in all") from error


def _integers(path: Path, table: pa.Table, name: str) -> np.ndarray:
    """A column of whole numbers, (N,) int64."""
    return _decoded(path, table, name, _SCALAR, "a column of whole numbers").astype(np.int64)


def _decoded(path: Path, table: pa.Table, name: str, feature: Feature, expected: str) -> np.ndarray:
    """A column of one number in every row, (N,)."""
    if name not in table.schema.names:
        raise bad_input(path, "no such column", expected, field=name)
    try:
        return layout.decode_column(table.column(name), feature)[:, 0]
    except ColumnError as error:
        raise bad_input(path, error.found, expected, field=name, episode=error.row) from error


def _own_column(path: Path, table: pa.Table, name: str) -> list:
    """One of the columns that only Burnish writes; None for every episode where the file has it not."""
    if name not in table.schema.names:
        return [None] * len(table)
    values = table.column(name).to_pylist()
    kind = {"source": str, "seed": int, "first_success": bool}[name.rpartition("/")[2]]
    wrong = next((index for index, value in enumerate(values) if value is not None and type(value) is not kind), None)
    if wrong is not None:
        raise bad_input(path, repr(values[wrong]), f"a {kind.__name__}", field=name, episode=wrong)
    return values


def _is_number(arrow: pa.DataType) -> bool:
    return pa.types.is_integer(arrow) or pa.types.is_floating(arrow) or pa.types.is_boolean(arrow)


def _is_text(arrow: pa.DataType) -> bool:
    return pa.types.is_string(arrow) or pa.types.is_large_string(arrow)
