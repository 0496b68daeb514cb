"""The list of recipes: which published system, what it needs, and how far it is."""

import difflib
from dataclasses import dataclass

from burnish.errors import InputError


@dataclass(frozen=True)
class Entry:
    """One recipe as `burnish recipes` lists it."""

    name: str
    system: str
    paper: str
    needs: str
    status: str


CATALOGUE = (
    Entry(
        name="world4rl",
        system="World4RL, on state observations",
        paper="arXiv 2509.19080",
        needs="a Meta-World task, or your own LeRobotDataset",
        status="works",
    ),
)


def entry(name: str) -> Entry:
    """The recipe of this name.

    Raises:
        InputError: there is none; the message names near matches.
    """
    for found in CATALOGUE:
        if found.name == name:
            return found
    names = [found.name for found in CATALOGUE]
    close = difflib.get_close_matches(name, names, cutoff=0.4) or names
    raise InputError(f"unknown recipe '{name}'; did you mean {' or '.join(close)}?")


def as_table() -> str:
    """The catalogue as plain text."""
    header = ("RECIPE", "SYSTEM", "PAPER", "NEEDS", "STATUS")
    rows = [header, *((e.name, e.system, e.paper, e.needs, e.status) for e in CATALOGUE)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
