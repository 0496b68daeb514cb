"""Pictures as PNG bytes in an Arrow column, the way in which LeRobot stores an `image` feature."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from PIL import Image

from burnish.data.lerobot_format import ColumnError

_FORMATS = ("PNG", "JPEG")
_EXPECTED = "a whole PNG or JPEG picture"
_COLUMN = "struct<bytes: binary, path: string>, as LeRobot stores pictures"


def encode_pictures(pictures: np.ndarray) -> pa.Array:
    """The Arrow column of `pictures`, uint8 (T, H, W, 3): lossless."""
    paths = [f"frame-{index:06d}.png" for index in range(len(pictures))]
    encoded = [_encode(picture) for picture in pictures]
    return pa.StructArray.from_arrays([pa.array(encoded, pa.binary()), pa.array(paths)], names=["bytes", "path"])


def decode_pictures(column: pa.ChunkedArray, height: int, width: int) -> Iterator[np.ndarray]:
    """The pictures of a column that may come from anybody, one by one: uint8 (height, width, 3).

    Raises:
        ColumnError: another type, missing bytes, or bytes that are no RGB picture of this size.
    """
    row = 0
    for chunk in column.chunks:
        for value in _binary(chunk):
            content = value.as_py()
            if content is None:
                raise ColumnError("no bytes", _EXPECTED, row)
            try:
                yield _decode(content, height, width)
            except ColumnError as error:
                raise ColumnError(error.found, error.expected, row) from error
            row += 1


def _encode(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG")
    return buffer.getvalue()


def _decode(content: bytes, height: int, width: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            # Opening reads the header only: a picture that would unpack to gigabytes goes no further.
            if image.size != (width, height):
                raise ColumnError(
                    f"a picture of {image.height} x {image.width}", f"{height} x {width} as declared in info.json"
                )
            if image.mode != "RGB":
                raise ColumnError(f"a picture of mode '{image.mode}'", "RGB with 8 bits a channel")
            return np.asarray(image)
    except ColumnError:
        raise
    # Whatever broken bytes make Pillow say (its plug-ins raise nearly everything) means the same to us.
    except Exception as error:
        raise ColumnError(f"bytes that are no picture ({str(error) or type(error).__name__})", _EXPECTED) from error


def _binary(chunk: pa.Array) -> pa.Array:
    """The bytes of every row."""
    arrow = chunk.storage if isinstance(chunk.type, pa.BaseExtensionType) else chunk
    if pa.types.is_struct(arrow.type):
        position = arrow.type.get_field_index("bytes")
        if position < 0:
            raise ColumnError(f"values of type {arrow.type}", _COLUMN)
        arrow = arrow.flatten()[position]  # unlike `field`, it knows of rows that are missing as a whole
    if not (pa.types.is_binary(arrow.type) or pa.types.is_large_binary(arrow.type)):
        raise ColumnError(f"values of type {arrow.type}", _COLUMN)
    return arrow
