"""Linear probes: what a representation says of something else, read off by ridge regression (Alain & Bengio, 2016)."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.errors import InputError

RIDGE = 1e-3
"""Penalty of the squared weights, of standardised features, beside the mean squared error."""


@dataclass(frozen=True)
class LinearMap:
    """y = (x - centre) / scale · weight + offset."""

    centre: Float[Tensor, " X"]
    scale: Float[Tensor, " X"]
    weight: Float[Tensor, "X Y"]
    offset: Float[Tensor, " Y"]

    def __call__(self, features: Float[Tensor, "N X"]) -> Float[Tensor, "N Y"]:
        """What the features say of the targets."""
        return ((features.double() - self.centre) / self.scale) @ self.weight + self.offset


def fit_linear(features: Float[Tensor, "N X"], targets: Float[Tensor, "N Y"], ridge: float = RIDGE) -> LinearMap:
    """Ridge regression in closed form: the minimum of mean |y - f(x)|² + `ridge` |weight|².

    Raises:
        InputError: no rows, another number of targets, or numbers that are not finite.
    """
    if len(features) != len(targets) or not len(features):
        raise InputError(f"a linear probe: found {len(features)} features and {len(targets)} targets, expected pairs")
    if not (bool(features.isfinite().all()) and bool(targets.isfinite().all())):
        raise InputError("a linear probe: found features or targets that are not finite numbers")
    x, y = features.double(), targets.double()
    centre, offset = x.mean(0), y.mean(0)
    scale = x.std(0, unbiased=False)
    # What never varies says nothing, whatever it is divided by.
    scale = torch.where(scale > 0, scale, 1.0)
    z = (x - centre) / scale
    gram = z.T @ z / len(z) + ridge * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return LinearMap(centre, scale, torch.linalg.solve(gram, z.T @ (y - offset) / len(z)), offset)


def explained(found: Float[Tensor, "N Y"], targets: Float[Tensor, "N Y"]) -> Float[Tensor, " Y"]:
    """R² of each dimension: 1 - squared error / squared distance to the targets' mean; NaN where none varies."""
    y = targets.double()
    return 1 - (found - y).square().sum(0) / (y - y.mean(0)).square().sum(0).where((y != y[:1]).any(0), torch.nan)


def linear_probe(
    features: Float[Tensor, "N X"],
    targets: Float[Tensor, "N Y"],
    held_features: Float[Tensor, "M X"],
    held_targets: Float[Tensor, "M Y"],
    ridge: float = RIDGE,
) -> dict[str, Any]:
    """R² on held-out rows of a regression fitted on others: by dimension, and the mean of those that vary."""
    r2 = explained(fit_linear(features, targets, ridge)(held_features), held_targets)
    return {"r2": r2.tolist(), "mean": float(r2.nanmean()), "rows": len(held_targets)}


def class_probe(
    features: Float[Tensor, "N X"],
    labels: Int[Tensor, " N"],
    held_features: Float[Tensor, "M X"],
    held_labels: Int[Tensor, " M"],
    ridge: float = RIDGE,
) -> dict[str, Any]:
    """Share of held-out rows whose class is the largest output of a regression on one-hot labels; chance beside it.

    Chance is the share of the commonest class.
    """
    classes = int(torch.cat([labels, held_labels]).max()) + 1
    wanted = torch.nn.functional.one_hot(labels.long(), classes).double()
    told = fit_linear(features, wanted, ridge)(held_features).argmax(1)
    commonest = torch.bincount(held_labels.long(), minlength=classes).max() / len(held_labels)
    right = float((told == held_labels).double().mean())
    return {"accuracy": right, "chance": float(commonest), "rows": len(held_labels)}
