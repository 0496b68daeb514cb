"""EDM's preconditioning and loss (arXiv 2206.00364, Table 1), around any network F_θ(x, c_noise)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def preconditioning(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in and c_noise."""
    total = sigma.square() + sigma_data**2
    return (
        sigma_data**2 / total,
        sigma * sigma_data * total.rsqrt(),
        total.rsqrt(),
        sigma.log() / 4,
    )


def denoising_error(
    network: Callable[[Tensor, Tensor], Tensor],
    target: Float[Tensor, "B *shape"],
    sigma: Float[Tensor, "B *ones"],
    noise: Float[Tensor, "B *shape"],
    sigma_data: float,
) -> tuple[Float[Tensor, "B *shape"], Float[Tensor, "B *shape"]]:
    """The error of F_θ, whose mean square is the loss, and D_θ(target + σ noise; σ), which carries no gradient.

    Args:
        network: F_θ of the scaled noisy input and c_noise (B,).
        target: what is to be predicted.
        sigma: one level a row.
        noise: of unit variance.
        sigma_data: standard deviation of targets.
    """
    c_skip, c_out, c_in, c_noise = preconditioning(sigma, sigma_data)
    noisy = target + sigma * noise
    output = network(c_in * noisy, c_noise.flatten())
    with torch.no_grad():
        clean = c_skip * noisy + c_out * output
    return output - (target - c_skip * noisy) / c_out, clean
