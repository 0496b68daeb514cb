"""Why a stage's earlier result is not used: in words, by the setting or the input that changed."""

from collections.abc import Iterable, Mapping
from typing import Any

from burnish.config import to_dict
from burnish.pipeline.finished import Manifest

_SHOWN = 3
_LONGEST = 40
_ABSENT = object()


def difference(old: Manifest, config: Any, version: int, inputs: Mapping[str, str | None]) -> str | None:
    """What differs from a finished stage's manifest; None where nothing does.

    Args:
        old: The manifest.
        config: The configuration now.
        version: The version of the body's code now.
        inputs: The contents of the inputs now, None where it is not known yet.
    """
    changes = changed_settings(old["config"], to_dict(config))
    if old["version"] != version:
        changes.append(f"its code (version {old['version']} -> {version})")
    if changes:
        more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        return ", ".join(changes[:_SHOWN]) + more + " changed"
    before = old["inputs"]
    if set(before) != set(inputs):
        return f"its inputs changed ({_listed(before)} -> {_listed(inputs)})"
    changed = [name for name, content in inputs.items() if content is not None and before[name] != content]
    if changed:
        return f"its input {_listed(changed)} changed"
    unknown = [name for name, content in inputs.items() if content is None]
    return f"it follows {_listed(unknown)}, done before it, unless that comes out the same" if unknown else None


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The settings that differ, as `ppo.gamma 0.99 -> 0.9`; lists of numbers and of words are one setting."""
    before, after = _flat(old), _flat(new)
    names = [*before, *(name for name in after if name not in before)]
    found = []
    for name in names:
        one, other = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if one != other or isinstance(one, bool) != isinstance(other, bool):
            found.append(f"{name} {_shown(one)} -> {_shown(other)}")
    return found


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        items = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
        items = enumerate(value)
    else:
        return {prefix.removesuffix("."): list(value) if isinstance(value, tuple) else value}
    return {name: leaf for key, item in items for name, leaf in _flat(item, f"{prefix}{key}.").items()}


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "not there"
    text = "none" if value is None else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
