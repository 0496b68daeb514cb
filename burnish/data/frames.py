"""What a format finds in somebody's files, before anything is chosen or told: columns, episodes, pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from burnish.data.checks import EpisodeFault, Faults, bad_input
from burnish.data.decoding import PictureJob
from burnish.data.framing import View
from burnish.data.info import DatasetInfo
from burnish.data.mapped import MappedRows
from burnish.data.row_store import RowStore
from burnish.data.striding import Stride

UNKNOWN_SOURCE = "unknown"
UNKNOWN_SEED = -1


@dataclass(frozen=True)
class Frames:
    """Numbers of E episodes with F frames in all, side by side in episode order.

    Attributes:
        columns: (F, ...) in the types that they have on disk.
        lengths: int64 (E,) frames of each episode.
        numbers: int64 (E,) the number of each episode in the data set, which counts bad ones too.
        places: where each episode is, for messages.
        tasks: the task of each episode.
        sources: who acted.
        seeds: the seed of each episode.
        first_success: bool (E,) whether the first frame shows success, which columns named `next.*` cannot tell.
        notes: what was repaired, in words.
        stored: columns that are too large for `columns`, float32 (F, ...), in files.
    """

    columns: dict[str, np.ndarray]
    lengths: np.ndarray
    numbers: np.ndarray
    places: tuple[str, ...]
    tasks: tuple[str, ...]
    sources: tuple[str, ...]
    seeds: tuple[int, ...]
    first_success: np.ndarray
    notes: tuple[str, ...] = ()
    stored: dict[str, MappedRows] = field(default_factory=dict)

    @property
    def starts(self) -> np.ndarray:
        """int64 (E,) the first frame of each episode."""
        return self.lengths.cumsum() - self.lengths

    @property
    def total(self) -> int:
        """The number of frames, F."""
        return int(self.lengths.sum())

    def fault(self, frame: int, found: str, expected: str, name: str) -> EpisodeFault:
        """The error for a wrong value of a column at one of all frames."""
        episode = int(np.searchsorted(self.starts, frame, side="right")) - 1
        message = f"{found} at frame {frame - int(self.starts[episode])}"
        return self.episode_fault(episode, message, expected, name)

    def episode_fault(self, episode: int, found: str, expected: str, name: str = "") -> EpisodeFault:
        """The error for what is wrong with one of the episodes."""
        error = bad_input(self.places[episode], found, expected, field=name, episode=int(self.numbers[episode]))
        assert isinstance(error, EpisodeFault)
        return error

    def without(self, numbers: Mapping[int, str]) -> Frames:
        """The episodes but for those of some numbers."""
        keep = [index for index, number in enumerate(self.numbers.tolist()) if number not in numbers]
        if len(keep) == len(self.numbers):
            return self
        chosen = np.zeros(len(self.numbers), bool)
        chosen[keep] = True
        frames = np.repeat(chosen, self.lengths)
        return replace(
            self,
            columns={name: values[frames] for name, values in self.columns.items()},
            stored={name: v.choose(torch.from_numpy(frames.nonzero()[0])) for name, v in self.stored.items()},
            lengths=self.lengths[keep],
            numbers=self.numbers[keep],
            places=tuple(self.places[index] for index in keep),
            tasks=tuple(self.tasks[index] for index in keep),
            sources=tuple(self.sources[index] for index in keep),
            seeds=tuple(self.seeds[index] for index in keep),
            first_success=self.first_success[keep],
        )


@dataclass(frozen=True)
class Shown:
    """What becomes of the pictures of a camera.

    Attributes:
        size: (height, width) in the files.
        view: how they are to look.
        stride: which of an episode are kept.
    """

    size: tuple[int, int]
    view: View = View()
    stride: Stride = Stride()


@dataclass
class Source(ABC):
    """An opened data set: it says what it has, and loads what is asked for.

    Attributes:
        where: the file or folder, for messages.
        info: what holds for every episode.
        columns: names of the columns of numbers (one value a frame) and the shape of one value.
        episode_columns: columns with one number an episode, (all episodes,).
        state: the columns that make the state where nobody says; empty where that cannot be known.
        action: the column of the action where nobody says.
        cameras: names of the cameras, and their keys in the file.
        aliases: the file's own names of columns that Burnish calls otherwise.
        names: the names of a column's dimensions, where they are known.
        placeholders: columns that are there for other readers and say nothing; read only where they are named.
        notes: what there is to say about the whole, in words.
    """

    where: Path
    info: DatasetInfo
    columns: dict[str, tuple[int, ...]] = field(default_factory=dict)
    episode_columns: dict[str, np.ndarray] = field(default_factory=dict)
    state: tuple[str, ...] = ()
    action: str = ""
    cameras: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    placeholders: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    @abstractmethod
    def num_episodes(self) -> int:
        """The number of episodes that should be there, bad ones too."""

    @abstractmethod
    def load(self, names: Sequence[str], faults: Faults, store: RowStore) -> Frames:
        """Read columns of all episodes; those that cannot be read are `faults`, and large ones are put into `store`.

        Raises:
            InputError: what is wrong concerns more than single episodes.
        """

    @abstractmethod
    def picture_size(self, camera: str, frames: Frames) -> tuple[int, int]:
        """(height, width) of the pictures of a camera (one of `cameras`), as they are in the files.

        Raises:
            InputError: they are of no kind that can be read.
        """

    @abstractmethod
    def picture_jobs(self, camera: str, frames: Frames, numbers: Sequence[int], shown: Shown) -> list[PictureJob]:
        """What decodes a camera's pictures of some episodes of `frames`: uint8 (H, W, 3), RGB, as `shown` says.

        Raises:
            EpisodeFault: a picture is missing, broken or of another size; now, or when the jobs are done.
            InputError: the camera's pictures are of no kind that can be read.
        """

    def picture_identity(self, camera: str, frames: Frames) -> str:
        """Everything in the files that a camera's pictures depend on."""
        return ""

    def stored_pictures(self, camera: str, frames: Frames) -> MappedRows | None:
        """A camera's pictures where they need no decoding."""
        return None

    def tells(self, name: str) -> bool:
        """Whether there is a column of this name that says something."""
        return name in self.columns and name not in self.placeholders

    def column(self, name: str) -> str:
        """The column that is meant by a name: its own, the file's, or its last part where only one has that.

        Raises:
            InputError: there is none.
        """
        name = self.aliases.get(name, name)
        if name in self.columns:
            return name
        alike = [each for each in self.columns if each.replace(".", "/").endswith(f"/{name}")]
        if len(alike) != 1:
            known = sorted({*self.columns, *self.aliases})
            raise bad_input(self.where, f"the columns {', '.join(known)}", "this one among them", field=name)
        return alike[0]

    def camera(self, name: str) -> str:
        """The camera that is meant by a name or by its key in the file.

        Raises:
            InputError: there is none.
        """
        found = [each for each, key in self.cameras.items() if name in (each, key)]
        if not found:
            there = f"the cameras {', '.join(self.cameras)}" if self.cameras else "no camera"
            raise bad_input(self.where, there, f"'{name}' among them", field=f"observation.images.{name}")
        return found[0]
