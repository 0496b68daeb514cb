"""A denoiser of sequences in which no step sees a later one: residual blocks with the same weights at every step."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.networks.mlp import FourierFeatures


class _CausalBlock(nn.Module):
    def __init__(self, width: int, back: int) -> None:
        super().__init__()
        self.back = back
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(2 * width, width)
        self.outer = nn.Linear(width, width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, h: Float[Tensor, "B H W"], noise: Float[Tensor, "#B 1 W"]) -> Float[Tensor, "B H W"]:
        now = self.norm(h)
        earlier = nn.functional.pad(now, (0, 0, self.back, 0))[:, : h.shape[1]]
        return h + self.outer(nn.functional.silu(self.inner(torch.cat([now, earlier], -1)) + noise))


class CausalResidualMLP(nn.Module):
    """F_θ for H entries of a sequence: entry k sees the noisy entries and conditions 1 … k, and the first condition.

    Block k looks 2^k steps back (WaveNet's dilations, arXiv 1609.03499), so `depth` blocks see 2^depth steps. It takes
    the place of `ConditionalResidualMLP` where entries and conditions are flattened step by step, and takes fewer than
    H steps as well.
    """

    def __init__(self, entry: int, first: int, condition: int, horizon: int, width: int, depth: int) -> None:
        super().__init__()
        self.entry, self.first, self.condition, self.depth = entry, first, condition, depth
        self.first_layer = nn.Linear(first, width)
        self.step_layer = nn.Linear(condition, width, bias=False)
        self.place = nn.Parameter(torch.zeros(horizon, width))
        self.input = nn.Linear(entry, width, bias=False)
        noise_dim = 32
        self.noise = nn.Sequential(FourierFeatures(noise_dim), nn.Linear(noise_dim, 2 * noise_dim), nn.SiLU())
        self.noise_shift = nn.Linear(2 * noise_dim, width * depth)
        self.blocks = nn.ModuleList(_CausalBlock(width, 2**k) for k in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, entry)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def embed_context(self, context: Float[Tensor, "B context"]) -> Float[Tensor, "B H width"]:
        """The share of the first condition and of each step's, from both of them in a row."""
        first, steps = context[:, : self.first], context[:, self.first :].unflatten(1, (-1, self.condition))
        return self.first_layer(first)[:, None] + self.step_layer(steps) + self.place[: steps.shape[1]]

    def forward(
        self, x: Float[Tensor, "B flat"], c_noise: Float[Tensor, " level"], context: Float[Tensor, "B H width"]
    ) -> Float[Tensor, "B flat"]:
        """One network call on flattened entries; `c_noise` has shape (B,), or (1,) where all rows share a level."""
        shifts = self.noise_shift(self.noise(c_noise)).unsqueeze(1).chunk(self.depth, dim=-1)
        h = self.input(x.unflatten(1, (-1, self.entry))) + context
        for block, shift in zip(self.blocks, shifts, strict=True):
            h = block(h, shift)
        return self.head(nn.functional.silu(self.norm(h))).flatten(1)
