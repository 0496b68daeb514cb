"""The LeRobotDataset v3.0 layout: file names, features, and how a feature's values lie in an Arrow column."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

import numpy as np
import pyarrow as pa

VERSION = "v3.0"
OLD_VERSIONS = ("v2.1", "v2.0")
"""Those that are read, but not written (`lerobot_v2`)."""
INFO_PATH = "meta/info.json"
STATS_PATH = "meta/stats.json"
TASKS_PATH = "meta/tasks.parquet"
EPISODES_TEMPLATE = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_TEMPLATE = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_TEMPLATE = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
FILES_PER_CHUNK = 1000
OLD_DATA_TEMPLATE = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
"""Of v2: one file an episode."""

MAX_PIXELS = 2**25
"""No camera's picture is larger; what declares more would fill memory and disk before anything is wrong with it."""

OWN_KEY = "burnish"
"""The block of info.json, and the prefix of the columns of meta/episodes, that hold what LeRobot has no place for."""

_TYPES = {
    "bool": pa.bool_(),
    **{f"{sign}int{bits}": getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": getattr(pa, f"float{bits}")() for bits in (16, 32, 64)},
}


class ColumnError(Exception):
    """A column does not hold what its feature declares; `row` is None when that is true of the whole column."""

    def __init__(self, found: str, expected: str, row: int | None = None) -> None:
        """Say what was found where, and what was expected."""
        super().__init__(f"found {found}, expected {expected}")
        self.found, self.expected, self.row = found, expected, row


@dataclass(frozen=True)
class Feature:
    """One column: a NumPy type's name, and the shape of one frame's value (LeRobot's scalars are (1,)).

    Pictures have the type `image` (PNG in the Parquet column) or `video` (in mp4 files), and the shape (H, W, 3).
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None = None

    def to_json(self) -> dict:
        """The entry in info.json."""
        return {"dtype": self.dtype, "shape": list(self.shape), "names": list(self.names) if self.names else None}

    @property
    def is_numeric(self) -> bool:
        """Whether the values are numbers or booleans in a Parquet column; images, videos and text are not."""
        return self.dtype in _TYPES

    @property
    def nested_shape(self) -> tuple[int, ...]:
        """The lists within lists of one value: LeRobot stores shape (1,) as a plain value."""
        return () if self.shape == (1,) else self.shape


FRAME_FEATURES = {
    "timestamp": Feature("float32", (1,)),
    "frame_index": Feature("int64", (1,)),
    "episode_index": Feature("int64", (1,)),
    "index": Feature("int64", (1,)),
    "task_index": Feature("int64", (1,)),
}
"""The columns that LeRobot itself adds to every dataset."""


def file_path(template: str, chunk: int, file: int, video_key: str | None = None) -> str:
    """The path of one file, relative to the dataset; a video's template also has its key.

    Only plain zero-padded fields are filled in: a template that came with the data is not given to `str.format`. In v2
    the file is the episode's own.

    Raises:
        ValueError: the template has other fields, or leads out of the dataset's folder.
    """
    numbers = {"chunk_index": chunk, "episode_chunk": chunk, "file_index": file, "episode_index": file}

    def fill(field: re.Match[str]) -> str:
        return f"{numbers[field[1]]:0{int(field[2] or 0)}d}"

    path = re.sub(rf"\{{({'|'.join(numbers)})(?::0(\d)d)?\}}", fill, template)
    if video_key is not None:
        path = path.replace("{video_key}", video_key)
    # Symbolic links inside the folder are the owner's own business (download caches are made of them).
    if re.search(r"[{}\\\x00]", path) or path.startswith("/") or ".." in path.split("/"):
        raise ValueError("the template does not lead to a file inside the dataset")
    return path


def encode_column(values: np.ndarray, feature: Feature) -> pa.Array:
    """The Arrow column of `values` (T, *shape)."""
    arrow = pa.array(np.ascontiguousarray(values).reshape(-1))
    shape = feature.nested_shape
    if len(shape) == 1:
        return pa.FixedSizeListArray.from_arrays(arrow, shape[0])
    for size in reversed(shape):
        offsets = pa.array(np.arange(0, len(arrow) + 1, size, dtype=np.int32))
        arrow = pa.ListArray.from_arrays(offsets, arrow)
    return arrow


def decode_column(column: pa.ChunkedArray, feature: Feature) -> np.ndarray:
    """The values (T, *shape) of a column that may come from anybody, in the type it has on disk.

    Raises:
        ColumnError: another type or shape than declared, or missing values.
    """
    arrow = column.combine_chunks()
    if isinstance(arrow.type, pa.BaseExtensionType):  # how Hugging Face's `datasets` marks multi-dimensional arrays
        arrow = arrow.storage
    shape = feature.nested_shape
    if not shape and _is_list(arrow.type):  # a scalar may also come as a list of one
        shape = (1,)
    for level, size in enumerate(shape):
        per_row = prod(shape[:level])
        _refuse_missing(arrow, per_row)
        if not _is_list(arrow.type):
            raise ColumnError(f"values with {level} dimensions", f"shape {feature.shape}")
        lengths = arrow.value_lengths().to_numpy(zero_copy_only=False)
        if (lengths != size).any():
            wrong = int(np.argmax(lengths != size))
            raise ColumnError(f"{lengths[wrong]} values", f"shape {feature.shape}", wrong // per_row)
        arrow = arrow.flatten()
    _refuse_missing(arrow, prod(shape))
    kind, expected = _kind(arrow.type), _kind(_TYPES[feature.dtype])
    if kind != expected:
        raise ColumnError(f"values of type {arrow.type}", f"{feature.dtype} as declared in info.json")
    return arrow.to_numpy(zero_copy_only=False).reshape(len(column), *feature.shape)


def _is_list(arrow: pa.DataType) -> bool:
    return pa.types.is_list(arrow) or pa.types.is_large_list(arrow) or pa.types.is_fixed_size_list(arrow)


def _kind(arrow: pa.DataType) -> str:
    """Types of one kind differ in width only, which LeRobot itself accepts."""
    if pa.types.is_floating(arrow):
        return "float"
    if pa.types.is_integer(arrow):
        return "integer"
    return str(arrow)


def _refuse_missing(arrow: pa.Array, per_row: int) -> None:
    if arrow.null_count:
        row = int(np.argmax(arrow.is_null().to_numpy(zero_copy_only=False))) // per_row
        raise ColumnError("a missing value", "a value in every frame", row)
