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
REWARD, DONE = "next.reward", "next.done"
"""LeRobot's columns of what an action earned, and of whether it ended the episode."""


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

    def resolve(self, columns: list[str], where: object, rewarded: bool = False) -> str | None:
        """The column to read from those that the dataset has.

        None means that every episode is successful where `last_frames` is given, and that success is not known where
        it is not, which is fine in a dataset that is `rewarded`.

        Raises:
            InputError: the named column is missing, or there is nothing to tell success by, and no reward either.
        """
        if self.column is not None:
            if self.column not in columns:
                raise bad_input(where, f"the columns {columns}", "the column that tells success", field=self.column)
            return self.column
        found = next((name for name in AUTOMATIC_COLUMNS if name in columns), None)
        if found is None and self.last_frames is None and not rewarded:
            raise InputError(
                f"{where}: found no column 'next.success' or 'success' (nor '{REWARD}') among {columns}, expected to "
                "be told what success is: either name a column of zeros and ones (SuccessRule(column='...')), or, for "
                "demonstrations that all end in success, take their last n frames (SuccessRule(last_frames=n))"
            )
        return found

    def frames(
        self, name: str | None, values: np.ndarray | None, starts: np.ndarray, lengths: np.ndarray, first: np.ndarray
    ) -> np.ndarray:
        """Success of every frame.

        Args:
            name: the resolved column; no frame shows success where there is neither it nor `last_frames`.
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
        if values is None or name is None:
            return np.zeros(total, bool)
        told = values > 0
        if not name.startswith("next."):
            return told
        return on_arrival(told, starts, last, first)


def on_arrival(told: np.ndarray, starts: np.ndarray, last: np.ndarray, first: np.ndarray | None = None) -> np.ndarray:
    """What a `next.*` column (F,) tells of each frame: what the row before says; `first` (E,) where episodes begin.

    The frame after the last action was not recorded: its value is added to that of the last frame that was. Episodes
    that stop at their first success, or earn all in their last step, would otherwise lose it.
    """
    arrived = np.concatenate([np.zeros_like(told[:1]), told[:-1]])
    arrived[starts] = 0 if first is None else first
    arrived[last] += told[last]
    return arrived


def require_successes(dataset: Dataset, where: object = "the dataset") -> None:
    """Check that there is something to learn success from.

    Raises:
        InputError: not a single frame shows success.
    """
    if not bool(dataset.success.any()):
        found = f"{dataset.num_episodes} episodes without a single success"
        raise bad_input(where, found, "at least one successful episode", field="success")


def require_outcomes(dataset: Dataset, where: object = "the dataset") -> None:
    """Check that there is something to learn from what is good: a success, or rewards that vary.

    Raises:
        InputError: neither.
    """
    if dataset.has_success:
        return
    if dataset.reward is None:
        require_successes(dataset, where)
    elif bool((dataset.reward == dataset.reward[0]).all()):
        found = f"a reward of {float(dataset.reward[0]):g} at every frame and not a single success"
        raise bad_input(where, found, "rewards that vary, or at least one successful episode", field=REWARD)


def best_episodes(dataset: Dataset, share: float) -> Dataset:
    """The episodes to imitate: the successful ones, or where there is no success the `share` of the highest return.

    Cloning them alone is the filter "%BC" of Decision Transformer (arXiv 2106.01345, section 5.1).

    Raises:
        InputError: there is no success, and no reward that varies.
    """
    require_outcomes(dataset)
    if dataset.has_success:
        return dataset.subset(torch.nonzero(dataset.episode_success).flatten().tolist())
    count = max(1, round(share * dataset.num_episodes))
    return dataset.subset(sorted(dataset.episode_return.argsort(descending=True, stable=True)[:count].tolist()))


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
