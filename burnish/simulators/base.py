"""What every simulator offers, so that collection, evaluation and filming know none by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from burnish.errors import InputError

Observation = dict[str, np.ndarray]


class SimulatorEnv(Protocol):
    """One environment in which `reset(seed)` alone decides how an episode starts.

    The same seed and actions give bitwise the same episode, whatever was played before. Every control step and every
    reset is counted (`burnish.simulators.counter`).

    Attributes:
        task: the task's name.
        action_repeat: control steps per env step.
    """

    task: str
    action_repeat: int

    @property
    def observation(self) -> Observation:
        """The current observation: `observation.state`, float32 (D,)."""
        ...

    def reset(self, seed: int) -> Observation:
        """Start the episode that belongs to `seed`, at least 0."""
        ...

    def step(self, action: np.ndarray) -> tuple[Observation, bool, dict[str, Any]]:
        """Hold an action (A,) for up to `action_repeat` control steps, ending early at the first success.

        Returns:
            The observation, whether it shows success, and info with `control_steps`, the number of them.
        """
        ...

    def close(self) -> None:
        """Release the simulator."""
        ...


class Expert(Protocol):
    """The script of one episode."""

    def act(self, env: Any) -> np.ndarray:
        """The action (A,) for what `env` (the simulator's own class) shows now; called once for each env step."""
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
    """Draws the pictures of observations: of any environment of one task, with any of the simulator's cameras.

    Pictures depend on what the environment shows alone: not on what was drawn before, nor on the process.
    """

    def draw(self, env: Any, camera: str) -> np.ndarray:
        """What `env` shows now, right side up: uint8 (size, size, 3)."""
        ...

    def close(self) -> None:
        """Release what drawing needed; the environments stay."""
        ...


@dataclass(frozen=True)
class Simulator:
    """One simulator.

    Attributes:
        name: in the data sets' information.
        title: in messages to people.
        robot_type: the robot's name, as LeRobot records it.
        action_names: A names, in the action's order; actions are in [-1, 1].
        state_names: D names, in the state's order.
        control_rate: control steps per second.
        control_step_limit: of one episode, None where the simulator has none.
        cameras: that it can draw with, the default first.
        chunk_episodes: episodes that one process plays side by side. Fixed for each simulator, because a network's
            batch size can change its last bits.
        check_task: raises InputError for an unknown task, or where the simulator is not installed.
        make_env: (task, action_repeat) to an environment.
        make_expert: (task, seed, noise) to the scripted expert of one episode. `noise` is the level that `ExpertActor`
            adds to the actions; a script may blur its own waypoints by it as well.
        make_play: the same for graded, imperfect data: an expert, or play in which the task is one of several skills.
        make_renderer: (env, size in pixels, camera or None for the default) to a renderer: pictures for people.
        make_painter: (any environment of the task, size in pixels) to a painter: pictures for learning. Where a
            simulator has a faster way of drawing that looks slightly different, this is it.
    """

    name: str
    title: str
    robot_type: str
    action_names: tuple[str, ...]
    state_names: tuple[str, ...]
    control_rate: int
    control_step_limit: int | None
    cameras: tuple[str, ...]
    chunk_episodes: int
    check_task: Callable[[str], Any]
    make_env: Callable[[str, int], SimulatorEnv]
    make_expert: Callable[[str, int, float], Expert]
    make_play: Callable[[str, int, float], Expert]
    make_renderer: Callable[[Any, int | tuple[int, int], str | None], Renderer]
    make_painter: Callable[[Any, int], Painter]

    @property
    def action_dim(self) -> int:
        """The size of an action, A."""
        return len(self.action_names)

    def check_episode_length(self, max_steps: int, action_repeat: int) -> None:
        """Raise InputError unless an episode of `max_steps` env steps fits into the simulator's limit."""
        check_at_least_one(max_steps, action_repeat)
        steps = max_steps * action_repeat
        if self.control_step_limit is not None and steps > self.control_step_limit:
            raise InputError(
                f"max_steps {max_steps} × action_repeat {action_repeat} = {steps} control steps, "
                f"but a {self.title} episode has at most {self.control_step_limit}"
            )

    def check_cameras(self, cameras: Sequence[str], image_size: int) -> None:
        """Raise InputError unless these are different cameras of this simulator, and the pictures have a size."""
        if image_size < 1:
            raise InputError(f"image_size is {image_size}, expected at least 1 pixel")
        unknown = [camera for camera in cameras if camera not in self.cameras]
        if unknown:
            raise InputError(f"{self.title} has no camera {unknown[0]!r}; the cameras are: {', '.join(self.cameras)}")
        if len(set(cameras)) != len(cameras):
            raise InputError(f"a camera is named twice: {', '.join(cameras)}")


def check_at_least_one(max_steps: int, action_repeat: int) -> None:
    """Raise InputError unless both are at least 1."""
    if action_repeat < 1 or max_steps < 1:
        raise InputError(f"max_steps {max_steps} and action_repeat {action_repeat} must both be at least 1")
