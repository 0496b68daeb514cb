"""The recipes: every `RECIPE` of `burnish.recipes.presets`, those of installed packages, and `module:NAME`.

The list is read from their sources: importing them takes PyTorch's two seconds.
"""

import ast
import difflib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from burnish.errors import InputError

if TYPE_CHECKING:
    from burnish.recipes.base import Recipe

GROUP = "burnish.recipes"
"""The entry points by which other packages bring recipes: NAME = package.module:RECIPE."""
_TEXTS = ("name", "system", "paper", "needs", "status")


@dataclass(frozen=True)
class Card:
    """What the list says of a recipe; `place` is its module and its name there."""

    place: str
    name: str
    system: str = ""
    paper: str = ""
    needs: str = ""
    status: str = ""
    presets: tuple[str, ...] = ()


def entry(name: str) -> "Recipe":
    """The recipe of this name.

    Raises:
        InputError: there is none; the message names near matches.
    """
    return _imported(name, name if ":" in name else card(name).place)


def card(name: str) -> Card:
    """What is known of a recipe without importing it; InputError where there is none of this name."""
    if ":" in name:
        return _read(name, name)
    found = {each.name: each for each in cards()}
    if name not in found:
        close = difflib.get_close_matches(name, found, cutoff=0.4) or list(found)
        raise InputError(f"unknown recipe '{name}'; did you mean {' or '.join(close)}?")
    return found[name]


def cards() -> Iterator[Card]:
    """All that can be called by name."""
    for path in sorted(Path(__file__).parent.glob("presets/[!_]*.py")):
        yield _read(f"{__package__}.presets.{path.stem}:RECIPE", path.stem)
    for point in importlib.metadata.entry_points(group=GROUP):
        yield _read(point.value, point.name)


def as_table() -> str:
    """The recipes as plain text."""
    rows = [tuple(text.upper() for text in ("recipe", *_TEXTS[1:]))]
    rows += [tuple(getattr(each, text) for text in _TEXTS) for each in cards()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TEXTS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _read(place: str, name: str) -> Card:
    """The card of `module:NAME`, from the module's source where that says it in constants."""
    module, _, attribute = place.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return Card(place, name)
    assigned = {
        target.id: node.value
        for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    made, texts = assigned.get(attribute or "RECIPE"), {"name": name}
    if isinstance(made, ast.Call):
        constants = {word.arg: word.value.value for word in made.keywords if isinstance(word.value, ast.Constant)}
        texts |= {key: str(constants[key]) for key in _TEXTS if key in constants}
    presets = assigned.get("PRESETS")
    keys = presets.keys if isinstance(presets, ast.Dict) else []
    return Card(place, **texts, presets=tuple(str(key.value) for key in keys if isinstance(key, ast.Constant)))


def _imported(name: str, place: str) -> "Recipe":
    from burnish.recipes.base import Recipe

    module, _, attribute = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute or "RECIPE")
    except (ImportError, AttributeError) as error:
        raise InputError(f"recipe '{name}': {error}; expected an importable MODULE:NAME of a Recipe") from None
    if not isinstance(found, Recipe):
        raise InputError(f"recipe '{name}': found a {type(found).__name__}, expected a burnish.recipes.base.Recipe")
    return found
