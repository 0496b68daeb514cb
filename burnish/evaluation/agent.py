"""A policy together with the observer that gives it features: what runs on a robot, and what a run folder keeps."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import from_dict
from burnish.errors import InputError
from burnish.policies import (
    DiffusionPolicy,
    DiffusionPolicyConfig,
    GaussianPolicy,
    GaussianPolicyConfig,
    PicturePolicy,
    PicturePolicyConfig,
    Policy,
    TanhPolicy,
    TanhPolicyConfig,
)
from burnish.rl.planning import Planner
from burnish.storage import load_module, load_module_config, save_module
from burnish.world_models import RSSM, Encoded, ObservationHistory, PixelHistory, State

# A new family of policies or observers is one line here: its name, and its class (and a policy's configuration).
# An observer that is saved with a policy has `description` and `from_description(description, source)`.
POLICIES: dict[str, tuple[type[Policy], type]] = {
    "gaussian": (GaussianPolicy, GaussianPolicyConfig),
    "diffusion": (DiffusionPolicy, DiffusionPolicyConfig),
    "picture": (PicturePolicy, PicturePolicyConfig),
    "tanh": (TanhPolicy, TanhPolicyConfig),
}
OBSERVERS: dict[str, Any] = {
    "history": ObservationHistory,
    "rssm": RSSM,
    "encoded": Encoded,
    "pixels": PixelHistory,
}


class Agent(nn.Module):
    """Turns observations into actions; keeps the state of a batch of episodes between calls.

    The observer sees every observation (or every `action_steps`-th); the policy decides on a chunk of actions, which
    are executed open-loop before it decides again.
    """

    def __init__(self, observer: Any, policy: Policy) -> None:
        super().__init__()
        if observer.feature_dim != policy.feature_dim or policy.config.chunk % observer.action_steps:
            raise InputError(
                f"the policy reads {policy.feature_dim} features and decides on {policy.config.chunk} actions, its "
                f"observer gives {observer.feature_dim} features and takes {observer.action_steps} actions at once"
            )
        self.observer, self.policy = observer, policy
        self._state: State | None = None
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
        self._executed.append(action)
        return action

    def decide(self, state: State, deterministic: bool, generator: torch.Generator | None) -> Float[Tensor, "B T_a A"]:
        """The actions that are executed from `state` on."""
        return self.policy.act(self.observer.features(state), deterministic, generator).action_chunk

    def executed(self, action: Tensor) -> None:
        """Say which actions (B, A) were executed, where they were not the ones that `act` returned."""
        self._executed[-1] = action


class PlanningAgent(Agent):
    """Executes the first transition's actions of a plan, and plans again; the policy only starts the search.

    The planner's world model must have the observer's states.  It cannot be saved: it is a run's models at work.
    """

    def __init__(self, observer: Any, policy: Policy, planner: Planner) -> None:
        super().__init__(observer, policy)
        self.planner = planner
        self._plan: Tensor | None = None

    def begin(self, batch_size: int) -> None:
        """All episodes start now."""
        super().begin(batch_size)
        self._plan = None

    def decide(self, state: State, deterministic: bool, generator: torch.Generator | None) -> Float[Tensor, "B T_a A"]:
        """The beginning of the best plan that is found; its random numbers are the planner's own."""
        self._plan = self.planner.plan(state, self._plan)
        return self._plan[:, 0].unflatten(-1, (self.observer.action_steps, self.policy.action_dim))


def save_agent(folder: Path, agent: Agent, task: str) -> None:
    """Write model.safetensors and config.json."""
    policy = agent.policy
    config = {
        "task": task,
        "observer": {"family": _observer_family(agent.observer), "description": agent.observer.description},
        "policy": {"family": _policy_family(policy), "config": policy.config},
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
        action_dim = int(config["action_dim"])
        observer_class, description = OBSERVERS[config["observer"]["family"]], config["observer"]["description"]
        policy_class, policy_config = POLICIES[config["policy"]["family"]]
        policy_fields = config["policy"]["config"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source}: not a policy's configuration; missing or unknown {error}") from error
    observer = observer_class.from_description(description, source)
    policy = policy_class(observer.feature_dim, action_dim, from_dict(policy_config, policy_fields, source))
    agent = Agent(observer, policy)
    load_module(folder, agent)
    return agent.eval()


def check_same_features(agent: Agent, world_model: Any, observation: dict[str, Tensor]) -> None:
    """Make sure that a world model gives the features that the agent's policy learned to read.

    `observation` (B, …) holds a few real first frames.  Raises InputError where both disagree about them.
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


def _policy_family(policy: Policy) -> str:
    for name, (cls, _) in POLICIES.items():
        if type(policy) is cls:
            return name
    raise TypeError(f"{type(policy).__name__} is not registered in burnish.evaluation.agent")


def _observer_family(observer: Any) -> str:
    for name, cls in OBSERVERS.items():
        if type(observer) is cls:
            return name
    raise TypeError(f"{type(observer).__name__} is not registered in burnish.evaluation.agent")
