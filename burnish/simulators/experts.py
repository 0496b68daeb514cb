"""Who acts in the simulator: scripted experts, clean or noisy, and random motion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from burnish.errors import InputError
from burnish.simulators.base import Observation
from burnish.simulators.noise import CorrelatedNoise
from burnish.simulators.tasks import check_task, simulator_of
from burnish.simulators.vector import SimulatorVectorEnv


class Actor(Protocol):
    """Chooses the actions of K episodes that start together."""

    def begin(self, env: SimulatorVectorEnv, seeds: Sequence[int]) -> None:
        """All K episodes of `env` start now; episode k has `seeds[k]`."""
        ...

    def act(self, observation: Observation) -> np.ndarray:
        """Actions (K, A) for the current frame; rows of finished episodes are ignored."""
        ...


class ExpertActor:
    """The simulator's scripted expert with temporally correlated Gaussian noise on its actions.

    The noise (`CorrelatedNoise`) is added to the expert's action clipped to [-1, 1], and the sum is clipped again.

    Args:
        task: its name chooses the simulator.
        noise: the standard deviation; 0 for the clean expert.
        correlation: of successive frames, in [0, 1).
        play: the simulator's script for graded data instead, in which the task may be one skill among several.

    Raises:
        InputError: unknown task, or noise or correlation out of range.
    """

    def __init__(self, task: str, noise: float = 0.0, correlation: float = 0.9, play: bool = False) -> None:
        if noise < 0 or not 0 <= correlation < 1:
            raise InputError(f"noise {noise} must be at least 0 and correlation {correlation} in [0, 1)")
        check_task(task)
        simulator = simulator_of(task)
        self._make = simulator.make_play if play else simulator.make_expert
        self.task = task
        self.noise = noise
        self.correlation = correlation

    def begin(self, env: SimulatorVectorEnv, seeds: Sequence[int]) -> None:
        """Start K episodes with new experts and new noise."""
        self._env = env
        self._experts = [self._make(self.task, seed, self.noise) for seed in seeds]
        self._noise = CorrelatedNoise(self.noise, self.correlation, env.action_dim, seeds)

    def act(self, observation: Observation) -> np.ndarray:
        """The experts' actions, float32 (K, A) in [-1, 1]."""
        actions = np.stack([expert.act(env) for expert, env in zip(self._experts, self._env.envs, strict=True)])
        actions = np.clip(actions, -1.0, 1.0)
        if self.noise > 0:
            actions = np.clip(actions + self._noise.next(), -1.0, 1.0)
        return actions.astype(np.float32)


class RandomActor:
    """Actions uniform in [-1, 1], drawn from the episode's seed.

    Args:
        hold: env steps for which each drawn action is kept (World4RL: 1).

    Raises:
        InputError: hold below 1.
    """

    def __init__(self, hold: int = 1) -> None:
        if hold < 1:
            raise InputError(f"hold must be at least 1, not {hold}")
        self.hold = hold

    def begin(self, env: SimulatorVectorEnv, seeds: Sequence[int]) -> None:
        """Start K episodes."""
        # The stream's number keeps the motion independent of the start state, drawn from the same seed.
        self._generators = [np.random.default_rng([seed, 2]) for seed in seeds]
        self._dim = env.action_dim
        self._frame = 0

    def act(self, observation: Observation) -> np.ndarray:
        """Uniform actions, float32 (K, A)."""
        if self._frame % self.hold == 0:
            draws = [generator.uniform(-1.0, 1.0, self._dim) for generator in self._generators]
            self._actions = np.stack(draws).astype(np.float32)
        self._frame += 1
        return self._actions.copy()
