"""What every suite of tasks offers, so that collection, evaluation and filming know none by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from burnish.data.dataset import Dataset
from burnish.data.depth import Camera
from burnish.data.episodes import STATE
from burnish.data.scaling import ActionScaling
from burnish.errors import InputError
from burnish.simulators.counter import count_control_step, count_reset, count_tracking
from burnish.simulators.settings import SimulatorConfig

__all__ = ["STATE", "ControlStep", "Expert", "Observation", "Painter", "Renderer", "SimulatorEnv", "Suite", "TaskSpec"]

Observation = dict[str, np.ndarray]


@dataclass(frozen=True)
class TaskSpec:
    """What observations and actions of a task mean.

    Attributes:
        action_names: A names, in the action's order; to Burnish actions are in [-1, 1].
        state_names: D names, in the state's order; empty where the task shows pictures only.
        control_rate: control steps per second.
        robot_type: the robot's name, as LeRobot records it.
        cameras: that it can draw with, the default first.
        action_repeat: control steps per decision, unless the run says otherwise.
        max_steps: decisions of an episode, unless the run says otherwise; None where the run must say it.
        control_step_limit: of one episode, None where there is none.
        success_key: entry of the environment's info that says success, None where it does not tell.
        action_low: A values in the environment's own units that -1 stands for; None where those are [-1, 1], too.
        action_high: the same for 1.
    """

    action_names: tuple[str, ...]
    state_names: tuple[str, ...]
    control_rate: float
    robot_type: str | None = None
    cameras: tuple[str, ...] = ()
    action_repeat: int = 1
    max_steps: int | None = None
    control_step_limit: int | None = None
    success_key: str | None = "success"
    action_low: tuple[float, ...] | None = None
    action_high: tuple[float, ...] | None = None

    @property
    def action_dim(self) -> int:
        """The size of an action, A."""
        return len(self.action_names)

    @property
    def units(self) -> ActionScaling:
        """What -1 and 1 stand for in the environment's own units."""
        low, high = self.action_low or (-1.0,) * self.action_dim, self.action_high or (1.0,) * self.action_dim
        return ActionScaling(low, high, names=self.action_names)

    def check_data(self, task: str, data: Dataset, scaling: ActionScaling | None = None) -> None:
        """Check that what is learned from a data set can act in the task: same state (if any), same number of actions.

        Actions that the data have in units of their own, to be scaled by `scaling`, must be in the task's.

        Raises:
            InputError: it cannot; names what differs.
        """
        state, own = data.observations.get(STATE), len(self.state_names)
        if state is not None and state.shape[1] != own:
            names = f" ({', '.join(self.state_names[:6])}{', …' if own > 6 else ''})" if own else ""
            raise InputError(f"{task} shows a state of {own} numbers{names}, the data set has {state.shape[1]}")
        if data.action_dim != self.action_dim:
            raise InputError(f"{task} takes {self.action_dim} numbers as an action, the data set has {data.action_dim}")
        if scaling is not None:
            recorded = ActionScaling.of(data.actions) if scaling.relative_to else scaling
            self._check_units(task, recorded)
        for number, names in enumerate(zip(data.info.state_names or (), self.state_names, strict=False)):
            # Gymnasium knows numbers by place (`agent_pos.0`), recordings often by name: that is no contradiction.
            if names[0] != names[1] and len({_is_place(name) for name in names}) == 1:
                raise InputError(f"{task} calls number {number} of its state '{names[1]}', the data set '{names[0]}'")

    def _check_units(self, task: str, scaling: ActionScaling) -> None:
        for name, *ends in zip(
            self.action_names, scaling.low, scaling.high, self.units.low, self.units.high, strict=True
        ):
            low, high, least, most = ends
            slack = 1e-3 * (most - least)
            if low < least - slack or high > most + slack:
                raise InputError(
                    f"{task} takes '{name}' from {least:g} to {most:g}, in the data set it reaches from {low:g} to "
                    f"{high:g}; a data set's actions must be in the task's own units, or in [-1, 1] for those bounds "
                    "(--action-units unit)"
                )

    def repeat(self, settings: SimulatorConfig) -> int:
        """Control steps per decision."""
        return self.action_repeat if settings.action_repeat is None else settings.action_repeat


def _is_place(name: str) -> bool:
    return name.rpartition(".")[2].isdecimal()


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


