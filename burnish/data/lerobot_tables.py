"""Writes the files of a LeRobotDataset v3.0, episode after episode (`lerobot_writer` has the folder)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from burnish.config import to_dict
from burnish.data import lerobot_format as layout
from burnish.data.checks import bad_input
from burnish.data.episodes import ACTION, STATE, Episode, check_same_shapes, is_image_key
from burnish.data.info import DatasetInfo
from burnish.data.lerobot_format import Feature
from burnish.data.parquet_shards import ParquetShards
from burnish.data.png import encode_pictures
from burnish.data.statistics import RunningStatistics, column_statistics, picture_statistics
from burnish.data.stored_pictures import FOLDER
from burnish.data.success import DONE, REWARD
from burnish.data.video import VideoLocation, VideoShards

MEGABYTE = 2**20
_ROWS_AT_ONCE = 200
"""Of the index of the episodes: a hundred columns for a single row take longer than the episode itself."""


class TableWriter:
    """Turns episodes into the rows of the dataset's Parquet files, and sums up what `meta/` has to tell."""

    def __init__(self, folder: Path, name: Path, info: DatasetInfo, shard_megabytes: float, pictures: str) -> None:
        """Write below `folder` what messages call `name`; `pictures` are `image` or `video`."""
        self._pictures = pictures
        self.labelled = True
        self.stored: dict[str, tuple[int, int]] = {}
        self._videos: dict[str, VideoShards] = {}
        self._folder, self._name, self._info, self._shard_megabytes = folder, name, info, shard_megabytes
        self._data = ParquetShards(folder, layout.DATA_TEMPLATE, shard_megabytes * MEGABYTE)
        self._meta = ParquetShards(folder, layout.EPISODES_TEMPLATE, shard_megabytes * MEGABYTE)
        self._first: Episode | None = None
        self._features: dict[str, Feature] = {}
        self._statistics: dict[str, RunningStatistics] = {}
        self._tasks: dict[str, int] = {}
        self._episodes = self._frames = self._row_bytes = 0
        self._rows: list[dict[str, object]] = []

    def add(self, episode: Episode) -> None:
        """Append one episode."""
        if self._first is None:
            self._first = episode
            if not (episode.observation or self.stored):
                expected = f"'{STATE}', or pictures of a camera"
                raise bad_input(self._name, "no observation", expected, field="observation")
            self._features = _features(episode, self._info, self._name, self._pictures)
            self._open_videos()
            self._statistics = {name: RunningStatistics() for name in self._features}
        check_same_shapes(self._first, episode, self._episodes, self._name)
        self._tasks.setdefault(episode.task, len(self._tasks))
        columns = self._columns(episode)
        table = pa.table({name: self._encoded(name, columns[name]) for name in columns if name not in self._videos})
        location = self._data.location(table.nbytes)
        self._data.add(table)
        videos = {name: shards.add(columns[name]) for name, shards in self._videos.items()}
        self._add_meta(episode, columns, location, videos)
        self._episodes += 1
        self._frames += len(episode)

    def finish(self) -> None:
        """Close the Parquet files and write the rest of `meta/`."""
        if self._first is None:
            raise bad_input(self._name, "no episode to write", "at least one")
        self._write_meta()
        for shards in (self._data, self._meta, *self._videos.values()):
            shards.close()
        statistics = {name: running.result() for name, running in self._statistics.items()}
        as_lists = {name: {key: value.tolist() for key, value in each.items()} for name, each in statistics.items()}
        _write_json(self._folder / layout.STATS_PATH, as_lists)
        _write_tasks(self._folder / layout.TASKS_PATH, list(self._tasks))
        _write_json(self._folder / layout.INFO_PATH, self._info_json())

    def abandon(self) -> None:
        """Let go of the open files; what they hold is going to be deleted."""
        for shards in (self._data, self._meta, *self._videos.values()):
            shards.abandon()

    def _open_videos(self) -> None:
        for name, feature in self._features.items():
            if feature.dtype == "video":
                size, limit = (feature.shape[0], feature.shape[1]), self._shard_megabytes * MEGABYTE
                self._videos[name] = VideoShards(self._folder, name, self._info.fps, size, limit)

    def _encoded(self, name: str, values: np.ndarray) -> pa.Array:
        feature = self._features[name]
        return encode_pictures(values) if feature.dtype == "image" else layout.encode_column(values, feature)

    def _columns(self, episode: Episode) -> dict[str, np.ndarray]:
        """Every column of one episode, (T, *feature shape), in the order of the features."""
        frames = np.arange(len(episode))
        next_success = np.append(episode.success[1:], episode.success[-1])
        reward, done = next_success.astype(np.float32), frames == len(episode) - 1
        if episode.reward is not None:
            reward = np.append(episode.reward[1:], np.float32(0))
        if episode.terminated is not None:
            done = np.append(episode.terminated[1:], episode.terminated[-1])
        columns = {
            **episode.observation,
            ACTION: episode.action,
            REWARD: reward,
            "next.success": next_success,
            DONE: done,
            "timestamp": (frames / self._info.fps).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full_like(frames, self._episodes),
            "index": frames + self._frames,
            "task_index": np.full_like(frames, self._tasks[episode.task]),
        }
        return {name: columns[name].reshape(len(episode), *self._features[name].shape) for name in self._features}

    def _add_meta(
        self,
        episode: Episode,
        columns: dict[str, np.ndarray],
        location: tuple[int, int],
        videos: dict[str, VideoLocation],
    ) -> None:
        row: dict[str, object] = {
            "episode_index": self._episodes,
            "tasks": [episode.task],
            "length": len(episode),
            "data/chunk_index": location[0],
            "data/file_index": location[1],
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + len(episode),
            f"{layout.OWN_KEY}/source": episode.source,
            f"{layout.OWN_KEY}/seed": episode.seed,
            f"{layout.OWN_KEY}/first_success": bool(episode.success[0]),
        }
        for name, video in videos.items():
            row |= {
                f"videos/{name}/chunk_index": video.chunk,
                f"videos/{name}/file_index": video.file,
                f"videos/{name}/from_timestamp": video.from_timestamp,
                f"videos/{name}/to_timestamp": video.to_timestamp,
            }
        for name, values in columns.items():
            statistics = picture_statistics(values) if is_image_key(name) else column_statistics(values)
            self._statistics[name].add(statistics)
            row |= {f"stats/{name}/{key}": value.tolist() for key, value in statistics.items()}
        if not self._row_bytes:
            self._row_bytes = pa.Table.from_pylist([row]).nbytes
        self._rows.append(row)
        if len(self._rows) >= min(_ROWS_AT_ONCE, self._shard_megabytes * MEGABYTE // self._row_bytes):
            self._write_meta()

    def _write_meta(self) -> None:
        """Append the rows that are waiting to the index of the episodes, where a shard has room for them."""
        if not self._rows:
            return
        table = pa.Table.from_pylist(self._rows)
        for part, number in zip(("chunk", "file"), self._meta.location(table.nbytes), strict=True):
            numbers = pa.array([number] * len(table), pa.int64())
            table = table.append_column(f"meta/episodes/{part}_index", numbers)
        self._meta.add(table)
        self._rows = []

    def _placeholders(self) -> list[str]:
        """What was not recorded: other readers get success as the reward, and the end of the record as the end."""
        assert self._first is not None
        recorded = {REWARD: self._first.reward, DONE: self._first.terminated}
        untold = [] if self.labelled else ["next.success"]
        return [*untold, *(name for name, values in recorded.items() if values is None)]

    def _info_json(self) -> dict:
        info = self._info
        features = {name: feature.to_json() for name, feature in self._features.items()}
        for name, shards in self._videos.items():
            features[name]["info"] = shards.info
        return {
            "codebase_version": layout.VERSION,
            "robot_type": info.robot_type,
            "total_episodes": self._episodes,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.FILES_PER_CHUNK,
            "data_files_size_in_mb": max(1, round(self._shard_megabytes)),
            "video_files_size_in_mb": max(1, round(self._shard_megabytes)),
            "fps": info.fps,
            "splits": {"train": f"0:{self._episodes}"},
            "data_path": layout.DATA_TEMPLATE,
            "video_path": layout.VIDEO_TEMPLATE if self._videos else None,
            "features": features,
            layout.OWN_KEY: {
                "simulator": info.simulator,
                "action_repeat": info.action_repeat,
                "max_steps": info.max_steps,
                "placeholders": self._placeholders(),
                **({} if info.scaling is None else {"scaling": to_dict(info.scaling)}),
                **({FOLDER: self.stored} if self.stored else {}),
            },
        }


def _features(episode: Episode, info: DatasetInfo, name: Path, pictures: str) -> dict[str, Feature]:
    """The features of the dataset, from its first episode."""
    if info.state_names and STATE in episode.observation:
        found, expected = len(info.state_names), episode.observation[STATE].shape[1]
        if found != expected:
            raise bad_input(name, f"{found} names", f"{expected}, one for each dimension of the state", field=STATE)
    if info.action_names and len(info.action_names) != episode.action.shape[1]:
        found, expected = len(info.action_names), episode.action.shape[1]
        raise bad_input(name, f"{found} names", f"{expected}, one for each dimension of the action", field=ACTION)
    observations = {
        key: Feature(pictures, values.shape[1:], ("height", "width", "channels"))
        if is_image_key(key)
        else Feature("float32", values.shape[1:], info.state_names if key == STATE else None)
        for key, values in episode.observation.items()
    }
    return {
        **observations,
        ACTION: Feature("float32", episode.action.shape[1:], info.action_names),
        REWARD: Feature("float32", (1,)),
        "next.success": Feature("bool", (1,)),
        DONE: Feature("bool", (1,)),
        **layout.FRAME_FEATURES,
    }


def _write_tasks(path: Path, tasks: list[str]) -> None:
    """The table of tasks as pandas would write it, with the task as the index: LeRobot looks tasks up by it."""
    index = "__index_level_0__"
    text = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {"pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    pandas = {
        "index_columns": [index],
        "column_indexes": [{"name": None, "field_name": None, **text, "metadata": {"encoding": "UTF-8"}}],
        "columns": [
            {"name": "task_index", "field_name": "task_index", **number},
            {"name": None, "field_name": index, **text},
        ],
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path, write_page_checksum=True)


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False, allow_nan=False), encoding="utf-8")
