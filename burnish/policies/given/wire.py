"""Messages between a policy and who asks it: openpi's, msgpack with NumPy arrays as maps of bytes, dtype and shape."""

from types import ModuleType
from typing import Any

import numpy as np

from burnish.errors import InputError

_KINDS = "biuf"
"""Of the arrays that are read: booleans and numbers, no objects."""


def library(name: str) -> ModuleType:
    """msgpack or websockets; InputError which says how to install them."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"serving a policy needs the extra serve: pip install -e '.[serve]' ({error})") from error


def pack(message: Any) -> bytes:
    """One message of dicts, lists, text, numbers and arrays."""
    return library("msgpack").packb(message, default=_pack_array)


def unpack(data: bytes) -> Any:
    """Read one message; it is untrusted.

    Raises:
        InputError: it is no such message.
    """
    try:
        return library("msgpack").unpackb(data, object_hook=_unpack_array)
    except InputError:
        raise
    except Exception as error:  # msgpack has many classes of errors
        raise InputError(f"a message: {type(error).__name__}: {error}; expected msgpack with NumPy arrays") from None


def _pack_array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a {type(value).__name__} cannot be sent")


def _unpack_array(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" not in value and b"__npgeneric__" not in value:
        return value
    dtype = np.dtype(value[b"dtype"])
    if dtype.kind not in _KINDS:
        raise InputError(f"a message: found an array of {dtype}, expected numbers")
    if b"__npgeneric__" in value:
        return dtype.type(value[b"data"])
    return np.ndarray(buffer=value[b"data"], dtype=dtype, shape=value[b"shape"]).copy()
