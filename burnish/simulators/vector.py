"""Several environments of one task in one process as a Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from burnish.data.episodes import STATE, image_key
from burnish.errors import InputError
from burnish.simulators.base import Observation, SimulatorEnv
from burnish.simulators.painting import painter_of
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import check_task, suite_of

COLLECTION_SEEDS = 0
"""First seed of collected episodes; collection stays below `EVALUATION_SEEDS`."""
EVALUATION_SEEDS = 1_000_000
"""First seed of evaluation episodes, so that no evaluation start was ever trained on."""
_DRAWN_SEEDS = (2**32, 2**52)  # drawn ones stay away from both ranges, and JSON keeps them exactly


class SimulatorVectorEnv(VectorEnv):
    """K environments of one task, stepped one after another in this process.

    One env step holds its action for `action_repeat` control steps. The reward is the environment's own, summed over
    them. `terminated` is success (later by `frames_after_success`) or the environment's own end, `truncated` the time
    limit; the two are never both true. Every `info` has `success` (K,) bool, false in a task that does not tell, and
    `seed` (K,) int64.

    A finished environment is frozen (`AutoresetMode.DISABLED`): later steps leave it alone, repeat its last
    observation, success and flags, and give reward 0, until `reset(options={"reset_mask": mask})`. `info["stepped"]`
    (K,) says which ones a step moved.

    Args:
        task: its name chooses the suite.
        num_envs: K.
        settings: action repeat, time limit, and the cameras whose pictures the observations carry beside the state,
            `observation.images.<camera>`: uint8 (K, image_size, image_size, 3).
        frames_after_success: env steps that follow the first success before the episode terminates.
        envs: K existing environments of this task and action repeat to use instead of making new ones.

    Raises:
        InputError: unknown task or camera, or an episode longer than the suite allows.
        RunError: (when resetting) pictures cannot be drawn on this machine.
    """

    def __init__(
        self,
        task: str,
        num_envs: int,
        settings: SimulatorConfig | None = None,
        *,
        frames_after_success: int = 0,
        envs: Sequence[SimulatorEnv] | None = None,
    ) -> None:
        if num_envs < 1 or frames_after_success < 0:
            raise InputError(f"num_envs {num_envs} must be at least 1, frames_after_success {frames_after_success} 0")
        task = check_task(task)
        suite = suite_of(task)
        settings = suite.filled(task, settings or SimulatorConfig())
        assert settings.action_repeat is not None and settings.max_steps is not None
        spec = suite.describe(task, settings)
        repeat, size = settings.action_repeat, settings.image_size
        self.envs = list(envs) if envs is not None else [suite.make_env(task, settings) for _ in range(num_envs)]
        if len(self.envs) != num_envs or any(e.task != task or e.action_repeat != repeat for e in self.envs):
            raise InputError(f"the given environments are not {num_envs} of {task} with action repeat {repeat}")
        self.task, self.settings = task, settings
        self.action_dim, self.units = spec.action_dim, spec.units
        self.num_envs = num_envs
        self.max_steps = settings.max_steps
        self.frames_after_success = frames_after_success
        self.cameras = settings.cameras
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        spaces: dict[str, gym.spaces.Box[Any]] = {}
        if spec.state_names:
            spaces[STATE] = gym.spaces.Box(-np.inf, np.inf, (len(spec.state_names),), np.float32)
        for camera in self.cameras:
            spaces[image_key(camera)] = gym.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.single_observation_space = gym.spaces.Dict({**spaces})
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (self.action_dim,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        self._shown = {key: np.zeros((num_envs, *s.shape), s.dtype) for key, s in spaces.items()}
        self._seeds = np.full(num_envs, -1, np.int64)
        self._steps = np.zeros(num_envs, np.int64)
        self._since_success = np.full(num_envs, -1, np.int64)  # env steps since the first success; -1 before it
        self._success = np.zeros(num_envs, bool)
        self._terminated = np.zeros(num_envs, bool)
        self._truncated = np.zeros(num_envs, bool)
        self._seed_streams: list[np.random.Generator] = []

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: s starts environment i with seed s + i; a sequence names each environment's own. Without, each
                environment draws its next seed: a reproducible stream that the last given seed began.
            options: `reset_mask`, bool (K,): which environments to reset (default all).

        Returns:
            Observations and info of all environments.
        """
        mask = self._reset_mask(options)
        for index, given in enumerate(self._listed(seed)):
            if mask[index]:
                self._begin(index, given)
        return self._observations(), self._info()

    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every environment that is not finished.

        Args:
            actions: (K, A), clipped to [-1, 1].

        Returns:
            Observations, rewards (K,) float64, terminated (K,), truncated (K,) and info.
        """
        actions = np.asarray(actions, np.float32)
        if actions.shape != (self.num_envs, self.action_dim):
            raise InputError(f"actions have shape {actions.shape}, expected {(self.num_envs, self.action_dim)}")
        if not np.isfinite(actions).all():
            raise InputError(f"the action of environment {int(np.argwhere(~np.isfinite(actions))[0, 0])} is not finite")
        if (self._seeds < 0).any():
            raise InputError("call reset before step")
        stepped = ~(self._terminated | self._truncated)
        rewards = np.zeros(self.num_envs)
        for index in np.flatnonzero(stepped):
            rewards[index] = self._advance(int(index), actions[index])
        info = {**self._info(), "stepped": stepped, "_stepped": np.ones(self.num_envs, bool)}
        return self._observations(), rewards, self._terminated.copy(), self._truncated.copy(), info

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()

    def _begin(self, index: int, seed: int | None) -> None:
        if seed is None:
            seed = int(self._seed_streams[index].integers(*_DRAWN_SEEDS))
        else:
            self._seed_streams[index] = np.random.default_rng([seed, 0xA0705])
        self._show(index, self.envs[index].reset(seed))
        self._seeds[index] = seed
        self._steps[index] = 0
        self._since_success[index] = -1
        self._success[index] = self._terminated[index] = self._truncated[index] = False

    def _advance(self, index: int, action: np.ndarray) -> float:
        observation, reward, ended, cut, info = self.envs[index].step(action)
        self._show(index, observation)
        success = self._success[index] = info["success"]
        self._steps[index] += 1
        if success or self._since_success[index] >= 0:
            self._since_success[index] += 1
        ended = ended or self._since_success[index] >= self.frames_after_success
        self._terminated[index] = ended
        self._truncated[index] = not ended and (cut or self._steps[index] >= self.max_steps)
        return reward

    def _show(self, index: int, observation: Observation) -> None:
        if STATE in self._shown:
            self._shown[STATE][index] = observation[STATE]
        if self.cameras:
            env = self.envs[index]
            painter = painter_of(env, self.settings.image_size)
            for camera in self.cameras:
                self._shown[image_key(camera)][index] = painter.draw(env, camera)

    def _observations(self) -> Observation:
        return {key: values.copy() for key, values in self._shown.items()}

    def _info(self) -> dict[str, Any]:
        # Gymnasium pairs each entry with a mask of the environments that have it.
        everyone = np.ones(self.num_envs, bool)
        return {
            "success": self._success.copy(),
            "_success": everyone.copy(),
            "seed": self._seeds.copy(),
            "_seed": everyone.copy(),
        }

    def _listed(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None or not self._seed_streams:
            base = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else 0
            if not self._seed_streams:
                self._seed_streams = [np.random.default_rng([base, i]) for i in range(self.num_envs)]
        if seed is None:
            return [None] * self.num_envs
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else list(seed)
        if len(seeds) != self.num_envs:
            raise InputError(f"{len(seeds)} seeds for {self.num_envs} environments")
        return [None if s is None else int(s) for s in seeds]

    def _reset_mask(self, options: dict[str, Any] | None) -> np.ndarray:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, bool)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise InputError(f"reset_mask must be a bool array of shape ({self.num_envs},), not {mask!r}")
        return mask
