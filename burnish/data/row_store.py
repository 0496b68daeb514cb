"""Where decoded pictures and large columns are kept: files of nothing but rows, written once and read in parts."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, cast

import numpy as np
import torch
from torch import Tensor

from burnish.data.mapped import MappedRows, RowFile
from burnish.errors import InputError
from burnish.storage import TEMPORARY_SUFFIX, raise_run_error

SUFFIXES = {torch.uint8: ".u8", torch.float32: ".f32"}
_VERSION = 2
_ABANDONED_SECONDS = 3600.0
_SPARE = 2**26
"""Bytes that must stay free beside what is kept."""


@dataclass(frozen=True)
class RowKind:
    """What the rows of a file are."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.uint8

    @property
    def bytes(self) -> int:
        """Of one row."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def suffix(self) -> str:
        """Of the file's name."""
        return SUFFIXES[self.dtype]


@dataclass
class _File:
    """An open file of rows of one kind, and how many it has room for; `path` where it has a name."""

    stream: IO[bytes]
    path: Path | None
    kind: RowKind
    rows: int = 0

    @property
    def bytes(self) -> int:
        return self.rows * self.kind.bytes


class RowStore:
    """One new file for each camera or column, which grows with every data set that is read into it.

    Attributes:
        folder: where the files lie; None for files without a name, which go with their tensors.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Nothing is written before rows come."""
        self.folder = folder
        self._files: dict[str, _File] = {}

    def check_room(self, wanted: Mapping[str, int]) -> None:
        """Check, before anything is written, that there is room for so many bytes by name.

        Raises:
            InputError: there is not.
        """
        place, needed = self.folder or Path(tempfile.gettempdir()), sum(wanted.values()) + _SPARE
        there = next(each for each in (place.absolute(), *place.absolute().parents) if each.is_dir())
        free = shutil.disk_usage(there).free
        if wanted and needed > free:
            raise InputError(
                f"{place}: found {free / 1e9:.2f} GB of free disk space, expected {needed / 1e9:.2f} GB for what is "
                f"kept of {', '.join(wanted)}; free some, write elsewhere, or have pictures brought to a smaller size "
                "(--picture-size)"
            )

    def begin(self, key: str, rows: int, kind: RowKind, identity: str) -> int | None:
        """Make room for rows of a camera or column, which depend on `identity`.

        Returns:
            The row of the first one; None where they are there already.

        Raises:
            InputError: those that are there of the same name are of another kind.
            RunError: there can be no file.
        """
        try:
            if key not in self._files:
                self._files[key] = self._opened(key, kind, identity)
            file = self._files[key]
            if file.kind != kind:
                expected = f"{file.kind.shape} as in the data set before (pictures: --picture-size)"
                raise InputError(f"{key}: found values of shape {kind.shape}, expected {expected}")
            first, file.rows = file.rows, file.rows + rows
            os.ftruncate(file.stream.fileno(), file.bytes)
        except OSError as error:
            raise_run_error(error, self.folder or tempfile.gettempdir())
        return first

    def write(self, key: str, row: int, values: np.ndarray) -> None:
        """Put a row, or several that follow each other, in its place; from any thread.

        Raises:
            OSError: the disk is full.
        """
        file = self._files[key]
        content = memoryview(np.ascontiguousarray(values).data).cast("B")
        place = row * file.kind.bytes
        while len(content):
            written = os.pwrite(file.stream.fileno(), content, place)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            content, place = content[written:], place + written

    def finish(self, key: str, rows: Tensor | None, whole: bool = True) -> MappedRows:
        """Some of the rows (None: all) as a tensor; not `whole` where some were not written."""
        file = self._files[key]
        file.stream.flush()
        return MappedRows(RowFile(file.path or file.stream, file.kind.dtype, (file.rows, *file.kind.shape)), rows)

    def abandon(self) -> None:
        """Remove what was not finished."""
        for key in list(self._files):
            file = self._files.pop(key)
            file.stream.close()
            if file.path is not None:
                file.path.unlink(missing_ok=True)

    def _opened(self, key: str, kind: RowKind, identity: str) -> _File:
        if self.folder is None:
            return _File(cast(IO[bytes], tempfile.TemporaryFile()), None, kind)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{stem(key)}{kind.suffix}"
        return _File(open(path, "w+b"), path, kind)


class RowCache(RowStore):
    """Files that are kept for the next time, under the name of everything that they depend on.

    What the same camera or column had before is outdated, and removed. Where nothing can be written (a read-only
    folder) rows are kept without a name.
    """

    def begin(self, key: str, rows: int, kind: RowKind, identity: str) -> int | None:
        """As of every store; of one data set only."""
        path = self._path(key, kind, f"{rows} {identity}")
        with contextlib.suppress(OSError):
            if path.stat().st_size == rows * kind.bytes:
                self._files[key] = _File(open(path, "rb"), path, kind, rows)  # noqa: SIM115
                return None
        return super().begin(key, rows, kind, f"{rows} {identity}")

    def finish(self, key: str, rows: Tensor | None, whole: bool = True) -> MappedRows:
        """As of every store; only what is whole is kept."""
        file = self._files.pop(key)
        with file.stream:
            if file.path is not None and file.path.name.startswith("."):
                try:
                    if whole:
                        _keep(file, stem(key))
                finally:
                    file.path.unlink(missing_ok=True)
            return MappedRows(RowFile(file.stream, file.kind.dtype, (file.rows, *file.kind.shape)), rows)

    def _opened(self, key: str, kind: RowKind, identity: str) -> _File:
        path = self._path(key, kind, identity)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _File(open(temporary, "x+b"), temporary, kind)
        except OSError:
            return _File(cast(IO[bytes], tempfile.TemporaryFile()), None, kind)

    def _path(self, key: str, kind: RowKind, identity: str) -> Path:
        assert self.folder is not None
        digest = hashlib.sha256(f"{_VERSION} {key} {kind} {identity}".encode()).hexdigest()[:24]
        return self.folder / f"{stem(key)}-{digest}{kind.suffix}"


def stem(key: str) -> str:
    """A key as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", key)


def _keep(file: _File, stem: str) -> None:
    """Give a finished file its name, and no other of the same stem; where that cannot be, it is not kept."""
    assert file.path is not None
    final = file.path.with_name(file.path.name[1:].rpartition(file.kind.suffix)[0] + file.kind.suffix)
    with contextlib.suppress(OSError):
        os.fsync(file.stream.fileno())
        file.path.rename(final)
        _remove_outdated(final, stem)


def _remove_outdated(path: Path, stem: str) -> None:
    """Remove what was there of the same before, and what killed processes left (a living one may still be at it)."""
    with contextlib.suppress(OSError):
        for other in path.parent.iterdir():
            outdated = re.fullmatch(re.escape(stem) + r"-[0-9a-f]{24}\.[a-z0-9]+", other.name)
            left = other.name.startswith(f".{stem}-") and other.name.endswith(TEMPORARY_SUFFIX)
            abandoned = left and time.time() - other.stat().st_mtime > _ABANDONED_SECONDS
            if (outdated and other != path) or abandoned:
                other.unlink(missing_ok=True)
