"""Where decoded pictures are kept: files of nothing but pixels, written once and read through a mapping."""

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

SUFFIX = ".u8"
_VERSION = 2
_ABANDONED_SECONDS = 3600.0
_SPARE = 2**26
"""Bytes that must stay free beside the pictures."""


@dataclass
class _File:
    """An open file of pictures of one size, and how many it has room for; `path` where it has a name."""

    stream: IO[bytes]
    path: Path | None
    size: tuple[int, int]
    rows: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, *self.size, 3)


class PictureStore:
    """One new file a camera, which grows with every data set that is read into it.

    Attributes:
        folder: where the files lie; None for files without a name, which go with their tensors.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Nothing is written before pictures come."""
        self.folder = folder
        self._files: dict[str, _File] = {}

    def check_room(self, wanted: Mapping[str, int]) -> None:
        """Check, before anything is decoded, that there is room for so many bytes by camera.

        Raises:
            InputError: there is not.
        """
        place, needed = self.folder or Path(tempfile.gettempdir()), sum(wanted.values()) + _SPARE
        there = next(each for each in (place.absolute(), *place.absolute().parents) if each.is_dir())
        free = shutil.disk_usage(there).free
        if wanted and needed > free:
            raise InputError(
                f"{place}: found {free / 1e9:.2f} GB of free disk space, expected {needed / 1e9:.2f} GB for the "
                f"decoded pictures of {', '.join(wanted)}; free some, write elsewhere, or have the pictures brought to "
                "a smaller size (--picture-size)"
            )

    def begin(self, key: str, rows: int, size: tuple[int, int], identity: str) -> int | None:
        """Make room for a camera's pictures of (height, width), which depend on `identity`.

        Returns:
            The row of the first one; None where they are there already.

        Raises:
            InputError: those that are there of the camera are of another size.
            RunError: there can be no file.
        """
        try:
            if key not in self._files:
                self._files[key] = self._opened(key, size, identity)
            file = self._files[key]
            if file.size != size:
                found, expected = (f"{height} x {width}" for height, width in (size, file.size))
                expected += " as in the data set before (--picture-size)"
                raise InputError(f"{key}: found pictures of {found}, expected {expected}")
            first, file.rows = file.rows, file.rows + rows
            os.ftruncate(file.stream.fileno(), prod(file.shape))
        except OSError as error:
            raise_run_error(error, self.folder or tempfile.gettempdir())
        return first

    def write(self, key: str, row: int, picture: np.ndarray) -> None:
        """Put a picture in its place, from any thread; OSError where the disk is full."""
        content = np.ascontiguousarray(picture)
        written = os.pwrite(self._files[key].stream.fileno(), content.data.cast("B"), row * content.nbytes)
        if written != content.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def finish(self, key: str, rows: Tensor | None, whole: bool = True) -> MappedRows:
        """The pictures of some rows (all: None) as (F, H, W, 3); not `whole` where some were not written."""
        file = self._files[key]
        file.stream.flush()
        return MappedRows(RowFile(file.path or file.stream, torch.uint8, file.shape), rows)

    def abandon(self) -> None:
        """Remove what was not finished."""
        for key in list(self._files):
            file = self._files.pop(key)
            file.stream.close()
            if file.path is not None:
                file.path.unlink(missing_ok=True)

    def _opened(self, key: str, size: tuple[int, int], identity: str) -> _File:
        if self.folder is None:
            return _File(cast(IO[bytes], tempfile.TemporaryFile()), None, size)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{stem(key)}{SUFFIX}"
        return _File(open(path, "w+b"), path, size)


class PictureCache(PictureStore):
    """Files that are kept for the next time, under the name of everything that they depend on.

    What the same camera had before is outdated, and removed. Where nothing can be written (a read-only folder) pictures
    are kept without a name.
    """

    def begin(self, key: str, rows: int, size: tuple[int, int], identity: str) -> int | None:
        """As of every store; of one data set only."""
        path, shape = self._path(key, size, f"{rows} {identity}"), (rows, *size, 3)
        with contextlib.suppress(OSError):
            if path.stat().st_size == prod(shape):
                self._files[key] = _File(open(path, "rb"), path, size, rows)  # noqa: SIM115
                return None
        return super().begin(key, rows, size, f"{rows} {identity}")

    def finish(self, key: str, rows: Tensor | None, whole: bool = True) -> MappedRows:
        """As of every store; only what is whole is kept."""
        file = self._files.pop(key)
        with file.stream:
            if file.path is not None and file.path.name.startswith("."):
                try:
                    if whole:
                        _keep(file.path, file.stream, stem(key))
                finally:
                    file.path.unlink(missing_ok=True)
            return MappedRows(RowFile(file.stream, torch.uint8, file.shape), rows)

    def _opened(self, key: str, size: tuple[int, int], identity: str) -> _File:
        path = self._path(key, size, identity)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _File(open(temporary, "x+b"), temporary, size)
        except OSError:
            return _File(cast(IO[bytes], tempfile.TemporaryFile()), None, size)

    def _path(self, key: str, size: tuple[int, int], identity: str) -> Path:
        assert self.folder is not None
        digest = hashlib.sha256(f"{_VERSION} {key} {size} {identity}".encode()).hexdigest()[:24]
        return self.folder / f"{stem(key)}-{digest}{SUFFIX}"


def stem(key: str) -> str:
    """A camera's key as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", key)


def _keep(temporary: Path, stream: IO[bytes], stem: str) -> None:
    """Give a finished file its name, and no other of the same camera; where that cannot be, it is not kept."""
    final = temporary.with_name(temporary.name[1:].rpartition(SUFFIX)[0] + SUFFIX)
    with contextlib.suppress(OSError):
        os.fsync(stream.fileno())
        temporary.rename(final)
        _remove_outdated(final, stem)


def _remove_outdated(path: Path, stem: str) -> None:
    """Remove what the same camera had before, and what killed processes left (a living one may still be at it)."""
    with contextlib.suppress(OSError):
        for other in path.parent.iterdir():
            outdated = re.fullmatch(re.escape(stem) + r"-[0-9a-f]{24}" + re.escape(SUFFIX), other.name)
            left = other.name.startswith(f".{stem}-") and other.name.endswith(TEMPORARY_SUFFIX)
            abandoned = left and time.time() - other.stat().st_mtime > _ABANDONED_SECONDS
            if (outdated and other != path) or abandoned:
                other.unlink(missing_ok=True)
