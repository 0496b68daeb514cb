"""What a run records about itself: versions, invocations, and hashes of its files."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import burnish
from burnish.errors import InputError
from burnish.pipeline.finished import hash_file

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


def hash_files(path: Path, hash_of: Callable[[Path], str] = hash_file) -> str:
    """SHA-256 (hex) over the names, sizes and contents of a file from outside or of all the files in a folder."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    files = {path.name: path}
    if not path.is_file():
        found = (Path(parent, name) for parent, _, names in os.walk(path) for name in names)
        files = {file.relative_to(path).as_posix(): file for file in found}
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{name}\0{file.stat().st_size}\0{hash_of(file)}\n".encode(errors="backslashreplace"))
    return digest.hexdigest()
