"""Configuration as plain data and its hash, and back from plain data that nobody vouches for."""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar

from burnish.config.ranges import is_union, shown, type_hints, wrong_settings
from burnish.errors import InputError

ConfigT = TypeVar("ConfigT")


def to_dict(config: Any) -> dict[str, Any]:
    """Turn a configuration dataclass (or a mapping of plain values) into JSON-able data.

    Tuples become lists, paths and enums become strings or plain values, nested dataclasses become dicts.
    Raises TypeError for a value that has no plain form, because that is a mistake in the code and not in the input.
    """
    plain = plain_value(config)
    if not isinstance(plain, dict):
        raise TypeError(f"a configuration is a dataclass or a mapping, not {type(config).__name__}")
    return plain


def plain_value(value: Any, where: str = "") -> Any:
    """JSON-able data of any setting (`to_dict`); TypeError for what has no plain form, which names it by `where`."""
    where = where or type(value).__name__
    if value is None or isinstance(value, (bool, str)) or type(value) in (int, float):
        return value.value if isinstance(value, Enum) else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field for field in dataclasses.fields(value) if field.init]
        return {f.name: plain_value(getattr(value, f.name), f"{where}.{f.name}") for f in fields}
    if isinstance(value, Enum):
        return plain_value(value.value, where)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain_value(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"{where}: a {type(value).__name__} has no place in a configuration")


def config_hash(config: Any) -> str:
    """SHA-256 (hex) of the configuration's canonical JSON: independent of key order, and of 1 against 1.0."""
    plain = plain_value(config)
    canonical = json.dumps(_canonical_numbers(plain), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def from_dict(cls: type[ConfigT], data: Any, source: str) -> ConfigT:
    """Build the configuration dataclass `cls` from plain data; `source` names the file in error messages.

    An int is accepted for a float, a list for a tuple and a string for a path; a bool is not accepted for a number. Of
    several dataclasses that a field may hold it becomes the one whose field names fit best.

    Raises:
        InputError: a field is unknown, missing, mistyped or out of its range.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{source}: expected a mapping of {cls.__name__}'s fields, found {with_type(data)}")
    try:
        config = _build(cls, data, "")
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except _Mismatch as error:
        found, expected = with_type(error.value), _type_name(error.hint)
        raise InputError(f"{source}: field '{error.name}': expected {expected}, found {found}") from None
    for name, value, expected in wrong_settings(config):
        raise InputError(f"{source}: field '{name}' is {shown(value)}, expected {expected}")
    return config


class _Mismatch(Exception):
    def __init__(self, name: str, hint: Any, value: Any) -> None:
        self.name, self.hint, self.value = name, hint, value


def _build(hint: Any, value: Any, name: str) -> Any:
    """The plain `value` as one of the type `hint`; `name` is the field's, with the names of those that hold it."""
    kind: Any = typing.get_origin(hint) or hint
    if hint is Any or isinstance(hint, TypeVar):
        return value
    if kind is typing.Annotated:
        return _build(typing.get_args(hint)[0], value, name)
    if is_union(hint):
        return _build_one_of(hint, value, name)
    if kind is tuple and isinstance(value, (list, tuple)):
        return _build_tuple(hint, value, name)
    if isinstance(value, Mapping):
        if dataclasses.is_dataclass(kind):
            return _build_dataclass(hint, value, f"{name}." if name else "")
        if kind in (dict, Mapping):
            of = (typing.get_args(hint) or (str, Any))[1]
            return {key: _build(of, item, f"{name}.{key}") for key, item in value.items()}
        raise _Mismatch(name, hint, value)
    return _build_leaf(hint, kind, value, name)


def _build_leaf(hint: Any, kind: Any, value: Any, name: str) -> Any:
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(kind, type) and isinstance(value, kind) and kind not in (int, float, str, bool):
        return value  # what was built already
    if isinstance(kind, type) and issubclass(kind, Enum):
        hint = Literal[tuple(member.value for member in kind)]
        found = [member for member in kind if member.value == value]
        if found:
            return found[0]
    alike = kind is Literal and any(type(value) is type(c) and value == c for c in typing.get_args(hint))
    if alike or (kind in (int, str, bool, type(None)) and type(value) is kind):
        return value
    raise _Mismatch(name, hint, value)


def _build_dataclass(cls: type[Any], data: Mapping[Any, Any], prefix: str) -> Any:
    hints, fields = type_hints(cls), {field.name: field for field in dataclasses.fields(cls) if field.init}
    unknown = ", ".join(f"'{prefix}{key}'" for key in sorted(map(str, set(data) - set(fields))))
    if unknown:
        raise InputError(f"unknown field {unknown}; expected one of: {', '.join(fields)}")
    built = {}
    for key, field in fields.items():
        if key in data:
            built[key] = _build(hints[key], data[key], f"{prefix}{key}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"field '{prefix}{key}' is missing")
    return cls(**built)


def _build_one_of(hint: Any, value: Any, name: str) -> Any:
    members = typing.get_args(hint)
    if isinstance(value, Mapping):
        # The first of those that know the most of its names: its complaints are the ones that help.
        kinds = [member for member in members if dataclasses.is_dataclass(member)]
        if kinds:
            names = [{field.name for field in dataclasses.fields(kind)} for kind in kinds]
            scores = [len(known & set(value)) - len(set(value) - known) for known in names]
            return _build(kinds[scores.index(max(scores))], value, name)
    for member in members:
        try:
            return _build(member, value, name)
        except _Mismatch:
            continue
    others = [member for member in members if member is not type(None)]
    raise _Mismatch(name, others[0] if len(others) == 1 else hint, value)


def _build_tuple(hint: Any, value: Any, name: str) -> tuple[Any, ...]:
    of = typing.get_args(hint) or (Any, ...)
    if of[-1] is ...:
        of = of[:1] * len(value)
    if len(of) != len(value):
        raise _Mismatch(name, hint, value)
    return tuple(
        _build(item, part, f"{name}.{index}") for index, (item, part) in enumerate(zip(of, value, strict=True))
    )


def _canonical_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical_numbers(item) for item in value]
    return value


def with_type(value: Any) -> str:
    """What was found, in short, and its type."""
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, typing.get_args(hint)))}"
    if is_union(hint):
        return " or ".join(_type_name(member) for member in typing.get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")
