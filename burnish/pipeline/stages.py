"""One stage's bookkeeping: the folder that it works in, its clock, what it records, and the move into place."""

import copy
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from burnish.errors import BurnishError
from burnish.pipeline.manifest import list_files
from burnish.pipeline.progress import Progress
from burnish.storage import read_json, sync_folder, write_json
from burnish.training import current

STAGE_FILE = "stage.json"
PARTIAL = ".partial"
TRASH = ".trash"
_SAVE_INTERVAL = 2.0  # seconds of work that a kill may remove from the clock


class StageContext:
    """What a stage's body gets: where to write, what to read, and how to say what it does.

    folder: the stage's own folder, kept between attempts: look there for a checkpoint to resume from.
    inputs: the folders of the input stages (or the paths of external inputs) by name.
    outputs: what was recorded so far, earlier attempts included.
    """

    def __init__(self, name: str, folder: Path, inputs: Mapping[str, Path], identity: str) -> None:
        self.name = name
        self.device = torch.device("cpu")
        self.folder = folder
        self.inputs = dict(inputs)
        self._root, self._prefix = folder, ""
        self._identity = identity
        self._notes = partial_notes(folder)
        if self._notes.get("identity") != identity or not folder.exists():
            # The notes go first: they must never speak for a folder that is half removed.
            _notes_path(folder).unlink(missing_ok=True)
            _remove(folder)
            self._notes = {"identity": identity, "seconds": 0.0, "outputs": {}}
            write_json(_notes_path(folder), self._notes)
        folder.mkdir(parents=True, exist_ok=True)
        self._seconds_before = float(self._notes["seconds"])
        self._started = self._saved = time.monotonic()

    @property
    def outputs(self) -> dict[str, Any]:
        """What was recorded so far, in this and in earlier attempts."""
        return self._notes["outputs"]

    @property
    def seconds(self) -> float:
        """Time spent in this stage so far, earlier attempts included."""
        return self._seconds_before + time.monotonic() - self._started

    @property
    def seconds_before(self) -> float:
        """Time spent in earlier attempts."""
        return self._seconds_before

    def progress(self, total: int | None, unit: str = "steps", description: str = "", initial: int = 0) -> Progress:
        """A progress bar; its updates also keep the stage's clock on disk (every few seconds)."""
        return Progress(total, unit, description or self.name, initial, on_update=self.tick)

    def record(self, key: str, value: Any) -> None:
        """Keep a plain value in the stage's manifest (written at once: not meant for every step)."""
        self.outputs[self._prefix + key] = value
        self.save()

    def part(self, name: str) -> "StageContext":
        """A part of the stage's work, with a folder of its own in the stage's; what it records is named NAME/KEY."""
        part = copy.copy(self)
        part.folder, part._prefix = self.folder / name, f"{self._prefix}{name}/"
        part.folder.mkdir(parents=True, exist_ok=True)
        return part

    def once(self, name: str, body: "Callable[[StageContext], object]") -> None:
        """Do a part of the work that an earlier attempt may have finished (the first of several processes knows)."""
        part = self.part(name)
        if current().agree(bool(self.outputs.get(f"{part._prefix}done"))):
            part.catch_up()
            return
        body(part)
        # Four times the model's size, and nobody's input.
        (part.folder / "resume.safetensors").unlink(missing_ok=True)
        part.record("done", True)

    def catch_up(self) -> None:
        """Make sure that what an earlier attempt left in the folder is there."""

    def tick(self) -> None:
        """Write the clock if the last time was a few seconds ago."""
        if time.monotonic() - self._saved >= _SAVE_INTERVAL:
            self.save()

    def save(self) -> None:
        """Write the clock and the recorded values."""
        self._saved = time.monotonic()
        write_json(_notes_path(self._root), {**self._notes, "seconds": self.seconds})


def partial_notes(folder: Path) -> dict[str, Any]:
    """Identity, seconds and outputs of an unfinished stage; empty where there is none or it cannot be used."""
    try:
        notes = read_json(_notes_path(folder))
    except BurnishError:
        return {}
    usable = isinstance(notes, dict) and {"identity", "seconds", "outputs"} <= set(notes)
    return notes if usable else {}


def finished_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished stage folder, or None where there is none or files are missing or cut off."""
    try:
        manifest = read_json(folder / STAGE_FILE)
    except BurnishError:
        return None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        return None
    present = list_files(folder)
    complete = all(present.get(name) == size for name, size in manifest["files"].items())
    return manifest if complete else None


def sync_tree(folder: Path) -> None:
    """Flush all files and folders below `folder` to disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(Path(parent, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(parent)


def put_in_place(run_folder: Path, name: str) -> None:
    """Move a finished partial folder to its name; an older result goes only when the new one is there.

    Killed at any point, `recover` (or this function again) brings it to the end.
    """
    partial, final, trash = run_folder / PARTIAL / name, run_folder / name, run_folder / TRASH / name
    if final.exists():
        _remove(trash)
        trash.parent.mkdir(exist_ok=True)
        os.replace(final, trash)
    os.replace(partial, final)
    sync_folder(run_folder)
    _remove(trash)
    _notes_path(partial).unlink(missing_ok=True)
    _remove_if_empty(trash.parent)
    _remove_if_empty(partial.parent)


def recover(run_folder: Path) -> None:
    """Repair what a kill between the renames of `put_in_place` left behind."""
    trash = run_folder / TRASH
    for old in sorted(trash.iterdir()) if trash.is_dir() else []:
        final, partial = run_folder / old.name, run_folder / PARTIAL / old.name
        if not final.exists():
            # The old result was already moved away, so the new one was complete.
            os.replace(partial if finished_manifest(partial) is not None else old, final)
        _remove(old)
    for notes in (run_folder / PARTIAL).glob("*.json"):
        if not notes.with_suffix("").exists():
            notes.unlink()
    _remove_if_empty(trash)
    _remove_if_empty(run_folder / PARTIAL)


def _notes_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
