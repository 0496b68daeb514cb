"""What a format is, and which one a data set has."""

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from burnish.config import within
from burnish.data.dataset import Dataset
from burnish.data.episodes import ACTION, STATE
from burnish.errors import InputError

GROUP = "burnish.formats"
"""The entry points by which other packages bring formats: any name = package.module, which defines them."""
_KNOWN: dict[str, type["Format"]] = {}


@dataclass(frozen=True)
class ReadingRule:
    """Which columns are read from a data set, and how success is told."""

    success_column: str | None = None
    """Column that tells success, frame by frame; default next.success or success."""
    success_last_frames: int | None = within(None, 1)
    """Success is the last so many frames of every successful episode."""
    state_key: tuple[str, ...] = (STATE,)
    """Column, or columns to be joined, that make the state."""
    action_key: str = ACTION
    """Column of the action."""
    action_units: Literal["auto", "own", "unit"] = "auto"
    """own: each dimension of the actions is scaled by its range in the data, and the policy answers in the data's
    units. unit: actions are in [-1, 1] and taken as they are. auto: unit for what Burnish's simulators recorded."""


class Format(ABC):
    """One format; a class that derives from it and has a `name` is registered by being defined.

    Files from outside are untrusted: nothing is unpickled, no link is followed out of the folder.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """In messages to people."""

    def __init_subclass__(cls) -> None:
        _KNOWN[cls.name] = cls

    @abstractmethod
    def detect(self, path: Path) -> bool:
        """Whether the file or folder is of this format, by a cheap look at what it holds."""

    @abstractmethod
    def read(self, path: Path, rule: ReadingRule, cameras: Sequence[str] | None = ()) -> Dataset:
        """Read and check it, with the pictures of `cameras` (None: of all).

        Raises:
            InputError: anything that is not as the format and the rule say; names the file, the episode and the field.
        """

    def parts(self, path: Path, cameras: Sequence[str]) -> dict[str, Path]:
        """The files and folders, by name, whose content decides what `read` gives."""
        return {"data": path}


def formats() -> list[Format]:
    """All that are known, those of installed packages too."""
    for point in importlib.metadata.entry_points(group=GROUP):
        point.load()
    return [_KNOWN[name]() for name in sorted(_KNOWN)]


def format_of(path: Path) -> Format:
    """The format of a data set.

    Raises:
        InputError: there is nothing, or nothing that any format knows.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder, expected a data set")
    known = formats()
    found = next((each for each in known if each.detect(path)), None)
    if found is None:
        titles = ", ".join(each.title for each in known)
        raise InputError(f"{path}: found no data set of a known format, expected one of: {titles}")
    return found
