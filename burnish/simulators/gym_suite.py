"""Any Gymnasium environment as a suite: `gym:ID`, and a user's own factory `module:function`."""

from __future__ import annotations

import functools
import logging
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from burnish.errors import BurnishError, InputError, RunError
from burnish.simulators.base import STATE, ControlStep, Observation, SimulatorEnv
from burnish.simulators.gym_making import check_gym_task, make, registered_ids
from burnish.simulators.gym_spaces import ActionScale, ObservationLayout
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.suite import Suite, TaskSpec

RENDER = "render"
"""The camera that is the environment's own `render()`."""
SUCCESS_KEYS = ("is_success", "success")
_RATE = 30  # where an environment does not say its own
_SEED, _STEPS, _EPISODE_STEPS = 7, 5, 200  # of the tries before a run
_LARGEST_SEED = 2**31  # environments with NumPy's older generators take no larger ones

_log = logging.getLogger(__name__)


class GymEnv(SimulatorEnv):
    """One Gymnasium environment, its observation as one state with names, its actions in [-1, 1].

    Attributes:
        limit: the environment's own time limit in control steps, None where it has none.
        layout: how its observations are read.
        actions: how its actions are scaled.
        told: what the info of the last control step had.

    Args:
        task: `gym:ID` or `module:function`.
        settings: action repeat, arguments of the environment, and where its `info` says success.

    Raises:
        InputError: it does not exist, cannot be made, or has spaces that are no Boxes; and while it plays: an
            observation or reward that is not a finite number.
    """

    def __init__(self, task: str, settings: SimulatorConfig) -> None:
        super().__init__(task, 1 if settings.action_repeat is None else settings.action_repeat)
        self._env, self.limit = make(task, settings)
        self.layout = ObservationLayout(self._env.observation_space, task)
        self.actions = ActionScale(self._env.action_space, task)
        self._keys = SUCCESS_KEYS if settings.success_key is None else (settings.success_key,)
        self._shown: Any = None
        self.told: set[str] = set()

    @property
    def draws(self) -> bool:
        """Whether `render()` gives pictures."""
        return self._env.render_mode == "rgb_array"

    @property
    def rate(self) -> float:
        """Control steps per second."""
        rate = self._env.metadata.get("render_fps")
        return float(rate) if isinstance(rate, (int, float)) and rate > 0 else _RATE

    @property
    def numbers(self) -> np.ndarray:
        """All numbers that are observed now, (N,): the state, or the pictures' where there is none."""
        if self.layout.state_names:
            return self.layout.state(self._shown)
        return np.concatenate([self.picture(camera).ravel() for camera in self.layout.cameras])

    def picture(self, camera: str) -> np.ndarray:
        """What a camera shows now, uint8 (H, W, 3).

        Raises:
            RunError: the environment cannot draw on this machine.
        """
        if camera != RENDER:
            return self.layout.picture(self._shown, camera)
        try:
            picture = np.asarray(self._env.render())
        except Exception as error:
            # Whatever a missing driver raises in other people's code.
            raise RunError(f"{self.task} cannot be drawn: {type(error).__name__}: {error}") from error
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise RunError(f"{self.task} cannot be drawn: render() gives no picture of 8-bit colours")
        return picture

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _start(self, seed: int) -> None:
        self._shown, _ = self._env.reset(seed=seed % _LARGEST_SEED)

    def _control_step(self, action: np.ndarray) -> ControlStep:
        self._shown, reward, terminated, truncated, info = self._env.step(self.actions.to_environment(action))
        reward = float(reward)
        if not np.isfinite(reward):
            raise InputError(f"{self.task}: the environment's reward is {reward}, not a finite number")
        self.told = set(info)
        success = any(bool(np.all(info[key])) for key in self._keys if key in info)
        return ControlStep(reward, success, bool(terminated), bool(truncated), dict(info))

    def _observe(self) -> Observation:
        return {STATE: self.layout.state(self._shown)} if self.layout.state_names else {}


