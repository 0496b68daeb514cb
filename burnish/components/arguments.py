"""What constructors of components take, told from their type hints: what a file says is checked against it."""

import dataclasses
import functools
import typing
from collections.abc import Iterator
from typing import Any

from burnish.components.component import FAMILIES, Component, signature_of


@functools.cache
def fields_of(cls: type[Component]) -> type:
    """The constructor's arguments as a dataclass, so that they are checked as configurations are."""
    hints, fields = typing.get_type_hints(cls.__init__), []
    for name, parameter in signature_of(cls).parameters.items():
        hint = hints.get(name, Any)
        hint = Any if any(getattr(part, "_is_protocol", False) for part in _flat(hint)) else hint
        if parameter.default is parameter.empty:
            fields.append((name, hint, dataclasses.field(kw_only=True)))
        else:
            default = functools.partial(lambda value: value, parameter.default)
            fields.append((name, hint, dataclasses.field(default_factory=default, kw_only=True)))
    return dataclasses.make_dataclass(cls.__name__, fields)


def configs_of(hint: Any) -> Iterator[type]:
    """The configuration dataclasses that a hint allows: those in it and their subclasses; for Any, all families'."""
    if hint is Any:
        for family in list(FAMILIES.values()):
            for other in typing.get_type_hints(family.__init__).values():
                yield from configs_of(other) if Any not in _flat(other) else ()
        return
    for part in _flat(hint):
        if part is Any:
            yield from configs_of(Any)
        elif dataclasses.is_dataclass(part) and isinstance(part, type):
            yield part
            for derived in part.__subclasses__():
                yield from configs_of(derived)


def _flat(hint: Any) -> list[Any]:
    """A hint with everything in it, unions and containers taken apart."""
    return [hint, *(part for inner in typing.get_args(hint) for part in _flat(inner))]
