"""Episodes with camera pictures for the tests of the data room."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from burnish.data import Episode, image_key
from tests.data.support import make_episode

TOP = image_key("top")
WRIST = image_key("wrist")
VIDEO = f"videos/{TOP}/chunk-000/file-000.mp4"


def smooth_pictures(length: int, height: int = 16, width: int = 32, seed: int = 0) -> np.ndarray:
    """(T, H, W, 3): slopes that a video keeps well; the brightness tells the frame and the seed."""
    rows, columns = np.mgrid[0:height, 0:width]
    slope = np.stack([rows, columns, rows + columns], axis=-1)
    frames = 8 * np.arange(length) + 20 * (seed % 5)
    return (slope + frames[:, None, None, None] + 20).clip(0, 255).astype(np.uint8)


def picture_episode(length: int = 4, seed: int = 0, **pictures: np.ndarray) -> Episode:
    """An episode whose camera `top` shows slopes, unless other cameras' pictures are given."""
    base = make_episode(length, seed=seed)
    given = {image_key(camera): values for camera, values in pictures.items()}
    return replace(base, observation=base.observation | (given or {TOP: smooth_pictures(length, seed=seed)}))


def png(picture: np.ndarray, mode: str = "RGB", kind: str = "PNG") -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def edit_bytes(path: Path, row: int, change: Callable[[bytes], bytes | None], key: str = TOP) -> None:
    """Change the PNG bytes of one frame in a Parquet file."""
    table = pq.read_table(path)
    values = table.column(key).to_pylist()
    values[row] = {**values[row], "bytes": change(values[row]["bytes"])}
    column = pa.array(values, table.schema.field(key).type)
    pq.write_table(table.set_column(table.schema.get_field_index(key), key, column), path)
