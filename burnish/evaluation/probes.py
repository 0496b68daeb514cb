"""Linear probes: what a representation says of something else, read off linearly (Alain & Bengio, arXiv 1610.01644)."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.errors import InputError

RIDGE = 1e-3
"""Penalty of the squared weights, of standardised features, beside the mean loss."""
_ITERATIONS = 200


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
    """Share of held-out rows whose class a multinomial logistic regression finds; chance, the commonest class, beside.

    Not least squares on one-hot labels: classes in a row along one dimension hide each other there.
    """
    classes = int(torch.cat([labels, held_labels]).max()) + 1
    centre, scale = features.double().mean(0), features.double().std(0, unbiased=False)
    scale = torch.where(scale > 0, scale, 1.0)
    x, held = ((each.double() - centre) / scale for each in (features, held_features))
    weight = torch.zeros(x.shape[1], classes, dtype=x.dtype, device=x.device, requires_grad=True)
    bias = torch.zeros(classes, dtype=x.dtype, device=x.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weight + bias, labels.long()) + ridge * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)  # type: ignore[arg-type]
    told = (held @ weight + bias).argmax(1)
    commonest = torch.bincount(held_labels.long(), minlength=classes).max() / len(held_labels)
    right = float((told == held_labels).double().mean())
    return {"accuracy": right, "chance": float(commonest), "rows": len(held_labels)}
