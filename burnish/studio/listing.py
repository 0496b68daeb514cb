"""The table of runs: what each is and how far it is, read from its folder alone and without PyTorch."""

import json
import math
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.report.contract import validate_report
from burnish.report.verdict import handed_out, measured_by, verdict
from burnish.studio.folders import Folders

ALIVE = 120.0
"""Seconds after its last note within which an unfinished run is taken to go on: stages note every few seconds."""
_LARGEST = 8 * 2**20
_TEXT = 200

Row = dict[str, Any]


class Listing:
    """The runs of some folders as rows; what did not change since the last look is not read again."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self._rows: dict[str, tuple[tuple[int, ...], Row]] = {}

    def rows(self) -> list[Row]:
        """One row for each run."""
        runs, found = self.folders.runs(), []
        for key, path in runs.items():
            seen = _stamp(path)
            kept = self._rows.get(key)
            if kept is None or kept[0] != seen:
                kept = seen, {"id": key, "name": self.folders.shown(path), **described(path)}
                self._rows[key] = kept
            found.append({**kept[1], "state": state_of(path, bool(kept[1]["report"]))})
        self._rows = {key: self._rows[key] for key in runs}
        return found


def described(run: Path) -> Row:
    """What a run is and what came of it; what cannot be read is said under `problem`, and the row is there."""
    row: Row = {"recipe": None, "task": None, "seed": None, "created": None, "report": False, "problem": None}
    try:
        manifest = read_plain(run / "manifest.json")
        row |= {name: _text(manifest.get(name)) for name in ("recipe", "task", "created")}
        row |= {"seed": manifest.get("seed") if type(manifest.get("seed")) is int else None}
    except InputError as error:
        row["problem"] = str(error)
    if not (run / "report.json").exists():
        return row
    try:
        report = read_plain(run / "report.json")
        validate_report(report)
        row |= {"report": True, "page": (run / "report.html").is_file(), **_results(report)}
    except (InputError, KeyError, TypeError, AttributeError, ValueError) as error:
        row["problem"] = f"report.json: {error}"
    return row


def _results(report: Mapping[str, Any]) -> Row:
    measure, words = measured_by(report), verdict(report)
    policies = {}
    for name, each in report["policies"].items():
        found = each.get(measure.name)
        if found is not None:
            policies[name] = {"value": found[measure.mean], "low": found["ci95"][0], "high": found["ci95"][1]}
    gate = report["gate"]
    return {
        "measure": measure.name,
        "policies": policies,
        "imagined": report.get(f"imagined_{measure.name}"),
        "headline": words.headline,
        "sentence": words.sentence,
        "tone": words.tone,
        "gate": "none" if gate is None else "accepted" if gate["accepted"] else "rejected",
        "handed_out": handed_out(report),
        "seconds": sum(report["seconds"].values()),
    }


def state_of(run: Path, reported: bool) -> Row:
    """Whether a run is done, goes on (which stage, its share, about how long) or has stopped."""
    underway, newest = [], 0.0
    try:
        with os.scandir(run / ".partial") as entries:
            notes = [each for each in entries if each.name.endswith(".json") and each.is_file(follow_symlinks=False)]
            for each in notes:
                newest = max(newest, each.stat(follow_symlinks=False).st_mtime)
                found = read_plain(Path(each.path))
                underway.append({"stage": each.name.removesuffix(".json")[:_TEXT], **_progress(found)})
    except (OSError, InputError):
        pass
    if not underway:
        if reported:
            return {"is": "done", "stages": [], "quiet": None}
        # Between two stages nothing is under way for a moment; a stage that is done moves into the folder.
        newest = run.stat().st_mtime if run.is_dir() else 0.0
    quiet = max(0.0, time.time() - newest)
    return {"is": "running" if quiet < ALIVE else "stopped", "stages": underway[:8], "quiet": round(quiet, 1)}


def _progress(notes: Mapping[str, Any]) -> Row:
    """Share done and seconds left of one stage, by its own speed."""
    share, seconds = _number(notes.get("share")), _number(notes.get("seconds"))
    if share is None or seconds is None or not 0.0 < share <= 1.0:
        return {"share": None, "left": None}
    return {"share": share, "left": round(seconds * (1 - share) / share, 1)}


def read_plain(path: Path) -> dict[str, Any]:
    """A JSON object from a file that nobody vouches for: no links, no NaN, nothing huge.

    Raises:
        InputError: it is none.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                raise InputError(f"{path.name}: expected a small file of its own")
            content = json.loads(file.read(), parse_constant=_refuse)
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name}: found no JSON ({str(error)[:_TEXT]})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path.name}: found a {type(content).__name__}, expected an object")
    return content


def _stamp(run: Path) -> tuple[int, ...]:
    found = []
    for name in ("manifest.json", "report.json", "report.html"):
        try:
            status = os.lstat(run / name)
            found += [status.st_mtime_ns, status.st_size]
        except OSError:
            found += [0, 0]
    return tuple(found)


def _text(value: Any) -> str | None:
    return value[:_TEXT] if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")
