"""Correlations, for whoever asks whether one number knows of another."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def spearman(x: Tensor, y: Tensor) -> float:
    """Pearson's correlation of the mean ranks of two tensors of one shape; NaN where either is constant."""
    ranks_x, ranks_y = (mean_ranks(values.flatten()) for values in (x, y))
    ranks_x, ranks_y = ranks_x - ranks_x.mean(), ranks_y - ranks_y.mean()
    norm = ranks_x.norm() * ranks_y.norm()
    return float((ranks_x * ranks_y).sum() / norm) if norm > 0 else float("nan")


def pearson(x: Float[Tensor, " N"], y: Float[Tensor, " N"]) -> float:
    """Pearson's, in [-1, 1] (of zeros and ones it is φ); 0 where one of the two never varies: nothing was shown."""
    both = torch.stack([x, y.to(x.dtype)])
    if bool((both.std(1) == 0).any()):
        return 0.0
    return float(torch.corrcoef(both)[0, 1])


def mean_ranks(values: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Ranks from 1 to N, in double precision; equal values share the mean of their ranks."""
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).to(torch.float64)
    return (last - (counts - 1) / 2)[inverse]


def correlation_interval(correlation: float, count: int, quantile: float = 1.96) -> tuple[float, float] | None:
    """The interval of a correlation over `count` pairs, by R. A. Fisher's z (1915); None for fewer than four pairs.

    Args:
        correlation: Pearson's; of ranks it is an approximation.
        count: pairs.
        quantile: of the normal distribution, 1.96 for 95 %.
    """
    if count < 4 or not abs(correlation) <= 1:
        return None
    if abs(correlation) == 1:
        return correlation, correlation
    centre, half = math.atanh(correlation), quantile / math.sqrt(count - 3)
    return math.tanh(centre - half), math.tanh(centre + half)
