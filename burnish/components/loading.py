"""Reads a component's folder, which is untrusted.

Classes are looked up by name among those that are defined, arguments are checked against the constructor's type hints,
and nothing larger than the file's own tensors is ever allocated.
"""

import dataclasses
import math
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from burnish.components.arguments import configs_of, fields_of
from burnish.components.component import FAMILIES, Component, ComponentT, parts_of, tensors_of
from burnish.config import from_dict
from burnish.errors import InputError
from burnish.storage import load_tensors, read_json

_SLACK = 2**24
"""Numbers that a constructor may allocate beyond twice those in the file: schedules, buffers that are not saved."""
_LEAST = 256
"""What each allocation counts at least, so that very many small ones are noticed as well."""
_SIZED = {"empty", "full", "ones", "rand", "randn", "zeros"}
_COUNTED = {"arange", "eye", "linspace", "randperm"}


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
    for part in parts_of(component).values():
        part.eval()
    return typing.cast(ComponentT, component)


def notes(folder: str | Path) -> dict[str, Any]:
    """What was noted when the component of `folder` was saved."""
    return _read_description(Path(folder))["notes"]


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
    if not isinstance(name, str) or name not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise InputError(f"{where}: found a {name}, expected one of: {known} (or import the module that defines it)")
    return FAMILIES[name]


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
            configs = {config.__name__: config for config in configs_of(hint)}
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
    checked = from_dict(fields_of(family), arguments, where)
    try:
        made[path] = family(**{field.name: getattr(checked, field.name) for field in dataclasses.fields(checked)})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return made[path]


def _fill(component: Component, found: Mapping[str, Tensor], name: str) -> None:
    parts = parts_of(component)
    expected = tensors_of(component)
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
