"""The table of runs: what each is and how far it is, read from its folder alone and without PyTorch."""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.report.contract import validate_report
from burnish.report.verdict import handed_out, measured_by, verdict
from burnish.studio.folders import Folders
from burnish.studio.plain import number, read_plain
from burnish.studio.remaining import Took, remaining

ALIVE = 120.0
"""Seconds after its last note within which an unfinished run is taken to go on: stages note every few seconds."""
_TEXT = 200

Row = dict[str, Any]


class Listing:
    """The runs of some folders as rows; what did not change since the last look is not read again."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self._rows: dict[str, tuple[tuple[int, ...], Row, Took | None]] = {}
        self._reading = threading.Lock()

    def rows(self) -> list[Row]:
        """One row for each run."""
        with self._reading:  # two looks at once would only be slower
            return self._look()

    def _look(self) -> list[Row]:
        runs, found = self.folders.runs(), []
        for key, path in runs.items():
            seen = _stamp(str(path))
            kept = self._rows.get(key)
            if kept is None or kept[0] != seen:
                row, took = described(path, self.folders.shown(path))
                kept = seen, {"id": key, **row}, took
                self._rows[key] = kept
            found.append({**kept[1], "state": state_of(path, bool(kept[1]["report"]))})
        self._rows = {key: self._rows[key] for key in runs}
        known = [took for _, _, took in self._rows.values() if took is not None]
        for row, path in zip(found, runs.values(), strict=True):
            if row["state"]["is"] == "running":
                row["state"]["left"] = remaining(path, row["recipe"], row["state"]["stages"], known)
        return found


def described(run: Path, name: str) -> tuple[Row, Took | None]:
    """What a run is and what came of it, and what its stages took; what cannot be read is said under `problem`."""
    row: Row = {
        "name": name,
        "recipe": None,
        "task": None,
        "seed": None,
        "created": None,
        "report": False,
        "problem": None,
    }
    try:
        manifest = read_plain(run / "manifest.json")
        row |= {name: _text(manifest.get(name)) for name in ("recipe", "task", "created")}
        row |= {"seed": manifest.get("seed") if type(manifest.get("seed")) is int else None}
    except InputError as error:
        row["problem"] = str(error)
    if not (run / "report.json").exists():
        return row, None
    try:
        report = read_plain(run / "report.json")
        validate_report(report)
        row |= {"report": True, "page": (run / "report.html").is_file(), **_results(report)}
    except (InputError, KeyError, TypeError, AttributeError, ValueError) as error:
        row["problem"] = f"report.json: {error}"
        return row, None
    return row, Took.of(run, row, report)


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
    """Seconds so far, share done, and seconds left of one stage, by its own speed."""
    share, seconds = number(notes.get("share")), number(notes.get("seconds"))
    if share is None or seconds is None or not 0.0 < share <= 1.0:
        return {"seconds": seconds, "share": None, "left": None}
    return {"seconds": seconds, "share": share, "left": round(seconds * (1 - share) / share, 1)}


def _stamp(run: str) -> tuple[int, ...]:
    found = []
    for name in ("manifest.json", "report.json", "report.html"):
        try:
            status = os.lstat(f"{run}/{name}")  # no Path: this is done for every run, every few seconds
            found += [status.st_mtime_ns, status.st_size]
        except OSError:
            found += [0, 0]
    return tuple(found)


def _text(value: Any) -> str | None:
    return value[:_TEXT] if isinstance(value, str) else None
