"""LeRobotDataset v2.1 and v2.0: one Parquet file and one video an episode, and JSON lines in `meta/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np

from burnish.data import lerobot_format as layout
from burnish.data.checks import bad_input
from burnish.data.frames import UNKNOWN_SEED, UNKNOWN_SOURCE
from burnish.data.lerobot_index import EpisodeTable
from burnish.data.lerobot_reader import LeRobotSource

EPISODES_PATH = "meta/episodes.jsonl"
TASKS_PATH = "meta/tasks.jsonl"
_CHUNK = 1000


class LeRobotV2Source(LeRobotSource):
    """An opened LeRobotDataset v2.1 or v2.0; but for `meta/` and the names of files it is read like v3.0."""

    versions: ClassVar[tuple[str, ...]] = layout.OLD_VERSIONS

    def _table(self) -> EpisodeTable:
        """Lengths by episode; one that has no line has no frames, which is its fault and not that of the others."""
        path, count = self.root / EPISODES_PATH, self.header.total_episodes
        lengths, outcomes = np.zeros(count, np.int64), {}
        for line, row in enumerate(_read_lines(path), 1):
            number, length = (_whole_number(path, line, row, key) for key in ("episode_index", "length"))
            if number >= count:
                found, expected = f"episode {number} in line {line}", f"0 to {count - 1} as in {layout.INFO_PATH}"
                raise bad_input(path, found, expected, field="episode_index")
            if lengths[number]:
                raise bad_input(path, f"a second line of episode {number}", "one line for each episode")
            lengths[number] = length
            for key, value in row.items():
                if key not in ("episode_index", "length") and isinstance(value, bool | int | float):
                    outcomes.setdefault(key, np.full(count, np.nan))[number] = value
        template = self.header.data_template
        notes = []
        if int(lengths.sum()) != self.header.total_frames:
            notes = [f"{path}: {int(lengths.sum())} frames in all, {self.header.total_frames} in {layout.INFO_PATH}"]
        return EpisodeTable(
            lengths=lengths,
            files=[layout.file_path(template, number // self._chunk, number) for number in range(count)],
            sources=(UNKNOWN_SOURCE,) * count,
            seeds=(UNKNOWN_SEED,) * count,
            first_success=np.zeros(count, bool),
            outcomes=outcomes,
            notes=tuple(notes),
        )

    def _tasks(self) -> dict[int, str]:
        path, tasks = self.root / TASKS_PATH, {}
        for line, row in enumerate(_read_lines(path), 1):
            if not isinstance(row.get("task"), str) or not row["task"]:
                raise bad_input(path, f"{row.get('task')!r} in line {line}", "a name", field="task")
            tasks[_whole_number(path, line, row, "task_index")] = row["task"]
        return tasks

    def _videos(self, key: str) -> tuple[list[str], np.ndarray]:
        template = self.header.video_template or "{"
        try:
            count = self.header.total_episodes
            files = [layout.file_path(template, number // self._chunk, number, key) for number in range(count)]
        except ValueError as error:
            expected = "a path inside the dataset with {episode_chunk}, {video_key} and {episode_index}"
            raise bad_input(self.where, repr(template), expected, field="video_path") from error
        return files, np.zeros(len(files))

    @property
    def _chunk(self) -> int:
        """Episodes of a folder."""
        return self.header.chunk or _CHUNK


def _read_lines(path: Path) -> list[dict]:
    try:
        text = path.read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise bad_input(path, "no such file", "lines of JSON, as LeRobotDataset v2 has them") from error
    except (OSError, ValueError, RecursionError) as error:
        raise bad_input(path, f"a file that cannot be read ({error})", "lines of JSON") from error
    wrong = next((row for row in rows if not isinstance(row, dict)), None)
    if wrong is not None or not rows:
        found = "no line" if wrong is None else type(wrong).__name__
        raise bad_input(path, found, "a JSON object in every line")
    return rows


def _whole_number(path: Path, line: int, row: dict, key: str) -> int:
    value = row.get(key)
    if type(value) is not int or not 0 <= value < 2**31:
        raise bad_input(path, f"{value!r} in line {line}", "a whole number", field=key)
    return value
