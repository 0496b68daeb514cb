"""Normalisation as LeRobot's checkpoints do it: a mode for each kind of column, two statistics for each key."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from burnish.errors import InputError

_EPS = 1e-8
PAIRS = {
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
}
"""The two statistics of each mode; all but the first map them to -1 and 1."""


class Statistics(nn.Module):
    """Keys without a mode stay as they are.

    Args:
        sizes: of each key's vectors.
        modes: by key, of `PAIRS`.
    """

    def __init__(self, sizes: Mapping[str, int], modes: Mapping[str, str]) -> None:
        super().__init__()
        self.modes = dict(modes)
        for key, mode in modes.items():
            if mode not in PAIRS or key not in sizes:
                raise InputError(
                    f"normalisation of '{key}': found the mode '{mode}', expected one of {', '.join(PAIRS)}"
                )
            for number in range(2):
                self.register_buffer(_name(key, number), torch.full((sizes[key],), float(number)))

    def normalise(self, key: str, values: Tensor) -> Tensor:
        """What the network reads of `values` (…, D)."""
        if key not in self.modes:
            return values
        one, other = self.pair(key)
        if self.modes[key] == "MEAN_STD":
            return (values - one) / (other + _EPS)
        return 2 * (values - one) / _range(one, other) - 1

    def denormalise(self, key: str, values: Tensor) -> Tensor:
        """What the network's `values` (…, D) mean."""
        if key not in self.modes:
            return values
        one, other = self.pair(key)
        if self.modes[key] == "MEAN_STD":
            return values * other + one
        return (values + 1) / 2 * _range(one, other) + one

    def pair(self, key: str) -> tuple[Tensor, Tensor]:
        """The two statistics of a key that has a mode."""
        one, other = (getattr(self, _name(key, number)) for number in range(2))
        return one, other

    def fill(self, key: str, pair: tuple[Tensor, Tensor]) -> None:
        """Set both."""
        for buffer, found in zip(self.pair(key), pair, strict=True):
            buffer.copy_(found)


def _range(low: Tensor, high: Tensor) -> Tensor:
    return torch.where(high == low, _EPS, high - low)


def _name(key: str, number: int) -> str:
    return f"{key.replace('.', '_')}_{number}"
