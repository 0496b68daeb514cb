"""A run opened for driving: its models, its policies, and where an episode may begin; all of it warm."""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.data import STATE, Dataset, Normaliser, is_image_key, read_dataset
from burnish.data.signals import action_names_of
from burnish.errors import BurnishError, InputError
from burnish.evaluation.imagined_pictures import states_at
from burnish.imagination import Models
from burnish.policies import Agent, load_agent
from burnish.recipes.loading import load
from burnish.recipes.stages.refining import inside
from burnish.rewards import JudgedReward, SuccessReward, VideoJudge
from burnish.studio.reality import Reality, action_names, available
from burnish.world_models import FilmState, State, learned_dimensions

ASIDE = -1
"""The number of the simulator that no lane has."""
_TRIED = 2
"""Transitions by which it is measured how fast a model is; the first one also warms it up."""


@dataclass(frozen=True)
class Beginning:
    """Where an episode begins: at a recorded frame, or at a start of the simulator.

    Attributes:
        frame: of the data set; None where it is a simulator's start.
        seed: of the simulator's start; -1 where the frame's episode has none.
    """

    frame: int | None = None
    seed: int = -1


class OpenedRun:
    """What one drives in.

    Attributes:
        folder: the run folder.
        models: world model, reward and pessimism, as refinement had them.
        data: the episodes as the models read them.
        task: as recorded.
        action_names, state_names: of the dimensions; states without names have none.
        step_seconds: what an imagined step takes here.
    """

    def __init__(self, folder: Path) -> None:
        found = load(folder).imagination()
        self.folder, self._found = folder, found
        self.models: Models = found.models
        self.hopeful: Models = found.models.hopeful()
        self.data: Dataset = found.data
        self.policies: dict[str, Path] = found.policies
        self.task = self.data.tasks[0]
        info = self.data.info
        self.action_names = tuple(action_names_of(self.data))
        if not info.action_names and found.real is not None:
            self.action_names = action_names(found.real) or self.action_names
        self.state_names = tuple(info.state_names or ())
        self._agents: dict[str, Agent] = {}
        self._realities: dict[int, Reality] = {}
        self.step_seconds = self._measured()

    @cached_property
    def missing_simulator(self) -> str | None:
        """Why there is no simulator here; None where there is one. The first look imports it."""
        return available(self._found.real)

    @property
    def world(self) -> Any:
        """The world model behind the encoder, if there is one."""
        return self.models.world_model

    @property
    def shows_pictures(self) -> bool:
        """Whether what is imagined is seen in pictures."""
        return bool(self._found.cameras)

    @cached_property
    def pictures(self) -> Dataset | None:
        """The recorded pictures; None where models see none."""
        if not self.shows_pictures:
            return None
        if any(map(is_image_key, self.data.observations)):
            return self.data
        return read_dataset(self._found.folder, cameras=self._found.cameras)

    @cached_property
    def learned(self) -> list[int]:
        """Dimensions of the state in which imagined and real are compared."""
        return list(learned_dimensions(self.data)) if STATE in self.data.observations else []

    @property
    def outer(self) -> Any:
        """The world model with its encoder, if it has one."""
        return self._found.outer

    @property
    def normaliser(self) -> Normaliser:
        """Of the state vector."""
        return self.world.normaliser

    @property
    def thresholds(self) -> dict[str, float]:
        """What the strip's curves are compared with."""
        reward = self.models.reward
        found = {each.name: 1.0 for each in self.models.pessimism.uncertainties}
        if isinstance(reward, SuccessReward):
            found["probability"] = float(reward.classifier.threshold)
        if isinstance(reward, JudgedReward) and isinstance(reward.judge, VideoJudge):
            found["probability"] = reward.judge.config.threshold
        return found

    def agent(self, name: str) -> Agent:
        """A policy as imagination knows it, with no memory of an episode.

        Raises:
            InputError: the run has none of this name, or its files are damaged.
        """
        if name not in self.policies:
            raise InputError(f"this run has no policy '{name}', only {', '.join(self.policies) or 'none'}")
        if name not in self._agents:
            self._agents[name] = inside(load_agent(self.policies[name]))
        return self._agents[name]

    def begin(self, beginning: Beginning) -> State:
        """The world model's state (one row) where an episode begins.

        Raises:
            InputError: no such frame, or no simulator to ask for a start.
        """
        if beginning.frame is None:
            shown = self.reality(ASIDE).start(beginning)
            observation = {key: torch.from_numpy(value)[None] for key, value in shown.items()}
            return self.outer.observe(self.outer.initial(1), None, observation)
        if not 0 <= beginning.frame < self.data.num_frames:
            raise InputError(f"frame {beginning.frame}: the data set has {self.data.num_frames}")
        return states_at(self.world, self.data, torch.tensor([beginning.frame]))

    def place(self, frame: int) -> tuple[int, int]:
        """The episode of a frame, and the frame's number in it."""
        episode = int(torch.searchsorted(self.data.starts, frame, right=True)) - 1
        return episode, frame - int(self.data.starts[episode])

    def reality(self, number: int) -> Reality:
        """The simulator beside lane `number`, or the one `ASIDE`; InputError where there is none here."""
        if self.missing_simulator is not None:
            raise InputError(f"no simulator beside it: {self.missing_simulator}")
        if number not in self._realities:
            assert self._found.real is not None
            self._realities[number] = Reality(self._found.real, self.data)
        return self._realities[number]

    def seen(self, state: State) -> dict[str, Tensor]:
        """What a state of one row stands for: the state vector (D,), or pictures (S, S, 3) by camera."""
        decoded = {key: values[0] for key, values in self.outer.decode(state).items()}
        pictures = {key: values for key, values in decoded.items() if is_image_key(key)}
        return pictures or {STATE: decoded[STATE]}

    def gap(self, seen: dict[str, Tensor], real: dict[str, Any]) -> float | None:
        """How far what is imagined of one frame is from what is real.

        Of states the root mean square in standard deviations of the data, over the dimensions that move; of pictures
        the root mean square of their values in [0, 1].
        """
        if STATE in seen and STATE in real and len(seen[STATE]) == len(real[STATE]):
            both = torch.stack([seen[STATE], torch.as_tensor(real[STATE])])
            imagined, there = self.normaliser.normalise(both)[:, self.learned]
            return float((imagined - there).square().mean().sqrt())
        parts = [
            (seen[key].float() - torch.as_tensor(real[key]).float()).flatten() / 255
            for key in seen
            if is_image_key(key) and key in real
        ]
        return float(torch.cat(parts).square().mean().sqrt()) if parts else None

    def probability(self, state: State) -> float | None:
        """Of success, by the classifier, or of all so far by a judge of videos; None where the reward has neither."""
        reward = self.models.reward
        if isinstance(reward, JudgedReward) and isinstance(reward.judge, VideoJudge):
            assert isinstance(state, FilmState)
            return float(reward.judge.probability(state.film, state.instruction))
        if not isinstance(reward, SuccessReward):
            return None
        return float(reward.classifier.probability(self.world.features(state)))

    def described(self) -> dict[str, Any]:
        """For the page."""
        info, chunk = self.data.info, self.world.action_steps
        return {
            "folder": str(self.folder),
            "task": self.task,
            "model": type(self.world).__name__,
            "pictures": self.shows_pictures,
            "actions": list(self.action_names),
            "units": None if info.scaling is None else [list(info.scaling.low), list(info.scaling.high)],
            **self.states(),
            "policies": list(self.policies),
            "thresholds": self.thresholds,
            "fps": info.fps / chunk,
            "chunk": chunk,
            "frames": self.data.num_frames,
            "limit": info.max_steps,
            "step_seconds": self.step_seconds,
            "episodes": [
                {"start": int(s), "length": int(n), "source": who, "success": bool(ok), "seed": seed}
                for s, n, who, ok, seed in zip(
                    self.data.starts, self.data.lengths, self.data.sources, self.data.episode_success, self.data.seeds,
                    strict=True,
                )
            ],
        }  # fmt: skip

    def close(self) -> None:
        """Let go of the simulators."""
        for each in self._realities.values():
            each.close()
        self._realities.clear()

    def states(self) -> dict[str, Any]:
        """The names of the state's dimensions and their recorded ranges, so that drawings keep their scale."""
        return {"states": list(self.state_names), "bounds": self._bounds()}

    def _bounds(self) -> list[list[float]]:
        if self.shows_pictures or STATE not in self.data.observations:
            return []
        states = self.data.observations[STATE]
        some = states[:: max(1, len(states) // 20_000)]
        levels = torch.quantile(some, torch.tensor([0.01, 0.99]), dim=0)
        return [[round(float(value), 5) for value in each] for each in levels]

    @torch.no_grad()
    def _measured(self) -> float:
        state = states_at(self.world, self.data, self.data.starts[:1])
        action = torch.zeros(1, self.data.action_dim * self.world.action_steps)
        generator, began = torch.Generator().manual_seed(0), time.perf_counter()
        for _ in range(_TRIED):
            began = time.perf_counter()
            self.world.imagine(state, action, generator)
        return time.perf_counter() - began


def open_run(folder: Path) -> OpenedRun:
    """Open a run for driving.

    Raises:
        InputError: it has not come so far, it is damaged, or it names code of somebody's own.
    """
    try:
        return OpenedRun(folder)
    except BurnishError:
        raise
    except Exception as error:  # whatever a damaged folder leads to, the studio goes on
        raise InputError(f"{folder.name}: cannot be opened ({type(error).__name__}: {error})") from error
