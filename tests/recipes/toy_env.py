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


class CommandedEnv(gymnasium.Env):
    """A velocity that actions change slowly, and one that is asked for: another one every 15 steps."""

    observation_space = gymnasium.spaces.Dict(
        {name: gymnasium.spaces.Box(-3.0, 3.0, (1,), np.float32) for name in ("velocity", "command")}
    )
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.time, self.velocity = 0, 0.0
        self.command = self.np_random.uniform(-1, 1)
        return self._observation(), {}

    def step(self, action: np.ndarray):
        self.time += 1
        self.velocity += 0.3 * float(np.clip(action, -1, 1)[0]) - 0.1 * self.velocity
        reward = -abs(self.velocity - self.command)
        if self.time % 15 == 0:
            self.command = self.np_random.uniform(-1, 1)
        return self._observation(), reward, False, False, {}

    def _observation(self) -> dict[str, np.ndarray]:
        return {"velocity": np.array([self.velocity], np.float32), "command": np.array([self.command], np.float32)}


def make_commanded() -> gymnasium.Env:
    return gymnasium.wrappers.TimeLimit(CommandedEnv(), 45)
