"""What denoises an action chunk step by step: two processes, and DPPO's weights for their steps.

A process turns noise into a clean chunk over levels k = 1 (almost clean) … K (noise). In training
x = clean_weight_k · clean + noise_weight_k · noise, and a network's output tells the clean chunk:
clean = clean_of_x · x - clean_of_output · output. A sampling step has the mean mean_of_clean · clean + mean_of_x · x.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_LOG_PROB_RANGE = (-5.0, 2.0)  # of each element of a chunk (DPPO)


def cosine_signal(steps: int, offset: float = 0.008) -> Float[Tensor, " K"]:
    """ᾱ_1 … ᾱ_K of the cosine schedule (arXiv 2102.09672, Eq. 17), with each β at most 0.999."""
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = ((t + offset) / (1 + offset) * math.pi / 2).cos().square()
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return (1 - beta).cumprod(0)


def diffusion_weights(levels: int) -> dict[str, Float[Tensor, " K"]]:
    """Training's mixture on the cosine schedule; the network predicts the noise."""
    signal = cosine_signal(levels).float()
    return {"clean_weight": signal.sqrt(), "noise_weight": (1 - signal).sqrt()}


def diffusion_steps(levels: int, steps: int) -> dict[str, Float[Tensor, " S"]]:
    """What each of `steps` sampling steps needs, noisiest first: DDIM with η = 1 (arXiv 2010.02502, Eqs. 12 and 16).

    With all K steps this is DDPM's posterior, mean and variance.
    """
    signal, index = cosine_signal(levels), sampled_levels(levels, steps)
    here = signal[index]
    target = torch.cat([signal[index[1:]], torch.ones(1, dtype=signal.dtype)])
    std = ((1 - target) / (1 - here) * (1 - here / target)).clamp(min=0).sqrt()
    mean_of_x = ((1 - target - std.square()).clamp(min=0) / (1 - here)).sqrt()
    return {
        "level": (index + 1) / levels,
        "clean_of_x": here.rsqrt(),
        "clean_of_output": ((1 - here) / here).sqrt(),
        "mean_of_clean": target.sqrt() - mean_of_x * here.sqrt(),
        "mean_of_x": mean_of_x,
        "std": std,
    }


def flow_weights(levels: int) -> dict[str, Float[Tensor, " K"]]:
    """Training's mixture on straight lines (arXiv 2209.03003); the network predicts the velocity, noise - clean."""
    time = torch.arange(1, levels + 1, dtype=torch.float64) / levels
    return {"clean_weight": 1 - time, "noise_weight": time}


def flow_steps(levels: int, steps: int) -> dict[str, Float[Tensor, " S"]]:
    """What each of `steps` sampling steps needs, noisiest first: Euler's, x ← x + (t_target - t) · velocity.

    Without noise of their own: what a policy adds while it explores is all there is (ReinFlow, arXiv 2505.22094).
    """
    time = (sampled_levels(levels, steps) + 1).double() / levels
    target = torch.cat([time[1:], torch.zeros(1, dtype=time.dtype)])
    return {
        "level": time,
        "clean_of_x": torch.ones_like(time),
        "clean_of_output": time,
        "mean_of_clean": 1 - target / time,
        "mean_of_x": target / time,
        "std": torch.zeros_like(time),
    }


def sampled_levels(levels: int, steps: int) -> Tensor:
    """Indices k - 1 of the levels that `steps` sampling steps begin at, evenly spread from K down."""
    if steps == levels:
        return torch.arange(levels - 1, -1, -1)
    return torch.linspace(levels - 1, 0, steps + 1)[:-1].round().long()


def denoising_discounts(steps: int, discount: float) -> Float[Tensor, " K"]:
    """γ_denoise^(K'-1-i) for i = 0 (noisiest) … K'-1 (DPPO; DiWA, section 3)."""
    return discount ** torch.arange(steps - 1, -1, -1, dtype=torch.float32)


def clip_schedule(steps: int, base: float, rate: float) -> Float[Tensor, " K"]:
    """base + (1 - base)(e^{rate·t} - 1)/(e^{rate} - 1) with t from 0 (noisiest) to 1 (last); 1 where K' = 1 (DPPO)."""
    if steps == 1:
        return torch.ones(1)
    t = torch.arange(steps, dtype=torch.float32) / (steps - 1)
    return base + (1 - base) * torch.expm1(rate * t) / math.expm1(rate)


def chain_log_prob(
    x: Float[Tensor, "B K E"], mean: Float[Tensor, "B K E"], std: Float[Tensor, "K 1"]
) -> Float[Tensor, "B K"]:
    """Log-density of each denoising step, averaged over the chunk's elements, each clamped to [-5, 2] (DPPO)."""
    element = -0.5 * ((x - mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)
    return element.clamp(*_LOG_PROB_RANGE).mean(-1)
