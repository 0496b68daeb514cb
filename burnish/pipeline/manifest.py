"""What a run records about itself: versions, invocations, and hashes of its files."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import burnish
from burnish.errors import InputError
from burnish.storage import TEMPORARY_SUFFIX

_PACKAGES = ("torch", "numpy", "gymnasium", "lightning-fabric", "pyarrow", "metaworld", "mujoco", "pybullet")


def versions() -> dict[str, str]:
    """Versions of Burnish, Python and those packages that a result depends on and that are installed."""
    return dict(_versions())


@functools.cache
def _versions() -> dict[str, str]:
    found = {"burnish": burnish.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def invocation(device: str) -> dict[str, Any]:
    """When, how and with what the present process was started."""
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return {"time": now(), "command": command, "device": device, "versions": versions()}


def now() -> str:
    """The present time (UTC, ISO 8601, milliseconds)."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def list_files(folder: Path) -> dict[str, int]:
    """All files below `folder`: relative path (with /) to size in bytes, in a stable order."""
    found: dict[str, int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return dict(sorted(found.items()))


def hash_files(path: Path) -> str:
    """SHA-256 (hex) over the names, sizes and contents of a file or of all the files in a folder."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    files = {path.name: path} if path.is_file() else {name: path / name for name in list_files(path)}
    digest = hashlib.sha256()
    for name, file in files.items():
        with open(file, "rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{name}\0{file.stat().st_size}\0{content}\n".encode())
    return digest.hexdigest()


def remove_temporaries(folder: Path) -> None:
    """Remove what an interrupted atomic write may have left behind."""
    for leftover in folder.rglob(f".*{TEMPORARY_SUFFIX}"):
        leftover.unlink()
