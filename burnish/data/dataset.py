"""A whole dataset as tensors: all frames side by side in episode order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from burnish.data.checks import bad_input
from burnish.data.episodes import STATE, Episode, check_same_shapes
from burnish.data.info import IMAGINED, UNLABELLED, DatasetInfo
from burnish.data.mapped import choose
from burnish.data.scaling import ActionScaling
from burnish.errors import InputError

ENOUGH = 100_000
"""Frames from which statistics are taken; more hardly change them, and would have to be in memory."""


@dataclass(frozen=True)
class Dataset:
    """Episodes as tensors on one device, all frames concatenated in episode order.

    Attributes:
        observations: LeRobot's keys to float32 (F, ...); cameras' pictures are uint8 (F, H, W, 3), memory-mapped when
            they were read from disk. A data set of pictures may have no state.
        actions: float32 (F, A): the action chosen at each frame, in the data's units, or in [-1, 1] once `scaled`.
        success: bool (F,): does the frame itself show success.
        starts: int64 (E,): the first frame of each episode.
        lengths: int64 (E,): the number of frames of each episode.
        sources: who acted, per episode.
        seeds: the seed of each episode, -1 when unknown.
        tasks: the task of each episode.
        info: what holds for all episodes.
        reward: float32 (F,): received on arriving at the frame, 0 where an episode begins; None without rewards.
        terminated: bool (F,): did the episode end by itself on arriving at the frame; None where nobody said.
    """

    observations: dict[str, Tensor]
    actions: Tensor
    success: Tensor
    starts: Tensor
    lengths: Tensor
    sources: tuple[str, ...]
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    info: DatasetInfo
    reward: Tensor | None = None
    terminated: Tensor | None = None

    @property
    def num_episodes(self) -> int:
        """The number of episodes, E."""
        return len(self.starts)

    @property
    def num_frames(self) -> int:
        """The number of frames, F."""
        return len(self.actions)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.actions.device

    @property
    def observation_dim(self) -> int:
        """The size of the state, D.

        Raises:
            InputError: there are pictures alone.
        """
        if STATE not in self.observations:
            raise bad_input("the dataset", f"{sorted(self.observations)}", "a state", field=STATE)
        return self.observations[STATE].shape[-1]

    @property
    def action_dim(self) -> int:
        """The size of an action, A."""
        return self.actions.shape[-1]

    @property
    def task_names(self) -> tuple[str, ...]:
        """The different tasks, in the order of their first episode."""
        return tuple(dict.fromkeys(self.tasks))

    @property
    def episode_of_frame(self) -> Tensor:
        """int64 (F,): the episode that each frame belongs to."""
        return torch.repeat_interleave(torch.arange(self.num_episodes, device=self.device), self.lengths)

    @property
    def episode_success(self) -> Tensor:
        """bool (E,): does any frame of the episode show success."""
        counts = torch.zeros(self.num_episodes, dtype=torch.int64, device=self.device)
        return counts.index_add_(0, self.episode_of_frame, self.success.long()) > 0

    @property
    def has_success(self) -> bool:
        """Whether any frame shows success."""
        return bool(self.success.any())

    @property
    def has_reward(self) -> bool:
        """Whether rewards were recorded."""
        return self.reward is not None

    @property
    def episode_return(self) -> Tensor:
        """float32 (E,): the sum of each episode's rewards, undiscounted.

        Raises:
            InputError: the dataset has no rewards.
        """
        if self.reward is None:
            raise bad_input("the dataset", "no rewards", "a column 'next.reward'", field="reward")
        sums = torch.zeros(self.num_episodes, dtype=torch.float64, device=self.device)
        return sums.index_add_(0, self.episode_of_frame, self.reward.double()).float()

    def scaled(self, scaling: ActionScaling | None) -> Dataset:
        """The dataset with its actions in [-1, 1], as models learn from it; unchanged where there is no scaling."""
        if scaling is None:
            return self
        assert self.info.scaling is None
        actions = scaling.to_unit(self.actions, self.observations.get(STATE))
        return replace(self, actions=actions, info=replace(self.info, scaling=scaling))

    def to(self, device: torch.device | str) -> Dataset:
        """The same dataset with its tensors on `device`."""
        return replace(
            self,
            observations={key: values.to(device) for key, values in self.observations.items()},
            actions=self.actions.to(device),
            success=self.success.to(device),
            starts=self.starts.to(device),
            lengths=self.lengths.to(device),
            reward=None if self.reward is None else self.reward.to(device),
            terminated=None if self.terminated is None else self.terminated.to(device),
        )

    def subset(self, episodes: Sequence[int]) -> Dataset:
        """The given episodes, in the given order; they share this dataset's memory where they lie side by side.

        What lies in a file stays there (`MappedRows`).

        Raises:
            InputError: no episode, or one that does not exist.
        """
        wrong = [index for index in episodes if not 0 <= index < self.num_episodes]
        if wrong or not len(episodes):
            found = f"episode {wrong[0]}" if wrong else "no episode"
            raise bad_input("a subset of a dataset", found, f"episodes from 0 to {self.num_episodes - 1}")
        chosen = torch.as_tensor(list(episodes), dtype=torch.int64, device=self.device)
        lengths = self.lengths[chosen]
        starts = lengths.cumsum(0) - lengths
        frames = self._frames_of(chosen, starts, lengths)
        return Dataset(
            observations={key: choose(values, frames) for key, values in self.observations.items()},
            actions=choose(self.actions, frames),
            success=self.success[frames],
            starts=starts,
            lengths=lengths,
            sources=tuple(self.sources[index] for index in episodes),
            seeds=tuple(self.seeds[index] for index in episodes),
            tasks=tuple(self.tasks[index] for index in episodes),
            info=self.info,
            reward=None if self.reward is None else self.reward[frames],
            terminated=None if self.terminated is None else self.terminated[frames],
        )

    def _frames_of(self, chosen: Tensor, starts: Tensor, lengths: Tensor) -> Tensor | slice:
        """The frames of the chosen episodes, which begin at `starts` in the new dataset."""
        first, last = int(chosen[0]), int(chosen[-1])
        if chosen.tolist() == list(range(first, last + 1)):
            return slice(int(self.starts[first]), int(self.starts[last] + self.lengths[last]))
        shift = torch.repeat_interleave(self.starts[chosen] - starts, lengths)
        return torch.arange(len(shift), device=self.device) + shift

    def thinned(self, most: int = ENOUGH) -> Dataset:
        """Episodes spread evenly over the data, of about `most` frames, for statistics; all where there are no more."""
        every = -(-self.num_frames // most)
        return self if every <= 1 else self.subset(range(0, self.num_episodes, every))

    def with_sources(self, sources: Sequence[str]) -> Dataset:
        """The episodes that one of `sources` recorded.

        Raises:
            InputError: there is none.
        """
        episodes = [index for index, source in enumerate(self.sources) if source in sources]
        if not episodes:
            raise bad_input("the dataset", f"sources {sorted(set(self.sources))}", f"one of {list(sources)}")
        return self.subset(episodes)

    @property
    def num_judged(self) -> int:
        """The number of episodes whose outcome is known."""
        return sum(source != UNLABELLED for source in self.sources)

    @property
    def judged(self) -> Dataset:
        """The episodes whose outcome is known: what success, rewards and start states are taken from.

        Raises:
            InputError: there is none.
        """
        if self.num_judged == self.num_episodes:
            return self
        return self.with_sources(sorted(set(self.sources) - {UNLABELLED}))

    def groups(self) -> list[list[int]]:
        """Episodes by who acted and how it went: success, or where there is none the third of all returns."""
        how = self.episode_success.long()
        if self.reward is not None and not self.has_success:
            thirds = self.episode_return.quantile(torch.tensor([1 / 3, 2 / 3], device=self.device))
            how = (self.episode_return[:, None] > thirds).sum(1)
        groups: dict[tuple[str, int], list[int]] = {}
        for index, key in enumerate(zip(self.sources, how.tolist(), strict=True)):
            groups.setdefault(key, []).append(index)
        return [groups[key] for key in sorted(groups)]

    def split(self, held_out: float, seed: int) -> tuple[Dataset, Dataset]:
        """Split by episode into (training, held out), each with its share of every group (`groups`).

        Args:
            held_out: the fraction of episodes to hold out, in (0, 1); at least one episode stays on each side.
            seed: chooses the episodes.

        Raises:
            InputError: a fraction outside (0, 1), or fewer than two episodes.
        """
        training, held = self.split_episodes(held_out, seed)
        return self.subset(training), self.subset(held)

    def split_episodes(self, held_out: float, seed: int) -> tuple[list[int], list[int]]:
        """The episodes of both sides of `split`, in their order."""
        if not 0.0 < held_out < 1.0:
            raise InputError(f"the held-out fraction is {held_out}, expected a number between 0 and 1")
        if self.num_episodes < 2:
            raise InputError(f"a dataset of {self.num_episodes} episodes cannot be split, expected at least 2")
        members = self.groups()
        total = min(max(round(held_out * self.num_episodes), 1), self.num_episodes - 1)
        generator = torch.Generator().manual_seed(seed)
        held: set[int] = set()
        for episodes, quota in zip(members, _largest_remainders([len(group) for group in members], total), strict=True):
            order = torch.randperm(len(episodes), generator=generator).tolist()
            held.update(episodes[position] for position in order[:quota])
        return [index for index in range(self.num_episodes) if index not in held], sorted(held)

    @staticmethod
    def from_episodes(episodes: Iterable[Episode], info: DatasetInfo) -> Dataset:
        """The dataset of these episodes, on the CPU.

        Raises:
            InputError: no episode, or episodes whose observations or actions differ in kind or shape.
        """
        recorded = list(episodes)
        if not recorded:
            raise bad_input("a dataset", "no episode", "at least one")
        for index, episode in enumerate(recorded):
            check_same_shapes(recorded[0], episode, index, "the episodes")
        lengths = torch.tensor([len(episode) for episode in recorded], dtype=torch.int64)
        return Dataset(
            observations={
                key: torch.from_numpy(np.concatenate([episode.observation[key] for episode in recorded]))
                for key in recorded[0].observation
            },
            actions=torch.from_numpy(np.concatenate([episode.action for episode in recorded])),
            success=torch.from_numpy(np.concatenate([episode.success for episode in recorded])),
            starts=lengths.cumsum(0) - lengths,
            lengths=lengths,
            sources=tuple(episode.source for episode in recorded),
            seeds=tuple(episode.seed for episode in recorded),
            tasks=tuple(episode.task for episode in recorded),
            info=info,
            reward=_concatenated([episode.reward for episode in recorded]),
            terminated=_concatenated([episode.terminated for episode in recorded]),
        )

    def to_episodes(self) -> list[Episode]:
        """The episodes as NumPy arrays (views where the dataset lies in the CPU's memory)."""
        return list(self.episodes())

    def episodes(self) -> Iterator[Episode]:
        """The same one by one, where all of them may be larger than memory."""
        observations = {key: values.cpu() for key, values in self.observations.items()}
        actions, success = self.actions.cpu(), self.success.cpu().numpy()
        reward, terminated = (None if v is None else v.cpu().numpy() for v in (self.reward, self.terminated))
        for index, (start, length) in enumerate(zip(self.starts.tolist(), self.lengths.tolist(), strict=True)):
            frames = slice(start, start + length)
            yield Episode(
                observation={key: values[frames].numpy() for key, values in observations.items()},
                action=actions[frames].numpy(),
                success=success[frames],
                source=self.sources[index],
                seed=self.seeds[index],
                task=self.tasks[index],
                reward=None if reward is None else reward[frames],
                terminated=None if terminated is None else terminated[frames],
            )


def check_real(dataset: Dataset, where: object) -> None:
    """Check that nothing in a data set was made up by a world model.

    Raises:
        InputError: an episode was.
    """
    if IMAGINED in dataset.sources:
        found = "an episode that a world model imagined"
        raise bad_input(where, found, "what really happened", field="source", episode=dataset.sources.index(IMAGINED))


def _concatenated(columns: Sequence[np.ndarray | None]) -> Tensor | None:
    present = [column for column in columns if column is not None]
    return torch.from_numpy(np.concatenate(present)) if present else None


def _largest_remainders(sizes: list[int], total: int) -> list[int]:
    """Share `total` out over groups in proportion to their sizes; the largest remainders are rounded up."""
    exact = [total * size / sum(sizes) for size in sizes]
    quotas = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda group: (quotas[group] - exact[group], -sizes[group], group))
    for group in by_remainder[: total - sum(quotas)]:
        quotas[group] += 1
    return quotas
