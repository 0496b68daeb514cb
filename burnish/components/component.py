"""The class that everything which is learned derives from, and the registry of those that do."""

import functools
import inspect
import typing
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from torch import Tensor, nn

FAMILIES: dict[str, type["Component"]] = {}
"""Every registered class, by its name."""


class Component(nn.Module):
    """A module that `save` writes and `load` reads, because it remembers what its constructor got.

    To derive from it is to register the class, by its name (`class Base(Component, register=False)` does not). The
    constructor takes named arguments with type hints: numbers, strings, None, configuration dataclasses, Components,
    and tuples and mappings of these. A Component among the arguments need not become a submodule: it is saved, loaded,
    moved and copied with this one all the same, but its weights are not this one's parameters.

    Attributes:
        arguments: what the constructor got, by name. A class that keeps something else than it got (a configuration
            whose paths have been read, say) replaces it here.
    """

    arguments: dict[str, Any]

    def __init_subclass__(cls, register: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not register:
            return
        known = FAMILIES.get(cls.__name__, cls)
        if place_of(known) != place_of(cls):
            raise TypeError(f"{place_of(cls)}: there is a component of this name already, {place_of(known)}")
        FAMILIES[cls.__name__] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Remember the arguments; `__init__` gets them next."""
        self = super().__new__(cls)
        try:
            bound = signature_of(cls).bind(*args, **kwargs)
        except TypeError:
            return self  # a wrong call, as __init__ will say; or a copy, which brings its attributes
        bound.apply_defaults()
        object.__setattr__(self, "arguments", dict(bound.arguments))
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        for part in list(parts_of(self).values())[1:]:
            part._apply(fn, recurse)
        return super()._apply(fn, recurse)


ComponentT = TypeVar("ComponentT", bound=Component)


def families(kind: type = Component) -> dict[str, type[Component]]:
    """The registered classes that derive from `kind`, by their names."""
    return {name: family for name, family in FAMILIES.items() if issubclass(family, kind)}


def frozen(component: ComponentT) -> ComponentT:
    """The same component, for use only: in evaluation mode, without gradients for any of its weights."""
    for part in parts_of(component).values():
        part.eval().requires_grad_(False)
    return component


def outside_modules() -> tuple[str, ...]:
    """The modules outside of this package that defined families: another process imports them before it loads any."""
    places = {family.__module__ for family in FAMILIES.values()}
    return tuple(sorted(place for place in places if place != "__main__" and not place.startswith("burnish.")))


def build(config: Any, *arguments: Any) -> Any:
    """The component that a configuration is of: `Family(*arguments, config)`.

    A subclass with no configuration of its own changes nothing for whoever asks for its base.

    Raises:
        TypeError: no family, or more than one, takes such a configuration; a mistake in the code.
    """
    takers = [family for family in FAMILIES.values() if _config_of(family) is type(config)]
    found = [family for family in takers if not any(base in takers for base in family.__mro__[1:])]
    if len(found) != 1:
        names = ", ".join(family.__name__ for family in found) or "no component"
        raise TypeError(f"{names} takes a {type(config).__name__} as `config`, expected exactly one")
    return found[0](*arguments, config)


def parts_of(component: Component) -> dict[str, Component]:
    """The component, and the Components it was made of that are no submodules of it, by the prefix of their tensors."""
    parts, covered = {"": component}, set(component.modules())

    def visit(path: str, value: Any) -> None:
        if isinstance(value, Component):
            if value not in covered:
                parts[f"{path}."] = value
                covered.update(value.modules())
            value = vars(value).get("arguments", {})
        if isinstance(value, (Mapping, list, tuple)):
            for name, item in value.items() if isinstance(value, Mapping) else enumerate(value):
                visit(f"{path}.{name}", item)

    visit("arguments", vars(component).get("arguments", {}))
    return parts


def tensors_of(component: Component) -> dict[str, Tensor]:
    """Everything that its file holds, by the names that it has there."""
    parts = parts_of(component).items()
    return {f"{prefix}{key}": tensor for prefix, part in parts for key, tensor in part.state_dict().items()}


@functools.cache
def signature_of(cls: type[Component]) -> inspect.Signature:
    """The constructor's named arguments."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return inspect.Signature([parameter for parameter in parameters if parameter.kind not in variable])


@functools.cache
def _config_of(cls: type[Component]) -> Any:
    """The configuration that a family is made from: its attribute's where it narrows its base's constructor."""
    narrowed = vars(cls).get("__annotations__", {}).get("config")
    return narrowed if narrowed not in (None, Any) else typing.get_type_hints(cls.__init__).get("config")


def place_of(cls: type) -> str:
    """Where a class is defined; one that is defined again, as a notebook does, is the same."""
    return f"{cls.__module__}.{cls.__qualname__}"
