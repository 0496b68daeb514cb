"""Decoded pictures in a memory-mapped file: decoded once, and read afterwards as fast as the disk can."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from burnish.storage import TEMPORARY_SUFFIX

_VERSION = 1
_SUFFIX = ".u8"
_ABANDONED_SECONDS = 3600.0

Pictures = Callable[[], Iterable[np.ndarray]]
"""Decodes from the first picture on, whenever it is called: uint8 (H, W, 3) each."""


def cached_pictures(folder: Path, name: str, identity: str, shape: tuple[int, ...], pictures: Pictures) -> Tensor:
    """The pictures as a tensor over a memory-mapped file, which is made when there is none of this identity.

    The mapping is copy-on-write: whoever writes into the tensor changes neither the file nor anybody else's tensor.
    Where the file cannot be written (a read-only folder, a full disk) the tensor is in memory.

    Args:
        folder: where the file lives.
        name: whose pictures these are; files of this name and another identity are outdated, and removed.
        identity: everything that the pictures depend on.
        shape: (F, H, W, 3).
        pictures: decodes them; may be called twice.

    Raises:
        Whatever `pictures` raises; no file is left behind.
    """
    digest = hashlib.sha256(f"{_VERSION} {name} {shape} {identity}".encode()).hexdigest()[:24]
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    path = folder / f"{stem}-{digest}{_SUFFIX}"
    with contextlib.suppress(OSError):
        if path.stat().st_size == prod(shape):
            return _mapped(path, shape)
    try:
        _write(path, pictures())
        _remove_outdated(path, stem)
        return _mapped(path, shape)
    except OSError:
        return _in_memory(shape, pictures())


def _mapped(path: Path, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.memmap(path, np.uint8, mode="c", shape=shape))


def _in_memory(shape: tuple[int, ...], pictures: Iterable[np.ndarray]) -> Tensor:
    values = np.empty(shape, np.uint8)
    for index, picture in enumerate(pictures):
        values[index] = picture
    return torch.from_numpy(values)


def _write(path: Path, pictures: Iterable[np.ndarray]) -> None:
    """Write to a temporary name and rename; through the file, not the mapping, so that a full disk is an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "xb") as file:
            for picture in pictures:
                file.write(np.ascontiguousarray(picture).data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_outdated(path: Path, stem: str) -> None:
    """Remove what the same camera had before, and what killed processes left (a living one may still be at it)."""
    with contextlib.suppress(OSError):
        for other in path.parent.iterdir():
            outdated = re.fullmatch(re.escape(stem) + r"-[0-9a-f]{24}" + re.escape(_SUFFIX), other.name)
            left = other.name.startswith(f".{stem}-") and other.name.endswith(TEMPORARY_SUFFIX)
            abandoned = left and time.time() - other.stat().st_mtime > _ABANDONED_SECONDS
            if (outdated and other != path) or abandoned:
                other.unlink(missing_ok=True)
