"""Hashes of files from outside that a run folder remembers: terabytes of videos are not read at every command."""

import time
from pathlib import Path
from typing import Any

from burnish.errors import BurnishError
from burnish.pipeline.finished import hash_file
from burnish.storage import read_json, write_json

OUTSIDE_FILE = ".outside.json"
_SETTLED = 2 * 10**9
"""Nanoseconds after which a file that is changed once more has another time, on any file system."""


class OutsideHashes:
    """SHA-256 by file; a file whose size and time are as they were is believed, like those of finished stages."""

    def __init__(self, folder: Path, verify: bool = False) -> None:
        """Of a run folder; with `verify` nothing is believed."""
        self._path, self._verify = folder / OUTSIDE_FILE, verify
        self._known: dict[str, Any] | None = None
        self._changed = False

    def __call__(self, file: Path) -> str:
        """The hash of a file's content."""
        status, name = file.stat(), str(file.absolute())
        noted = self._noted().get(name)
        if isinstance(noted, list) and noted[:2] == [status.st_size, status.st_mtime_ns] and isinstance(noted[-1], str):
            return noted[-1]
        found = hash_file(file)
        if time.time_ns() - status.st_mtime_ns > _SETTLED:
            self._noted()[name] = [status.st_size, status.st_mtime_ns, found]
            self._changed = True
        return found

    def remember(self) -> None:
        """Write down what was hashed; the run folder must be this process's."""
        if self._changed:
            write_json(self._path, self._noted())
            self._changed = False

    def _noted(self) -> dict[str, Any]:
        if self._known is None:
            self._known = {}
            if not self._verify and self._path.is_file():
                try:
                    found = read_json(self._path)
                    self._known = found if isinstance(found, dict) else {}
                except BurnishError:
                    pass
        return self._known
