"""One stage's bookkeeping: the folder that it works in, its clock, what it records, and the move into place."""

import itertools
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import torch

from burnish.errors import InputError
from burnish.pipeline.finished import finished_manifest, foreign_files
from burnish.pipeline.own_files import check_own, is_scratch, remove_if_empty, remove_own, remove_scratch
from burnish.pipeline.progress import Progress
from burnish.storage import read_json, sync_folder, write_json

if TYPE_CHECKING:
    from burnish.pipeline.spread import Spread

PARTIAL = ".partial"
TRASH = ".trash"
_SLASH = "-"  # for one in a stage's name; no other can be there
_SAVE_INTERVAL = 2.0  # seconds of work that a kill may remove from the clock


class StageContext:
    """What a stage's body gets: where to write, what to read, and how to say what it does.

    folder: the stage's own folder, kept between attempts: look there for a checkpoint to resume from.
    inputs: the folders of the input stages (or the paths of external inputs) by name.
    outputs: what was recorded so far, earlier attempts included.
    device: where the stage's models and data lie.
    stream: where progress is shown; None: beside the output.
    spread: where pieces of its own work may be done; None: in this process, or in some that it starts.
    """

    stream: TextIO | None = None
    spread: "Spread | None" = None

    def __init__(self, name: str, folder: Path, inputs: Mapping[str, Path], identity: str) -> None:
        self.name = name
        self.folder = folder
        self.inputs = dict(inputs)
        self.device = torch.device("cpu")
        self._notes = partial_notes(folder)
        if self._notes.get("identity") != identity or not folder.exists():
            self.discard()
            self._notes = {"identity": identity, "seconds": 0.0, "outputs": {}}
            write_json(_notes_path(folder), self._notes)
        folder.mkdir(parents=True, exist_ok=True)
        self._seconds_before = float(self._notes["seconds"])
        self._progress: Progress | None = None
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
        self._progress = Progress(total, unit, description or self.name, initial, self.stream, self.tick)
        return self._progress

    def record(self, key: str, value: Any) -> None:
        """Keep a plain value in the stage's manifest (written at once: not meant for every step)."""
        self.outputs[key] = value
        self.save()

    def discard(self) -> None:
        """Throw away the stage's unfinished work."""
        # The notes go first: they must never speak for a folder that is half removed.
        _notes_path(self.folder).unlink(missing_ok=True)
        remove_own(self.folder)

    def tick(self) -> None:
        """Write the clock if the last time was a few seconds ago."""
        if time.monotonic() - self._saved >= _SAVE_INTERVAL:
            self.save()

    def save(self) -> None:
        """Write the clock and the recorded values."""
        self._saved = time.monotonic()
        share = self._progress.share if self._progress is not None else None
        write_json(_notes_path(self.folder), {**self._notes, "seconds": self.seconds, "share": share})


def partial_notes(folder: Path) -> dict[str, Any]:
    """Identity, seconds and outputs of an unfinished stage; empty where there is none or it cannot be used."""
    check_own(_notes_path(folder), folder=False)
    try:
        notes = read_json(_notes_path(folder))
    except InputError:
        return {}
    kinds = {"identity": str, "seconds": (int, float), "outputs": dict}
    usable = isinstance(notes, dict) and all(isinstance(notes.get(name), kind) for name, kind in kinds.items())
    return notes if usable and 0 <= notes["seconds"] < math.inf else {}


def partial_folder(run_folder: Path, name: str) -> Path:
    """Where a stage works until it is done: nested stages lie beside the others, under a name without slashes."""
    return run_folder / PARTIAL / _flat(name)


def lock_path(partial: Path) -> Path:
    """What a worker holds while it works in a partial folder."""
    return partial.with_name(f"{partial.name}.lock")


def sync_tree(folder: Path) -> None:
    """Flush all files and folders below `folder` to disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(Path(parent, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(parent)


def put_in_place(run_folder: Path, name: str) -> Path | None:
    """Move a finished partial folder to its name; an older result goes only when the new one is there.

    Killed at any point, `recover` (or this function again) brings it to the end. An older folder that holds files which
    no stage wrote is not removed, but moved aside.

    Returns:
        Where the older folder was moved to, None where it was removed or there was none.
    """
    partial, final, trash = partial_folder(run_folder, name), run_folder / name, run_folder / TRASH / _flat(name)
    remove_scratch(partial)
    kept = None
    if final.exists():
        kept = free_name(final) if foreign_files(final) else None
        if kept is None:
            remove_own(trash)
            trash.parent.mkdir(exist_ok=True)
        os.replace(final, kept or trash)
    final.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, final)
    for parent in [*final.parents][: name.count("/") + 1]:
        sync_folder(parent)
    remove_own(trash)
    _notes_path(partial).unlink(missing_ok=True)
    lock_path(partial).unlink(missing_ok=True)
    remove_if_empty(trash.parent)
    remove_if_empty(partial.parent)
    return kept


def recover(run_folder: Path) -> None:
    """Repair what a kill between the renames of `put_in_place` left behind."""
    trash = run_folder / TRASH
    for old in sorted(trash.iterdir()) if trash.is_dir() else []:
        if not old.is_dir():
            continue
        final, partial = run_folder / old.name.replace(_SLASH, "/"), run_folder / PARTIAL / old.name
        if not final.exists():
            # The old result was already moved away, so the new one was complete.
            final.parent.mkdir(parents=True, exist_ok=True)
            os.replace(partial if finished_manifest(partial) is not None else old, final)
        remove_own(old)
    for notes in [path for path in (run_folder / PARTIAL).glob("*") if path.is_file() and not path.is_symlink()]:
        if is_scratch(notes.name) or (notes.suffix in (".json", ".lock") and not notes.with_suffix("").exists()):
            notes.unlink()
    remove_if_empty(trash)
    remove_if_empty(run_folder / PARTIAL)


def _flat(name: str) -> str:
    return name.replace("/", _SLASH)


def _notes_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def free_name(path: Path) -> Path:
    """A name beside `path` under which it can be kept; no stage's name, as it has a dot."""
    names = (path.with_name(f"{path.name}.kept{number}") for number in itertools.count(1))
    return next(name for name in names if not os.path.lexists(name))
