"""The recipes: every module of this room that has a `RECIPE`, those of installed packages, and `module:NAME`."""

import difflib
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Iterator

import burnish.recipes
from burnish.errors import InputError
from burnish.recipes.base import Recipe

GROUP = "burnish.recipes"
"""The entry points by which other packages bring recipes: NAME = package.module:RECIPE."""


def entry(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        InputError: there is none; the message names near matches.
    """
    if ":" in name:
        return _from_module(name)
    module = name.replace("-", "_")
    if module in _modules():
        found = getattr(importlib.import_module(f"{burnish.recipes.__name__}.{module}"), "RECIPE", None)
        if isinstance(found, Recipe):
            return found
    for point in importlib.metadata.entry_points(group=GROUP):
        if point.name == name:
            return _from_module(point.value)
    names = [recipe.name for recipe in recipes()]
    close = difflib.get_close_matches(name, names, cutoff=0.4) or names
    raise InputError(f"unknown recipe '{name}'; did you mean {' or '.join(close)}?")


def recipes() -> Iterator[Recipe]:
    """All that can be called by name."""
    for module in _modules():
        found = getattr(importlib.import_module(f"{burnish.recipes.__name__}.{module}"), "RECIPE", None)
        if isinstance(found, Recipe):
            yield found
    for point in importlib.metadata.entry_points(group=GROUP):
        yield _from_module(point.value)


def as_table() -> str:
    """The recipes as plain text."""
    header = ("RECIPE", "SYSTEM", "PAPER", "NEEDS", "STATUS")
    rows = [header, *((e.name, e.system, e.paper, e.needs, e.status) for e in recipes())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _modules() -> list[str]:
    return sorted(info.name for info in pkgutil.iter_modules(burnish.recipes.__path__) if not info.ispkg)


def _from_module(name: str) -> Recipe:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute or "RECIPE")
    except (ImportError, AttributeError) as error:
        raise InputError(f"recipe '{name}': {error}; expected an importable MODULE:NAME of a Recipe") from None
    if not isinstance(found, Recipe):
        raise InputError(f"recipe '{name}': found a {type(found).__name__}, expected a burnish.recipes.base.Recipe")
    return found
