"""Where the studio looks: the folders that it was given, and nothing outside of them."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from burnish.errors import InputError

_DEPTH = 4
"""Folders below a given one in which runs are looked for."""
_MOST = 5000
"""Runs that are listed."""
_MARK = "recipe.yaml"
SERVED = {"report.json": "application/json", "report.html": "text/html; charset=utf-8"}
"""Files of a run folder that a browser may ask for, and what they are."""
LARGEST = 256 * 2**20
"""Bytes of such a file."""


class Folders:
    """Run folders below some given ones. A browser knows each by an `identity`, never by a path.

    Raises:
        InputError: a given folder is none.
    """

    def __init__(self, given: Sequence[Path]) -> None:
        self.given = [path.absolute() for path in given]
        for path in self.given:
            if not path.is_dir():
                raise InputError(
                    f"{path}: no such folder, expected a run folder, or one with runs below it (burnish demo makes one)"
                )
        self._known: dict[str, Path] = {}

    def runs(self) -> dict[str, Path]:
        """All run folders by their identities, in the order of their paths; links are not followed."""
        found: dict[str, Path] = {}
        for root in self.given:
            for path in _run_folders(root, _DEPTH):
                found.setdefault(identity(path), path)
                if len(found) >= _MOST:
                    break
        self._known = dict(sorted(found.items(), key=lambda item: str(item[1])))
        return self._known

    def run(self, wanted: str) -> Path:
        """The run folder of an identity; InputError where there is none (any more)."""
        path = self._known.get(wanted) or self.runs().get(wanted)
        if path is None or not is_run(path):
            raise InputError("there is no such run (any more)")
        return path

    def shown(self, path: Path) -> str:
        """A run folder as people know it: below the folder that was given, or as it was given."""
        for root in self.given:
            if path != root and path.is_relative_to(root):
                return path.relative_to(root).as_posix()
        return path.name


def identity(path: Path) -> str:
    """What a browser knows a folder by."""
    return hashlib.blake2s(os.fsencode(path.absolute()), digest_size=8).hexdigest()


def is_run(path: Path) -> bool:
    """Whether a folder is a run's: a real folder with a real recipe.yaml."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode) and stat.S_ISREG(os.lstat(f"{path}/{_MARK}").st_mode)
    except OSError:
        return False


def served_file(run: Path, name: str) -> bytes:
    """One of a run's own files for a browser.

    Raises:
        InputError: no such file, a link, or one that is far too large.
    """
    path = run / name
    try:
        status = os.lstat(path)
        if name not in SERVED or not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise InputError(f"{name}: this run has no such file")
        # Between the two looks it may have become a link.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read()
    except OSError as error:
        raise InputError(f"{name}: this run has no such file ({error.strerror})") from None


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    if is_run(folder):
        yield folder
        return
    if depth == 0:
        return
    try:
        with os.scandir(folder) as entries:
            inside = sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )
    except OSError:
        return
    for name in inside:
        yield from _run_folders(folder / name, depth - 1)
