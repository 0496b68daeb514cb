"""Every n-th frame of a data set: what a control loop of 30 to 50 Hz records is too fine for a horizon of 50 steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from burnish.data.dataset import Dataset
from burnish.data.mapped import choose
from burnish.data.streams import sums_since
from burnish.errors import InputError

Joined = Literal["last", "sum"]


@dataclass(frozen=True)
class Stride:
    """Every `every`-th frame, the last one of each episode among them.

    Attributes:
        every: so many frames become one.
        actions: what stands for the actions between: the `last` one, which is right for absolute targets, or their
            `sum`, for what is relative to where the robot is.
    """

    every: int = 1
    actions: Joined = "last"

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"the stride is {self.every}, expected at least 1")

    def kept(self, length: int) -> range:
        """The frames that are kept of an episode: none where it is too short for two of them."""
        return range((length - 1) % self.every, length, self.every) if length > self.every else range(0)

    def apply(self, dataset: Dataset) -> Dataset:
        """The coarser data set; rewards between add up, and success or an end between counts for the next frame.

        Raises:
            InputError: no episode is long enough for two frames.
        """
        if self.every == 1:
            return dataset
        long = [index for index, length in enumerate(dataset.lengths.tolist()) if length > self.every]
        if not long:
            longest = int(dataset.lengths.max())
            raise InputError(f"--stride is {self.every}, expected less than {longest}, the longest episode's frames")
        notes, left = dataset.info.notes, dataset.num_episodes - len(long)
        if left:
            notes = (*notes, f"{left} episodes of no more than {self.every} frames were left out (--stride)")
        whole = dataset.subset(long) if left else dataset
        lengths = (whole.lengths - 1) // self.every + 1
        starts = lengths.cumsum(0) - lengths
        # Counted from the end: the last frame is where success shows.
        first = whole.starts + (whole.lengths - 1) % self.every
        shift = torch.repeat_interleave(first - starts * self.every, lengths)
        frames = torch.arange(int(lengths.sum())) * self.every + shift
        fps = whole.info.fps / self.every
        reward, terminated = (_thinned(values, whole, frames, starts, self.every)
                              for values in (whole.reward, whole.terminated))  # fmt: skip
        success = _thinned(whole.success, whole, frames, None, self.every)
        assert success is not None
        return replace(
            whole,
            observations={key: choose(values, frames) for key, values in whole.observations.items()},
            actions=self._actions(whole, frames),
            success=success,
            starts=starts,
            lengths=lengths,
            info=replace(whole.info, fps=int(fps) if fps == int(fps) else fps, notes=notes),
            reward=reward,
            terminated=terminated,
        )

    def _actions(self, whole: Dataset, frames: Tensor) -> Tensor:
        """The action from each frame to the next one that is kept; the outcome of an episode's last is not recorded."""
        last = (whole.starts + whole.lengths - 1)[whole.episode_of_frame[frames]]
        steps = frames[:, None] + torch.arange(self.every)
        inside = steps <= last[:, None]
        taken = whole.actions[torch.minimum(steps, last[:, None])]
        return (taken * inside[..., None]).sum(1) if self.actions == "sum" else taken[:, -1]


def _thinned(values: Tensor | None, whole: Dataset, frames: Tensor, starts: Tensor | None, every: int) -> Tensor | None:
    """Sum of numbers, or whether any is true, since the frame before; nothing led to the frames at `starts`."""
    if values is None:
        return None
    kept = sums_since(values, whole, every)[frames]
    if starts is not None:
        kept[starts] = 0
    return kept
