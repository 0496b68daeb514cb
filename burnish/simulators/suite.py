"""A family of simulated tasks, and what observations and actions of a task mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from burnish.data.dataset import Dataset
from burnish.data.depth import Camera
from burnish.data.episodes import STATE
from burnish.data.scaling import ActionScaling
from burnish.errors import InputError
from burnish.simulators.base import Expert, Painter, Renderer, SimulatorEnv, check_at_least_one
from burnish.simulators.settings import SimulatorConfig


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


def _is_place(name: str) -> bool:
    return name.rpartition(".")[2].isdecimal()
