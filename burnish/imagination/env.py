"""ImaginedEnv: a world model as a `gymnasium.vector.VectorEnv` whose tensors never leave the device."""

from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError
from burnish.imagination.disturbances import DisturbanceConfig, Disturbances
from burnish.imagination.pessimism import PessimismConfig
from burnish.imagination.rollout import Models, given, rollout
from burnish.imagination.start_states import StartConfig, StartStates
from burnish.world_models.base import State


@dataclass(frozen=True)
class ImaginationConfig:
    """Size and rules of the imagined environment."""

    num_envs: int = within(512, 1)
    horizon: int = within(50, 1)
    """Imagined actions after which an episode is truncated (its value is bootstrapped)."""
    chunk: int = within(1, 1)
    """Actions of one decision (T_a): one step of the environment executes all of them, and earns the sum of what its
    transitions do, until one of them ends the episode. Recipes set it to the policy's."""
    reward_at: Literal["transition", "decision"] = "transition"
    """decision: the reward is only asked where a decision has led (DiWA, section 3)."""
    starts: StartConfig = StartConfig()
    pessimism: PessimismConfig = PessimismConfig()
    """What is made of disagreement and of the distance to the data."""
    member_share: float = within(0.0, 0, 1)
    """Share of imagined episodes that follow one member of the ensemble instead of the world model. What works in
    one model only is a flaw of that model; what works in all of them may be real."""
    disturbances: DisturbanceConfig = DisturbanceConfig()
    """Commands that change, and pushes."""


