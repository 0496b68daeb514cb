"""What the page and the engine say to each other while somebody drives: commands in, frames out; both checked here.

A frame is one binary message: 4 bytes (little endian) with the length of a JSON header, the header, then the pictures
that it lists, one after the other: raw RGB up to `RAW` pixels, JPEG above.
"""

import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from burnish.errors import InputError

RAW = 128
"""Height and width up to which pictures travel as they are: 64 × 64 are 12 KB, which no codec would make faster."""
LARGEST = 64 * 1024
"""Bytes of a command."""
SPEEDS = (0.1, 10.0)
_MOST_ACTIONS = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")

Do = Literal["open", "begin", "input", "driver", "play", "step", "rewind", "speed", "camera", "save", "replay"]
Pictures = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Command:
    """One message of the page; of the fields only those that `do` needs are there.

    Attributes:
        run: identity of a run.
        frame, seed: where an episode begins.
        noise: seed of the random numbers.
        drivers: of the one or two lanes.
        beside: with the simulator.
        seq: number of an input; the last one wins.
        action: what you want, (A,) in [-1, 1].
        lane, driver: who drives a lane from now on.
        on: whether something is held, time runs, or the camera looks.
        to: a step.
        factor: of the data's own speed.
        name: of what is saved.
    """

    do: Do
    run: str = ""
    frame: int | None = None
    seed: int = -1
    noise: int = 0
    drivers: tuple[str, ...] = ("you",)
    beside: bool = False
    seq: int = 0
    action: tuple[float, ...] = ()
    lane: int = 0
    driver: str = "you"
    on: bool = False
    to: int = 0
    factor: float = 1.0
    name: str = ""


_KINDS: dict[str, dict[str, tuple[str, ...]]] = {
    "open": {"needs": ("run",), "may": ()},
    "begin": {"needs": (), "may": ("frame", "seed", "noise", "drivers", "beside")},
    "input": {"needs": ("seq", "action", "on"), "may": ()},
    "driver": {"needs": ("driver",), "may": ("lane",)},
    "play": {"needs": ("on",), "may": ()},
    "step": {"needs": (), "may": ()},
    "rewind": {"needs": ("to",), "may": ()},
    "speed": {"needs": ("factor",), "may": ()},
    "camera": {"needs": ("on",), "may": ()},
    "save": {"needs": ("name",), "may": ()},
    "replay": {"needs": (), "may": ()},
}


def read_command(text: Any) -> Command:
    """Check a message of the page.

    Raises:
        InputError: it is none; says what was found and expected.
    """
    if not isinstance(text, str) or len(text) > LARGEST:
        raise InputError(f"a command: expected JSON text of at most {LARGEST} bytes")
    said = plain_object(text, "a command")
    kind = _KINDS.get(str(said.pop("do", None)))
    if kind is None:
        raise InputError(f"a command: expected 'do' to be one of {', '.join(_KINDS)}")
    do: Any = next(name for name, each in _KINDS.items() if each is kind)
    wrong = set(kind["needs"]) - set(said) or set(said) - {*kind["needs"], *kind["may"]}
    if wrong:
        raise InputError(f"the command '{do}': a field is missing or unknown ('{min(wrong)[:60]}')")
    return Command(do, **{name: _CHECKS[name](name, value) for name, value in said.items()})


def plain_object(text: str | bytes, what: str) -> dict[str, Any]:
    """A JSON object without NaN; InputError where it is none."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no number")

    try:
        said = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what}: found no JSON ({str(error)[:100]})") from None
    if not isinstance(said, dict):
        raise InputError(f"{what}: found a {type(said).__name__}, expected an object")
    return said


def file_name(name: str, value: Any) -> str:
    """A name that a file of the studio's own may have; InputError where it may not."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InputError(f"{name}: expected up to 60 letters, digits, dots, dashes or underscores")
    return value


def packed(header: Mapping[str, Any], pictures: list[np.ndarray]) -> bytes:
    """A frame with its pictures, uint8 (H, W, 3) each; the header gets their list."""
    listed, parts, offset = [], [], 0
    for picture in pictures:
        height, width = picture.shape[:2]
        raw = max(height, width) <= RAW
        content = np.ascontiguousarray(picture).tobytes() if raw else encoded(picture, "JPEG")
        listed.append({"h": height, "w": width, "raw": raw, "at": offset, "bytes": len(content)})
        parts.append(content)
        offset += len(content)
    head = json.dumps({**header, "pictures": listed}, allow_nan=False, separators=(",", ":")).encode()
    return b"".join([len(head).to_bytes(4, "little"), head, *parts])


def encoded(picture: np.ndarray, kind: Literal["JPEG", "PNG"]) -> bytes:
    """A picture as a file."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, kind, **({"quality": 88} if kind == "JPEG" else {"compress_level": 1}))
    return out.getvalue()


def _whole(name: str, value: Any) -> int:
    if type(value) is not int or not -1 <= value < 2**53:
        raise InputError(f"{name}: expected a whole number from -1 on")
    return value


def _frame(name: str, value: Any) -> int | None:
    return None if value is None else _whole(name, value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{name}: expected a number")
    return float(value)


def _factor(name: str, value: Any) -> float:
    low, high = SPEEDS
    if not low <= _number(name, value) <= high:
        raise InputError(f"{name}: expected {low} to {high}")
    return float(value)


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name}: expected true or false")
    return value


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 60:
        raise InputError(f"{name}: expected a short text")
    return value


def _words(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 2:
        raise InputError(f"{name}: expected one or two names")
    return tuple(_word(name, each) for each in value)


def _action(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) > _MOST_ACTIONS:
        raise InputError(f"{name}: expected a list of numbers")
    return tuple(min(1.0, max(-1.0, _number(name, each))) for each in value)


_CHECKS: dict[str, Any] = {
    "run": _word,
    "frame": _frame,
    "seed": _whole,
    "noise": _whole,
    "drivers": _words,
    "beside": _truth,
    "seq": _whole,
    "action": _action,
    "lane": _whole,
    "driver": _word,
    "on": _truth,
    "to": _whole,
    "factor": _factor,
    "name": file_name,
}
