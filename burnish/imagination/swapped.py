"""An environment whose values are another's, and whose gradients are a local model's."""

from typing import Any

import gymnasium
import torch
from gymnasium.vector import VectorEnv
from jaxtyping import Float
from torch import Tensor

from burnish.errors import InputError
from burnish.imagination.local_model import LocalModel
from burnish.world_models.base import State


class SwappedEnv(VectorEnv):
    """Steps `env` without gradients and gives what it says, bit for bit; backward it is the local model.

    With x' and r from `env`, L the local dynamics and r̂ its reward (arXiv 2602.06219; 2509.00215):

        x_{t+1} = swap(L(x_t, a_t), x')        r_t = swap(r̂(x_t, a_t, x_{t+1}), r)

    Where an episode ends, the next observation is that of the restart, to which no gradient leads, and the local
    model's memory begins anew; `info["final_obs"]` is what the step led to, with its gradient, and `info["goes_on"]` is
    0 where the episode ended by itself and 1 elsewhere, with the gradient of the chance that the local model sees for
    that (beyond the paper, which has no such gradient: then nothing keeps a policy from where episodes are halted).
    Nothing here trains.

    `env` is any `gymnasium.vector.VectorEnv` of tensors that restarts in the same step: an `ImaginedEnv`, or a
    simulator. Where actions need no gradient, none is kept.
    """

    def __init__(self, env: VectorEnv, local: LocalModel) -> None:
        self.env: Any = env
        self.local = local
        if local.feature_dim != self.env.feature_dim:
            raise InputError(
                f"the local model was made for {local.feature_dim} features, the environment gives "
                f"{self.env.feature_dim}"
            )
        self.num_envs, self.metadata = env.num_envs, env.metadata
        self.single_observation_space, self.single_action_space = env.single_observation_space, env.single_action_space
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.generator = torch.Generator(device=self.env.device)
        self._features: Tensor | None = None
        self._state: Any = None

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.env.device

    @property
    def feature_dim(self) -> int:
        """F."""
        return self.env.feature_dim

    @property
    def imagined_steps(self) -> int:
        """Actions that were imagined so far; the local model's are not counted, it only tells their gradients."""
        return self.env.imagined_steps

    @torch.no_grad()
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Begin episodes, all of them or (`reset_mask`) some; see `ImaginedEnv.reset`."""
        if seed is not None:
            self.generator.manual_seed(seed)
        features, info = self.env.reset(seed=seed, options=options)
        fresh, mask = self.local.begin(features), (options or {}).get("reset_mask")
        if mask is not None and self._state is not None:
            fresh = self._state.where(torch.as_tensor(mask, device=self.device), fresh)
        self._state = fresh
        self._features = features
        return features, info

    def step(self, actions: Float[Tensor, "N *chunk A"]) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """One decision of every environment; actions are clipped to [-1, 1]."""
        if self._features is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        with torch.no_grad():
            following, reward, terminated, truncated, info = self.env.step(actions)
        with torch.set_grad_enabled(torch.is_grad_enabled() and actions.requires_grad):
            done = info["_final_obs"]
            true = torch.where(done.unsqueeze(-1), info["final_obs"], following)
            flat = actions.flatten(1).clamp(-1, 1)
            led_to, state = self.local.follow(self._state, flat, true, self.generator)
            reward, goes_on = self.local.judged(self._features, flat, led_to, reward, terminated)
            self._state = state.where(done, self.local.begin(following))
            self._features = torch.where(done.unsqueeze(-1), following, led_to)
        return self._features, reward, terminated, truncated, info | {"final_obs": led_to, "goes_on": goes_on}

    def detach(self) -> None:
        """Let no gradient flow back beyond this moment."""
        if self._features is not None:
            self._features = self._features.detach()
            self._state = _mapped(self._state, Tensor.detach)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the following steps depend on, besides the models."""
        assert self._features is not None
        local = {name: tensor.detach() for name, tensor in self._state.tensors().items()}
        own = {"features": self._features.detach(), "generator": self.generator.get_state()}
        return {"env": self.env.state_dict(), "local": local, **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.env.load_state_dict(state["env"])
        self.generator.set_state(state["generator"])
        features: Tensor = state["features"].to(self.device)
        self._features, kind = features, type(self.local.begin(features))
        self._state = kind(**{name: tensor.to(self.device) for name, tensor in state["local"].items()})


def _mapped(state: State, function: Any) -> State:
    return type(state)(**{name: function(tensor) for name, tensor in state.tensors().items()})
