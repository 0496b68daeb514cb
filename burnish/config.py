"""Typed configuration: frozen dataclasses with ranges, to and from plain data, YAML files and stable hashes.

Configuration that comes from a file is untrusted: it is read with YAML's safe loader, and every field must exist, be
present, have the declared type and lie in its range. Use tuples, not lists, in configuration dataclasses (they are
frozen).
"""

import dataclasses
import hashlib
import json
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import yaml
from yaml.composer import ComposerError

from burnish.errors import InputError
from burnish.storage import read_bytes, write_bytes_atomic

ConfigT = TypeVar("ConfigT")
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
    for name, value, expected in _wrong(config):
        full = f"{where}.{name}" if where else name
        raise InputError(f"{full} is {_shown(value)}, expected {expected} (--{full.replace('_', '-')})")


def _wrong(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """The names of all settings that are not what they may be, with what was found and what was expected."""
    if isinstance(config, tuple):
        for index, item in enumerate(config):
            yield from _wrong(item, f"{prefix}{index}.")
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
        yield from _wrong(value, f"{name}.")


def type_hints(cls: type[Any]) -> dict[str, Any]:
    """The evaluated annotations of a configuration dataclass; those of type variables stand for anything."""
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls)
    return _HINTS[cls]


def choices(hint: Any) -> tuple[Any, ...]:
    """The values of a Literal, also where it may be None or is the items' type of a tuple; () for any other type."""
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)
    nested = (
        typing.get_args(hint) if _is_union(hint) else typing.get_args(hint) if typing.get_origin(hint) is tuple else ()
    )
    found = [choices(member) for member in nested if member not in (type(None), ...)]
    return found[0] if len(found) == 1 else ()


_HINTS: dict[type[Any], dict[str, Any]] = {}


def to_dict(config: Any) -> dict[str, Any]:
    """Turn a configuration dataclass (or a mapping of plain values) into JSON-able data.

    Tuples become lists, paths and enums become strings or plain values, nested dataclasses become dicts.
    Raises TypeError for a value that has no plain form, because that is a mistake in the code and not in the input.
    """
    plain = _plain(config, type(config).__name__)
    if not isinstance(plain, dict):
        raise TypeError(f"a configuration is a dataclass or a mapping, not {type(config).__name__}")
    return plain


def plain_value(value: Any) -> Any:
    """JSON-able data of any setting (`to_dict`); TypeError for what has no plain form."""
    return _plain(value, type(value).__name__)


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, (bool, str)) or type(value) in (int, float):
        return value.value if isinstance(value, Enum) else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field for field in dataclasses.fields(value) if field.init]
        return {f.name: _plain(getattr(value, f.name), f"{where}.{f.name}") for f in fields}
    if isinstance(value, Enum):
        return _plain(value.value, where)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"{where}: a {type(value).__name__} has no place in a configuration")


def from_dict(cls: type[ConfigT], data: Any, source: str) -> ConfigT:
    """Build the configuration dataclass `cls` from plain data; `source` names the file in error messages.

    An int is accepted for a float, a list for a tuple and a string for a path; a bool is not accepted for a number. Of
    several dataclasses that a field may hold it becomes the one whose field names fit best.

    Raises:
        InputError: a field is unknown, missing, mistyped or out of its range.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{source}: expected a mapping of {cls.__name__}'s fields, found {_describe(data)}")
    try:
        config = _build(cls, data, "")
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except _Mismatch as error:
        found, expected = _describe(error.value), _type_name(error.hint)
        raise InputError(f"{source}: field '{error.name}': expected {expected}, found {found}") from None
    for name, value, expected in _wrong(config):
        raise InputError(f"{source}: field '{name}' is {_shown(value)}, expected {expected}")
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
    if _is_union(hint):
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
    text = yaml.dump(_plain(data, str(path)), Dumper=_SafeDumper, sort_keys=False)
    write_bytes_atomic(path, text.encode())


def config_hash(config: Any) -> str:
    """SHA-256 (hex) of the configuration's canonical JSON: independent of key order, and of 1 against 1.0."""
    plain = _plain(config, type(config).__name__)
    canonical = json.dumps(_canonical_numbers(plain), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class _SafeLoader(yaml.SafeLoader):
    """The safe loader, which also reads 1e-4 as a number, as YAML 1.2 does (plain PyYAML wants 1.0e-4).

    Aliases are refused: nine lines of them stand for more than a machine holds.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise ComposerError(
                None, None, f"found the alias *{event.anchor}, expected it written out", event.start_mark
            )
        return super().compose_node(parent, index)


class _SafeDumper(yaml.SafeDumper):
    """The safe dumper, which quotes the texts that the loader would read as numbers."""


for _kind in (_SafeLoader, _SafeDumper):
    _kind.add_implicit_resolver(
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


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _shown(value: Any) -> str:
    return f"{value:g}" if type(value) is float and value.is_integer() else repr(value)


def _describe(value: Any) -> str:
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, typing.get_args(hint)))}"
    if _is_union(hint):
        return " or ".join(_type_name(member) for member in typing.get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")
