"""A policy of Burnish's own from another run, whose features and actions were normalised by other data."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from burnish.data import STATE
from burnish.policies.agent import Agent
from burnish.policies.given.base import Given
from burnish.world_models import ObservationHistory


class OwnPolicy(Given):
    """What the agent would do without noise, from the newest frames of the state.

    Args:
        agent: on states.
    """

    learns = True

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        assert isinstance(agent.observer, ObservationHistory)
        self.agent = agent
        self.inputs = {STATE: agent.observer.observation_dim}
        self.frames, self.action_dim = agent.observer.config.feature_frames, agent.policy.action_dim
        self.chunk = agent.policy.config.chunk

    def plan(self, observation: Mapping[str, Float[Tensor, "B frames D"]]) -> Float[Tensor, "B T_a A"]:
        """Its deterministic decision, in the units of its own data."""
        features = self.agent.observer.normaliser.normalise(observation[STATE]).flatten(1)
        chunk = self.agent.policy.act(features, True, None).action_chunk
        return chunk if self.agent.scaling is None else self.agent.scaling.to_data(chunk)
