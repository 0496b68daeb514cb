"""Multilayer perceptrons: a plain one, and a residual one that is conditioned on a noise level."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with LayerNorm and SiLU between them; the last layer is linear and starts small."""

    def __init__(self, input_dim: int, hidden: Sequence[int], output_dim: int, output_scale: float = 1.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = input_dim
        for size in hidden:
            layers += [nn.Linear(width, size), nn.LayerNorm(size), nn.SiLU()]
            width = size
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, output_dim)
        with torch.no_grad():
            self.head.weight.mul_(output_scale)
            self.head.bias.zero_()

    def forward(self, x: Float[Tensor, "*batch input"]) -> Float[Tensor, "*batch output"]:
        """Map (..., input_dim) to (..., output_dim)."""
        return self.head(self.body(x))


class FourierFeatures(nn.Module):
    """Random Fourier features of a scalar: cos and sin of 2π·w·c with w ~ N(0, 1), drawn once (as DIAMOND does)."""

    weight: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(dim // 2))

    def forward(self, c: Float[Tensor, " *batch"]) -> Float[Tensor, "*batch dim"]:
        """Map (...,) to (..., dim)."""
        angle = 2 * math.pi * c.unsqueeze(-1) * self.weight
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, h: Tensor, noise: Tensor) -> Tensor:
        return h + self.outer(nn.functional.silu(self.inner(self.norm(h)) + noise))


class ConditionalResidualMLP(nn.Module):
    """The denoiser's network F_θ for vectors: residual blocks, conditioned on a context and on the noise level.

    The context enters once, in the first layer, so a sampler embeds it once (`embed_context`) and pays only for the
    residual blocks at each denoising step.
    """

    def __init__(self, input_dim: int, context_dim: int, width: int, depth: int, noise_dim: int = 32) -> None:
        super().__init__()
        self.depth = depth
        self.context = nn.Linear(context_dim, width)
        self.input = nn.Linear(input_dim, width, bias=False)
        # Narrow: in training every row has its own noise level, so this network's cost counts.
        self.noise = nn.Sequential(FourierFeatures(noise_dim), nn.Linear(noise_dim, 2 * noise_dim), nn.SiLU())
        self.noise_shift = nn.Linear(2 * noise_dim, width * depth)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, input_dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def embed_context(self, context: Float[Tensor, "batch context"]) -> Float[Tensor, "batch width"]:
        """The first layer's share of the context."""
        return self.context(context)

    def forward(
        self, x: Float[Tensor, "batch input"], c_noise: Float[Tensor, " level"], context: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch input"]:
        """One network call; `c_noise` has shape (batch,) in training or (1,) when all rows share a level."""
        shifts = self.noise_shift(self.noise(c_noise)).chunk(self.depth, dim=-1)
        h = self.input(x) + context
        for block, shift in zip(self.blocks, shifts, strict=True):
            h = block(h, shift)
        return self.head(nn.functional.silu(self.norm(h)))
