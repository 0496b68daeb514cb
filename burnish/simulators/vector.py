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
from burnish.simulators.tasks import simulator_of

COLLECTION_SEEDS = 0
"""First seed of collected episodes; collection stays below `EVALUATION_SEEDS`."""
EVALUATION_SEEDS = 1_000_000
"""First seed of evaluation episodes, so that no evaluation start was ever trained on."""
_AUTORESET_SEEDS = (2**32, 2**52)  # drawn ones stay away from both ranges, and JSON keeps them exactly


class SimulatorVectorEnv(VectorEnv):
    """K environments of one task, stepped one after another in this process.

    One env step holds its action for `action_repeat` control steps. The reward is 1.0 on a step that ends in
    success, else 0.0. `terminated` is success (later by `frames_after_success`), `truncated` the time limit;
    the two are never both true. Every `info` has `success` (K,) bool and `seed` (K,) int64.

    With `AutoresetMode.DISABLED` a finished environment is frozen: later steps leave it alone, repeat its last
    observation, success and flags, and give reward 0, until `reset(options={"reset_mask": mask})`. `info["stepped"]`
    (K,) says which ones a step moved. With `SAME_STEP` it starts a new episode at once, the old one's last
    observation and info being `info["final_obs"]` (object array of dicts) and `info["final_info"]`, as in Gymnasium.

    Args:
        task: its name chooses the simulator (`simulator_of`).
        num_envs: K.
        action_repeat: control steps per env step.
        max_steps: env steps per episode before it is truncated; `max_steps * action_repeat` within the
            simulator's limit (Meta-World: 500).
        success_ends_episode: False lets every episode last until the time limit.
        frames_after_success: env steps that follow the first success before the episode terminates.
        autoreset_mode: DISABLED or SAME_STEP.
        cameras: whose pictures the observations carry beside the state, `observation.images.<camera>`: uint8
            (K, image_size, image_size, 3).
        image_size: height and width of the pictures in pixels.
        envs: K existing environments of this task and action repeat to use instead of making new ones.

    Raises:
        InputError: unknown task or camera, an episode longer than the simulator allows, or a mode that is not offered.
        RunError: (when resetting) pictures cannot be drawn on this machine.
    """

    def __init__(
        self,
        task: str,
        num_envs: int,
        *,
        action_repeat: int = 1,
        max_steps: int = 500,
        success_ends_episode: bool = True,
        frames_after_success: int = 0,
        autoreset_mode: AutoresetMode = AutoresetMode.DISABLED,
        cameras: Sequence[str] = (),
        image_size: int = 64,
        envs: Sequence[SimulatorEnv] | None = None,
    ) -> None:
        simulator = simulator_of(task)
        simulator.check_episode_length(max_steps, action_repeat)
        simulator.check_cameras(cameras, image_size)
        if autoreset_mode not in (AutoresetMode.DISABLED, AutoresetMode.SAME_STEP):
            raise InputError(f"autoreset mode {autoreset_mode} is not offered: use DISABLED or SAME_STEP")
        if num_envs < 1 or frames_after_success < 0:
            raise InputError(f"num_envs {num_envs} must be at least 1, frames_after_success {frames_after_success} 0")
        make = simulator.make_env
        self.envs = list(envs) if envs is not None else [make(task, action_repeat) for _ in range(num_envs)]
        if len(self.envs) != num_envs or any(e.task != task or e.action_repeat != action_repeat for e in self.envs):
            raise InputError(f"the given environments are not {num_envs} of {task} with action repeat {action_repeat}")
        self.task = task
        self.action_dim = simulator.action_dim
        self.num_envs = num_envs
        self.action_repeat = action_repeat
        self.max_steps = max_steps
        self.success_ends_episode = success_ends_episode
        self.frames_after_success = frames_after_success
        self.autoreset_mode = autoreset_mode
        self.cameras, self.image_size = tuple(cameras), image_size
        self.metadata = {"autoreset_mode": autoreset_mode}
        spaces: dict[str, gym.spaces.Box[Any]] = {}
        spaces[STATE] = gym.spaces.Box(-np.inf, np.inf, (len(simulator.state_names),), np.float32)
        for camera in self.cameras:
            spaces[image_key(camera)] = gym.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
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
            self._advance(int(index), actions[index])
            rewards[index] = float(self._success[index])
        terminated, truncated = self._terminated.copy(), self._truncated.copy()
        final: dict[str, Any] = {}
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            final = self._restart(terminated | truncated)
        info = {**self._info(), **final, "stepped": stepped, "_stepped": np.ones(self.num_envs, bool)}
        return self._observations(), rewards, terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()

    def _begin(self, index: int, seed: int | None) -> None:
        if seed is None:
            seed = int(self._seed_streams[index].integers(*_AUTORESET_SEEDS))
        else:
            self._seed_streams[index] = np.random.default_rng([seed, 0xA0705])
        self._show(index, self.envs[index].reset(seed))
        self._seeds[index] = seed
        self._steps[index] = 0
        self._since_success[index] = -1
        self._success[index] = self._terminated[index] = self._truncated[index] = False

    def _advance(self, index: int, action: np.ndarray) -> None:
        observation, success, _ = self.envs[index].step(action)
        self._show(index, observation)
        self._success[index] = success
        self._steps[index] += 1
        if success or self._since_success[index] >= 0:
            self._since_success[index] += 1
        ended = self.success_ends_episode and self._since_success[index] >= self.frames_after_success
        self._terminated[index] = ended
        self._truncated[index] = not ended and self._steps[index] >= self.max_steps

    def _show(self, index: int, observation: Observation) -> None:
        self._shown[STATE][index] = observation[STATE]
        if self.cameras:
            env = self.envs[index]
            painter = painter_of(env, self.image_size)
            for camera in self.cameras:
                self._shown[image_key(camera)][index] = painter.draw(env, camera)

    def _restart(self, finished: np.ndarray) -> dict[str, Any]:
        if not finished.any():
            return {}
        final_obs = np.full(self.num_envs, None, dtype=object)
        final_info = {**self._info(), "_success": finished.copy(), "_seed": finished.copy()}
        for index in np.flatnonzero(finished):
            final_obs[index] = {key: values[index].copy() for key, values in self._shown.items()}
            self._begin(int(index), None)
        return {
            "final_obs": final_obs,
            "_final_obs": finished.copy(),
            "final_info": final_info,
            "_final_info": finished.copy(),
        }

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
