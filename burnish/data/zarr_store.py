"""Arrays in zarr's version 2 layout, from a folder or a ZIP file of anybody: JSON headers and compressed chunks."""

from __future__ import annotations

import itertools
import json
import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from burnish.data.checks import bad_input
from burnish.errors import InputError

_CODECS = ("blosc", "zstd", "lz4", "zlib", "gzip", "bz2", "lzma", "shuffle", "delta", "fixedscaleoffset", "packbits")
"""Those that only transform bytes; `pickle`, `json2` and the like would make objects."""
_LARGEST_CHUNK = 2**31
_BROKEN = (ValueError, RuntimeError, OSError, EOFError, MemoryError, TypeError, zlib.error, lzma.LZMAError)
"""What codecs say of broken bytes."""


class Store:
    """The files of a zarr group, by their names with slashes; those of a folder are never outside of it."""

    def __init__(self, path: Path) -> None:
        """Raises InputError where `path` is a file, but no ZIP file."""
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        if path.is_file():
            try:
                self._zip = zipfile.ZipFile(path)
            except (OSError, zipfile.BadZipFile) as error:
                raise bad_input(path, f"a file that cannot be read ({error})", "a ZIP file of zarr arrays") from error

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        try:
            if self._zip is not None:
                return self._zip.read(name) if name in self._zip.NameToInfo else None
            place = self.path / name
            if not place.is_file():
                return None
            if not place.resolve().is_relative_to(self.path.resolve()):
                raise bad_input(place, "a link out of the folder", "a file in it")
            return place.read_bytes()
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
            found = f"a file that cannot be read ({error})"
            raise bad_input(f"{self.path}/{name}", found, "a whole file") from error

    def arrays(self, group: str) -> list[str]:
        """Names of the arrays in a group."""
        if self._zip is not None:
            names = [name.split("/") for name in self._zip.NameToInfo if name.endswith("/.zarray")]
            return sorted({parts[1] for parts in names if len(parts) == 3 and parts[0] == group})
        return sorted(path.parent.name for path in self.path.glob(f"{group}/*/.zarray"))


