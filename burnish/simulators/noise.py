"""Temporally correlated action noise, drawn from the episodes' own seeds."""

from collections.abc import Sequence

import numpy as np


class CorrelatedNoise:
    """A stationary first-order autoregressive process for each episode and action dimension.

    n_0 ~ N(0, std²), n_t = correlation · n_{t-1} + std · sqrt(1 - correlation²) · N(0, 1): its standard deviation is
    `std` at every frame.
    """

    def __init__(self, std: float, correlation: float, dim: int, seeds: Sequence[int], stream: int = 1) -> None:
        """Begin K episodes; `stream` keeps the noise independent of what else is drawn from the same seeds."""
        self.std, self.correlation, self.dim = std, correlation, dim
        self._generators = [np.random.default_rng([seed, stream]) for seed in seeds]
        self._value: np.ndarray | None = None

    def next(self) -> np.ndarray:
        """The noise of the next frame, (K, dim)."""
        fresh = self.std * np.stack([generator.standard_normal(self.dim) for generator in self._generators])
        if self._value is not None:
            fresh = self.correlation * self._value + np.sqrt(1 - self.correlation**2) * fresh
        self._value = fresh
        return fresh
