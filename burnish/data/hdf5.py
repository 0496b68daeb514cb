"""HDF5 files of anybody: plain numbers inside the file; no links, no objects, nothing from elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from burnish.data.checks import bad_input
from burnish.errors import InputError

SUFFIXES = (".hdf5", ".h5")
_MAGIC = b"\x89HDF\r\n\x1a\n"
_DEEPEST = 6
_MOST_UNPACKED = 1000
"""How many times larger than what is stored an array may be; more is a bomb, or was never written."""


def is_hdf5(path: Path) -> bool:
    """Whether a file begins like an HDF5 file."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file's root group.

    Raises:
        InputError: h5py is missing, or the file cannot be read.
    """
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            yield file
    # What h5py says of a broken file depends on where it is broken.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, OverflowError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise bad_input(path, f"a file that cannot be read ({reason})", "a whole HDF5 file") from error


def top(path: Path) -> set[str]:
    """Names in the root group; none where this is no HDF5 file."""
    if not is_hdf5(path):
        return set()
    with opened(path) as file:
        return set(file)


def groups(path: Path, inside: str, prefix: str) -> list[str]:
    """Names of the groups `inside` a group that begin with `prefix` and end in a number, in its order."""
    with opened(path) as file:
        found = [name for name in child(file, inside) if name.startswith(prefix) and name[len(prefix) :].isdecimal()]
    return sorted(found, key=lambda name: int(name[len(prefix) :]))


def child(group: Any, name: str) -> Any:
    """What lies below a group under a name with slashes (itself for an empty one).

    Raises:
        InputError: there is nothing, or a link that leads elsewhere.
    """
    h5py = _h5py()
    for part in filter(None, name.split("/")):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            raise bad_input(group.file.filename, "no such entry", "a group or an array", field=name)
        if not isinstance(link, h5py.HardLink):
            raise bad_input(group.file.filename, "a link to another place", "what it leads to, here", field=name)
        group = group[part]
    return group


def arrays_below(group: Any, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """All arrays below a group by their names with slashes; links are left alone."""
    h5py, found = _h5py(), {}
    for name in sorted(group):
        if depth > _DEEPEST or not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        entry = group[name]
        if isinstance(entry, h5py.Group):
            found |= arrays_below(entry, f"{prefix}{name}/", depth + 1)
        elif isinstance(entry, h5py.Dataset):
            found[prefix + name] = entry
    return found


def numbers(group: Any, name: str) -> np.ndarray:
    """An array of plain numbers.

    Raises:
        InputError: it is none, lies in another file, or is larger than what is stored can be.
    """
    entry = plain(group, name)
    with _whole(entry):
        return entry[()] if entry.ndim else np.asarray(entry[()])


def blocks(group: Any, name: str, at_once: int, rows: slice = slice(None)) -> Iterator[np.ndarray]:
    """The same, or some `rows` of it, about `at_once` bytes at a time; what is compressed together is read together."""
    entry = plain(group, name)
    if not entry.ndim:
        yield numbers(group, name)
        return
    first, stop, _ = rows.indices(entry.shape[0])
    together = entry.chunks[0] if entry.chunks else 1
    row_bytes = max(1, entry.nbytes // max(1, entry.shape[0]))
    step = together * max(1, at_once // (together * row_bytes))
    for start in range(first - first % together, stop, step):
        with _whole(entry):
            found = entry[max(first, start) : min(stop, start + step)]
        yield found


def plain(group: Any, name: str) -> Any:
    """The h5py data set of plain numbers under a name, unread; InputError as of `numbers`."""
    h5py, entry = _h5py(), child(group, name)
    where = f"{group.file.filename}{group.name.rstrip('/')}"
    if not isinstance(entry, h5py.Dataset):
        raise bad_input(where, "a group", "an array of numbers", field=name)
    if entry.dtype.kind not in "biuf":
        raise bad_input(where, f"an array of {entry.dtype}", "plain numbers (objects are not read)", field=name)
    if entry.external or entry.is_virtual:
        raise bad_input(where, "an array whose values lie in another file", "one with its values", field=name)
    if entry.nbytes > _MOST_UNPACKED * (entry.id.get_storage_size() + 1024):
        stored = entry.id.get_storage_size()
        raise bad_input(where, f"{entry.nbytes} bytes of which {stored} are stored", "a whole array", field=name)
    return entry


@contextlib.contextmanager
def _whole(entry: Any) -> Iterator[None]:
    """Says which array cannot be read."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        where, _, name = entry.name.rpartition("/")
        place = f"{entry.file.filename}{where}"
        raise bad_input(place, f"an array that cannot be read ({error})", "a whole array", field=name) from error


def text(group: Any, name: str) -> str:
    """An attribute of text; empty where there is none."""
    value = group.attrs.get(name, "")
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise InputError("HDF5 files need the extra 'hdf5': pip install -e '.[hdf5]'") from error
    return h5py