class ZarrArray:
    """One array of plain numbers, read in rows."""

    def __init__(self, store: Store, name: str) -> None:
        """Read its header.

        Raises:
            InputError: it is missing or damaged, or the array holds objects.
        """
        self.store, self.name, self.where = store, name, f"{store.path}/{name}"
        header = self._header()
        self.shape, self.chunks = (self._sizes(header, key) for key in ("shape", "chunks"))
        if len(self.shape) != len(self.chunks) or not self.shape or 0 in self.chunks:
            raise bad_input(self.where, f"chunks {self.chunks}", f"sizes of chunks of {self.shape}", field="chunks")
        if math.prod(self.chunks) * self.dtype.itemsize > _LARGEST_CHUNK:
            raise bad_input(self.where, f"chunks {self.chunks}", "at most 2 GB each", field="chunks")
        self.order = "F" if header.get("order") == "F" else "C"
        self._separator = "/" if header.get("dimension_separator") == "/" else "."
        self._codecs = [_codec(self.where, each) for each in self._configurations(header)]
        self._last: tuple[tuple[int, ...], np.ndarray] | None = None

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop), which must be there.

        A chunk that is missing is an error, and not full of zeros: nobody can tell it from one that was lost.

        Raises:
            InputError: a chunk is damaged or missing.
        """
        found = np.empty((stop - start, *self.shape[1:]), self.dtype)
        grid = [range(start // self.chunks[0], -(-stop // self.chunks[0]))]
        grid += [range(-(-size // chunk)) for size, chunk in zip(self.shape[1:], self.chunks[1:], strict=True)]
        for index in itertools.product(*grid):
            values, first = self._chunk(index), index[0] * self.chunks[0]
            low, high = max(start, first), min(stop, first + self.chunks[0])
            others = [slice(i * c, min((i + 1) * c, n))
                      for i, c, n in zip(index[1:], self.chunks[1:], self.shape[1:], strict=True)]  # fmt: skip
            inside = tuple(slice(0, each.stop - each.start) for each in others)
            found[(slice(low - start, high - start), *others)] = values[(slice(low - first, high - first), *inside)]
        return found

    def blocks(self, start: int, stop: int, at_once: int) -> Iterator[np.ndarray]:
        """The same rows, about `at_once` bytes at a time; those of one chunk are read together."""
        together = self.chunks[0]
        row_bytes = max(1, math.prod(self.shape[1:]) * self.dtype.itemsize)
        step = together * max(1, at_once // (together * row_bytes))
        for first in range(start - start % together, stop, step):
            yield self.rows(max(start, first), min(stop, first + step))

    def _chunk(self, index: tuple[int, ...]) -> np.ndarray:
        last = self._last  # once: several threads read
        if last is not None and last[0] == index:
            return last[1]
        name = f"{self.name}/{self._separator.join(map(str, index))}"
        content: Any = self.store.read(name)
        if content is None:
            raise bad_input(f"{self.store.path}/{name}", "no such file", "a chunk of the array")
        size = math.prod(self.chunks) * self.dtype.itemsize
        try:
            for codec in reversed(self._codecs):
                _check_blosc(codec, content, size)
                content = codec.decode(content)
            values = np.frombuffer(np.ascontiguousarray(content).tobytes(), self.dtype)
            values = values.reshape(self.chunks, order=self.order)  # type: ignore[call-overload]
        except _BROKEN as error:
            found = f"a chunk that cannot be read ({str(error).strip() or type(error).__name__})"
            raise bad_input(f"{self.store.path}/{name}", found, f"a whole chunk of {self.chunks}") from error
        self._last = index, values
        return values

    def _header(self) -> dict[str, Any]:
        content = self.store.read(f"{self.name}/.zarray")
        if content is None:
            raise bad_input(self.where, "no such array", "a file .zarray")
        try:
            header = json.loads(content)
            kind = np.dtype(header["dtype"]) if isinstance(header["dtype"], str) else np.dtype(object)
        except (ValueError, KeyError, TypeError, RecursionError, SyntaxError) as error:
            raise bad_input(f"{self.where}/.zarray", f"a damaged header ({error})", "zarr's version 2") from error
        if kind.kind not in "biuf":
            raise bad_input(self.where, f"values of type {header['dtype']}", "plain numbers (objects are not read)")
        if header.get("zarr_format") != 2:
            raise bad_input(self.where, f"zarr_format {header.get('zarr_format')}", "2", field="zarr_format")
        self.dtype = kind
        return header

    def _sizes(self, header: dict[str, Any], key: str) -> tuple[int, ...]:
        sizes = header.get(key)
        if not isinstance(sizes, list) or not all(type(size) is int and 0 <= size < 2**40 for size in sizes):
            raise bad_input(self.where, repr(sizes), "a list of sizes", field=key)
        return tuple(sizes)

    def _configurations(self, header: dict[str, Any]) -> list[dict[str, Any]]:
        filters = header.get("filters") or []
        if not isinstance(filters, list):
            raise bad_input(self.where, repr(filters), "a list of codecs", field="filters")
        return [*filters, *([] if header.get("compressor") is None else [header["compressor"]])]


def _codec(where: str, configuration: Any) -> Any:
    name = configuration.get("id") if isinstance(configuration, dict) else None
    if name not in _CODECS:
        raise bad_input(where, f"the codec {name!r}", f"one of {', '.join(_CODECS)}", field="compressor")
    numcodecs = _numcodecs()
    try:
        return numcodecs.get_codec(dict(configuration))
    except (ValueError, TypeError, KeyError) as error:
        raise bad_input(where, f"the codec {configuration!r}", "one with its settings", field="compressor") from error


def _check_blosc(codec: Any, content: Any, size: int) -> None:
    """Blosc believes its header: it unpacks to what that says, and makes something up where the end is missing."""
    if codec.codec_id != "blosc":
        return
    if len(content) < 16:
        raise ValueError(f"{len(content)} bytes, less than a header")
    unpacked, packed = (int.from_bytes(bytes(content[place : place + 4]), "little") for place in (4, 12))
    if packed != len(content):
        raise ValueError(f"{len(content)} bytes of {packed}")
    if unpacked > size:
        raise ValueError(f"it unpacks to {unpacked} bytes instead of {size}")


def _numcodecs() -> Any:
    try:
        import numcodecs
    except ImportError as error:
        raise InputError("zarr data sets need the extra 'zarr': pip install -e '.[zarr]'") from error
    return numcodecs
