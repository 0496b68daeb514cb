"""A small language for what a JSON value must look like; whatever else an object holds is let through."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from burnish.errors import InputError


@dataclass(frozen=True)
class Number:
    """A finite number within [low, high] (None bounds nothing), a whole one if asked for."""

    low: float | None = None
    high: float | None = None
    whole: bool = False

    def __str__(self) -> str:
        kind = "an integer" if self.whole else "a finite number"
        if self.high is None:
            return kind if self.low is None else f"{kind} of at least {self.low:g}"
        return f"{kind} from {'−∞' if self.low is None else f'{self.low:g}'} to {self.high:g}"

    def holds(self, value: Any) -> bool:
        """Whether `value` is one."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        inside = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        return math.isfinite(value) and inside


@dataclass(frozen=True)
class Maybe:
    """The same, or null."""

    spec: Any


@dataclass(frozen=True)
class Each:
    """An object of any keys (or a list where `length` is given; 0: of any), all of whose values are alike."""

    spec: Any
    length: int | None = None


def check(value: Any, spec: Any, where: str, source: str) -> None:
    """Check `value` against `spec`: `str` (not blank), `bool`, one of the classes above, or a mapping of them by name.

    Raises:
        InputError: names `source`, the field, what was found and what was expected.
    """
    wrong = _wrong(value, spec)
    if wrong is not None:
        path, found, expected = wrong
        fail(source, ".".join([*([where] if where else []), *map(str, path)]), found, expected)


_Wrong = tuple[tuple[Any, ...], Any, str]
"""The names that lead to a value, the value, and what was expected."""


def _wrong(value: Any, spec: Any) -> _Wrong | None:
    """The first value that is wrong. Its place is put into words then alone: of hundreds of reports most are fine."""
    if isinstance(spec, Number):
        return None if spec.holds(value) else ((), value, str(spec))
    if isinstance(spec, Maybe):
        return None if value is None else _wrong(value, spec.spec)
    if isinstance(spec, dict):
        if not isinstance(value, dict | Mapping):
            return (), value, "an object"
        if not spec.keys() <= value.keys():
            return (), sorted(map(str, value)), f"the keys {', '.join(sorted(spec))}"
        return _first(value, spec)
    if isinstance(spec, Each):
        kind = dict | Mapping if spec.length is None else list
        if not isinstance(value, kind) or (spec.length and len(value) != spec.length):
            return (), value, "an object" if spec.length is None else f"a list of {spec.length or 'values'}"
        if spec.spec is object:
            return None
        return _first(value, dict.fromkeys(range(len(value)) if isinstance(value, list) else value, spec.spec))
    if isinstance(value, spec) and (spec is not str or value.strip()):
        return None
    return (), value, "a non-empty text" if spec is str else "true or false"


def _first(value: Any, specs: dict[Any, Any]) -> _Wrong | None:
    for name, spec in specs.items():
        wrong = _wrong(value[name], spec)
        if wrong is not None:
            path, found, expected = wrong
            return (name, *path), found, expected
    return None


def fail(source: str, where: str, found: object, expected: str) -> NoReturn:
    """Raise the error."""
    text = repr(found)
    text = text if len(text) <= 200 else text[:200] + "…"
    raise InputError(f"{source}: {where or 'it'}: found {text}, expected {expected}")
