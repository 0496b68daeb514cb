"""Checks of what others wrote as JSON: one value each, with clear errors."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from burnish.errors import InputError


class Checker:
    """Checks of one value each; all raise InputError naming `source`, the field, what was found and expected."""

    def __init__(self, source: str) -> None:
        self.source = source

    def fail(self, where: str, found: object, expected: str) -> NoReturn:
        """Raise the error."""
        raise InputError(f"{self.source}: {where}: found {_shorten(found)}, expected {expected}")

    def mapping(self, value: Any, where: str) -> None:
        """A JSON object."""
        if not isinstance(value, Mapping):
            self.fail(where, value, "an object")

    def keys(self, value: Any, where: str, names: tuple[str, ...], more: bool = False) -> None:
        """An object with all of `names`; with others besides where `more`."""
        self.mapping(value, where)
        missing = [name for name in names if name not in value]
        surplus = [] if more else sorted(str(name) for name in set(value) - set(names))
        if missing or surplus:
            self.fail(where, sorted(map(str, value)), f"the keys {', '.join(names)}")

    def sequence(self, value: Any, where: str) -> None:
        """A JSON list."""
        if not isinstance(value, list | tuple):
            self.fail(where, value, "a list")

    def flag(self, value: Any, where: str) -> None:
        """True or false, not 0 or 1."""
        if not isinstance(value, bool):
            self.fail(where, value, "true or false")

    def text(self, value: Any, where: str) -> None:
        """A text that is not blank."""
        if not isinstance(value, str) or not value.strip():
            self.fail(where, value, "a non-empty text")

    def integer(self, value: Any, where: str, minimum: int | None) -> None:
        """A whole number, at least `minimum`."""
        if not isinstance(value, int) or isinstance(value, bool):
            self.fail(where, value, "an integer")
        if minimum is not None and value < minimum:
            self.fail(where, value, f"at least {minimum}")

    def number(self, value: Any, where: str, low: float | None, high: float | None) -> None:
        """A finite number within [low, high]; None bounds nothing."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.fail(where, value, "a finite number")
        if isinstance(value, float) and not math.isfinite(value):
            self.fail(where, value, "a finite number")
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = ("−∞" if low is None else str(low), "∞" if high is None else str(high))
            self.fail(where, value, f"a number from {bounds[0]} to {bounds[1]}")


def _shorten(value: object, limit: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "…"
