"""Settings of the real environment; nothing is imported with them, since a run may have no simulator."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from burnish.config import within
from burnish.errors import InputError


@dataclass(frozen=True)
class SimulatorConfig:
    """The real environment."""

    action_repeat: int | None = within(None, 1)
    """Control steps per decision; by default the suite's (Meta-World 2, CALVIN and Gymnasium 1)."""
    max_steps: int | None = within(None, 2)
    """Decisions after which an episode ends; by default the suite's (Meta-World 100, Gymnasium the environment's)."""
    cameras: tuple[str, ...] = ()
    """Cameras whose pictures observations carry, beside the state; the task has a list."""
    image_size: int = within(64, 8)
    """Height and width of these pictures in pixels."""
    success_key: str | None = None
    """Entry of a Gymnasium environment's `info` that says success; by default `is_success` or `success`, if there."""
    env_kwargs: tuple[str, ...] = ()
    """Arguments of a Gymnasium environment or factory: `key=value` (the value as JSON, or a word), or a JSON object."""


def parse_kwargs(words: tuple[str, ...]) -> dict[str, Any]:
    """The keyword arguments that `SimulatorConfig.env_kwargs` says.

    Raises:
        InputError: a word is neither `key=value` nor a JSON object, or a key comes twice.
    """
    found: dict[str, Any] = {}
    for word in words:
        for key, value in _pairs(word):
            if not key.isidentifier():
                raise InputError(f"env_kwargs: found the key {key!r}, expected the name of an argument")
            if key in found:
                raise InputError(f"env_kwargs: '{key}' is given twice")
            found[key] = value
    return found


def _pairs(word: str) -> list[tuple[str, Any]]:
    if word.lstrip().startswith("{"):
        try:
            return list(json.loads(word).items())
        except ValueError as error:
            raise InputError(f"env_kwargs: {word!r} is not a JSON object: {error}") from None
    key, equals, value = word.partition("=")
    if not equals:
        raise InputError(f"env_kwargs: found {word!r}, expected key=value or a JSON object")
    try:
        return [(key.strip(), json.loads(value))]
    except ValueError:
        return [(key.strip(), value)]
