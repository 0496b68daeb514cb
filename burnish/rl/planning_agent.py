"""An agent that plans at every decision."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.policies import Agent
from burnish.rl.planning import Planner
from burnish.world_models import Encoded, State


class PlanningAgent(Agent, register=False):
    """Executes the first transition's actions of a plan, and plans again; the policy only starts the search.

    A world model whose states are of another kind than the policy's observer has (a memory, say, where the policy reads
    one observation) observes for itself: its features are the policy's all the same. It cannot be saved: it is a run's
    models at work.
    """

    def __init__(self, agent: Agent, planner: Planner) -> None:
        super().__init__(_observer(agent.observer, planner.world_model), agent.policy, agent.task, agent.scaling)
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


def _observer(own: Any, world: Any) -> Any:
    inner = own.inner if isinstance(own, Encoded) else own
    if type(inner.initial(1)) is type(world.initial(1)):
        return own
    return Encoded(own.autoencoder, world) if isinstance(own, Encoded) else world
