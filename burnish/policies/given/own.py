"""A policy of Burnish's own from another run, whose features and actions were normalised by other data."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.data import STATE, is_image_key
from burnish.policies.agent import Agent
from burnish.policies.given.base import Given
from burnish.policies.robot import observation_shapes


class OwnPolicy(Given):
    """What the agent would do without noise, from the newest observations; its observer does not learn.

    Args:
        agent: on states, or on pictures through its own encoder; without a memory.
    """

    learns = True

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent, shapes = agent, observation_shapes(agent.observer)
        agent.observer.requires_grad_(False)
        self.inputs = {STATE: shapes[STATE][0]} if STATE in shapes else {}
        self.pictures = {key: shape for key, shape in shapes.items() if is_image_key(key)}
        self.frames, self.action_dim = agent.observer.shown_frames, agent.policy.action_dim
        self.chunk = agent.policy.config.chunk

    def plan(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "B T_a A"]:
        """Its deterministic decision, in the units of its own data."""
        with torch.no_grad():
            features = self._features(observation)
        chunk = self.agent.policy.act(features, True, None).action_chunk
        return chunk if self.agent.scaling is None else self.agent.scaling.to_data(chunk)

    def _features(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "B F"]:
        observer, rows = self.agent.observer, len(next(iter(observation.values())))
        state = observer.initial(rows)
        for frame in range(self.frames):
            state = observer.observe(state, None, {key: values[:, frame] for key, values in observation.items()})
        return observer.features(state)
