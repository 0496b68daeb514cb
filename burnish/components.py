"""Everything that is learned and kept: one class to derive from, one writer, one reader.

A component's folder holds its numbers (model.safetensors) and config.json: its class, what its constructor got, and
notes. Both are untrusted when they are read: classes are looked up by name among those that are defined, arguments are
checked against the constructor's type hints, and nothing larger than the file's own tensors is ever allocated.
"""

import dataclasses
import functools
import inspect
import math
import os
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from burnish.config import from_dict, to_dict
from burnish.errors import InputError
from burnish.storage import load_tensors, read_json, save_tensors, write_json

_FAMILIES: dict[str, type["Component"]] = {}
_SLACK = 2**24
"""Numbers that a constructor may allocate beyond twice those in the file: schedules, buffers that are not saved."""
_ALLOWED = "BURNISH_ALLOWED_POLICIES"
"""The environment variable that names, between spaces, what may be called; child processes inherit it."""
_LEAST = 256
"""What each allocation counts at least, so that very many small ones are noticed as well."""
_SIZED = {"empty", "full", "ones", "rand", "randn", "zeros"}
_COUNTED = {"arange", "eye", "linspace", "randperm"}


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
        known = _FAMILIES.get(cls.__name__, cls)
        if _place(known) != _place(cls):
            raise TypeError(f"{_place(cls)}: there is a component of this name already, {_place(known)}")
        _FAMILIES[cls.__name__] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Remember the arguments; `__init__` gets them next."""
        self = super().__new__(cls)
        try:
            bound = _signature(cls).bind(*args, **kwargs)
        except TypeError:
            return self  # a wrong call, as __init__ will say; or a copy, which brings its attributes
        bound.apply_defaults()
        object.__setattr__(self, "arguments", dict(bound.arguments))
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        for part in list(_parts(self).values())[1:]:
            part._apply(fn, recurse)
        return super()._apply(fn, recurse)


ComponentT = TypeVar("ComponentT", bound=Component)


def save(folder: str | Path, component: Component, notes: Mapping[str, Any] | None = None) -> None:
    """Write FOLDER/model.safetensors and FOLDER/config.json.

    Args:
        folder: made where it is missing.
        component: with all Components among its arguments.
        notes: plain data to be kept beside it; see `notes`.

    Raises:
        TypeError: an argument cannot be saved, or a class is not registered; a mistake in the code.
    """
    folder = Path(folder)
    description = {**_describe(component, type(component).__name__, {}), "notes": to_dict(notes or {})}
    tensors = {
        f"{prefix}{key}": tensor
        for prefix, part in _parts(component).items()
        for key, tensor in part.state_dict().items()
    }
    save_tensors(folder / "model.safetensors", tensors, {"class": type(component).__name__})
    write_json(folder / "config.json", description)


def load(folder: str | Path, kind: type[ComponentT] = Component) -> ComponentT:  # type: ignore[assignment]
    """Read what `save` wrote: on the CPU, in evaluation mode, gradients as the constructor left them.

    The module that defines the component's class must have been imported.

    Raises:
        InputError: there is no component, it is none of `kind`, its description does not fit its class, or a tensor is
            missing, unknown, of another shape or kind, or not finite.
    """
    folder = Path(folder)
    source, description = str(folder / "config.json"), _read_description(folder)
    family = _family(description, source)
    if not issubclass(family, kind):
        raise InputError(f"{source}: found a {family.__name__}, expected a {kind.__name__}")
    tensors, _ = load_tensors(folder / "model.safetensors")
    try:
        # Constructors draw random weights, only to have them replaced: that is nobody's random stream.
        with torch.random.fork_rng(devices=[]), _Budget(tensors):
            component = _make(description, source, {})
    except (RuntimeError, MemoryError, ArithmeticError, LookupError, AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{source}: its arguments make no {family.__name__}: {reason}") from error
    _fill(component, tensors, f"{folder.name}/model.safetensors")
    for part in _parts(component).values():
        part.eval()
    return typing.cast(ComponentT, component)


def notes(folder: str | Path) -> dict[str, Any]:
    """What was noted when the component of `folder` was saved."""
    return _read_description(Path(folder))["notes"]


def families(kind: type = Component) -> dict[str, type[Component]]:
    """The registered classes that derive from `kind`, by their names."""
    return {name: family for name, family in _FAMILIES.items() if issubclass(family, kind)}


def frozen(component: ComponentT) -> ComponentT:
    """The same component, for use only: in evaluation mode, without gradients for any of its weights."""
    for part in _parts(component).values():
        part.eval().requires_grad_(False)
    return component


def outside_modules() -> tuple[str, ...]:
    """The modules outside of this package that defined families: another process imports them before it loads any."""
    places = {family.__module__ for family in _FAMILIES.values()}
    return tuple(sorted(place for place in places if place != "__main__" and not place.startswith("burnish.")))


def build(config: Any, *arguments: Any) -> Any:
    """The component that a configuration is of: `Family(*arguments, config)`.

    A subclass with no configuration of its own changes nothing for whoever asks for its base.

    Raises:
        TypeError: no family, or more than one, takes such a configuration; a mistake in the code.
    """
    takers = [family for family in _FAMILIES.values() if _config_of(family) is type(config)]
    found = [family for family in takers if not any(base in takers for base in family.__mro__[1:])]
    if len(found) != 1:
        names = ", ".join(family.__name__ for family in found) or "no component"
        raise TypeError(f"{names} takes a {type(config).__name__} as `config`, expected exactly one")
    return found[0](*arguments, config)


# ---------------------------------------------------------------------------------------------------------------------
# Code of the user's own that a component names.


def allow(source: str) -> None:
    """Let components call `source` (module:factory, or a server), here and in later processes of this one.

    What a file names is never imported or connected to by itself.
    """
    os.environ[_ALLOWED] = " ".join({*os.environ.get(_ALLOWED, "").split(), source})


def check_allowed(source: str) -> None:
    """Raise InputError where nobody has said that `source` may be called."""
    if source not in os.environ.get(_ALLOWED, "").split():
        raise InputError(
            f"this model is '{source}', outside of its files; where it is yours, allow it: --trust-code, or "
            f"burnish.components.allow('{source}')"
        )


# ---------------------------------------------------------------------------------------------------------------------
# Writing.


def _describe(value: Any, where: str, seen: dict[int, str]) -> Any:
    """A component or an argument as plain data; `seen` are the components so far, and where they were described."""
    if isinstance(value, Component):
        if id(value) in seen:
            return {"same": seen[id(value)]}
        seen[id(value)] = where.partition(".")[2]
        family = type(value)
        if family.__name__ not in _FAMILIES or _place(_FAMILIES[family.__name__]) != _place(family):
            raise TypeError(f"{where}: {family.__name__} is not registered, so it cannot be saved")
        if "arguments" not in vars(value):
            raise TypeError(f"{where}: {family.__name__} takes other arguments than named ones, so it cannot be saved")
        arguments = {name: _describe(item, f"{where}.{name}", seen) for name, item in value.arguments.items()}
        return {"class": family.__name__, "arguments": arguments}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"config": type(value).__name__, "fields": to_dict(value)}
    if isinstance(value, Mapping):
        return {"mapping": {str(key): _describe(item, f"{where}.{key}", seen) for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_describe(item, f"{where}.{index}", seen) for index, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str, Enum, Path)):
        return to_dict({"": value})[""]
    raise TypeError(f"{where}: a {type(value).__name__} cannot be saved among a component's arguments")


def _parts(component: Component) -> dict[str, Component]:
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


def _tensors(component: Component) -> dict[str, Tensor]:
    parts = _parts(component).items()
    return {f"{prefix}{key}": tensor for prefix, part in parts for key, tensor in part.state_dict().items()}


# ---------------------------------------------------------------------------------------------------------------------
# Reading.


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    data = read_json(path)
    for name, expected in (("class", str), ("arguments", dict), ("notes", dict)):
        found = data.get(name) if isinstance(data, dict) else data
        if not isinstance(found, expected):
            raise InputError(f"{path}: field '{name}': expected {expected.__name__}, found {type(found).__name__}")
    return data


def _family(description: Mapping[str, Any], where: str) -> type[Component]:
    name = description["class"]
    if not isinstance(name, str) or name not in _FAMILIES:
        known = ", ".join(sorted(_FAMILIES))
        raise InputError(f"{where}: found a {name}, expected one of: {known} (or import the module that defines it)")
    return _FAMILIES[name]


def _make(description: Mapping[str, Any], where: str, made: dict[str, Component], path: str = "") -> Component:
    """The component of a description; `made` are those so far, by the paths that `_describe` gave them."""
    family = _family(description, where)
    hints, given = typing.get_type_hints(family.__init__), description["arguments"]
    if not isinstance(given, dict):
        raise InputError(f"{where}: field 'arguments': expected dict, found {type(given).__name__}")

    def read(value: Any, hint: Any, path: str) -> Any:
        if isinstance(value, list):
            return tuple(read(item, hint, f"{path}.{index}") for index, item in enumerate(value))
        if not isinstance(value, dict):
            return value
        inside = f"{where.partition(': ')[0]}: {path}"
        keys = set(value)
        if keys == {"class", "arguments"}:
            return _make(value, inside, made, path)
        if keys == {"config", "fields"}:
            configs = {config.__name__: config for config in _configs(hint)}
            if value["config"] not in configs:
                expected = ", ".join(configs) or "no configuration"
                raise InputError(f"{inside}: found a {value['config']}, expected {expected}")
            return from_dict(configs[value["config"]], value["fields"], inside)
        if keys == {"mapping"} and isinstance(value["mapping"], dict):
            return {key: read(item, hint, f"{path}.{key}") for key, item in value["mapping"].items()}
        if keys == {"same"} and value["same"] in made:
            return made[value["same"]]
        raise InputError(f"{inside}: expected a component, a configuration or a mapping, found {sorted(keys)}")

    prefix = f"{path}." if path else ""
    arguments = {name: read(value, hints.get(name, Any), f"{prefix}{name}") for name, value in given.items()}
    checked = from_dict(_fields_of(family), arguments, where)
    try:
        made[path] = family(**{field.name: getattr(checked, field.name) for field in dataclasses.fields(checked)})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return made[path]


def _fill(component: Component, found: Mapping[str, Tensor], name: str) -> None:
    parts = _parts(component)
    expected = _tensors(component)
    weights = {f"{prefix}{key}" for prefix, part in parts.items() for key, _ in part.named_parameters()}
    for key in sorted(set(expected) - set(found)):
        raise InputError(f"{name}: tensor '{key}' is missing ({len(found)} found, {len(expected)} expected)")
    for key in sorted(set(found) - set(expected)):
        raise InputError(f"{name}: tensor '{key}' is unknown to {type(component).__name__}")
    for key, tensor in found.items():
        target = expected[key]
        if tensor.shape != target.shape:
            shapes = f"has shape {tuple(tensor.shape)}, expected {tuple(target.shape)}"
            raise InputError(f"{name}: tensor '{key}' {shapes}")
        if tensor.is_floating_point() != target.is_floating_point():
            raise InputError(f"{name}: tensor '{key}' has type {tensor.dtype}, expected {target.dtype}")
        # A buffer may be infinite on purpose (a threshold that is never reached), a weight never.
        if tensor.isnan().any() or (key in weights and not tensor.isfinite().all()):
            raise InputError(f"{name}: tensor '{key}' has values that are not finite")
    for prefix, part in parts.items():
        part.load_state_dict({key: found[f"{prefix}{key}"] for key in part.state_dict()})


class _Budget(TorchFunctionMode):
    """Refuses to allocate much more than the tensors of a file, before the machine tries to."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.left = 2 * sum(max(_LEAST, tensor.numel()) for tensor in tensors.values()) + _SLACK

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs, asked = getattr(func, "__name__", ""), kwargs or {}, 0
        if name in _SIZED:
            sizes = kwargs.get("size", args)
            asked = max(_LEAST, math.prod(sizes[0] if sizes and isinstance(sizes[0], (list, tuple)) else sizes))
        elif name in _COUNTED:
            asked = max([_LEAST, *args, *(kwargs[key] for key in ("end", "steps", "n") if key in kwargs)])
        self.left -= asked
        if self.left < 0:
            raise ValueError("far more numbers than are in model.safetensors")
        return func(*args, **kwargs)