class GymPainter:
    """Pictures of any environment's cameras, fitted into the asked size, the rest black.

    Args:
        size: pixels, or (height, width).

    Raises:
        InputError: a size below 1.
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        if height < 1 or width < 1:
            raise InputError(f"the picture's size must be at least 1 pixel, not {height}×{width}")
        self._size = (width, height)

    def draw(self, env: GymEnv, camera: str) -> np.ndarray:
        """What `env` shows now, uint8 (H, W, 3)."""
        picture = env.picture(camera)
        if picture.shape[1::-1] == self._size:
            return picture.copy()
        return np.asarray(ImageOps.pad(Image.fromarray(picture), self._size, Image.Resampling.BOX))

    def close(self) -> None:
        """Nothing to release: environments draw themselves."""


class GymRenderer:
    """The same of one environment and camera; by default its own `render()`.

    Raises:
        RunError: the environment draws nothing.
    """

    def __init__(self, env: GymEnv, size: int | tuple[int, int], camera: str | None) -> None:
        cameras = [RENDER] if env.draws else list(env.layout.cameras)
        if camera is None and not cameras:
            raise RunError(f"{env.task} cannot be drawn: it has no render mode rgb_array")
        self._env, self._camera, self._painter = env, camera or cameras[0], GymPainter(size)

    def render(self) -> np.ndarray:
        """The picture, uint8 (H, W, 3)."""
        return self._painter.draw(self._env, self._camera)

    def close(self) -> None:
        """Nothing to release."""


def _describe(task: str, settings: SimulatorConfig) -> TaskSpec:
    return replace(_description(task, settings.env_kwargs), success_key=settings.success_key)


@functools.cache
def _description(task: str, env_kwargs: tuple[str, ...]) -> TaskSpec:
    with closing(GymEnv(task, SimulatorConfig(env_kwargs=env_kwargs))) as env:
        return TaskSpec(
            action_names=env.actions.names,
            state_names=env.layout.state_names,
            control_rate=env.rate,
            cameras=(*env.layout.cameras, *([RENDER] if env.draws else [])),
            max_steps=env.limit,
            action_low=tuple(env.actions.low.tolist()),
            action_high=tuple(env.actions.high.tolist()),
        )


def _probe(task: str, settings: SimulatorConfig) -> SimulatorConfig:
    """Find where the environment's info says success, after a look at whether a seed decides what happens.

    Raises:
        InputError: it does not play, the same seed gives another start, or the stated key never comes.
    """
    stated = settings.success_key
    wanted = SUCCESS_KEYS if stated is None else (stated,)
    keys = _told(task, settings.env_kwargs, to_the_end=False)
    if not keys & set(wanted):
        keys |= _told(task, settings.env_kwargs, to_the_end=True)
    if stated is not None and stated not in keys:
        listed = ", ".join(sorted(keys)) or "nothing"
        raise InputError(f"{task}: success_key is '{stated}', but the environment's info has {listed}")
    return replace(settings, success_key=next((key for key in wanted if key in keys), None))


@functools.cache
def _told(task: str, env_kwargs: tuple[str, ...], to_the_end: bool) -> frozenset[str]:
    """The keys of an environment's infos, in a few steps that are checked for repeating, or in a whole episode."""
    try:
        with closing(GymEnv(task, SimulatorConfig(env_kwargs=env_kwargs))) as env:
            keys: set[str] = set()
            if to_the_end:
                _play(env, _SEED, _EPISODE_STEPS, keys)
            else:
                _check_seeding(env, keys)
            return frozenset(keys)
    except BurnishError:
        raise
    except Exception as error:
        # The environment's own code.
        raise InputError(f"{task} fails when it plays: {type(error).__name__}: {error}") from error


def _check_seeding(env: GymEnv, keys: set[str]) -> None:
    """Play a short episode twice; the keys of all infos are added to `keys`."""
    first = _play(env, _SEED, _STEPS, keys)
    _play(env, _SEED + 1, 1, keys)
    again = _play(env, _SEED, _STEPS, keys)
    if not np.array_equal(first[0], again[0]):
        raise InputError(
            f"{env.task} does not start the same when it is reset with the same seed, so that no episode could be "
            "repeated: let its reset(seed=...) decide the start (super().reset(seed=seed), then self.np_random)"
        )
    if len(first) != len(again) or not all(map(np.array_equal, first, again)):
        _log.warning("%s: the same seed and actions do not give the same episode; no video can be made of it", env.task)


def _play(env: GymEnv, seed: int, steps: int, keys: set[str]) -> list[np.ndarray]:
    """What a seeded episode of random actions shows, frame by frame; the keys of its infos are added to `keys`."""
    generator = np.random.default_rng(seed)
    env.reset(seed)
    frames = [env.numbers]
    for _ in range(steps):
        _, reward, terminated, truncated, _ = env.step(generator.uniform(-1, 1, len(env.actions.names)))
        frames.append(np.append(env.numbers, reward))
        keys |= env.told
        if terminated or truncated:
            break
    return frames


GYM = Suite(
    name="gym",
    title="Gymnasium",
    check_task=check_gym_task,
    describe=_describe,
    make_env=GymEnv,
    tasks=registered_ids,
    probe=_probe,
    own_settings=True,
    make_renderer=GymRenderer,
    make_painter=lambda env, size: GymPainter(size),
)
