"""Who acts in the simulator: scripted experts, clean or noisy, and random motion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from burnish.errors import InputError
from burnish.simulators.base import Observation
from burnish.simulators.noise import CorrelatedNoise
from burnish.simulators.tasks import check_task, suite_of
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
    """The suite's scripted expert with temporally correlated Gaussian noise on its actions.

    The noise (`CorrelatedNoise`) is added to the expert's action clipped to [-1, 1], and the sum is clipped again.

    Args:
        task: its name chooses the suite.
        noise: the standard deviation; 0 for the clean expert.
        correlation: of successive frames, in [0, 1).
        play: the suite's script for graded data instead, in which the task may be one skill among several.

    Raises:
        InputError: unknown task, a suite without scripts, or noise or correlation out of range.
    """

    def __init__(self, task: str, noise: float = 0.0, correlation: float = 0.9, play: bool = False) -> None:
        if noise < 0 or not 0 <= correlation < 1:
            raise InputError(f"noise {noise} must be at least 0 and correlation {correlation} in [0, 1)")
        self.task = check_task(task)
        self._make = suite_of(self.task).expert(play)
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
    """Actions uniform in [-1, 1], drawn from the episode's seed."""

    def begin(self, env: SimulatorVectorEnv, seeds: Sequence[int]) -> None:
        """Start K episodes."""
        # The stream's number keeps the motion independent of the start state, drawn from the same seed.
        self._generators = [np.random.default_rng([seed, 2]) for seed in seeds]
        self._dim = env.action_dim

    def act(self, observation: Observation) -> np.ndarray:
        """Uniform actions, float32 (K, A)."""
        draws = [generator.uniform(-1.0, 1.0, self._dim) for generator in self._generators]
        return np.stack(draws).astype(np.float32)
