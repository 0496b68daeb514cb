"""A state that knows what was asked for and what came of it so far: the last frames, a short film, and the instruction.

Judges of whole episodes see the film, policies the newest frames and the sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset
from burnish.errors import InputError
from burnish.world_models.pixel_history import PixelHistory, PixelHistoryConfig, PixelHistoryState, push, signed

INSTRUCTION = "observation.instruction"
"""Key of an observation that says which task is asked for: its number among the data's tasks, (…, 1)."""


@dataclass(frozen=True)
class FilmState(PixelHistoryState):
    """The last H frames, and of the whole episode so far K pictures.

    Picture k of the film is that of decision k · every, as long as there was one; the last one, and all that are still
    to come, are the newest frame.
    """

    film: UInt8[Tensor, "B K C S S"]
    age: Int[Tensor, " B"]
    """Transitions since the episode began."""
    instruction: Int[Tensor, " B"]


@dataclass(frozen=True)
class FilmConfig(PixelHistoryConfig):
    """A history's settings, and those of the film; actions are told to the world model as they are."""

    film: int = within(6, 1)
    """K, pictures of an episode that a judge sees."""
    every: int = within(8, 1)
    """Transitions from one to the next (World-Gymnast: 3)."""


class FilmHistory(Component):
    """Observer half of a world model of frames with instructions.

    Args:
        instructions: the sentences of the data, each one once.
        told: the one that holds where an observation does not say which.
        text_dim: numbers of a sentence (`fit`).
    """

    action_steps = 1
    table: Tensor

    def __init__(
        self, action_dim: int, config: FilmConfig, instructions: tuple[str, ...], told: str, text_dim: int | None = None
    ) -> None:
        super().__init__()
        if told not in instructions:
            known = ", ".join(repr(each) for each in instructions)
            raise InputError(f"the instruction '{told}': found no episode of it in the data, expected one of {known}")
        self.config, self.action_dim, self.instructions = config, action_dim, instructions
        self.told = instructions.index(told)
        self.pictures_of = PixelHistory(action_dim, config)
        self.register_buffer("table", torch.eye(len(instructions), text_dim or len(instructions)))
        self.feature_shape = self.pictures_of.feature_shape
        self.text_dim = self.table.shape[1]
        self.feature_dim = self.pictures_of.feature_dim + self.text_dim

    def fit(self, sentences: Float[Tensor, "N E"]) -> Self:
        """Take the sentences' vectors from a text encoder, in the place of a row of the identity for each."""
        if sentences.shape != self.table.shape:
            expected = tuple(self.table.shape)
            raise InputError(f"the text encoder: found vectors of shape {tuple(sentences.shape)}, expected {expected}")
        self.table.copy_(sentences)
        return self

    def asking(self, task: str) -> "FilmHistory":
        """The same, told another of its instructions."""
        other = FilmHistory(self.action_dim, self.config, self.instructions, task, self.text_dim)
        return other.to(self.table.device).fit(self.table)

    @property
    def keys(self) -> tuple[str, ...]:
        """The cameras' keys."""
        return self.pictures_of.keys

    @property
    def channels(self) -> int:
        """Of a frame."""
        return self.pictures_of.channels

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """What one observation holds, by LeRobot's keys."""
        return self.pictures_of.observation_shapes

    def initial(self, batch_size: int) -> FilmState:
        """States of episodes that have not begun."""
        empty = self.pictures_of.initial(batch_size)
        film = empty.frames[:, :1].expand(-1, self.config.film, -1, -1, -1)
        age = torch.full((batch_size,), -1, device=film.device)
        return FilmState(**empty.tensors(), film=film, age=age, instruction=torch.full_like(age, self.told))

    def observe(self, state: FilmState, action: Tensor | None, observation: dict[str, Tensor]) -> FilmState:
        """Push real pictures, and take the instruction that the observation tells, or the one that this one is told.

        Raises InputError for unusable pictures.
        """
        seen = self.pictures_of.observe(state, action, observation)
        found = self._filmed(state, seen)
        if INSTRUCTION not in observation:
            return found
        return replace(found, instruction=observation[INSTRUCTION].flatten().long())

    def followed(self, state: FilmState, action: Float[Tensor, "B A"], frame: UInt8[Tensor, "B C S S"]) -> FilmState:
        """The state after `action`, which led to this frame."""
        return self._filmed(state, push(state, action, frame))

    def _filmed(self, state: FilmState, seen: PixelHistoryState) -> FilmState:
        age = state.age + 1
        first = torch.arange(self.config.film, device=age.device) * self.config.every
        first[-1] = torch.iinfo(first.dtype).max
        film = torch.where((first >= age[:, None])[..., None, None, None], seen.frames[:, -1:], state.film)
        pushed = {name: getattr(seen, name) for name in ("frames", "action", "valid")}
        return FilmState(**pushed, film=film, age=age, instruction=state.instruction)

    def recorded(self, dataset: Dataset) -> FilmState:
        """The state at every frame of a dataset; K + H times the dataset's own pictures in memory."""
        seen = self.pictures_of.recorded(dataset)
        episode = dataset.episode_of_frame
        start = dataset.starts[episode]
        age = torch.arange(dataset.num_frames, device=start.device) - start
        offsets = torch.arange(self.config.film, device=age.device) * self.config.every
        frames = torch.minimum(offsets, age[:, None])
        frames[:, -1] = age
        rows = start[:, None] + frames
        film = self.pictures_of.pictures({key: dataset.observations[key][rows] for key in self.keys})
        told = torch.tensor(self.numbers(dataset.tasks), device=age.device)[episode]
        return FilmState(**seen.tensors(), film=film, age=age, instruction=told)

    def numbers(self, tasks: Sequence[str]) -> list[int]:
        """Each task's number; InputError where one is none of the instructions."""
        unknown = sorted(set(tasks) - set(self.instructions))
        if unknown:
            raise InputError(f"found the tasks {', '.join(unknown)}, expected some of {', '.join(self.instructions)}")
        return [self.instructions.index(task) for task in tasks]

    def features(self, state: FilmState) -> Float[Tensor, "B F"]:
        """The newest frames in [-1, 1], flattened, and the sentence."""
        newest = signed(state.frames[:, -self.config.feature_frames :]).flatten(1)
        return torch.cat([newest, self.table[state.instruction]], dim=1)

    def decode(self, state: FilmState) -> dict[str, Tensor]:
        """The newest picture of every camera, and the instruction."""
        return {**self.pictures_of.decode(state), INSTRUCTION: state.instruction.float().unsqueeze(1)}


def with_instructions(dataset: Dataset) -> Dataset:
    """The data set with each frame's instruction among its observations: its task's number among all, sorted."""
    names = instructions_of(dataset)
    number = torch.tensor([names.index(task) for task in dataset.tasks], device=dataset.device)
    told = number[dataset.episode_of_frame].float().unsqueeze(1)
    return replace(dataset, observations={**dataset.observations, INSTRUCTION: told})


def instructions_of(dataset: Dataset) -> tuple[str, ...]:
    """The tasks of a whole data set, sorted."""
    return tuple(sorted(set(dataset.tasks)))
