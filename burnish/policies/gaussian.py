"""A Gaussian policy on features, with World4RL's conservative bound on its standard deviation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.policies.base import Decision, Policy


@dataclass(frozen=True)
class GaussianPolicyConfig:
    """π(a|x) = N(μ(x), diag σ(x)²) over chunks of T_a actions, σ clamped to [min_std, max_std]."""

    chunk: int = within(1, 1)
    """T_a, the actions of one decision."""
    hidden: tuple[int, ...] = within((256, 256), 1)
    max_std: float = within(1.0, 0, open_low=True)
    """World4RL's conservative exploration: σ ≤ e⁰, where e² is the common choice (section III-C)."""
    min_std: float = within(0.1, 0, open_low=True)
    """Floor of σ, so that a policy cloned from deterministic demonstrations still explores."""


class GaussianPolicy(Policy):
    """Mean and standard deviation from one network; actions are clipped to [-1, 1] by whoever executes them.

    The mean is bounded by ±`MEAN_LIMIT` so that a saturated action stays correctable by a finite gradient.
    """

    MEAN_LIMIT = 1.5

    def __init__(self, feature_dim: int, action_dim: int, config: GaussianPolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_dim, self.action_dim = feature_dim, action_dim
        self.shape = (config.chunk, action_dim)
        self.network = self.trunk(config.hidden, 2 * config.chunk * action_dim)
        self.scored_at_once()

    def distribution(self, features: Float[Tensor, "B F"]) -> tuple[Float[Tensor, "B TA"], Float[Tensor, "B TA"]]:
        """Mean and standard deviation of the flattened chunk, each (B, T_a · A)."""
        return bounded_gaussian(self.network(features), self.MEAN_LIMIT, self.config.min_std, self.config.max_std)

    def act(
        self, features: Float[Tensor, "B F"], deterministic: bool = False, generator: torch.Generator | None = None
    ) -> Decision:
        """Sample a chunk, or take the mean; the trace is the unclipped flattened chunk (B, T_a · A)."""
        mean, std = self.distribution(features)
        if deterministic:
            return Decision(mean.clamp(-1, 1).unflatten(-1, self.shape), mean)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        action = mean + std * noise
        log_prob = gaussian_log_prob(action, mean, std).unsqueeze(-1)
        return Decision(action.clamp(-1, 1).unflatten(-1, self.shape), action, log_prob)

    def log_prob(self, features: Float[Tensor, "B F"], trace: Float[Tensor, "B TA"]) -> Float[Tensor, "B 1"]:
        """Log-density of the unclipped actions."""
        return self.log_probs(features, [trace])[0]

    def log_probs(self, features: Float[Tensor, "B F"], traces: Sequence[Tensor]) -> list[Float[Tensor, "B 1"]]:
        """`log_prob` of several traces, by one pass."""
        mean, std = self.distribution(features)
        return [gaussian_log_prob(trace, mean, std).unsqueeze(-1) for trace in traces]

    def entropy(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Differential entropy of the unclipped Gaussian."""
        _, std = self.distribution(features)
        return (0.5 * math.log(2 * math.pi * math.e) + std.log()).sum(-1)

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative log-likelihood (World4RL v2, Eqs. 1–2) of chunks (B, T_a, A), for each element; augmented."""
        features, chunk = batch
        features = self.augment(features)
        action = chunk.flatten(1)
        mean, std = self.distribution(features)
        loss = -gaussian_log_prob(action, mean, std).mean() / action.shape[1]
        error = (mean.detach().clamp(-1, 1) - action).square().mean().sqrt()
        return loss, {"rmse": error, "std": std.detach().mean()}


def bounded_gaussian(
    outputs: Float[Tensor, "B 2TA"], limit: float, min_std: float, max_std: float
) -> tuple[Float[Tensor, "B TA"], Float[Tensor, "B TA"]]:
    """A mean within ±limit and a standard deviation between its bounds, of a network's outputs."""
    mean, raw = outputs.chunk(2, dim=-1)
    low, high = math.log(min_std), math.log(max_std)
    # A sigmoid between the bounds keeps a gradient where a hard clamp would have none.
    log_std = low + (high - low) * torch.sigmoid(raw)
    return limit * torch.tanh(mean / limit), log_std.exp()


def gaussian_log_prob(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log-density of independent Gaussians, summed over the last dimension."""
    return (-0.5 * ((x - mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)).sum(-1)
