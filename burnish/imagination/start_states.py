"""Where imagined episodes begin: always in the data set, never in a simulator."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from burnish.config import within
from burnish.data import Dataset
from burnish.errors import InputError
from burnish.imagination.priorities import StartPriorities
from burnish.world_models.base import State


@dataclass(frozen=True)
class StartConfig:
    """The mix of start states."""

    episode_start_share: float = within(0.5, 0, 1)
    """Share of imagined episodes that begin where a recorded one began; the others begin at intermediate frames
    (WoVR's ablation: without such key-frame starts refinement loses)."""
    priority: float = within(0.0, 0)
    """Of either kind a start is drawn in proportion to |TD error| to this power (`StartPriorities`); 0: all alike."""


class StartStates:
    """World-model states of recorded frames, ready to be drawn on the device.

    `states` holds one row for each frame in `frames` (indices into `dataset`). Frames that already show success, or,
    in data without any, that ended their episode, are left out.
    """

    def __init__(self, dataset: Dataset, states: State, frames: Int[Tensor, " N"], config: StartConfig) -> None:
        usable = ~dataset.success[frames]
        if dataset.terminated is not None and not dataset.has_success:
            usable &= ~dataset.terminated[frames]
        first = torch.isin(frames, dataset.starts) & usable
        self.states, self.config = states, config
        self.state_names = dataset.info.state_names
        self.first = torch.nonzero(first).flatten()
        self.intermediate = torch.nonzero(usable & ~first).flatten()
        if len(self.first) == 0:
            raise InputError("the data set has no episode whose first frame is usable as a start state")
        if len(self.intermediate) == 0:
            self.intermediate = self.first
        self.priorities: StartPriorities | None = None
        if config.priority:
            self.priorities = StartPriorities(len(frames), config.priority, self.first.device)

    def sample(self, count: int, generator: torch.Generator) -> State:
        """Draw `count` states from the mix."""
        return self.states.rows(self.draw(count, generator))

    def draw(self, count: int, generator: torch.Generator) -> Int[Tensor, " count"]:
        """Draw `count` rows of `states` from the mix."""
        pick = torch.rand(count, 3, generator=generator, device=self.first.device)
        first, intermediate = self._one_of(self.first, pick[:, 0]), self._one_of(self.intermediate, pick[:, 1])
        return torch.where(pick[:, 2] < self.config.episode_start_share, first, intermediate)

    def _one_of(self, rows: Tensor, pick: Tensor) -> Tensor:
        if self.priorities is not None:
            return self.priorities.draw(pick, rows)
        return rows[(pick * len(rows)).long()]

    def episode_starts(self, count: int) -> State:
        """`count` episode starts, spread evenly over the data set, whose tasks may lie one after another; the same ones
        every time, and each as often as any other where there are fewer than `count`."""
        rows = torch.arange(count, device=self.first.device)
        chosen = rows * len(self.first) // count if count < len(self.first) else rows % len(self.first)
        return self.states.rows(self.first[chosen])
