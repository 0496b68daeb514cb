"""Few-step samplers of the probability-flow ODE (EDM, arXiv 2206.00364, Algorithm 1 without churn)."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from burnish.config import within


@dataclass(frozen=True)
class SamplerConfig:
    """Karras noise levels and the integration rule."""

    steps: int = within(1, 1)
    method: Literal["euler", "heun"] = "euler"
    sigma_max: float = within(5.0, 0, open_low=True)
    sigma_min: float = within(2e-2, 0, open_low=True)
    rho: float = within(7.0, 0, open_low=True)


def karras_levels(config: SamplerConfig) -> list[float]:
    """Noise levels σ_0 = sigma_max … σ_{n-1} = sigma_min, then 0 (EDM, Eq. 5). One step goes from sigma_max to 0."""
    n, inverse = config.steps, 1 / config.rho
    if n == 1:
        return [config.sigma_max, 0.0]
    low, high = config.sigma_min**inverse, config.sigma_max**inverse
    return [(high + i / (n - 1) * (low - high)) ** config.rho for i in range(n)] + [0.0]


def offset_noise(
    shape: tuple[int, ...], offset: float, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """Noise of variance one, of which every channel of a picture shares a part that is `offset` times the pixels' own.

    DIAMOND adds noise of a fixed level to whole channels, in training only. Here it grows with σ, as the pixels' own
    noise does, so that the probability-flow ODE stays the same and sampling can start from what training saw.
    """
    noise = torch.randn(shape, generator=generator, device=device)
    if offset == 0:
        return noise
    shared = torch.randn(*shape[:2], *[1] * (len(shape) - 2), generator=generator, device=device)
    return (noise + offset * shared) / (1 + offset**2) ** 0.5


def sample(
    denoise: Callable[[Tensor, float], Tensor],
    shape: tuple[int, ...],
    config: SamplerConfig,
    generator: torch.Generator | None,
    device: torch.device,
    offset: float = 0.0,
    start: Tensor | None = None,
) -> Tensor:
    """Draw a sample of `shape`; the start noise has standard deviation sigma_max (and `offset_noise`'s `offset`).

    With `start`, noise of variance one, nothing is drawn.

    `denoise(x, sigma)` is D_θ. Heun calls it twice a step, except on the last, which goes to σ = 0.
    """
    levels = karras_levels(config)
    x = levels[0] * (offset_noise(shape, offset, generator, device) if start is None else start)
    for sigma, following in itertools.pairwise(levels):
        slope = (x - denoise(x, sigma)) / sigma
        moved = x + slope * (following - sigma)
        if config.method == "heun" and following > 0:
            slope = 0.5 * (slope + (moved - denoise(moved, following)) / following)
            moved = x + slope * (following - sigma)
        x = moved
    return x
