"""Reads a LeRobotDataset v3.0, ours or anybody's, and trusts nothing in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from burnish.data import lerobot_format as layout
from burnish.data.checks import bad_input
from burnish.data.dataset import Dataset
from burnish.data.episodes import ACTION, STATE
from burnish.data.lerobot_format import ColumnError, Feature
from burnish.data.lerobot_meta import EpisodeTable, Header, read_columns, read_episode_table, read_header, read_tasks
from burnish.data.lerobot_pictures import choose_cameras, read_pictures
from burnish.data.success import DONE, REWARD, SuccessRule, on_arrival

_READ_BY_DEFAULT = SuccessRule()


def read_dataset(
    path: Path | str,
    success: SuccessRule = _READ_BY_DEFAULT,
    *,
    state: str | Sequence[str] = STATE,
    action: str = ACTION,
    other_observations: Sequence[str] = (),
    cameras: Sequence[str] | None = None,
) -> Dataset:
    """Read a LeRobotDataset v3.0: numbers into memory, pictures into a memory-mapped file.

    Only the named columns and cameras are read; everything else is left alone. Pictures are decoded once, into the
    hidden folder `.cache` of the dataset (see `picture_cache`).

    Args:
        path: the dataset's folder.
        success: how success is told.
        state: the column, or columns to be joined, that become `observation.state`; flattened to (F, D).
        action: the column that becomes the action, in whatever units it is; flattened to (F, A).
        other_observations: further columns of numbers to keep under their own names and shapes.
        cameras: whose pictures to read (`top` for `observation.images.top`); None for all there are, () for none.

    Returns:
        The dataset on the CPU, everything in float32, pictures in uint8 (F, H, W, 3). Episodes that Burnish did not
        record have source `unknown` and seed -1. Rewards and terminations are those of `next.reward` and `next.done`,
        where the dataset has them.

    Raises:
        InputError: anything that is not as the format says; names the file, the episode and the field.
    """
    root = Path(path)
    if not root.is_dir():
        raise bad_input(root, "no such folder", "the folder of a LeRobotDataset v3.0")
    states = [state] if isinstance(state, str) else list(state)
    if not states:
        raise bad_input(root, "no column chosen for the state", "at least one")
    header = read_header(root, states)
    info_path = root / layout.INFO_PATH
    numeric = [name for name, each in header.features.items() if each.is_numeric]
    earned = [name for name in (REWARD, DONE) if name in numeric and name not in header.placeholders]
    success_column = success.resolve(numeric, info_path, rewarded=REWARD in earned)
    wanted = [*states, action, *other_observations, *earned, *([success_column] if success_column else [])]
    _require_numeric(info_path, header, wanted)
    chosen = choose_cameras(info_path, header, cameras)
    table = read_episode_table(root, header)
    tasks = read_tasks(root)
    columns = _Columns(root, header, table, wanted).read()
    starts = table.starts

    for name in (*states, action, *other_observations, *(name for name in earned if name == REWARD)):
        columns.values[name] = _finite_float32(columns, name)
    actions = _joined(columns, [action])
    told = columns.values[success_column].reshape(-1) if success_column else None
    if told is not None:
        _check_told(columns, str(success_column), told, frame_by_frame=success.last_frames is None)
    observations = {STATE: _joined(columns, states)}
    observations |= {name: columns.values[name] for name in other_observations}
    pictures = {camera.key: read_pictures(root, header, table, camera) for camera in chosen}
    outcomes = {name: _on_arrival(columns, name) for name in earned}
    frames = success.frames(success_column, told, starts, table.lengths, table.first_success)
    return Dataset(
        observations={name: torch.from_numpy(values) for name, values in observations.items()} | pictures,
        actions=torch.from_numpy(actions),
        success=torch.from_numpy(frames),
        starts=torch.from_numpy(starts),
        lengths=torch.from_numpy(table.lengths),
        sources=table.sources,
        seeds=table.seeds,
        tasks=tuple(_task_of(columns, tasks, episode) for episode in range(len(starts))),
        info=replace(header.info, action_names=header.features[action].names),
        reward=outcomes.get(REWARD),
        terminated=outcomes.get(DONE),
    )


@dataclass
class _Columns:
    """The wanted columns of all data files, side by side: `values[name]` is (F, *feature shape)."""

    root: Path
    header: Header
    table: EpisodeTable
    wanted: list[str]

    def __post_init__(self) -> None:
        self.values: dict[str, np.ndarray] = {}

    def read(self) -> _Columns:
        """Read every data file in the order of the episodes."""
        index_columns = {"episode_index", "frame_index", "index", "task_index"}
        names = list(dict.fromkeys([*self.wanted, *sorted(index_columns)]))
        features = self.header.features | layout.FRAME_FEATURES
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for file, group in groupby(range(len(self.table.files)), key=self.table.files.__getitem__):
            episodes = list(group)
            content = read_columns(self.root / file, names)
            rows = int(self.table.lengths[episodes].sum())
            if len(content) != rows:
                expected = f"{rows}, the lengths of episodes {episodes[0]} to {episodes[-1]} in meta/episodes"
                raise bad_input(self.root / file, f"{len(content)} frames", expected)
            first = int(self.table.starts[episodes[0]])
            for name in names:
                parts[name].append(self._decode(file, content, name, features[name], first))
            self._check_indices(file, {name: parts[name][-1][:, 0] for name in index_columns}, episodes, first)
        self.values = {name: np.concatenate(each) for name, each in parts.items()}
        return self

    def place(self, frame: int) -> tuple[Path, int]:
        """The file and the episode of a frame."""
        episode = self.table.place(frame)[0]
        return self.root / self.table.files[episode], episode

    def _decode(self, file: str, content: pa.Table, name: str, feature: Feature, first: int) -> np.ndarray:
        if name not in content.schema.names:
            raise bad_input(self.root / file, "no such column", "a column as declared in info.json", field=name)
        try:
            return layout.decode_column(content.column(name), feature)
        except ColumnError as error:
            episode = None if error.row is None else self.place(first + error.row)[1]
            raise bad_input(self.root / file, error.found, error.expected, field=name, episode=episode) from error

    def _check_indices(self, file: str, found: dict[str, np.ndarray], episodes: list[int], first: int) -> None:
        lengths = self.table.lengths[episodes]
        frames = first + np.arange(int(lengths.sum()))
        expected = {
            "episode_index": np.repeat(episodes, lengths),
            "frame_index": frames - np.repeat(self.table.starts[episodes], lengths),
            "index": frames,
        }
        for name, values in expected.items():
            if (found[name] != values).any():
                row = int(np.argmax(found[name] != values))
                episode = self.place(first + row)[1]
                raise bad_input(self.root / file, str(found[name][row]), str(values[row]), field=name, episode=episode)


def _require_numeric(path: Path, header: Header, wanted: list[str]) -> None:
    for name in wanted:
        if name not in header.features:
            found = f"the features {sorted(header.features)}"
            raise bad_input(path, found, "this one among them", field=name)
        if not header.features[name].is_numeric:
            raise bad_input(path, f"dtype '{header.features[name].dtype}'", "numbers", field=name)


def _finite_float32(columns: _Columns, name: str) -> np.ndarray:
    """A column as float32, checked after the conversion (which may overflow)."""
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(columns.values[name], dtype=np.float32)
    finite = np.isfinite(values).reshape(len(values), -1).all(1)
    if not finite.all():
        frame = int(np.argmin(finite))
        path, episode = columns.place(frame)
        value = next(v for v in values[frame].ravel().tolist() if not math.isfinite(v))
        found = f"a value that is not finite at frame {frame - columns.table.starts[episode]} ({value})"
        raise bad_input(path, found, "finite float32 values", field=name, episode=episode)
    return values


def _joined(columns: _Columns, names: list[str]) -> np.ndarray:
    """Columns side by side, every frame's value flattened: (F, D)."""
    parts = [columns.values[name].reshape(len(columns.values[name]), -1) for name in names]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _check_told(columns: _Columns, name: str, told: np.ndarray, frame_by_frame: bool) -> None:
    """A success column must have one number a frame; told frame by frame it must be zeros and ones."""
    where = columns.root / layout.INFO_PATH
    if len(told) != int(columns.table.lengths.sum()):
        raise bad_input(where, f"shape {columns.header.features[name].shape}", "one value per frame", field=name)
    wrong = ~np.isfinite(told.astype(np.float64))
    if frame_by_frame:
        wrong |= (told != 0) & (told != 1)
    if wrong.any():
        path, episode = columns.place(int(np.argmax(wrong)))
        expected = "0 or 1 in every frame" if frame_by_frame else "finite values"
        raise bad_input(path, str(told[np.argmax(wrong)]), expected, field=name, episode=episode)


def _on_arrival(columns: _Columns, name: str) -> torch.Tensor:
    """A column of rewards, or of ends, moved to the frame that the action led to."""
    told, starts = columns.values[name].reshape(-1), columns.table.starts
    _check_told(columns, name, told, frame_by_frame=name == DONE)
    return torch.from_numpy(
        on_arrival(told if name == REWARD else told > 0, starts, starts + columns.table.lengths - 1)
    )


def _task_of(columns: _Columns, tasks: dict[int, str], episode: int) -> str:
    """The task of an episode, which is that of its first frame."""
    index = int(columns.values["task_index"][columns.table.starts[episode], 0])
    if index not in tasks:
        path = columns.root / columns.table.files[episode]
        raise bad_input(path, str(index), f"one of {sorted(tasks)}", field="task_index", episode=episode)
    return tasks[index]
