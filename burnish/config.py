"""Typed configuration: frozen dataclasses to and from plain data, YAML files and stable hashes.

Configuration that comes from a file is untrusted: it is read with YAML's safe loader, and every field must exist, be
present and have the declared type.  Use tuples, not lists, in configuration dataclasses (they are frozen).

A field that comes later, when results of the dataclass exist already, says so: `field(default=…, metadata=LATER)`.  Its
default is what was done before there was the field, and never changes; while it stands there the hash leaves it out, so
that finished work stays valid.
"""

import dataclasses
import hashlib
import json
import re
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import dacite
import yaml

from burnish.errors import InputError
from burnish.storage import read_bytes, write_bytes_atomic

ConfigT = TypeVar("ConfigT")
LATER = types.MappingProxyType({"later": True})


def to_dict(config: Any) -> dict[str, Any]:
    """Turn a configuration dataclass (or a mapping of plain values) into JSON-able data.

    Tuples become lists, paths and enums become strings or plain values, nested dataclasses become dicts.
    Raises TypeError for a value that has no plain form, because that is a mistake in the code and not in the input.
    """
    plain = _plain(config, type(config).__name__)
    if not isinstance(plain, dict):
        raise TypeError(f"a configuration is a dataclass or a mapping, not {type(config).__name__}")
    return plain


def _plain(value: Any, where: str, hashed: bool = False) -> Any:
    if value is None or isinstance(value, (bool, str)) or type(value) in (int, float):
        return value.value if isinstance(value, Enum) else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field for field in dataclasses.fields(value) if field.init]
        if hashed:
            fields = [f for f in fields if not (f.metadata.get("later") and getattr(value, f.name) == f.default)]
        return {f.name: _plain(getattr(value, f.name), f"{where}.{f.name}", hashed) for f in fields}
    if isinstance(value, Enum):
        return _plain(value.value, where, hashed)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}", hashed) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{index}]", hashed) for index, item in enumerate(value)]
    raise TypeError(f"{where}: a {type(value).__name__} has no place in a configuration")


def from_dict(cls: type[ConfigT], data: Any, source: str) -> ConfigT:
    """Build the configuration dataclass `cls` from plain data; `source` names the file in error messages.

    Unknown, missing and mistyped fields raise InputError.  An int is accepted for a float, a list for a tuple and a
    string for a path; a bool is not accepted for a number.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{source}: expected a mapping of {cls.__name__}'s fields, found {_describe(data)}")
    hooks = {int: _integer, float: _floating, Path: _path}
    settings = dacite.Config(strict=True, type_hooks=hooks, cast=[Enum])
    try:
        return dacite.from_dict(cls, _tuples(data), settings)
    except dacite.UnexpectedDataError as error:
        where, known = _find_unexpected(cls, data, error.keys)
        names = ", ".join(f"'{where}{key}'" for key in sorted(map(str, error.keys)))
        raise InputError(f"{source}: unknown field {names}; expected one of: {', '.join(known)}") from None
    except dacite.MissingValueError as error:
        raise InputError(f"{source}: field '{error.field_path}' is missing") from None
    except dacite.WrongTypeError as error:
        found = _describe(_look_up(data, error.field_path or "", error.value))
        expected = _type_name(error.field_type)
        raise InputError(f"{source}: field '{error.field_path}': expected {expected}, found {found}") from None
    except (dacite.DaciteError, ValueError, TypeError) as error:
        # ValueError and TypeError come from a dataclass's own checks and from enums.
        raise InputError(f"{source}: {error}") from None


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader; InputError where the file is missing, not YAML, or not a mapping."""
    text = read_bytes(path)
    try:
        data = _SafeLoader(text).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a valid YAML file: {reason}") from None
    except RecursionError:
        raise InputError(f"{path}: not a valid YAML file: nested too deeply") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a YAML mapping, found {_describe(data)}")
    return data


def save_yaml(path: str | Path, data: Mapping[str, Any]) -> None:
    """Write plain data as YAML, atomically and in the order given."""
    # Other letters than ASCII are escaped: PyYAML does not read back all of those that it would write plainly.
    text = yaml.safe_dump(_plain(data, str(path)), sort_keys=False)
    write_bytes_atomic(path, text.encode())


def config_hash(config: Any) -> str:
    """SHA-256 (hex) of the configuration's canonical JSON: independent of key order, and of 1 against 1.0.

    Fields marked `LATER` count only where they differ from their defaults; in plain data nothing is marked any more.
    """
    plain = _plain(config, type(config).__name__, hashed=True)
    canonical = json.dumps(_canonical_numbers(plain), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class _SafeLoader(yaml.SafeLoader):
    """The safe loader, which also reads 1e-4 as a number, as YAML 1.2 does (plain PyYAML wants 1.0e-4)."""


_SafeLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _canonical_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical_numbers(item) for item in value]
    return value


def _tuples(value: Any) -> Any:
    """Lists become tuples everywhere, as configuration dataclasses hold tuples."""
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_tuples(item) for item in value)
    return value


def _integer(value: Any) -> Any:
    if isinstance(value, bool):
        raise dacite.WrongTypeError(int, value)
    return value


def _floating(value: Any) -> Any:
    if isinstance(value, bool):
        raise dacite.WrongTypeError(float, value)
    return float(value) if isinstance(value, int) else value


def _path(value: Any) -> Any:
    return Path(value) if isinstance(value, str) else value


def _look_up(data: Any, field_path: str, default: Any) -> Any:
    for name in field_path.split("."):
        if not isinstance(data, Mapping) or name not in data:
            return default
        data = data[name]
    return data


def _find_unexpected(cls: Any, data: Any, keys: set[str], prefix: str = "") -> tuple[str, list[str]]:
    """Where `keys` are too much: the dotted prefix of that dataclass and the names that it does have."""
    known = [field.name for field in dataclasses.fields(cls)]
    if set(data) - set(known) == keys:
        return prefix, known
    hints = typing.get_type_hints(cls)
    for name in known:
        value = data.get(name)
        members = typing.get_args(hints[name]) if _is_union(hints[name]) else (hints[name],)
        for member in members:
            if isinstance(value, Mapping) and dataclasses.is_dataclass(member):
                where, nested = _find_unexpected(member, value, keys, f"{prefix}{name}.")
                if nested:
                    return where, nested
    return prefix, known if not prefix else []


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _describe(value: Any) -> str:
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")
