"""What is Burnish's own in a run folder: real files and folders only, so that no link leads out of it."""

import os
import stat
from pathlib import Path

from burnish.errors import InputError
from burnish.storage import TEMPORARY_SUFFIX
from burnish.training.resume import RESUME_FILE

_REMEDY = "replace it by a copy of what it points to, or remove it, and run the same command again"


def check_own(path: Path, folder: bool) -> None:
    """Refuse a link or anything else but a file (or a folder) in the place of one of Burnish's own; absent is fine.

    Raises:
        InputError: Naming the path and what to do.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    _refuse_foreign(path, mode)
    if stat.S_ISDIR(mode) != folder:
        wanted, found = ("folder", "file") if folder else ("file", "folder")
        raise InputError(f"{path}: expected a {wanted} of this run's, found a {found}; move it away and run again")


def list_files(folder: Path) -> dict[str, os.stat_result]:
    """All files below one of Burnish's own folders: relative path (with /) to status, in a stable order.

    Raises:
        InputError: Where there is a link, or what is neither a file nor a folder.
    """
    found: dict[str, os.stat_result] = {}
    for parent, folders, names in os.walk(folder, onerror=_raise):
        for name in folders:
            path = Path(parent, name)
            if path.is_symlink():
                _refuse_foreign(path, stat.S_IFLNK)
        for name in names:
            path = Path(parent, name)
            status = os.lstat(path)
            _refuse_foreign(path, status.st_mode)
            found[path.relative_to(folder).as_posix()] = status
    return dict(sorted(found.items()))


def remove_own(folder: Path) -> None:
    """Remove one of Burnish's own folders; a link in it is removed, what it points to is not touched."""
    for parent, folders, names in os.walk(folder, topdown=False):
        for name in names:
            os.unlink(os.path.join(parent, name))
        for name in folders:
            path = os.path.join(parent, name)
            os.unlink(path) if os.path.islink(path) else os.rmdir(path)
    if folder.is_dir():
        folder.rmdir()


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that holds nothing any more."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def is_scratch(name: str) -> bool:
    """Whether a file belongs to unfinished work: resume state, or what an interrupted atomic write left behind."""
    base = name.rpartition("/")[2]
    return base == RESUME_FILE or (base.startswith(".") and base.endswith(TEMPORARY_SUFFIX))


def remove_scratch(folder: Path) -> None:
    """Remove what only unfinished work needs."""
    for name in list_files(folder):
        if is_scratch(name):
            (folder / name).unlink()


def _refuse_foreign(path: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise InputError(f"{path}: this is a link, and Burnish follows none out of a run folder; {_REMEDY}")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path}: expected a file or a folder, found a pipe, socket or device; remove it")


def _raise(error: OSError) -> None:
    raise error
