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
    if isinstance(spec, Maybe):
        if value is not None:
            check(value, spec.spec, where, source)
    elif isinstance(spec, Mapping):
        if not isinstance(value, Mapping):
            fail(source, where, value, "an object")
        if not set(spec) <= set(value):
            fail(source, where, sorted(map(str, value)), f"the keys {', '.join(sorted(spec))}")
        for name, part in spec.items():
            check(value[name], part, f"{where}.{name}".lstrip("."), source)
    elif isinstance(spec, Each):
        kind = Mapping if spec.length is None else list
        if not isinstance(value, kind) or (spec.length and len(value) != spec.length):
            fail(source, where, value, "an object" if spec.length is None else f"a list of {spec.length or 'values'}")
        for name, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            check(part, spec.spec, f"{where}.{name}".lstrip("."), source)
    elif isinstance(spec, Number):
        if not spec.holds(value):
            fail(source, where, value, str(spec))
    elif not isinstance(value, spec) or (spec is str and not value.strip()):
        fail(source, where, value, "a non-empty text" if spec is str else "true or false")


def fail(source: str, where: str, found: object, expected: str) -> NoReturn:
    """Raise the error."""
    text = repr(found)
    text = text if len(text) <= 200 else text[:200] + "…"
    raise InputError(f"{source}: {where or 'it'}: found {text}, expected {expected}")
