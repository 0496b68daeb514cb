"""Importance weights of recorded transitions for another policy than the one that recorded them.

w = π(a|x) / π_b(a|x), clipped (Ionides 2008, "Truncated importance sampling"), tempered as far as their effective
sample size needs it, and self-normalised over all transitions. π_b is a density that was fitted to the data by maximum
likelihood. Weights of single actions make the data's actions on-policy; which states were visited they leave as it was.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.policies import SquashedPolicy

_HALVINGS = 30
_ROWS = 8192


@dataclass(frozen=True)
class WeightingConfig:
    """How far weights may go."""

    clip: float = within(10.0, 1)
    """The largest ratio."""
    least_share: float = within(0.5, 0, 1)
    """Floor of the effective sample size, as a share of the transitions: where clipped ratios fall below it, their
    exponent is lowered from 1 until they have it. 1: no weights at all."""


@dataclass(frozen=True)
class Weights:
    """Of N transitions.

    Attributes:
        weight: of mean 1.
        share: their effective sample size, as a share of N.
        exponent: of the clipped ratios; 1 where the floor asked for nothing.
    """

    weight: Float[Tensor, " N"]
    share: Float[Tensor, ""]
    exponent: Float[Tensor, ""]


def importance_weights(log_ratio: Float[Tensor, " N"], config: WeightingConfig) -> Weights:
    """Weights of transitions whose log-ratios ln π(a|x) - ln π_b(a|x) are known; nothing waits for the device."""
    clipped = log_ratio.double().clamp(max=math.log(config.clip))
    low, high = clipped.new_zeros(()), clipped.new_ones(())
    # The effective sample size only falls as the exponent grows: A(β) = ln Σ exp(β l) is convex, and the logarithm of
    # the size is 2 A(β) - A(2β).
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = effective_share(middle * clipped) >= config.least_share
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    whole = effective_share(clipped) >= config.least_share
    exponent = torch.where(whole, torch.ones_like(low), low)
    scaled = exponent * clipped
    weight = torch.softmax(scaled, 0) * len(scaled)
    return Weights(weight.float(), effective_share(scaled).float(), exponent.float())


def effective_share(log_weight: Float[Tensor, " N"]) -> Float[Tensor, ""]:
    """(Σ w)² / (N Σ w²), Kish's effective sample size as a share of N."""
    size = 2 * torch.logsumexp(log_weight, 0) - torch.logsumexp(2 * log_weight, 0)
    return size.exp() / len(log_weight)


@torch.no_grad()
def log_ratios(
    policy: SquashedPolicy, behaviour: SquashedPolicy, features: Float[Tensor, "N F"], action: Float[Tensor, "N A"]
) -> Float[Tensor, " N"]:
    """ln π(a|x) - ln π_b(a|x) of recorded actions, which both read from the same features."""
    parts = zip(features.split(_ROWS), action.split(_ROWS), strict=True)
    return torch.cat([policy.density(x, a) - behaviour.density(x, a) for x, a in parts])
