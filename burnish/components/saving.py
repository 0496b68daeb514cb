"""Writes a component's folder: its numbers (model.safetensors) and config.json, what it is."""

import dataclasses
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from burnish.components.component import FAMILIES, Component, place_of, tensors_of
from burnish.config import to_dict
from burnish.storage import save_tensors, write_json


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
    save_tensors(folder / "model.safetensors", tensors_of(component), {"class": type(component).__name__})
    write_json(folder / "config.json", description)


def _describe(value: Any, where: str, seen: dict[int, str]) -> Any:
    """A component or an argument as plain data; `seen` are the components so far, and where they were described."""
    if isinstance(value, Component):
        if id(value) in seen:
            return {"same": seen[id(value)]}
        seen[id(value)] = where.partition(".")[2]
        family = type(value)
        if family.__name__ not in FAMILIES or place_of(FAMILIES[family.__name__]) != place_of(family):
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
