"""A policy together with the observer that gives it features: what runs on a robot, and what a run folder keeps."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import Component, load
from burnish.data import STATE, ActionScaling
from burnish.errors import InputError
from burnish.policies.base import Policy
from burnish.world_models import State


class Agent(Component):
    """Turns observations into actions; keeps the state of a batch of episodes between calls.

    The observer sees every observation (or every `action_steps`-th); the policy decides on a chunk of actions, which
    are executed open-loop before it decides again. `task` is the one that the policy was trained for.

    Policy and observer know actions in [-1, 1]; with a `scaling` whoever calls `act` and `executed` has the data's
    units. Without one both are the same, as in all that Burnish records itself, and for whoever imagines (`inside`).
    """

    def __init__(
        self, observer: Any, policy: Policy, task: str | None = None, scaling: ActionScaling | None = None
    ) -> None:
        super().__init__()
        if observer.feature_dim != policy.feature_dim or policy.config.chunk % observer.action_steps:
            raise InputError(
                f"the policy reads {policy.feature_dim} features and decides on {policy.config.chunk} actions, its "
                f"observer gives {observer.feature_dim} features and takes {observer.action_steps} actions at once"
            )
        if scaling is not None and len(scaling.low) != policy.action_dim:
            raise InputError(f"the policy gives {policy.action_dim} numbers, the scaling is of {len(scaling.low)}")
        self.observer, self.policy, self.task, self.scaling = observer, policy, task, scaling
        self._state: State | None = None
        self._seen: Tensor | None = None
        self._planned: list[Tensor] = []
        self._executed: list[Tensor] = []

    def begin(self, batch_size: int) -> None:
        """All episodes start now."""
        self._state, self._planned, self._executed = self.observer.initial(batch_size), [], []

    @torch.no_grad()
    def act(
        self, observation: dict[str, Tensor], deterministic: bool = True, generator: torch.Generator | None = None
    ) -> Tensor:
        """Actions (B, A) for observations (B, …), in the data's units; call `begin` first."""
        state = self._state
        if state is None:
            raise RuntimeError("call begin before act")
        if len(self._executed) in (0, self.observer.action_steps):
            led_here = torch.cat(self._executed, dim=-1) if self._executed else None
            self._state = state = self.observer.observe(state, led_here, observation)
            self._executed = []
        if not self._planned:
            self._planned = list(self.decide(state, deterministic, generator).unbind(1))
        action = self._planned.pop(0)
        action = action if self.scaling is None else self.scaling.executed(action)
        self._executed.append(action)
        self._seen = observation.get(STATE)
        return action if self.scaling is None else self.scaling.to_data(action, self._seen)

    def decide(self, state: State, deterministic: bool, generator: torch.Generator | None) -> Float[Tensor, "B T_a A"]:
        """The actions that are executed from `state` on."""
        return self.policy.act(self.observer.features(state), deterministic, generator).action_chunk

    def executed(self, action: Tensor) -> None:
        """Say which actions (B, A), in the data's units, were executed, where they were not those of `act`."""
        self._executed[-1] = action if self.scaling is None else self.scaling.to_unit(action, self._seen)

    def with_policy(self, policy: Policy) -> "Agent":
        """The same with another policy on the same features."""
        return Agent(self.observer, policy, self.task, self.scaling)


def load_agent(folder: str | Path, task: str | None = None) -> Agent:
    """The agent that was saved in `folder`; InputError where it was trained for another task than `task`."""
    agent = load(folder, Agent)
    if task is not None and agent.task != task:
        raise InputError(f"{folder}: this policy was trained for task {agent.task!r}, expected {task!r}")
    return agent


def check_same_features(agent: Agent, world_model: Any, observation: dict[str, Tensor]) -> None:
    """Make sure that a world model gives the features that the agent's policy learned to read.

    `observation` (B, …) holds a few real first frames. Raises InputError where both disagree about them.
    """
    seen = []
    for observer in (agent.observer, world_model):
        size = len(next(iter(observation.values())))
        with torch.no_grad():
            seen.append(observer.features(observer.observe(observer.initial(size), None, observation)))
    if seen[0].shape != seen[1].shape:
        raise InputError(f"the world model gives {seen[1].shape[1]} features, the policy reads {seen[0].shape[1]}")
    if not torch.allclose(*seen, atol=1e-4, rtol=1e-4):
        difference = float((seen[0] - seen[1]).abs().max())
        raise InputError(
            f"the policy was trained on the features of another world model (they differ by up to {difference:.3g} on "
            "the same frames); clone it again from this one"
        )
