"""Small files of run folders, which nobody vouches for."""

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from burnish.errors import InputError

_LARGEST = 8 * 2**20
_TEXT = 200


def read_bytes(path: Path) -> bytes:
    """A file's content; no link's, and nothing huge.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                raise InputError(f"{path.name}: expected a small file of its own")
            return file.read()
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror})") from None


def read_plain(path: Path) -> dict[str, Any]:
    """A JSON object, without NaN.

    Raises:
        InputError: it is none.
    """
    content = read_bytes(path)
    try:
        content = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name}: found no JSON ({str(error)[:_TEXT]})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path.name}: found a {type(content).__name__}, expected an object")
    return content


def number(value: Any) -> float | None:
    """A finite number; None where it is something else."""
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")
