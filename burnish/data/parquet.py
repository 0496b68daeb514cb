"""Reads Parquet files that may come from anybody."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from burnish.data.checks import bad_input

_FEW_ROWS = 10_000


def read_columns(path: Path, columns: list[str] | None, unless: str = "\n") -> pa.Table:
    """Read columns of a Parquet file (those of `columns` that it has; None: all), with its pages' checksums verified.

    Columns whose name begins with `unless` are left alone.

    Raises:
        InputError: the file is missing, cannot be read or is corrupt, or has a column twice.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            present = file.schema_arrow.names
            wanted = present if columns is None else [name for name in columns if name in present]
            wanted = [name for name in wanted if not name.startswith(unless)]
            twice = next((name for name in wanted if present.count(name) > 1), None)
            if twice is not None:
                raise bad_input(path, "two columns of this name", "one", field=twice)
            # Threads cost more than they save where there are thousands of small files.
            table = file.read(columns=wanted, use_threads=file.metadata.num_rows > _FEW_ROWS)
            table.validate(full=True)
            return table.select(wanted)
    except FileNotFoundError as error:
        raise bad_input(path, "no such file", "a Parquet file") from error
    # Whatever a broken file makes pyarrow say (bad magic, checksum, sizes out of this world) means the same to us.
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, OverflowError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise bad_input(path, f"a file that cannot be read ({reason})", "a whole Parquet file") from error
