"""Tables written one after the other into Parquet files of bounded size, in bounded memory."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from burnish.data.lerobot_format import FILES_PER_CHUNK, file_path

ROW_GROUP_BYTES = 4 * 2**20


class ParquetShards:
    """Appends tables to files `chunk-000/file-000`, `chunk-000/file-001`, ...; a table never spans two files.

    Small tables are gathered into row groups of a few megabytes; pages carry checksums. Methods raise OSError.
    """

    def __init__(self, folder: Path, template: str, shard_bytes: float) -> None:
        """Write below `folder` after `template`; a file that would pass `shard_bytes` (uncompressed) is closed."""
        self._folder, self._template, self._shard_bytes = folder, template, shard_bytes
        self._file = 0
        self._written = 0
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._writer: pq.ParquetWriter | None = None

    def location(self, size: int) -> tuple[int, int]:
        """The (chunk, file) that a table of `size` bytes will be written to; opens the next file when it must."""
        used = self._written + self._waiting_bytes
        if used and used + size > self._shard_bytes:
            self.close()
            self._file += 1
            self._written = 0
        return divmod(self._file, FILES_PER_CHUNK)

    def add(self, table: pa.Table) -> None:
        """Append a table to the file that `location` named."""
        self._waiting.append(table)
        self._waiting_bytes += table.nbytes
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is waiting and finish the open file."""
        self._flush()
        if self._writer is not None:
            writer, self._writer = self._writer, None
            try:
                writer.close()
            except OSError:
                writer.is_open = False  # or its destructor would try, and complain, again
                raise

    def abandon(self) -> None:
        """Let go of the open file without a care for what it holds."""
        self._waiting, self._waiting_bytes = [], 0
        with contextlib.suppress(OSError):
            self.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        if self._writer is None:
            path = self._folder / file_path(self._template, *divmod(self._file, FILES_PER_CHUNK))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, table.schema, compression="snappy", write_page_checksum=True)
        self._writer.write_table(table, row_group_size=len(table))
        self._written += self._waiting_bytes
        self._waiting, self._waiting_bytes = [], 0
