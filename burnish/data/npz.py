"""NumPy's own files of anybody: plain numbers, never objects."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burnish.data.checks import bad_input

_BROKEN = (
    *(
        OSError,
        ValueError,
        EOFError,
        KeyError,
        MemoryError,
        TypeError,
        OverflowError,
        RuntimeError,
        NotImplementedError,
    ),
    *(zipfile.BadZipFile, zlib.error, SyntaxError, tokenize.TokenError),
)
"""What NumPy says of a damaged file: a header is parsed as Python's literals."""
_MOST_UNPACKED = 1100
"""Deflate packs no more than 1032 bytes into one."""


class Header:
    """What an array is, without its values."""

    def __init__(self, dtype: np.dtype, shape: tuple[int, ...], columns_first: bool = False) -> None:
        self.dtype, self.shape, self.columns_first = dtype, shape, columns_first


def headers(path: Path) -> dict[str, Any]:
    """All arrays of an .npz file, without their values.

    Raises:
        InputError: the file is missing or damaged.
    """
    found: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".npy"):
                    with archive.open(name) as file:
                        found[name.removesuffix(".npy")] = _header(file)
    except _BROKEN as error:
        raise _unreadable(path, error) from error
    return found


def read(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of an .npz file.

    Raises:
        InputError: the file is missing or damaged, or an array is missing, or holds objects.
    """
    _checked(path, names)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def blocks(path: Path, name: str, at_once: int) -> Iterator[np.ndarray]:
    """An array of an .npz file as successive rows, about `at_once` bytes at a time.

    Raises:
        InputError: as `read`.
    """
    header = _checked(path, [name])[name]
    row_bytes = header.dtype.itemsize * int(np.prod(header.shape[1:]))
    if not header.shape or header.columns_first or not row_bytes:
        yield read(path, [name])[name]
        return
    step = max(1, at_once // row_bytes)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            _header(file)
            for first in range(0, header.shape[0], step):
                rows = min(step, header.shape[0] - first)
                content = file.read(rows * row_bytes)
                if len(content) < rows * row_bytes:
                    raise ValueError(f"{name}: its end is missing")
                yield np.frombuffer(content, header.dtype).reshape(rows, *header.shape[1:])
            file.read(1)  # the end, where the sum of all is checked
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def read_array(path: Path) -> np.ndarray:
    """The array of an .npy file, mapped where it lies.

    Raises:
        InputError: the file is missing or damaged, or holds objects.
    """
    _refuse_links(path)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def _checked(path: Path, names: Sequence[str]) -> dict[str, Header]:
    """The headers of all arrays, of which `names` can be read."""
    _refuse_links(path)
    known = headers(path)
    for name in names:
        if name not in known:
            raise bad_input(path, f"the arrays {', '.join(sorted(known))}", "this one among them", field=name)
        if known[name].dtype.kind not in "biuf":
            found = f"an array of {known[name].dtype}"
            raise bad_input(path, found, "plain numbers (objects are not read)", field=name)
        size = known[name].dtype.itemsize * int(np.prod(known[name].shape, dtype=object))
        if size > _MOST_UNPACKED * (path.stat().st_size + 1024):
            raise bad_input(path, f"an array of {size} bytes", "one that its file can hold", field=name)
    return known


def _header(file: Any) -> Header:
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = reader(file)
    return Header(dtype, shape, columns_first)


def _refuse_links(path: Path) -> None:
    if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        raise bad_input(path, "a link out of its folder", "a file in it")


def _unreadable(path: Path, error: BaseException) -> Exception:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return bad_input(path, f"a file that cannot be read ({reason})", "a whole NumPy file of plain numbers")
