"""How success is read from a dataset's columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from burnish.data.checks import bad_input
from burnish.data.dataset import Dataset
from burnish.errors import InputError

AUTOMATIC_COLUMNS = ("next.success", "success")


@dataclass(frozen=True)
class SuccessRule:
    """Where success comes from.

    Attributes:
        column: the column that tells success. Columns named `next.*` tell it of the frame that follows, all others of
            their own frame. None: `next.success` or `success`, whichever the dataset has.
        last_frames: when given, success is the last so many frames of every successful episode, where an episode is
            successful when any value of `column` is above 0; a dataset that has no such column (and none was named)
            is taken for demonstrations only, every one successful. When None, success is the column, frame by frame.
    """

    column: str | None = None
    last_frames: int | None = None

    def __post_init__(self) -> None:
        if self.last_frames is not None and self.last_frames < 1:
            raise InputError(f"the success rule's last_frames is {self.last_frames}, expected at least 1")

    def resolve(self, columns: list[str], where: object) -> str | None:
        """The column to read from those that the dataset has; None means that every episode is successful.

        Raises:
            InputError: the named column is missing, or there is nothing to tell success by.
        """
        if self.column is not None:
            if self.column not in columns:
                raise bad_input(where, f"the columns {columns}", "the column that tells success", field=self.column)
            return self.column
        found = next((name for name in AUTOMATIC_COLUMNS if name in columns), None)
        if found is None and self.last_frames is None:
            raise InputError(
                f"{where}: found no column 'next.success' or 'success' among {columns}, expected to be told what "
                "success is: either name a column of zeros and ones (SuccessRule(column='...')), or, for "
                "demonstrations that all end in success, take their last n frames (SuccessRule(last_frames=n))"
            )
        return found

    def frames(
        self, name: str | None, values: np.ndarray | None, starts: np.ndarray, lengths: np.ndarray, first: np.ndarray
    ) -> np.ndarray:
        """Success of every frame.

        Args:
            name: the resolved column.
            values: (F,) its values, None without a column.
            starts: (E,) first frame of every episode.
            lengths: (E,) frames of every episode.
            first: bool (E,) success of every episode's first frame, which a `next.*` column cannot tell.

        Returns:
            bool (F,), aligned with the frames.
        """
        last = starts + lengths - 1
        total = int(lengths.sum())
        if self.last_frames is not None:
            marked = np.ones(len(starts), bool) if values is None else np.maximum.reduceat(values > 0, starts)
            from_end = np.repeat(last, lengths) - np.arange(total)
            return np.repeat(marked, lengths) & (from_end < self.last_frames)
        assert values is not None and name is not None
        told = values > 0
        if not name.startswith("next."):
            return told
        success = np.concatenate([[False], told[:-1]])
        success[starts] = first
        # The frame after the last action was not recorded: its success goes to the last frame that was. Episodes
        # that stop at their first success would otherwise lose it.
        success[last] |= told[last]
        return success


def require_successes(dataset: Dataset, where: object = "the dataset") -> None:
    """Check that there is something to learn success from.

    Raises:
        InputError: not a single frame shows success.
    """
    if not bool(dataset.success.any()):
        found = f"{dataset.num_episodes} episodes without a single success"
        raise bad_input(where, found, "at least one successful episode", field="success")


def successful_episodes(dataset: Dataset) -> Dataset:
    """The successful episodes: demonstrations, and rollouts that got there.

    Cloning them alone is the filter "%BC" of Decision Transformer (arXiv 2106.01345, section 5.1) with success as the
    return.

    Raises:
        InputError: no episode succeeded.
    """
    require_successes(dataset)
    return dataset.subset(torch.nonzero(dataset.episode_success).flatten().tolist())


def about_to_succeed(dataset: Dataset, frames: int) -> Tensor:
    """Frames (F,) of failure that success follows within `frames` frames: to call it a moment early is no mistake."""
    soon = torch.zeros_like(dataset.success)
    last = dataset.starts + dataset.lengths - 1
    ahead = dataset.success
    for _ in range(frames):
        ahead = ahead.roll(-1)
        ahead[last] = False
        soon |= ahead
    return soon & ~dataset.success
