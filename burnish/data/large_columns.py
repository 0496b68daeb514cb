"""Columns that are larger than memory may be: put into files while the Parquet files are read."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import torch

from burnish.data import lerobot_format as layout
from burnish.data.checks import bad_input
from burnish.data.lerobot_info import Header
from burnish.data.mapped import MappedRows
from burnish.data.row_store import RowKind, RowStore
from burnish.storage import raise_run_error

LARGE = 2**28
"""Bytes from which on a column of vectors lies in a file, and not in memory."""


class LargeColumns:
    """Columns of vectors that are put into files while they are read, as float32.

    Attributes:
        begins: the first row of each in its file.
        there: those that are there from an earlier time.
    """

    def __init__(
        self, root: Path, header: Header, every_file: Sequence[str], wanted: Sequence[str], store: RowStore
    ) -> None:
        """Make room for those of `wanted` that are large.

        Raises:
            InputError: there is none.
        """
        self.store, self.begins, self.there = store, dict[str, int](), set[str]()
        self._total, self._position = header.total_frames, 0
        kinds = {name: RowKind(each.shape, torch.float32) for name, each in header.features.items()
                 if name in wanted and each.dtype.startswith("float") and prod(each.shape) > 1}  # fmt: skip
        kinds = {name: kind for name, kind in kinds.items() if self._total * kind.bytes > LARGE}
        there = [root / file for file in dict.fromkeys(every_file) if kinds and (root / file).exists()]
        identity = str([(each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in there])
        for name, kind in kinds.items():
            first = store.begin(name, self._total, kind, identity)
            self.there |= {name} if first is None else set()
            self.begins |= {} if first is None else {name: first}
        store.check_room({name: self._total * kinds[name].bytes for name in self.begins})

    def take(self, where: Path, found: dict[str, np.ndarray]) -> None:
        """Take them out of what was found in a file."""
        count = len(found["episode_index"])
        for name, first in self.begins.items():
            if self._position + count > self._total:
                expected = f"{self._total} in all as in {layout.INFO_PATH}"
                raise bad_input(where, f"{self._position + count} frames up to here", expected, field=name)
            with np.errstate(over="ignore"):
                values = found.pop(name).astype(np.float32, copy=False)
            try:
                self.store.write(name, first + self._position, values)
            except OSError as error:
                raise_run_error(error, self.store.folder)
        self._position += count

    def finish(self, order: np.ndarray | None, whole: bool) -> dict[str, MappedRows]:
        """The columns, with rows in an order."""
        found = {}
        for name in [*self.begins, *self.there]:
            first = self.begins.get(name, 0)
            rows = np.arange(self._position) if order is None else order
            index = None if order is None and not first else torch.from_numpy(rows + first)
            found[name] = self.store.finish(name, index, whole)
        return found
