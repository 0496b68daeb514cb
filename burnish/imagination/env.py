"""ImaginedEnv: the frozen world model as a `gymnasium.vector.VectorEnv` whose tensors never leave the device."""

from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError
from burnish.imagination.start_states import StartStates
from burnish.world_models.base import State, WorldModel


class Classifier(Protocol):
    """Tells from features whether the task is done."""

    def succeeded(self, features: Float[Tensor, "B F"]) -> Bool[Tensor, " B"]:
        """Success by the calibrated threshold."""
        ...


class Disagreement(Protocol):
    """Tells where the world model is not to be trusted."""

    threshold: Tensor
    members: int

    def __call__(self, state: Any, action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """Disagreement about the outcome of `action`."""
        ...

    def judge(
        self, state: Any, action: Float[Tensor, "B A"], member: Int[Tensor, " B"], generator: torch.Generator | None
    ) -> tuple[Float[Tensor, " B"], State]:
        """Disagreement, and the states in which each row's `member` believes."""
        ...


class Support(Protocol):
    """Tells how far a state and action are from the data."""

    threshold: Tensor

    def __call__(self, state: Any, action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """Distance to the data."""
        ...


@dataclass(frozen=True)
class ImaginationConfig:
    """Size and rules of the imagined environment."""

    num_envs: int = within(512, 1)
    horizon: int = within(50, 1)
    """Imagined actions after which an episode is truncated (its value is bootstrapped)."""
    chunk: int = within(1, 1)
    """Actions of one decision (T_a): one step of the environment executes all of them, and the classifier looks at
    where they led (DiWA, section 3).  Recipes set it to the policy's."""
    halting: bool = True
    """End an episode, without reward, where disagreement or the distance to the data passes its threshold."""
    member_share: float = within(0.0, 0, 1)
    """Share of imagined episodes that follow one member of the ensemble instead of the world model.  What works in
    one model only is a flaw of that model; what works in all of them may be real."""


class ImaginedEnv(VectorEnv):
    """Steps a world model with `imagine`; observations are its features, (num_envs, F) tensors.

    One step takes a decision of the policy: actions (num_envs, chunk, A), or (num_envs, A) where the chunk is one.
    - reward 1 and `terminated` where the classifier sees success;
    - `terminated` without reward where disagreement, or the distance to the data, passes its threshold (pessimism:
      what cannot be trusted is worth nothing);
    - `truncated` at the horizon;
    - a share of the episodes follows one member of the ensemble, drawn anew for each, instead of the world model.

    Episodes that end restart in the same step (`AutoresetMode.SAME_STEP`).  `info["final_obs"]` then holds the last
    features of all environments before the restart, valid where `info["_final_obs"]` is true; `info["success"]` and
    `info["halted"]` are (num_envs,) booleans.  `info["disagreement"]` and `info["distance"]` (num_envs,) tell how far
    the decision's states and actions were from the data, in units of the thresholds, on average over its transitions;
    each is there where the environment has what measures it.  For code that wants arrays, wrap it in
    `gymnasium.wrappers.vector.ArrayConversion(env, env_xp=torch, target_xp=numpy)`.
    """

    def __init__(
        self,
        world_model: WorldModel,
        classifier: Classifier,
        starts: StartStates,
        action_dim: int,
        config: ImaginationConfig,
        disagreement: Disagreement | None = None,
        seed: int = 0,
        support: Support | None = None,
    ) -> None:
        self.world_model, self.classifier = world_model, classifier
        self.disagreement, self.support = disagreement, support
        self.starts, self.config = starts, config
        self.num_envs = config.num_envs
        self.device = starts.first.device
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (world_model.feature_dim,), np.float32)
        shape = (action_dim,) if config.chunk == 1 else (config.chunk, action_dim)
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, shape, np.float32)
        self.feature_dim, self.action_dim = world_model.feature_dim, action_dim
        if config.chunk % world_model.action_steps:
            raise InputError(
                f"a decision has {config.chunk} actions, but the world model takes {world_model.action_steps} at once"
            )
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self.imagined_steps = 0
        self._state: State | None = None
        self._age = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        self._model = self._draw_models()

    @torch.no_grad()
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """Begin episodes at start states from the data.

        `options` may hold "states" (a State of num_envs rows, to begin exactly there) or "reset_mask" (num_envs,)
        booleans: only those begin anew.
        """
        options = options or {}
        if seed is not None:
            self.generator.manual_seed(seed)
        fresh = options["states"] if "states" in options else self.starts.sample(self.num_envs, self.generator)
        mask = options.get("reset_mask")
        models = self._draw_models()
        if mask is None or self._state is None:
            self._state, self._age, self._model = fresh, torch.zeros_like(self._age), models
        else:
            mask = torch.as_tensor(mask, device=self.device)
            self._state, self._age = self._state.where(mask, fresh), self._age.masked_fill(mask, 0)
            self._model = torch.where(mask, models, self._model)
        return self.world_model.features(self._state), {}

    @torch.no_grad()
    def step(self, actions: Float[Tensor, "N *chunk A"]) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Imagine one decision of every environment; actions are clipped to [-1, 1]."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        actions = actions.to(self.device, torch.float32).clamp(-1, 1)
        actions = actions.reshape(self.num_envs, self.config.chunk, self.action_dim)
        state, halted = self._state, torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        groups = actions.split(self.world_model.action_steps, dim=1)
        doubts: dict[str, Tensor] = {}
        for group in groups:
            state, doubtful, relative = self._imagine(state, group.flatten(1))
            halted = halted | doubtful
            for name, doubt in relative.items():
                doubts[name] = doubts.get(name, 0) + doubt / len(groups)
        self.imagined_steps += self.num_envs * self.config.chunk
        self._age = self._age + self.config.chunk
        features = self.world_model.features(state)
        success = self.classifier.succeeded(features) & ~halted
        terminated = success | halted
        truncated = (self._age >= self.config.horizon) & ~terminated
        done = terminated | truncated
        info = {"success": success, "halted": halted, "final_obs": features, "_final_obs": done, **doubts}
        # Start states are drawn for all rows and used for some: no host synchronisation to count them.
        self._state = state.where(done, self.starts.sample(self.num_envs, self.generator))
        self._age = self._age.masked_fill(done, 0)
        self._model = torch.where(done, self._draw_models(), self._model)
        return self.world_model.features(self._state), success.float(), terminated, truncated, info

    def _imagine(self, state: State, actions: Tensor) -> tuple[State, Tensor, dict[str, Tensor]]:
        """The states that follow, which episodes halt, and how far these are from the data, by their thresholds."""
        following = self.world_model.imagine(state, actions, self.generator)
        halted = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        doubts: dict[str, Tensor] = {}
        # Comparisons are written so that a NaN halts, too.
        if self.disagreement is not None:
            if self.config.member_share > 0:
                doubt, believed = self.disagreement.judge(state, actions, self._model.clamp(min=0), self.generator)
                following = following.where(self._model >= 0, believed)
            else:
                doubt = self.disagreement(state, actions)
            halted = halted | ~(doubt <= self.disagreement.threshold)
            doubts["disagreement"] = _relative(doubt, self.disagreement.threshold)
        if self.support is not None:
            distance = self.support(state, actions)
            halted = halted | ~(distance <= self.support.threshold)
            doubts["distance"] = _relative(distance, self.support.threshold)
        return following, halted & self.config.halting, doubts

    def _draw_models(self) -> Tensor:
        """Which model each new episode follows: -1 the world model, k the ensemble's member k."""
        if self.disagreement is None or self.config.member_share == 0:
            return torch.full((self.num_envs,), -1, dtype=torch.long, device=self.device)
        draw = torch.rand(2, self.num_envs, generator=self.generator, device=self.device)
        member = (draw[0] * self.disagreement.members).long()
        return torch.where(draw[1] < self.config.member_share, member, -1)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the following steps depend on, besides the models."""
        assert self._state is not None
        return {
            "state": self._state.tensors(),
            "age": self._age,
            "model": self._model,
            "generator": self.generator.get_state(),
            "imagined_steps": self.imagined_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self._state = type(self.starts.states)(
            **{name: tensor.to(self.device) for name, tensor in state["state"].items()}
        )
        self._age, self._model = state["age"].to(self.device), state["model"].to(self.device)
        self.generator.set_state(state["generator"])
        self.imagined_steps = int(state["imagined_steps"])


def _relative(doubt: Tensor, threshold: Tensor) -> Tensor:
    # Data that repeats itself may have a threshold of zero.
    return doubt / threshold.clamp(min=1e-12)
