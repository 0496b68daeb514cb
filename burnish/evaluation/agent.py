"""A policy together with the observer that gives it features: what runs on a robot, and what a run folder keeps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from burnish.config import from_dict
from burnish.errors import InputError
from burnish.policies import GaussianPolicy, GaussianPolicyConfig, Policy
from burnish.storage import load_module, load_module_config, save_module
from burnish.world_models import HistoryConfig, ObservationHistory, State

# A new family of policies or observers is one line here: its name, its class and its configuration.
POLICIES: dict[str, tuple[type[Policy], type]] = {"gaussian": (GaussianPolicy, GaussianPolicyConfig)}
OBSERVERS: dict[str, tuple[type[nn.Module], type]] = {"history": (ObservationHistory, HistoryConfig)}


class Agent(nn.Module):
    """Turns observations into actions; keeps the state of a batch of episodes between calls."""

    def __init__(self, observer: Any, policy: Policy) -> None:
        super().__init__()
        self.observer, self.policy = observer, policy
        self._state: State | None = None
        self._action: Tensor | None = None

    def begin(self, batch_size: int) -> None:
        """All episodes start now."""
        self._state, self._action = self.observer.initial(batch_size), None

    @torch.no_grad()
    def act(
        self, observation: dict[str, Tensor], deterministic: bool = True, generator: torch.Generator | None = None
    ) -> Tensor:
        """Actions (B, A) for observations (B, …), in the data's units; call `begin` first."""
        if self._state is None:
            raise RuntimeError("call begin before act")
        self._state = self.observer.observe(self._state, self._action, observation)
        decision = self.policy.act(self.observer.features(self._state), deterministic, generator)
        self._action = decision.action_chunk[:, 0]
        return self._action

    def executed(self, action: Tensor) -> None:
        """Say which actions (B, A) were executed, where they were not the ones that `act` returned."""
        self._action = action


def save_agent(folder: Path, agent: Agent, task: str) -> None:
    """Write model.safetensors and config.json."""
    observer: Any = agent.observer
    policy: Any = agent.policy
    config = {
        "task": task,
        "observer": {"family": _family(OBSERVERS, observer), "config": observer.config},
        "policy": {"family": _family(POLICIES, policy), "config": policy.config},
        "observation_dim": observer.observation_dim,
        "action_dim": policy.action_dim,
    }
    save_module(folder, agent, config)


def load_agent(folder: Path, task: str | None = None) -> Agent:
    """Read what `save_agent` wrote.

    Raises:
        InputError: not such a folder, an unknown family, or trained for another task than `task`.
    """
    config = load_module_config(folder)["config"]
    source = str(folder / "config.json")
    if task is not None and config.get("task") != task:
        raise InputError(f"{source}: this policy was trained for task {config.get('task')!r}, expected {task!r}")
    try:
        observation_dim, action_dim = int(config["observation_dim"]), int(config["action_dim"])
        observer_class, observer_config = OBSERVERS[config["observer"]["family"]]
        policy_class, policy_config = POLICIES[config["policy"]["family"]]
        observer_fields, policy_fields = config["observer"]["config"], config["policy"]["config"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source}: not a policy's configuration; missing or unknown {error}") from error
    observer = observer_class(observation_dim, action_dim, from_dict(observer_config, observer_fields, source))
    policy = policy_class(observer.feature_dim, action_dim, from_dict(policy_config, policy_fields, source))
    agent = Agent(observer, policy)
    load_module(folder, agent)
    return agent.eval()


def _family(families: Mapping[str, tuple[type[nn.Module], type]], module: nn.Module) -> str:
    for name, (cls, _) in families.items():
        if type(module) is cls:
            return name
    raise TypeError(f"{type(module).__name__} is not registered in burnish.evaluation.agent")
