"""Rows of an array that lies in a file, as a tensor: memory holds what was asked for, and no more."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from burnish.errors import RunError

_READ_ONLY = "rows of a file cannot be written into; clone them first"


class RowFile:
    """A file of nothing but F rows of one shape and type.

    It is read by the rows that are wanted, and not mapped: pages of a mapping would count to the process, and systems
    map whole megabytes around a page that is touched.

    Attributes:
        path: where it lies; None where it has no name and goes with this object.
    """

    def __init__(self, file: Path | IO[bytes], dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        """Open it; OSError where it cannot be read, ValueError where it is of another size."""
        self.path, self.dtype, self.shape = file if isinstance(file, Path) else None, dtype, shape
        self._descriptor = (
            os.open(file, os.O_RDONLY | os.O_NOFOLLOW) if isinstance(file, Path) else os.dup(file.fileno())
        )
        weakref.finalize(self, os.close, self._descriptor)
        self._row_bytes = math.prod(shape[1:]) * dtype.itemsize
        found = os.fstat(self._descriptor).st_size
        if found != shape[0] * self._row_bytes or not found:
            raise ValueError(f"{found} bytes, expected {shape[0] * self._row_bytes}")

    def __len__(self) -> int:
        """The number of rows, F."""
        return self.shape[0]

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of an index of any shape, none of them negative or beyond the end."""
        flat = rows.flatten().numpy()
        found = torch.empty((len(flat), *self.shape[1:]), dtype=self.dtype)
        if not len(flat):
            return found.view(*rows.shape, *self.shape[1:])
        room, size = _bytes_of(found.numpy()), self._row_bytes
        begins = np.flatnonzero(np.diff(flat, prepend=-2) != 1)
        ends = np.append(begins[1:], len(flat))
        for begin, end, row in zip(begins.tolist(), ends.tolist(), flat[begins].tolist(), strict=True):
            self._read(room[begin * size : end * size], row * size)
        return found.unflatten(0, rows.shape) if rows.ndim else found[0]

    def copy(self, rows: slice) -> Tensor:
        """Successive rows."""
        found = torch.empty((rows.stop - rows.start, *self.shape[1:]), dtype=self.dtype)
        if len(found):
            self._read(_bytes_of(found.numpy()), rows.start * self._row_bytes)
        return found

    def _read(self, room: memoryview, place: int) -> None:
        while len(room):
            count = os.preadv(self._descriptor, [room], place)
            if not count:
                raise RunError(f"{self.path or 'a temporary file'}: found its end, expected {len(room)} bytes more")
            room, place = room[count:], place + count


class MappedRows(Tensor):
    """Rows of a `RowFile` as a tensor on the CPU that cannot be written into.

    Indexing the first dimension reads these rows alone, slices of it and `choose` read nothing. Whatever else is asked
    of it works, and loads all of it first.
    """

    file: RowFile
    rows: range | Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, file: RowFile, rows: range | Tensor | None = None) -> MappedRows:
        """All rows of `file`, or those of a range or an int64 index (F,)."""
        chosen = range(len(file)) if rows is None else rows
        shape = (len(chosen), *file.shape[1:])
        made = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=file.dtype, device=torch.device("cpu"))
        made.file, made.rows = file, chosen
        return made

    def choose(self, frames: slice | Tensor) -> MappedRows:
        """The rows of a slice or of an int64 index (N,), unread."""
        if isinstance(self.rows, Tensor):
            return MappedRows(self.file, self.rows[frames])
        if isinstance(frames, slice):
            return MappedRows(self.file, self.rows[frames])
        return MappedRows(self.file, self._places(frames))

    def whole(self) -> Tensor:
        """All of it in memory."""
        run = self._run()
        return self.file.gather(self.file_rows()) if run is None else self.file.copy(run)

    def numpy(self, *, force: bool = False) -> Any:
        """All of it in memory, as an array."""
        return self.whole().numpy()

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(_READ_ONLY)

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"MappedRows({tuple(self.shape)}, {self.dtype}, {self.file.path or 'a file without a name'})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        """Reading rows, or not; all other operations see a tensor in memory."""
        aten, first = torch.ops.aten, args[0] if args else None
        if isinstance(first, MappedRows):
            if func is aten.index.Tensor and len(args[1]) == 1:
                return first._gathered(args[1][0])
            if func is aten.slice.Tensor and (len(args) < 2 or args[1] == 0):
                return first.choose(slice(*args[2:]))
            if func is aten.select.int and args[1] == 0:
                return first._gathered(torch.tensor(args[2]))
            if func in (aten.detach.default, aten.alias.default):
                return MappedRows(first.file, first.rows)
        if func._schema.is_mutable:
            raise TypeError(_READ_ONLY)
        args, kwargs = tree_map_only(MappedRows, MappedRows.whole, (args, kwargs or {}))
        return func(*args, **kwargs)

    def _gathered(self, index: Tensor) -> Tensor:
        if index.dtype == torch.bool:
            index = index.nonzero()[:, 0]
        return self.file.gather(self.rows[index] if isinstance(self.rows, Tensor) else self._places(index))

    def _places(self, index: Tensor) -> Tensor:
        """Where in the file the rows of an index are."""
        rows, count = self.rows, len(self.rows)
        assert isinstance(rows, range)
        if len(index.shape) and not index.numel():
            return index
        if not -count <= int(index.min()) <= int(index.max()) < count:
            raise IndexError(f"index out of range: found {int(index.min())} to {int(index.max())} of {count} rows")
        if rows.start == 0 and rows.step == 1 and int(index.min()) >= 0:
            return index
        return rows.start + rows.step * torch.where(index < 0, index + count, index)

    def file_rows(self) -> Tensor:
        """Which rows of the file they are, int64 (F,)."""
        return self.rows if isinstance(self.rows, Tensor) else torch.arange(*_bounds(self.rows))

    def _run(self) -> slice | None:
        """The rows as a slice, where they follow each other."""
        if isinstance(self.rows, range):
            return slice(self.rows.start, self.rows.stop) if self.rows.step == 1 else None
        first = int(self.rows[0]) if len(self.rows) else 0
        follow = bool((self.rows[1:] - self.rows[:-1] == 1).all())
        return slice(first, first + len(self.rows)) if follow else None


def choose(values: Tensor, frames: slice | Tensor) -> Tensor:
    """Rows of a tensor; those of a file stay there."""
    return values.choose(frames) if isinstance(values, MappedRows) else values[frames]


def _bytes_of(values: Any) -> memoryview:
    return memoryview(values).cast("B")


def _bounds(rows: range) -> tuple[int, int, int]:
    return rows.start, rows.stop, rows.step


def concatenated(parts: Sequence[Tensor]) -> Tensor:
    """Tensors one after the other; rows of one file stay there."""
    first = parts[0]
    if not isinstance(first, MappedRows) or first.file.path is None:
        return torch.cat(list(parts))
    same = [each for each in parts if isinstance(each, MappedRows) and each.file.path == first.file.path]
    if len(same) < len(parts):
        return torch.cat(list(parts))
    largest = max((each.file for each in same), key=len)
    return MappedRows(largest, torch.cat([each.file_rows() for each in same]))
