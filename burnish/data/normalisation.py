"""Normalisation to zero mean and unit variance, saved with every model through its `state_dict`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from burnish.data.scaling import usual_range
from burnish.errors import InputError

CONSTANT_TOLERANCE = 1e-6
"""A dimension whose range is below this fraction of its magnitude is constant up to float32 rounding."""


class Normaliser(nn.Module):
    """Per-dimension normalisation; the identity until it is fitted or loaded.

    Constant dimensions (a fixed goal, say) get a standard deviation of 1, so they normalise to 0 and back exactly.
    """

    mean: Tensor
    std: Tensor
    constant: Tensor

    def __init__(self, dim: int) -> None:
        """Make the identity for vectors of size `dim`."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("constant", torch.zeros(dim, dtype=torch.bool))

    @torch.no_grad()
    def fit(self, data: Tensor, floor: float = 0.0, range_floor: float = 0.0) -> Normaliser:
        """Take mean and population standard deviation from `data` (..., D), in float64; returns itself.

        Standard deviations below `floor` times the median one (of the dimensions that vary) are raised to that, and
        those below `range_floor` times their dimension's own range (`usual_range`), whatever its unit, to that.

        Raises:
            InputError: no data, another size, or values that are not finite.
        """
        dim = len(self.mean)
        if data.ndim < 2 or data.shape[-1] != dim or data.numel() == 0:
            raise InputError(
                f"normalisation: found data of shape {tuple(data.shape)}, expected (..., {dim}), not empty"
            )
        rows = data.reshape(-1, dim).double()
        if not bool(torch.isfinite(rows).all()):
            raise InputError("normalisation: found values that are not finite, expected finite values")
        low, high = rows.amin(0), rows.amax(0)
        constant = high - low <= CONSTANT_TOLERANCE * torch.maximum(low.abs(), high.abs())
        std = rows.std(0, correction=0)
        # Differences so small that float32 cannot hold their deviation count as constant, too.
        constant |= std.float() < torch.finfo(torch.float32).tiny
        if floor > 0 and not bool(constant.all()):
            std = std.clamp(min=floor * float(std[~constant].median()))
        if range_floor > 0:
            ranges = [high - low for low, high, _ in map(usual_range, rows.unbind(1))]
            std = torch.maximum(std, range_floor * std.new_tensor(ranges))
        self.mean.copy_(rows.mean(0))
        self.std.copy_(torch.where(constant, 1.0, std))
        self.constant.copy_(constant)
        return self

    def normalise(self, values: Tensor) -> Tensor:
        """`values` (..., D) with zero mean and unit variance."""
        return (values - self.mean) / self.std

    def denormalise(self, values: Tensor) -> Tensor:
        """The inverse of `normalise`, (..., D)."""
        return values * self.std + self.mean
