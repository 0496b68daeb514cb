"""A deterministic policy that ends in a tanh, as TD3's does, and normalises features by statistics of its own."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.data import Normaliser
from burnish.policies.base import Decision, Policy
from burnish.policies.gaussian import gaussian_log_prob


@dataclass(frozen=True)
class TanhPolicyConfig:
    """π(x) = tanh f(x) over chunks of T_a actions; Gaussian noise of a fixed standard deviation where it explores."""

    chunk: int = within(1, 1)
    """T_a, the actions of one decision."""
    hidden: tuple[int, ...] = within((256, 256), 1)
    std: float = within(0.1, 0)
    """Of the exploration noise (TD3: 0.1)."""


class TanhPolicy(Policy):
    """Always acts inside (-1, 1); with noise it is a Gaussian of fixed width around that action.

    `normaliser` is the identity until it is fitted on the features of the data (TD3+BC's normalised states).
    """

    def __init__(self, feature_dim: int, action_dim: int, config: TanhPolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_dim, self.action_dim = feature_dim, action_dim
        self.shape = (config.chunk, action_dim)
        self.normaliser = Normaliser(feature_dim)
        self.network = self.trunk(config.hidden, config.chunk * action_dim)
        self.scored_at_once()

    def action(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B TA"]:
        """The flattened chunk without noise, inside (-1, 1)."""
        return self.network(self.normaliser.normalise(features)).tanh()

    def act(
        self, features: Float[Tensor, "B F"], deterministic: bool = False, generator: torch.Generator | None = None
    ) -> Decision:
        """The action, or that plus noise; the trace is the unclipped flattened chunk (B, T_a · A)."""
        action = self.action(features)
        if not deterministic:
            noise = torch.randn(action.shape, generator=generator, device=action.device, dtype=action.dtype)
            action = action + self.config.std * noise
        return Decision(action.clamp(-1, 1).unflatten(-1, self.shape), action)

    def log_prob(self, features: Float[Tensor, "B F"], trace: Float[Tensor, "B TA"]) -> Float[Tensor, "B 1"]:
        """Log-density of the unclipped actions, with the noise."""
        std = trace.new_tensor(self.config.std)
        return gaussian_log_prob(trace, self.action(features), std.expand_as(trace)).unsqueeze(-1)

    def entropy(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Of the noise: the same everywhere."""
        each = 0.5 * math.log(2 * math.pi * math.e) + math.log(self.config.std)
        return features.new_full((len(features),), each * self.config.chunk * self.action_dim)

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of chunks (B, T_a, A)."""
        features, chunk = batch
        loss = (self.action(features) - chunk.flatten(1)).square().mean()
        return loss, {"rmse": loss.detach().sqrt()}
