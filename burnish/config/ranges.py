"""The numbers and words that a setting may have, said where the field is declared, and checked before anything runs."""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, TypeVar, cast

from burnish.errors import InputError

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a setting may have; None is no bound, an open bound is not among them itself."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a finite number lies in it."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        if self.low is not None and (value < self.low or (self.open_low and value == self.low)):
            return False
        return self.high is None or value < self.high or (value == self.high and not self.open_high)

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return "a finite number"
        if self.high is None:
            return f"more than {self.low}" if self.open_low else f"{self.low} or more"
        if self.low is None:
            return f"less than {self.high}" if self.open_high else f"at most {self.high}"
        if not self.open_low and not self.open_high:
            return f"a number from {self.low} to {self.high}"
        low, high = "more than" if self.open_low else "at least", "less than" if self.open_high else "at most"
        return f"{low} {self.low} and {high} {self.high}"


def within(
    default: Value,
    low: float | None = None,
    high: float | None = None,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> Value:
    """A field of a configuration dataclass whose numbers lie in a range: `gamma: float = within(0.99, 0, 1)`.

    The range is that of every number of a tuple; None is always allowed where the type has it. `check` looks at it.
    """
    bounds = Range(low, high, open_low, open_high)
    return cast(Value, dataclasses.field(default=default, metadata={"range": bounds}))


def check(config: Any, where: str = "config") -> None:
    """Check every setting against its range and its choices; `where` begins the names in error messages.

    Raises:
        InputError: a setting is not what it may be, for instance "config.ppo.gamma is 2, expected a number from 0 to 1
            (--config.ppo.gamma)".
    """
    for name, value, expected in wrong_settings(config):
        full = f"{where}.{name}" if where else name
        raise InputError(f"{full} is {shown(value)}, expected {expected} (--{full.replace('_', '-')})")


def wrong_settings(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """The names of all settings that are not what they may be, with what was found and what was expected."""
    if isinstance(config, tuple):
        for index, item in enumerate(config):
            yield from wrong_settings(item, f"{prefix}{index}.")
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return
    hints = type_hints(type(config))
    for field in dataclasses.fields(config):
        name, value, bounds = f"{prefix}{field.name}", getattr(config, field.name), field.metadata.get("range")
        items = value if isinstance(value, tuple) else (value,)
        if bounds is not None and not all(item is None or bounds.holds(item) for item in items):
            yield name, value, str(bounds)
        allowed = choices(hints[field.name])
        if allowed and value is not None and any(item not in allowed for item in items):
            yield name, value, f"one of {', '.join(map(repr, allowed))}"
        yield from wrong_settings(value, f"{name}.")


@functools.cache
def type_hints(cls: type[Any]) -> dict[str, Any]:
    """The evaluated annotations of a configuration dataclass; those of type variables stand for anything."""
    return typing.get_type_hints(cls)


def choices(hint: Any) -> tuple[Any, ...]:
    """The values of a Literal, also where it may be None or is the items' type of a tuple; () for any other type."""
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)
    nested = (
        typing.get_args(hint) if is_union(hint) else typing.get_args(hint) if typing.get_origin(hint) is tuple else ()
    )
    found = [choices(member) for member in nested if member not in (type(None), ...)]
    return found[0] if len(found) == 1 else ()


def is_union(hint: Any) -> bool:
    """Whether a hint is `A | B`, however it was written."""
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def shown(value: Any) -> str:
    """A setting as messages have it."""
    return f"{value:g}" if type(value) is float and value.is_integer() else repr(value)
