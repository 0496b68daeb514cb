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
from burnish.data.frames import Source
from burnish.data.framing import Framing
from burnish.data.reading import Choice, assemble
from burnish.data.row_store import RowStore
from burnish.data.striding import Stride
from burnish.data.success import SuccessRule
from burnish.errors import InputError

GROUP = "burnish.formats"
"""The entry points by which other packages bring formats: any name = package.module, which defines them."""
_KNOWN: dict[str, type["Format"]] = {}


@dataclass(frozen=True)
class ReadingRule:
    """Which columns are read from a data set, and how success is told."""

    success_column: str | None = None
    """Column of zeros and ones that tells success, of each frame or each episode; default next.success or success."""
    success_above: str | None = None
    """NAME=VALUE: success is where this column is at least this value."""
    success_on_termination: bool = False
    """Success is where an episode ended by itself (next.done)."""
    labels: Path | None = None
    """CSV file of episode,success (with --success-last-frames), or episode,success,frame: which episodes succeed."""
    failed_episodes: tuple[int, ...] = ()
    """Numbers of the episodes that failed, all others succeed (with --success-last-frames)."""
    success_last_frames: int | None = within(None, 1)
    """Success is the last so many frames of every successful episode."""
    state_key: tuple[str, ...] = (STATE,)
    """Column, or columns to be joined, that make the state."""
    action_key: str = ACTION
    """Column of the action."""
    action_units: Literal["auto", "own", "unit"] = "auto"
    """own: each dimension of the actions is scaled by its range in the data, and the policy answers in the data's
    units. unit: actions are in [-1, 1] and taken as they are. auto: unit for what Burnish's simulators recorded."""
    action_targets: Literal["recorded", "absolute", "relative"] = "recorded"
    """How actions that are targets of the state are learned: recorded: as they are, whatever they are. absolute: the
    same, where there are such targets (else an error). relative: as the way there from the state; outside, the policy
    still answers in the data's units."""
    binary_actions: Literal["recorded", "rounded"] = "recorded"
    """What actions with two values (a gripper's) take when a policy says something between: recorded: that. rounded:
    the nearer of the two, in imagination and for real."""
    skip_bad: bool = False
    """Leave bad episodes out, and say which and why; else the first one is an error."""
    stride: int = within(1, 1)
    """Every so many frames are one."""
    stride_actions: Literal["last", "sum"] = "last"
    """What stands for the actions between: the last one (absolute targets) or their sum (relative ones)."""
    fps: float | None = within(None, 0, open_low=True)
    """Frames per second, where the files do not say."""
    picture_size: int | None = within(None, 1)
    """Pictures are brought to so many pixels, in height and width, while they are decoded (the mean of the area that
    each covers). Default: what the models of a run read; without a run, as they are."""
    crop: tuple[str, ...] = ()
    """The part of the pictures that is kept: centre (the largest square in the middle) or TOP,LEFT,HEIGHT,WIDTH, in
    pixels of the camera; CAMERA=... for one of the cameras. Default: all, whatever its aspect."""

    def choice(self) -> Choice:
        """What it comes down to.

        Raises:
            InputError: parts of it contradict each other.
        """
        column, above = self.success_column, None
        if self.success_above is not None:
            name, equals, value = self.success_above.rpartition("=")
            try:
                above = float(value)
            except ValueError:
                equals = ""
            if not equals or not name or above != above:
                raise InputError(f"--success-above is {self.success_above!r}, expected NAME=VALUE (next.reward=0.95)")
            if column is not None:
                raise InputError(
                    "found --success-column and --success-above, expected one way in which success is told"
                )
            column = name
        return Choice(
            state=self.state_key,
            action=self.action_key,
            success=SuccessRule(
                column,
                self.success_last_frames,
                above,
                self.success_on_termination,
                self.failed_episodes,
                self.labels,
            ),
            skip_bad=self.skip_bad,
            stride=Stride(self.stride, self.stride_actions),
            fps=self.fps,
            framing=Framing.told(self.picture_size, self.crop),
        )


class Format(ABC):
    """One format; a class that derives from it and has a `name` is registered by being defined.

    Files from outside are untrusted: nothing is unpickled, no link is followed out of the folder.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """In messages to people."""

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            _KNOWN[cls.name] = cls

    @abstractmethod
    def detect(self, path: Path) -> bool:
        """Whether the file or folder is of this format, by a cheap look at what it holds."""

    @abstractmethod
    def read(
        self, path: Path, rule: ReadingRule, cameras: Sequence[str] | None = (), store: RowStore | None = None
    ) -> Dataset:
        """Read and check it, with the pictures of `cameras` (None: of all), which are put into `store`.

        Raises:
            InputError: anything that is not as the format and the rule say; names the file, the episode and the field.
        """

    def parts(self, path: Path, cameras: Sequence[str]) -> dict[str, Path]:
        """The files and folders, by name, whose content decides what `read` gives."""
        return {"data": path}


class SourceFormat(Format):
    """A format that is an opened `Source`: columns, success, bad episodes and the rest are the same for all."""

    @abstractmethod
    def open(self, path: Path) -> Source:
        """Look at what there is.

        Raises:
            InputError: it is not what the format says.
        """

    def read(
        self, path: Path, rule: ReadingRule, cameras: Sequence[str] | None = (), store: RowStore | None = None
    ) -> Dataset:
        """As every format."""
        return assemble(self.open(path), rule.choice(), cameras, store)


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
        hint = ""
        if len(path.parts) == 2 and not path.is_absolute():
            hint = (
                f"; a data set of a hub is downloaded first (hf download {path} --repo-type dataset --local-dir FOLDER)"
            )
        raise InputError(f"{path}: no such file or folder, expected a data set{hint}")
    known = formats()
    found = next((each for each in known if each.detect(path)), None)
    if found is None:
        titles = ", ".join(each.title for each in known)
        raise InputError(f"{path}: found no data set of a known format, expected one of: {titles}")
    return found
