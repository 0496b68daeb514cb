"""A saved policy as an actor of the real simulator, loaded in whichever process plays the episodes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from burnish.evaluation.agent import load_agent
from burnish.simulators.base import Observation
from burnish.simulators.noise import CorrelatedNoise
from burnish.simulators.vector import SimulatorVectorEnv


class PolicyActor:
    """Plays the deterministic policy of a folder, plus temporally correlated noise.

    Args:
        folder: what `save_agent` wrote.
        noise: standard deviation of the noise, 0 for none.
        correlation: of the noise at successive frames.
    """

    def __init__(self, folder: Path, noise: float = 0.0, correlation: float = 0.9) -> None:
        self.agent = load_agent(folder)
        self.noise, self.correlation = noise, correlation

    def begin(self, env: SimulatorVectorEnv, seeds: Sequence[int]) -> None:
        """Start K episodes."""
        self.agent.begin(len(seeds))
        self._noise = CorrelatedNoise(self.noise, self.correlation, env.action_dim, seeds)

    def act(self, observation: Observation) -> np.ndarray:
        """Actions, float32 (K, A) in [-1, 1]."""
        action = self.agent.act({key: torch.from_numpy(value) for key, value in observation.items()}).numpy()
        if self.noise > 0:
            action = np.clip(action + self._noise.next(), -1, 1).astype(np.float32)
            self.agent.executed(torch.from_numpy(action))
        return action
