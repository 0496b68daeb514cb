"""A finished stage: its manifest (stage.json), the content that later stages depend on, and whether it is whole.

The content is a hash of the result alone, so a stage that comes out the same does not redo what follows. Logs (training
curves) and what is recorded beside belong to the folder, but not to the content. The manifest notes size, time and hash
of each file: a file whose size and time are as noted is believed, one that only moved in time (a copied run folder) is
hashed.
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.pipeline.own_files import check_own, is_scratch, list_files
from burnish.storage import read_json, write_json

STAGE_FILE = "stage.json"
_METRICS = "metrics.jsonl"
_EVENTS = "events.out.tfevents."
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "identity": str,
    "version": int,
    "config": dict,
    "inputs": dict,
    "seconds": (int, float),
    "outputs": dict,
    "finished": str,
    "content": str,
    "files": dict,
    "checksum": str,
}
_TELLING = ("result", "absent")
"""Recorded outputs that are part of the result: what kind it is of, or why there is none."""
_NAME = r"[a-z][a-z0-9_]*"
_DEPTH = 6

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """What a look at a stage's folder found: its manifest, or else what is wrong (None where nothing is there)."""

    manifest: Manifest | None
    problem: str | None = None
    moved: bool = False
    """Whether times differ from those noted, though the files are the same."""


class Inspector:
    """Looks at stage folders; what it hashed once it does not hash again while size and time stay."""

    def __init__(self, verify: bool = False) -> None:
        """Hash every file once where `verify`, else only those whose time moved."""
        self._verify = verify
        self._hashes: dict[tuple[str, int, int], str] = {}

    def look(self, folder: Path) -> Finding:
        """Find out whether a stage's result is there and whole.

        Raises:
            InputError: Where there is a link, or a file in the folder's place.
        """
        check_own(folder, folder=True)
        if not folder.exists():
            return Finding(None)
        present = list_files(folder)
        if STAGE_FILE not in present:
            return Finding(None, f"it has no {STAGE_FILE}")
        manifest = _read(folder / STAGE_FILE)
        if manifest is None:
            return Finding(None, f"its {STAGE_FILE} is damaged or of another version of Burnish")
        moved = False
        for name, noted in manifest["files"].items():
            status = present.get(name)
            problem = "is missing" if status is None else self._problem(folder / name, status, noted)
            if problem:
                return Finding(None, f"its file {name} {problem}")
            moved |= status is not None and status.st_mtime_ns != noted["modified"]
        return Finding(manifest, None, moved)

    def note_times(self, folder: Path, finding: Finding) -> None:
        """Note the present times in the manifest of a folder that was copied, so that the next look is cheap."""
        assert finding.manifest is not None
        present = list_files(folder)
        files = {
            name: {**noted, "modified": present[name].st_mtime_ns} for name, noted in finding.manifest["files"].items()
        }
        write_json(folder / STAGE_FILE, _sealed({**finding.manifest, "files": files}))

    def _problem(self, path: Path, status: os.stat_result, noted: dict[str, Any]) -> str | None:
        if status.st_size != noted["size"]:
            return f"has {status.st_size} bytes, expected {noted['size']}"
        if status.st_mtime_ns == noted["modified"] and not self._verify:
            return None
        key = str(path), status.st_size, status.st_mtime_ns
        if key not in self._hashes:
            self._hashes[key] = hash_file(path)
        return "was changed since it was written" if self._hashes[key] != noted["sha256"] else None


def complete(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder whose work is done: from now on it is a result."""
    files = {
        name: {"size": status.st_size, "modified": status.st_mtime_ns, "sha256": hash_file(folder / name)}
        for name, status in list_files(folder).items()
        if name != STAGE_FILE and not is_scratch(name) and not _is_event(name)
    }
    write_json(
        folder / STAGE_FILE, _sealed({**manifest, "content": _content(files, manifest["outputs"]), "files": files})
    )


def finished_manifest(folder: Path) -> Manifest | None:
    """The manifest of a finished stage folder, or None where there is none or files are missing or damaged."""
    return Inspector().look(folder).manifest


def foreign_files(folder: Path) -> list[str]:
    """The files in a stage's folder that no stage wrote, as far as its manifest knows; all, where that is not there."""
    present = list_files(folder)
    manifest = _read(folder / STAGE_FILE) if STAGE_FILE in present else None
    if manifest is None:
        # A damaged manifest is Burnish's all the same, and so is what lies beside it.
        return [] if STAGE_FILE in present else list(present)
    own = {STAGE_FILE, *manifest["files"]}
    return [name for name in present if name not in own and not is_scratch(name) and not _is_event(name)]


def stage_folders(run_folder: Path) -> list[str]:
    """The names of all stages that have a manifest, nested ones too, in the order of their names."""
    found: list[str] = []

    def visit(prefix: str, depth: int) -> None:
        with os.scandir(run_folder / prefix) as entries:
            names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and re.fullmatch(_NAME, e.name))
        for name in names:
            path = f"{prefix}{name}"
            if os.path.lexists(run_folder / path / STAGE_FILE):
                found.append(path)
            elif depth < _DEPTH:
                visit(f"{path}/", depth + 1)

    if run_folder.is_dir():
        visit("", 1)
    return found


def check_stage_name(name: str) -> None:
    """Raise ValueError where a stage's name cannot be a folder's."""
    if not re.fullmatch(rf"{_NAME}(/{_NAME})*", name) or name.count("/") >= _DEPTH:
        raise ValueError(f"a stage name is lower case with underscores, nested ones with slashes, not {name!r}")


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _content(files: dict[str, dict[str, Any]], outputs: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps([outputs.get(name) for name in _TELLING]).encode())
    for name, noted in sorted(files.items()):
        if name.rpartition("/")[2] != _METRICS:
            digest.update(f"{name}\0{noted['size']}\0{noted['sha256']}\n".encode(errors="backslashreplace"))
    return digest.hexdigest()


def _is_event(name: str) -> bool:
    """TensorBoard's files may be removed, and grow while they are looked at."""
    return name.rpartition("/")[2].startswith(_EVENTS)


def _sealed(manifest: Manifest) -> Manifest:
    # As it will be read: JSON knows neither tuples nor keys that are no text.
    plain = json.loads(json.dumps({name: value for name, value in manifest.items() if name != "checksum"}))
    return {**plain, "checksum": _checksum(plain)}


def _checksum(plain: Manifest) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Manifest | None:
    """A manifest whose fields are what they must be and that is as it was written; None where it is damaged."""
    try:
        manifest = read_json(path)
    except InputError:
        return None
    if not isinstance(manifest, dict):
        return None
    if not all(isinstance(manifest.get(name), kind) for name, kind in _FIELDS.items()):
        return None
    shape = {"size": int, "modified": int, "sha256": str}
    for noted in manifest["files"].values():
        if not isinstance(noted, dict) or not all(isinstance(noted.get(name), kind) for name, kind in shape.items()):
            return None
    unsealed = {name: value for name, value in manifest.items() if name != "checksum"}
    whole = manifest["checksum"] == _checksum(unsealed) and manifest["content"] == _content(
        manifest["files"], manifest["outputs"]
    )
    return manifest if whole else None
