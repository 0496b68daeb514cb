"""One environment of a suite, who acts in it and who draws it, so that collection and filming know no suite by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from burnish.data.episodes import STATE
from burnish.errors import InputError
from burnish.simulators.counter import count_control_step, count_reset, count_tracking

__all__ = ["STATE", "ControlStep", "Expert", "Observation", "Painter", "Renderer", "SimulatorEnv", "check_at_least_one"]

Observation = dict[str, np.ndarray]


@dataclass(frozen=True)
class ControlStep:
    """What one control step of an environment gave.

    Attributes:
        reward: the environment's own.
        success: whether it shows success; False where it does not tell.
        terminated: the environment ended the episode.
        truncated: the environment cut the episode off.
        info: whatever else it says.
    """

    reward: float
    success: bool = False
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = field(default_factory=dict)


class SimulatorEnv(ABC):
    """One environment in which `reset(seed)` alone decides how an episode starts.

    The same seed and actions give bitwise the same episode, whatever was played before. Every control step and every
    reset is counted (`burnish.simulators.counter`). A suite's own class says how an episode starts, what one control
    step does, and what is observed.

    Attributes:
        task: the task's name.
        action_repeat: control steps per env step.

    Raises:
        InputError: an action repeat below 1.
    """

    def __init__(self, task: str, action_repeat: int = 1) -> None:
        check_at_least_one(1, action_repeat)
        self.task = task
        self.action_repeat = action_repeat
        self._playing = self._had_success = False

    @property
    def observation(self) -> Observation:
        """The current observation, new arrays at each call: `observation.state`, float32 (D,), where there is one."""
        if not self._playing:
            raise RuntimeError("call reset before reading observations")
        return self._observe()

    def reset(self, seed: int) -> Observation:
        """Start the episode that belongs to `seed`.

        Args:
            seed: at least 0; distinct seeds give distinct starts.

        Returns:
            The first observation.
        """
        if seed < 0:
            raise InputError(f"a seed must be at least 0, not {seed}")
        count_reset()
        self._playing, self._had_success = True, False
        self._start(seed)
        return self._observe()

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Hold an action for up to `action_repeat` control steps.

        It stops early when the episode's first success appears, so that success is never stepped over, and where the
        environment ends the episode.

        Args:
            action: (A,), clipped to [-1, 1].

        Returns:
            The observation, the sum of the environment's own rewards, whether the environment itself terminated the
            episode or truncated it, and info: the environment's at the last control step, `success` (bool) and
            `control_steps`, their number.
        """
        if not self._playing:
            raise RuntimeError("call reset before step")
        action = np.clip(np.asarray(action, dtype=np.float32), -1.0, 1.0)
        reward, steps = 0.0, 0
        while True:
            result = self._control_step(action)
            count_control_step()
            count_tracking(result.info)
            steps, reward = steps + 1, reward + result.reward
            first_success = result.success and not self._had_success
            self._had_success = self._had_success or result.success
            if first_success or result.terminated or result.truncated or steps == self.action_repeat:
                break
        info = {**result.info, "success": result.success, "control_steps": steps}
        return self._observe(), reward, result.terminated, result.truncated, info

    @abstractmethod
    def close(self) -> None:
        """Release the simulator."""

    @abstractmethod
    def _start(self, seed: int) -> None:
        """Start the episode of a seed, at least 0."""

    @abstractmethod
    def _control_step(self, action: np.ndarray) -> ControlStep:
        """Apply an action, float32 (A,) in [-1, 1], for one control period."""

    @abstractmethod
    def _observe(self) -> Observation:
        """What is observed now, in arrays of the caller's own."""


class Expert(Protocol):
    """The script of one episode."""

    def act(self, env: Any) -> np.ndarray:
        """The action (A,) for what `env` (the suite's own class) shows now; called once for each env step."""
        ...


class Renderer(Protocol):
    """Draws what one environment shows now."""

    def render(self) -> np.ndarray:
        """The picture, uint8 (H, W, 3)."""
        ...

    def close(self) -> None:
        """Release what drawing needed; the environment stays."""
        ...


class Painter(Protocol):
    """Draws the pictures of observations: of any environment of one task, with any of the task's cameras.

    Pictures depend on what the environment shows alone: not on what was drawn before, nor on the process.
    """

    def draw(self, env: Any, camera: str) -> np.ndarray:
        """What `env` shows now, right side up: uint8 (size, size, 3)."""
        ...

    def close(self) -> None:
        """Release what drawing needed; the environments stay."""
        ...


def check_at_least_one(max_steps: int, action_repeat: int) -> None:
    """Raise InputError unless both are at least 1."""
    if action_repeat < 1 or max_steps < 1:
        raise InputError(f"max_steps {max_steps} and action_repeat {action_repeat} must both be at least 1")
