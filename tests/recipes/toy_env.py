"""A point on a plane that actions push; success within 0.2 of the origin. An environment of the user's own."""

from typing import Any

import gymnasium
import numpy as np


class PointEnv(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (4,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.position = self.np_random.uniform(0.5, 1.0, 2) * self.np_random.choice([-1.0, 1.0], 2)
        self.push = np.zeros(2)
        return self._observation(), {}

    def step(self, action: np.ndarray):
        self.push = np.clip(np.asarray(action, float), -1, 1)
        self.position = self.position + 0.2 * self.push
        distance = float(np.linalg.norm(self.position))
        return self._observation(), -distance, False, False, {"is_success": distance < 0.2}

    def _observation(self) -> np.ndarray:
        return np.concatenate([self.position, self.push]).astype(np.float32)


class DenseEnv(PointEnv):
    """The same with minus the distance as its reward alone, and units of its own: pushes from 0 to 10."""

    action_space = gymnasium.spaces.Box(0.0, 10.0, (2,), np.float32)

    def step(self, action: np.ndarray):
        observation, reward, *ends, _ = super().step(np.asarray(action) / 5 - 1)
        return observation, reward, *ends, {}


def make() -> gymnasium.Env:
    return gymnasium.wrappers.TimeLimit(PointEnv(), 20)


def make_dense() -> gymnasium.Env:
    return gymnasium.wrappers.TimeLimit(DenseEnv(), 20)


def closer(state: Any, action: Any, following: Any) -> Any:
    """A reward for the way toward the origin."""
    (x, y), (u, v) = ((each["state.0"], each["state.1"]) for each in (state, following))
    return (x**2 + y**2).sqrt() - (u**2 + v**2).sqrt()