@dataclass(frozen=True)
class Suite:
    """A family of simulated tasks; from `make_expert` on, abilities that a suite need not have.

    Attributes:
        name: what its tasks' names begin with (`name:TASK`), and in the data sets' information.
        title: in messages to people.
        check_task: raises InputError for an unknown task, or where the simulator is not installed.
        describe: (task, settings) to what its observations and actions mean.
        make_env: (task, settings) to an environment.
        tasks: the tasks' names, for people; empty where they cannot be listed.
        probe: (task, settings) to settings, once for each run: a suite of unknown environments may try one out, fill in
            what only that shows, and raise InputError where it cannot be used.
        chunk_episodes: episodes that one process plays side by side. Fixed for each suite, because a network's batch
            size can change its last bits.
        own_settings: whether `success_key` and `env_kwargs` mean something here.
        make_expert: (task, seed, noise) to the scripted expert of one episode. `noise` is the level that `ExpertActor`
            adds to the actions; a script may blur its own waypoints by it as well.
        make_play: the same for graded, imperfect data: an expert, or play in which the task is one of several skills.
        make_renderer: (env, size in pixels, camera or None for the default) to a renderer: pictures for people.
        make_painter: (any environment of the task, size in pixels) to a painter: pictures for learning. Where a
            simulator has a faster way of drawing that looks slightly different, this is it.
        calibrate: (any environment of the task, camera) to where a camera that stands still is, for pictures of the
            painter; raises InputError for one that moves.
    """

    name: str
    title: str
    check_task: Callable[[str], Any]
    describe: Callable[[str, SimulatorConfig], TaskSpec]
    make_env: Callable[[str, SimulatorConfig], SimulatorEnv]
    tasks: Callable[[], Sequence[str]] = tuple
    probe: Callable[[str, SimulatorConfig], SimulatorConfig] | None = None
    chunk_episodes: int = 10
    own_settings: bool = False
    make_expert: Callable[[str, int, float], Expert] | None = None
    make_play: Callable[[str, int, float], Expert] | None = None
    make_renderer: Callable[[Any, int | tuple[int, int], str | None], Renderer] | None = None
    make_painter: Callable[[Any, int], Painter] | None = None
    calibrate: Callable[[Any, str], Camera] | None = None

    @property
    def abilities(self) -> tuple[str, ...]:
        """What it can do beside playing tasks, in words."""
        words = {
            "experts": self.make_expert,
            "play": self.make_play,
            "videos": self.make_renderer,
            "pictures": self.make_painter,
            "depth": self.calibrate,
        }
        return tuple(word for word, ability in words.items() if ability is not None)

    def expert(self, play: bool = False) -> Callable[[str, int, float], Expert]:
        """The maker of scripted experts, or of play.

        Raises:
            InputError: the suite has none; says what to do instead.
        """
        make = self.make_play if play else self.make_expert
        if make is None:
            raise InputError(
                f"{self.title} has no scripted {'play' if play else 'expert'}, so nothing can demonstrate the task: "
                "bring recorded demonstrations with --dataset PATH (beside --task)"
            )
        return make

    def resolve(self, task: str, settings: SimulatorConfig) -> SimulatorConfig:
        """Settings with everything said: `filled`, and what only trying the task out shows (`probe`)."""
        settings = self.filled(task, settings)
        return settings if self.probe is None else self.probe(task, settings)

    def filled(self, task: str, settings: SimulatorConfig) -> SimulatorConfig:
        """Settings with the suite's defaults filled in, and everything checked.

        Args:
            task: one of the suite's.
            settings: a run's.

        Raises:
            InputError: unknown task or camera, an episode that the task does not allow, or a setting that means
                nothing here.
        """
        self.check_task(task)
        spec = self.describe(task, settings)
        if not self.own_settings and (settings.success_key not in (None, spec.success_key) or settings.env_kwargs):
            raise InputError(
                f"{self.title} takes no success_key and no env_kwargs; they are for Gymnasium environments"
            )
        self._check_cameras(spec, settings)
        repeat = spec.repeat(settings)
        steps = self._episode_length(task, spec, repeat, settings.max_steps)
        key = settings.success_key or spec.success_key
        return replace(settings, action_repeat=repeat, max_steps=steps, success_key=key)

    def _episode_length(self, task: str, spec: TaskSpec, repeat: int, steps: int | None) -> int:
        check_at_least_one(1 if steps is None else steps, repeat)
        limit = spec.control_step_limit
        if steps is None:
            if spec.max_steps is None:
                raise InputError(f"{task} has no time limit of its own: give one with config.simulator.max-steps")
            # The default counts decisions of the default repeat.
            steps = -(-spec.max_steps * spec.action_repeat // repeat)
            steps = steps if limit is None else max(1, min(steps, limit // repeat))
        if limit is not None and steps * repeat > limit:
            raise InputError(
                f"max_steps {steps} × action_repeat {repeat} = {steps * repeat} control steps, "
                f"but a {self.title} episode has at most {limit}"
            )
        return steps

    def _check_cameras(self, spec: TaskSpec, settings: SimulatorConfig) -> None:
        if settings.image_size < 1:
            raise InputError(f"image_size is {settings.image_size}, expected at least 1 pixel")
        known = spec.cameras if self.make_painter is not None else ()
        unknown = [camera for camera in settings.cameras if camera not in known]
        if unknown:
            listed = f"the cameras are: {', '.join(known)}" if known else "it draws no pictures"
            raise InputError(f"{self.title} has no camera {unknown[0]!r}; {listed}")
        if len(set(settings.cameras)) != len(settings.cameras):
            raise InputError(f"a camera is named twice: {', '.join(settings.cameras)}")
        if not spec.state_names and not settings.cameras:
            raise InputError(
                f"{self.title} shows pictures only here, and no camera was asked for: "
                f"name config.simulator.cameras among {', '.join(known)}"
            )


def check_at_least_one(max_steps: int, action_repeat: int) -> None:
    """Raise InputError unless both are at least 1."""
    if action_repeat < 1 or max_steps < 1:
        raise InputError(f"max_steps {max_steps} and action_repeat {action_repeat} must both be at least 1")
