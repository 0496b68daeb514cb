"""Segments of CALVIN's play that somebody annotated, read from JSON or CSV."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.data.checks import bad_input

_FIELDS = ("task", "start", "end")


@dataclass(frozen=True)
class Segment:
    """One annotated piece.

    Attributes:
        task: CALVIN's name of what is done, for instance `open_drawer`.
        start: its first frame's number.
        end: its last frame's number.
    """

    task: str
    start: int
    end: int


def read_segments(path: Path) -> list[Segment]:
    """Read a list of segments.

    Args:
        path: a `.json` file with a list of objects, or a `.csv` file with a header; both with `task`, `start`, `end`.

    Raises:
        InputError: not such a file, or a row that is wrong; the row is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise bad_input(path, f"nothing that can be read ({error})", "a JSON or CSV file of segments") from error
    rows: Any
    if path.suffix.lower() == ".json":
        try:
            rows = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise bad_input(path, f"no JSON ({error})", "a list of objects with task, start and end") from error
    elif path.suffix.lower() == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
    else:
        raise bad_input(path, f"a file '{path.suffix}'", "one ending in .json or .csv (never a pickled .npy)")
    if not isinstance(rows, list):
        raise bad_input(path, type(rows).__name__, "a list of objects with task, start and end")
    return [_segment(path, number, row) for number, row in enumerate(rows)]


def _segment(path: Path, number: int, row: Any) -> Segment:
    if not isinstance(row, dict) or any(not isinstance(row.get(field), str | int) for field in _FIELDS):
        raise bad_input(path, repr(row)[:120], "task, start and end", field=f"row {number}")
    try:
        segment = Segment(str(row["task"]), int(row["start"]), int(row["end"]))
    except ValueError as error:
        raise bad_input(path, repr(row)[:120], "whole numbers for start and end", field=f"row {number}") from error
    if segment.start < 0 or segment.end <= segment.start:
        found = f"a segment from frame {segment.start} to {segment.end}"
        raise bad_input(path, found, "at least two frames, from 0 up", field=f"row {number}")
    return segment
