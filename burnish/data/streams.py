"""Contiguous sequences for recurrent models: each batch goes on where the one before ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from burnish.data.dataset import Dataset
from burnish.data.rows import RowSampler
from burnish.errors import InputError


class Carries(Protocol):
    """What keeps a recurrent model's state from one batch to the next."""

    carry: dict[str, Tensor] | None


@dataclass(frozen=True)
class SequenceBatch:
    """B sequences of L successive frames; `stream` carries a recurrent model's state from batch to batch.

    Attributes:
        observation: LeRobot's keys to (B, L, ...).
        previous_action: (B, L, A): what led to each frame; 0 where an episode begins.
        begins: bool (B, L): is the frame the first of its episode.
        stream: where the batch comes from; its `carry` is the state after the previous batch, or None.
    """

    observation: dict[str, Tensor]
    previous_action: Tensor
    begins: Tensor
    stream: Carries


class Streams(RowSampler[Tensor]):
    """B equidistant readers over all frames, L at a time, round and round; episodes follow each other without padding.

    DreamerV2's way of feeding play data (DiWA: 50 streams of 50 frames): a recurrent state can be carried over, so
    that it has seen more than one sequence, and is reset where an episode begins.

    Attributes:
        carry: the tensors of a model's state after the last batch, rows = streams; kept by the model's loss.
    """

    def __init__(self, dataset: Dataset, length: int) -> None:
        """Raises InputError for a length below 2, or a dataset shorter than one sequence."""
        if not 2 <= length <= dataset.num_frames:
            raise InputError(
                f"sequences: found length {length}, expected 2 to {dataset.num_frames}, the frames there are"
            )
        self.dataset, self.length = dataset, length
        self.position = 0
        self.carry: dict[str, Tensor] | None = None
        self._begins = torch.zeros(dataset.num_frames, dtype=torch.bool, device=dataset.device)
        self._begins[dataset.starts] = True
        previous = dataset.actions.roll(1, 0)
        previous[dataset.starts] = 0
        self._previous = previous

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """The next L frames of each of `batch_size` streams (the same number at every call), int64 (B, L)."""
        frames, device = self.dataset.num_frames, self.dataset.device
        offsets = torch.arange(batch_size, device=device) * frames // batch_size
        index = (offsets[:, None] + self.position + torch.arange(self.length, device=device)) % frames
        self.position = (self.position + self.length) % frames
        return index

    def gather(self, drawn: Tensor) -> SequenceBatch:
        """The sequences of these frames, int64 (B, L)."""
        # A reader that wraps around at the data's end meets the first episode's beginning, which is a reset.
        return SequenceBatch(
            observation={key: values[drawn] for key, values in self.dataset.observations.items()},
            previous_action=self._previous[drawn],
            begins=self._begins[drawn],
            stream=self,
        )

    def state_dict(self) -> dict[str, Any]:
        """What resumed training needs from here."""
        return {"position": self.position, "carry": self.carry}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.position = int(state["position"])
        carry = state["carry"]
        self.carry = {name: tensor.to(self.dataset.device) for name, tensor in carry.items()} if carry else None


def in_chunks(dataset: Dataset, chunk: int) -> tuple[Dataset, Tensor]:
    """The dataset as a model of whole action chunks sees it: every `chunk`-th frame, from every offset.

    An episode of T frames becomes `chunk` episodes, beginning at its frames 0 … chunk-1. The action at a frame is the
    next `chunk` actions, flattened to (chunk · A); the last frame's is padded by repeating the last action, and is
    never executed. The reward of a frame is the sum of those since the frame before.

    Returns:
        The new dataset, and int64 (F',): the frame of `dataset` that each of its frames is.
    """
    frames, lengths, origins = [], [], []
    reward, terminated = (
        None if values is None else sums_since(values, dataset, chunk)
        for values in (dataset.reward, dataset.terminated)
    )
    for episode, (start, length) in enumerate(zip(dataset.starts.tolist(), dataset.lengths.tolist(), strict=True)):
        for offset in range(min(chunk, length)):
            row = torch.arange(start + offset, start + length, chunk, device=dataset.device)
            frames.append(row)
            lengths.append(len(row))
            origins.append(episode)
    order = torch.cat(frames)
    last = (dataset.starts + dataset.lengths - 1)[dataset.episode_of_frame[order]]
    steps = torch.minimum(order[:, None] + torch.arange(chunk, device=dataset.device), last[:, None])
    count = torch.tensor(lengths, device=dataset.device)
    return Dataset(
        observations={key: values[order] for key, values in dataset.observations.items()},
        actions=dataset.actions[steps].flatten(1),
        success=dataset.success[order],
        starts=count.cumsum(0) - count,
        lengths=count,
        sources=tuple(dataset.sources[e] for e in origins),
        seeds=tuple(dataset.seeds[e] for e in origins),
        tasks=tuple(dataset.tasks[e] for e in origins),
        info=dataset.info,
        reward=_rows(reward, order, count),
        terminated=_rows(terminated, order, count),
    ), order


def sums_since(values: Tensor, dataset: Dataset, count: int) -> Tensor:
    """Sum of numbers, or whether any is true, over the `count` frames up to and with each frame (F,)."""
    frames = torch.arange(dataset.num_frames, device=dataset.device)
    window = frames[:, None] - torch.arange(count, device=dataset.device)
    inside = window >= dataset.starts[dataset.episode_of_frame][:, None]
    window = window.clamp(min=0)
    return (values[window] & inside).any(1) if values.dtype == torch.bool else (values[window] * inside).sum(1)


def _rows(values: Tensor | None, order: Tensor, lengths: Tensor) -> Tensor | None:
    """Values of the frames in `order`; nothing led to the first frame of an episode."""
    if values is None:
        return None
    chosen = values[order]
    chosen[lengths.cumsum(0) - lengths] = 0
    return chosen