class ImaginedEnv(VectorEnv):
    """Steps a world model with `imagine`; observations are its features, (num_envs, F) tensors.

    One step takes a decision of the policy: actions (num_envs, chunk, A), or (num_envs, A) where the chunk is one.
    - reward and `terminated` are what the models' reward says, success among it;
    - pessimism makes of it what its rule is: `terminated` where an uncertainty passes its threshold, or a penalty;
    - `truncated` at the horizon;
    - a share of the episodes follows one member of the ensemble, drawn anew for each, instead of the world model;
    - between decisions commands are drawn anew and states pushed, where that is asked for (`Disturbances`).

    Episodes that end restart in the same step (`AutoresetMode.SAME_STEP`). `info["final_obs"]` then holds the last
    features of all environments before the restart, valid where `info["_final_obs"]` is true; `info["halted"]` and,
    where the reward knows of them, `info["success"]` and `info["unknown"]` are (num_envs,) booleans. Each uncertainty
    is there by its name, (num_envs,): in thresholds, on average over the decision's transitions. Each entry has its
    mask, as Gymnasium has it: `info["_success"]` says for which environments it holds. For code that wants arrays, wrap
    it in
    `gymnasium.wrappers.vector.ArrayConversion(env, env_xp=torch, target_xp=numpy)`.

    Gradients flow from actions that require them to rewards and features, and on into the next step until `detach`.
    """

    def __init__(
        self, models: Models, starts: StartStates, action_dim: int, config: ImaginationConfig, seed: int = 0
    ) -> None:
        world_model = models.world_model
        if models.reward is None:
            raise InputError("an imagined environment: found no reward, expected one")
        if config.chunk % world_model.action_steps:
            raise InputError(
                f"a decision has {config.chunk} actions, but the world model takes {world_model.action_steps} at once"
            )
        self.models, self.starts, self.config = models, starts, config
        self.num_envs = config.num_envs
        self.device = starts.first.device
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (world_model.feature_dim,), np.float32)
        shape = (action_dim,) if config.chunk == 1 else (config.chunk, action_dim)
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, shape, np.float32)
        self.feature_dim, self.action_dim = world_model.feature_dim, action_dim
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self.disturbances = Disturbances(config.disturbances, world_model, starts, config.num_envs)
        self.imagined_steps = 0
        self._state: State | None = None
        self._age = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        self._start = torch.full_like(self._age, -1)
        self._everywhere = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
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
        if "states" in options:
            fresh, start = options["states"], torch.full_like(self._start, -1)
        else:
            start = self.starts.draw(self.num_envs, self.generator)
            fresh = self.starts.states.rows(start)
        mask = options.get("reset_mask")
        begun = self._everywhere if mask is None else torch.as_tensor(mask, device=self.device)
        altered = self.disturbances.begin(fresh, begun, self.generator)
        fresh = fresh if "states" in options else altered
        models = self._draw_models()
        if mask is None or self._state is None:
            self._state, self._start = fresh, start
            self._age, self._model = torch.zeros_like(self._age), models
        else:
            self._state, self._start = self._state.where(begun, fresh), torch.where(begun, start, self._start)
            self._age = self._age.masked_fill(begun, 0)
            self._model = torch.where(begun, models, self._model)
        return self.models.world_model.features(self._state), {}

    def step(self, actions: Float[Tensor, "N *chunk A"]) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Imagine one decision of every environment; actions are clipped to [-1, 1]."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        # Without a gradient to pass on, a graph would grow from step to step.
        with torch.set_grad_enabled(torch.is_grad_enabled() and actions.requires_grad):
            return self._step(self._state, actions.to(self.device, torch.float32).clamp(-1, 1))

    def _step(self, state: State, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        world_model = self.models.world_model
        groups = actions.reshape(self.num_envs, -1, self.action_dim * world_model.action_steps)
        count = self.config.chunk // world_model.action_steps
        terminated = torch.zeros_like(self._everywhere)
        reward, halted = torch.zeros(self.num_envs, device=self.device), terminated
        success: Tensor | None = None
        unknown: Tensor | None = None
        uncertainty: dict[str, Tensor] = {}
        following = self._model if self.config.member_share > 0 else None
        every = count if self.config.reward_at == "decision" else 1
        for now in rollout(self.models, state, given(groups), count, self.generator, following, 0, every):
            assert now.outcome is not None
            state, reward = now.following, reward + now.outcome.reward
            terminated, halted = terminated | now.outcome.terminated, halted | now.halted
            if now.outcome.success is not None:
                success = now.outcome.success if success is None else success | now.outcome.success
            if now.outcome.unknown is not None:
                unknown = now.outcome.unknown if unknown is None else unknown | now.outcome.unknown
            for name, value in now.uncertainty.items():
                uncertainty[name] = uncertainty.get(name, 0) + value / count
        self.imagined_steps += self.num_envs * self.config.chunk
        self._age = self._age + self.config.chunk
        truncated = (self._age >= self.config.horizon) & ~terminated
        done = terminated | truncated
        features = world_model.features(state)
        info: dict[str, Any] = {"final_obs": features, "_final_obs": done}
        known = {"success": success, "unknown": unknown}
        told = {"halted": halted, **uncertainty} | {name: each for name, each in known.items() if each is not None}
        if self.starts.priorities is not None:
            told["start"] = self._start
        for name, value in told.items():
            info |= {name: value, f"_{name}": self._everywhere}
        # Start states are drawn for all rows and used for some: no host synchronisation to count them.
        start = self.starts.draw(self.num_envs, self.generator)
        going_on = state.where(done, self.starts.states.rows(start))
        self._state = self.disturbances.befall(going_on, done, self.config.chunk, self.generator)
        self._start = torch.where(done, start, self._start)
        self._age = self._age.masked_fill(done, 0)
        self._model = torch.where(done, self._draw_models(), self._model)
        return world_model.features(self._state), reward, terminated, truncated, info

    def detach(self) -> None:
        """Let no gradient flow back beyond this moment."""
        if self._state is not None:
            self._state = type(self._state)(**{name: value.detach() for name, value in self._state.tensors().items()})

    def _draw_models(self) -> Tensor:
        """Which model each new episode follows: -1 the world model, k the ensemble's member k."""
        members = self.models.pessimism.members
        if members == 0 or self.config.member_share == 0:
            return torch.full((self.num_envs,), -1, dtype=torch.long, device=self.device)
        draw = torch.rand(2, self.num_envs, generator=self.generator, device=self.device)
        member = (draw[0] * members).long()
        return torch.where(draw[1] < self.config.member_share, member, -1)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the following steps depend on, besides the models."""
        assert self._state is not None
        priorities = self.starts.priorities
        own: dict[str, Any] = {}
        if priorities is not None:
            own |= {"start": self._start, "priorities": priorities.rows(self.num_envs)}
        if left := self.disturbances.state_dict():
            own["disturbances"] = left
        return own | {
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
        if self.starts.priorities is not None:
            self.starts.priorities.restore(state["priorities"])
            self._start = state["start"].to(self.device)
        self.disturbances.load_state_dict(state.get("disturbances", {}))
        self._age, self._model = state["age"].to(self.device), state["model"].to(self.device)
        self.generator.set_state(state["generator"])
        self.imagined_steps = int(state["imagined_steps"])
