"""A Gaussian squashed by a tanh, as SAC's policy is (arXiv 1801.01290, appendix C): with a density of what it does."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from burnish.config import within
from burnish.policies.base import Decision, Policy
from burnish.policies.gaussian import bounded_gaussian, gaussian_log_prob


@dataclass(frozen=True)
class SquashedPolicyConfig:
    """π(a|x): a = tanh u, u ~ N(μ(x), diag σ(x)²), over chunks of T_a actions, σ between min_std and max_std."""

    chunk: int = within(1, 1)
    """T_a, the actions of one decision."""
    hidden: tuple[int, ...] = within((256, 256), 1)
    max_std: float = within(2.0, 0, open_low=True)
    """Of u; at about 0.9 a squashed Gaussian around 0 is nearly uniform."""
    min_std: float = within(0.05, 0, open_low=True)
    """Without a floor the density of data that repeats itself would have none."""


class SquashedPolicy(Policy):
    """Actions lie inside (-1, 1) and have a density; samples carry gradients (`explore`).

    The mean is bounded by ±`MEAN_LIMIT` (an action of 0.995), so that a finite gradient brings it back. Recorded
    actions at the border, where u would be infinite, are taken for ones of ±`EDGE`.
    """

    MEAN_LIMIT = 3.0
    EDGE = 0.999

    def __init__(self, feature_dim: int, action_dim: int, config: SquashedPolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_dim, self.action_dim = feature_dim, action_dim
        self.shape = (config.chunk, action_dim)
        self.network = self.trunk(config.hidden, 2 * config.chunk * action_dim)
        self.scored_at_once()

    def distribution(self, features: Float[Tensor, "B F"]) -> tuple[Float[Tensor, "B TA"], Float[Tensor, "B TA"]]:
        """Mean and standard deviation of u, each (B, T_a · A)."""
        return bounded_gaussian(self.network(features), self.MEAN_LIMIT, self.config.min_std, self.config.max_std)

    def act(
        self, features: Float[Tensor, "B F"], deterministic: bool = False, generator: torch.Generator | None = None
    ) -> Decision:
        """Sample a chunk, or take tanh μ; the trace is u, flattened (B, T_a · A)."""
        mean, std = self.distribution(features)
        if deterministic:
            return Decision(mean.tanh().unflatten(-1, self.shape), mean)
        raw = mean + std * _noise(mean, generator)
        log_prob = squashed_log_prob(raw, mean, std).unsqueeze(-1)
        return Decision(raw.tanh().unflatten(-1, self.shape), raw, log_prob)

    def log_prob(self, features: Float[Tensor, "B F"], trace: Float[Tensor, "B TA"]) -> Float[Tensor, "B 1"]:
        """Log-density of the action tanh u: ln N(u; μ, σ) - Σ ln(1 - tanh² u) (SAC, Eq. 21)."""
        mean, std = self.distribution(features)
        return squashed_log_prob(trace, mean, std).unsqueeze(-1)

    def entropy(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Zeros: it has no closed form."""
        return features.new_zeros(len(features))

    def explore(
        self, features: Float[Tensor, "B F"], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "B TA"], Float[Tensor, " B"]]:
        """A sampled chunk, flattened, and its log-density; gradients flow from both to the weights."""
        mean, std = self.distribution(features)
        raw = mean + std * _noise(mean, generator)
        return raw.tanh(), squashed_log_prob(raw, mean, std)

    def executed(self, trace: Float[Tensor, "B TA"]) -> Float[Tensor, "B TA"]:
        """The actions that traces stand for."""
        return trace.tanh()

    def density(self, features: Float[Tensor, "B F"], action: Float[Tensor, "B TA"]) -> Float[Tensor, " B"]:
        """ln π(a|x) of recorded chunks, flattened."""
        return self.log_prob(features, action.clamp(-self.EDGE, self.EDGE).atanh()).squeeze(-1)

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative log-likelihood of chunks (B, T_a, A), for each element."""
        features, chunk = batch
        action = chunk.flatten(1)
        loss = -self.density(features, action).mean() / action.shape[1]
        mean, std = self.distribution(features)
        return loss, {"rmse": (mean.detach().tanh() - action).square().mean().sqrt(), "std": std.detach().mean()}


def squashed_log_prob(raw: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log-density of tanh(raw), summed over the last dimension."""
    # ln(1 - tanh² u), which rounds to ln 0 where it is written like that.
    stretch = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))
    return gaussian_log_prob(raw, mean, std) - stretch.sum(-1)


def _noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
