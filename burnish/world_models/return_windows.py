"""What a return-conditioned trajectory model learns from: windows of states, rewards and ends, and their returns."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.data import Dataset, RowSampler, WindowBatch, Windows
from burnish.errors import InputError
from burnish.world_models.history import STATE_KEY, frames_with_next


class ReturnWindows(RowSampler[Tensor]):
    """Windows of one present and `horizon` following frames, of which none is cut off.

    A window may reach beyond an episode that ended by itself: its last frame stays, earns nothing and has ended. Where
    an episode merely stops, nobody knows how it went on, and there is no such window.
    """

    def __init__(self, dataset: Dataset, horizon: int) -> None:
        """Raises InputError where there are no rewards, or no episode is longer than the horizon."""
        if dataset.reward is None:
            raise InputError("the data: found no rewards, expected a column 'next.reward' to learn trajectories from")
        longest = int(dataset.lengths.max())
        if longest <= horizon:
            raise InputError(
                f"world_model.horizon: found {horizon} steps, but no episode of the data has more than {longest} "
                "frames; expected less than that"
            )
        self.windows = Windows(dataset, history=1, horizon=horizon)
        present = frames_with_next(dataset)
        last = (dataset.starts + dataset.lengths - 1)[dataset.episode_of_frame[present]]
        known = present + horizon <= last
        if dataset.terminated is not None:
            known = (known | dataset.terminated[last]) & ~dataset.terminated[present]
        self.frames: Int[Tensor, " N"] = present[known]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.frames)

    def draw(self, batch_size: int, generator: torch.Generator) -> Int[Tensor, " B"]:
        """Presents, with replacement."""
        drawn = torch.randint(len(self), (batch_size,), generator=generator, device=generator.device)
        return self.frames[drawn.to(self.frames.device)]

    def gather(self, drawn: Int[Tensor, " B"]) -> WindowBatch:
        """The windows of some presents, states alone."""
        found = self.windows.gather(drawn)
        return replace(found, observation={STATE_KEY: found.observation[STATE_KEY]})


def ends(batch: WindowBatch) -> Bool[Tensor, "B T"]:
    """Whether the episode is over at each following frame, or was before."""
    if batch.terminated is None:
        return torch.zeros_like(batch.valid[:, 1:])
    return batch.terminated[:, 1:].long().cummax(1).values.bool()


def window_return(batch: WindowBatch, gamma: float) -> Float[Tensor, " B"]:
    """Σ_k γ^k r_{t+k} over the window (DAWM's return target)."""
    assert batch.reward is not None
    return discounted(batch.reward[:, 1:], gamma)


def discounted(reward: Float[Tensor, "B T"], gamma: float) -> Float[Tensor, " B"]:
    """Σ_k γ^k r_k."""
    return reward @ gamma ** torch.arange(reward.shape[1], device=reward.device, dtype=reward.dtype)