# ---------------------------------------------------------------------------------------------------------------------
# Constructors and their hints.


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


@functools.cache
def _signature(cls: type[Component]) -> inspect.Signature:
    """The constructor's named arguments."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return inspect.Signature([parameter for parameter in parameters if parameter.kind not in variable])


@functools.cache
def _config_of(cls: type[Component]) -> Any:
    """The configuration that a family is made from: its attribute's where it narrows its base's constructor."""
    narrowed = vars(cls).get("__annotations__", {}).get("config")
    return narrowed if narrowed not in (None, Any) else typing.get_type_hints(cls.__init__).get("config")


@functools.cache
def _fields_of(cls: type[Component]) -> type:
    """The constructor's arguments as a dataclass, so that they are checked as configurations are."""
    hints, fields = typing.get_type_hints(cls.__init__), []
    for name, parameter in _signature(cls).parameters.items():
        hint = hints.get(name, Any)
        hint = Any if any(getattr(part, "_is_protocol", False) for part in _flat(hint)) else hint
        if parameter.default is parameter.empty:
            fields.append((name, hint, dataclasses.field(kw_only=True)))
        else:
            default = functools.partial(lambda value: value, parameter.default)
            fields.append((name, hint, dataclasses.field(default_factory=default, kw_only=True)))
    return dataclasses.make_dataclass(cls.__name__, fields)


def _configs(hint: Any) -> Iterator[type]:
    """The configuration dataclasses that a hint allows: those in it and their subclasses; for Any, all families'."""
    if hint is Any:
        for family in list(_FAMILIES.values()):
            for other in typing.get_type_hints(family.__init__).values():
                yield from _configs(other) if Any not in _flat(other) else ()
        return
    for part in _flat(hint):
        if part is Any:
            yield from _configs(Any)
        elif dataclasses.is_dataclass(part) and isinstance(part, type):
            yield part
            for derived in part.__subclasses__():
                yield from _configs(derived)


def _flat(hint: Any) -> list[Any]:
    """A hint with everything in it, unions and containers taken apart."""
    return [hint, *(part for inner in typing.get_args(hint) for part in _flat(inner))]
