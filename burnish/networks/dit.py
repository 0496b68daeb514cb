"""A diffusion transformer for pictures: patches as tokens, adaLN-zero (DiT, arXiv 2212.09748, Section 3)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from burnish.config import within
from burnish.errors import InputError
from burnish.networks.conditioning import ContextEmbedding, StepCondition
from burnish.networks.modulation import modulated, zeroed


@dataclass(frozen=True)
class DiTConfig:
    """Sizes of the transformer; the conditioning vector is as wide as the tokens."""

    patch: int = within(8, 1)
    """Height and width of a patch; the picture's size is a multiple of it."""
    width: int = within(128, 4)
    depth: int = within(4, 1)
    heads: int = within(4, 1)

    def __post_init__(self) -> None:
        if min(self.patch, self.depth, self.heads) < 1 or self.width < 4 or self.width % 4 or self.width % self.heads:
            raise InputError(
                f"DiT: found patch {self.patch}, width {self.width}, depth {self.depth} and heads {self.heads}, "
                "expected positive numbers and a width that is a multiple of 4 and of the heads"
            )


DIT_PRESETS = {
    "xs": DiTConfig(),
    "small": DiTConfig(patch=4, width=384, depth=12, heads=6),
    "base": DiTConfig(patch=4, width=768, depth=12, heads=12),
    "large": DiTConfig(patch=4, width=1024, depth=24, heads=16),
}
"""About 1.3 M parameters, and DiT's own S, B and L (33 M, 130 M, 456 M)."""


class DiT(nn.Module):
    """F_θ with the same interface as `UNet`, for square pictures of one size. Outputs zero at birth."""

    position: Tensor

    def __init__(
        self,
        image_channels: int,
        context_channels: int,
        frames: int,
        action_dim: int,
        image_size: int,
        config: DiTConfig,
    ) -> None:
        super().__init__()
        if image_size % config.patch:
            raise InputError(f"DiT: found patches of {config.patch}, expected a divisor of the image size {image_size}")
        self.config, self.side = config, image_size // config.patch
        width, patch = config.width, config.patch
        self.condition, self.activate = StepCondition(frames, action_dim, width), nn.SiLU()
        # One patch embedding of [context; noisy frame], in two halves: the context's is computed once per frame.
        self.context = nn.Conv2d(context_channels, width, patch, stride=patch)
        self.input = nn.Conv2d(image_channels, width, patch, stride=patch, bias=False)
        self.register_buffer("position", positions(self.side, width), persistent=False)
        self.blocks = nn.ModuleList(DiTBlock(width, config.heads) for _ in range(config.depth))
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.output = zeroed(nn.Linear(width, image_channels * patch**2))

    def embed(
        self, context: Float[Tensor, "B C S S"], action: Float[Tensor, "B H E"], c_context: Float[Tensor, " level"]
    ) -> ContextEmbedding:
        """What holds for all denoising steps of one frame: past frames, encoded actions, the past's noise level."""
        return ContextEmbedding(self._tokens(self.context(context)), self.condition.embed(action, c_context))

    def forward(
        self, x: Float[Tensor, "B c S S"], c_noise: Float[Tensor, " level"], embedding: ContextEmbedding
    ) -> Float[Tensor, "B c S S"]:
        """One network call; `c_noise` has shape (B,), or (1,) when all rows share a level."""
        condition = self.activate(self.condition(c_noise, embedding.condition)).to(embedding.features.dtype)
        h = self._tokens(self.input(x)) + embedding.features + self.position.to(embedding.features.dtype)
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = self.modulation(condition).unsqueeze(1).chunk(2, dim=-1)
        patches = self.output(modulated(h, shift, scale)).unflatten(1, (self.side, self.side))
        patch = self.config.patch
        return patches.unflatten(-1, (-1, patch, patch)).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)

    def largest_activation(self, image_size: int) -> int:
        """Numbers in the largest hidden layer of one picture: what has to fit into a processor's cache."""
        return 4 * self.config.width * (image_size // self.config.patch) ** 2

    def _tokens(self, picture: Tensor) -> Tensor:
        return picture.flatten(2).transpose(1, 2)


class DiTBlock(nn.Module):
    """Self-attention and an MLP, each modulated and gated by the condition; both gates are zero at birth."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def forward(self, h: Float[Tensor, "B N W"], condition: Float[Tensor, "B W"]) -> Float[Tensor, "B N W"]:
        """Map (B, N, W) to (B, N, W)."""
        parts = self.modulation(condition).unsqueeze(1).chunk(6, dim=-1)
        shift_mix, scale_mix, gate_mix, shift_mlp, scale_mlp, gate_mlp = parts
        qkv = self.qkv(modulated(h, shift_mix, scale_mix)).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = torch.addcmul(h, gate_mix, self.mix(mixed))
        return torch.addcmul(h, gate_mlp, self.mlp(modulated(h, shift_mlp, scale_mlp)))


def positions(side: int, width: int) -> Float[Tensor, "N W"]:
    """Sines and cosines of row and column, a quarter of the width each, at wavelengths from 2π to 2π·10⁴."""
    frequency = torch.exp(torch.arange(width // 4) * (-4 * math.log(10_000) / width))
    angle = torch.arange(side).unsqueeze(1) * frequency
    wave = torch.cat([angle.sin(), angle.cos()], dim=1)
    rows, columns = wave.unsqueeze(1).expand(-1, side, -1), wave.unsqueeze(0).expand(side, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)
