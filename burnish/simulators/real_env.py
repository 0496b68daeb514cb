"""The real simulator as an environment to learn in: what ImaginedEnv is to a world model, with real consequences.

Burnish's recipes never refine in it. It is there for the comparison: the same policy and the same PPO, online.
"""

from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.errors import InputError
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import resolve
from burnish.simulators.vector import SimulatorVectorEnv


class ObserverState(Protocol):
    """What an observer knows of N episodes."""

    def where(self, mask: Bool[Tensor, " N"], other: Any) -> Any:
        """The other state's rows where the mask is true, the own ones elsewhere."""
        ...


class Observer(Protocol):
    """What turns observations into features: a world model, or an observation history."""

    feature_dim: int
    action_steps: int

    def initial(self, batch_size: int, /) -> Any:
        """The state before anything was observed."""
        ...

    def observe(self, state: Any, action: Tensor | None, observation: dict[str, Tensor], /) -> Any:
        """The state after an action and the observation that followed."""
        ...

    def features(self, state: Any, /) -> Tensor:
        """The state as one vector for each episode."""
        ...


class RealEnv(VectorEnv):
    """Steps a simulator and an observer with `observe`; observations are the observer's features, (num_envs, F).

    The interface is ImaginedEnv's: one step takes a decision, actions (num_envs, chunk, A); episodes that end restart
    in the same step. The reward is 1 where an episode succeeded within the decision; in a task that does not tell
    success, it is the environment's own. `halted` is always false, and `imagined_steps` is 0: what is counted is
    `real_steps`, the decisions' actions that the simulator executed.

    Args:
        task: its name chooses the suite.
        observer: gives the features.
        num_envs: environments, stepped one after another in this process.
        settings: action repeat, time limit, and the cameras whose pictures the observer sees.
        chunk: actions of one decision.
        seed: decides the first start of each environment; the following ones are drawn far from evaluation's.

    Raises:
        InputError: unknown task or camera, or a chunk that the observer's transitions do not divide.
    """

    imagined_steps = 0
    resumable = False
    """A simulator cannot be saved: where training goes on, new episodes begin."""

    def __init__(
        self, task: str, observer: Observer, num_envs: int, settings: SimulatorConfig, chunk: int, seed: int = 0
    ) -> None:
        if chunk % observer.action_steps:
            raise InputError(f"a decision has {chunk} actions, the observer takes {observer.action_steps} at once")
        settings = resolve(task, settings)
        self.env = SimulatorVectorEnv(task, num_envs, settings)
        self._rewards_success = settings.success_key is not None
        self.observer, self.num_envs, self.chunk = observer, num_envs, chunk
        self.feature_dim, self.action_dim = observer.feature_dim, self.env.action_dim
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (self.feature_dim,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (chunk, self.action_dim), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.device = torch.device("cpu")
        self.seed, self.real_steps = seed, 0
        self._state: ObserverState = observer.initial(num_envs)

    @torch.no_grad()
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Begin episodes in all environments."""
        base = self.seed if seed is None else seed
        # Two draws away from the seeds of collection and evaluation: the stream's own range begins there.
        self.env.reset(seed=list(range(base, base + self.num_envs)))
        observation, _ = self.env.reset()
        self._state = self.observer.observe(self.observer.initial(self.num_envs), None, _tensors(observation))
        return self.observer.features(self._state), {}

    @torch.no_grad()
    def step(self, actions: Float[Tensor, "N chunk A"]) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Execute one decision in every environment; an episode that ends within it executes no more of it."""
        actions = actions.reshape(self.num_envs, self.chunk, self.action_dim).clamp(-1, 1)
        success = torch.zeros(self.num_envs, dtype=torch.bool)
        terminated, truncated = success.clone(), success.clone()
        reward = torch.zeros(self.num_envs)
        for group in actions.split(self.observer.action_steps, dim=1):
            alive = ~(terminated | truncated)
            observation: dict[str, np.ndarray] = {}
            for action in group.unbind(1):
                observation, own, ended, late, info = self.env.step(action.numpy())
                self.real_steps += int(info["stepped"].sum())
                terminated, truncated = torch.from_numpy(ended), torch.from_numpy(late)
                reward += torch.from_numpy(own)
                success |= alive & torch.from_numpy(info["success"])
            following = self.observer.observe(self._state, group.flatten(1), _tensors(observation))
            self._state = self._state.where(alive, following)
        features, done = self.observer.features(self._state), terminated | truncated
        info = {"success": success, "halted": torch.zeros_like(done), "final_obs": features, "_final_obs": done}
        if done.any():
            observation, _ = self.env.reset(options={"reset_mask": done.numpy()})
            fresh = self.observer.observe(self.observer.initial(self.num_envs), None, _tensors(observation))
            self._state = self._state.where(done, fresh)
        reward = success.float() if self._rewards_success else reward
        return self.observer.features(self._state), reward, terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Close the simulators."""
        self.env.close()

    def state_dict(self) -> dict[str, Any]:
        """What is kept when training stops; the episodes under way are not, since a simulator cannot be saved."""
        return {"real_steps": self.real_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.real_steps = int(state["real_steps"])


def _tensors(observation: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {key: torch.from_numpy(values) for key, values in observation.items()}
