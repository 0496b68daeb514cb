"""Attention of one set to another, and the blocks of an autoencoder of sets that are made of it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from burnish.networks.gaussians import NUMBERS

_OCTAVES = 8


class CrossAttention(nn.Module):
    """h + what its N tokens find among M others: (B, N, W), (B, M, W') to (B, N, W). Nothing at birth if `silent`."""

    def __init__(self, width: int, heads: int, other: int | None = None, silent: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_other = nn.LayerNorm(width), nn.LayerNorm(other or width)
        self.query, self.pair = nn.Linear(width, width), nn.Linear(other or width, 2 * width)
        self.mix = nn.Linear(width, width)
        if silent:
            nn.init.zeros_(self.mix.weight)
            nn.init.zeros_(self.mix.bias)

    def forward(
        self, h: Float[Tensor, "B N W"], others: Float[Tensor, "B M V"], there: Bool[Tensor, "B M"] | None = None
    ) -> Float[Tensor, "B N W"]:
        """Others that are not `there` are not found; one at least has to be."""
        key, value = self._split(self.pair(self.norm_other(others)), 2)
        (query,) = self._split(self.query(self.norm(h)), 1)
        mask = None if there is None else there[:, None, None, :]
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return h + self.mix(found.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor, parts: int) -> list[Tensor]:
        return list(tokens.unflatten(2, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0))


class AttentionBlock(nn.Module):
    """Cross-attention (self-attention where the others are the tokens themselves) and an MLP, both residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = CrossAttention(width, heads)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, h: Tensor, others: Tensor | None = None, there: Tensor | None = None) -> Tensor:
        """Map (B, N, W) to (B, N, W)."""
        h = self.attention(h, h if others is None else others, there)
        return h + self.mlp(h)


class SetEncoder(nn.Module):
    """A set of Gaussians to T tokens: learned queries look at all of them (3DShape2VecSet, arXiv 2301.11445).

    GWM has points of the set itself ask, drawn by farthest-point sampling; learned queries need no positions, and the
    order of the set changes nothing. An empty set has a code, too.
    """

    frequencies: Tensor

    def __init__(self, tokens: int, token_dim: int, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.pi * 2.0 ** torch.arange(_OCTAVES), persistent=False)
        self.input = nn.Linear(6 * _OCTAVES + NUMBERS, width)
        self.nothing = nn.Parameter(torch.zeros(1, 1, width))
        self.queries = nn.Parameter(torch.randn(1, tokens, width))
        self.look = AttentionBlock(width, heads)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads) for _ in range(depth))
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, token_dim))

    def forward(
        self, points: Float[Tensor, "B N 14"], there: Bool[Tensor, "B N"]
    ) -> Float[Tensor, "B tokens token_dim"]:
        """`points` in the network's own units: about [-1, 1]."""
        angle = (points[..., :3].unsqueeze(-1) * self.frequencies).flatten(-2)
        h = self.input(torch.cat([angle.sin(), angle.cos(), points], dim=-1))
        rows = len(h)
        h = torch.cat([self.nothing.expand(rows, -1, -1), h], dim=1)
        there = torch.cat([torch.ones_like(there[:, :1]), there], dim=1)
        tokens = self.look(self.queries.expand(rows, -1, -1), h, there)
        for block in self.blocks:
            tokens = block(tokens)
        return self.output(tokens)


class SetDecoder(nn.Module):
    """T tokens to K Gaussians, for which K learned queries ask: no positions have to be known beforehand."""

    def __init__(self, tokens: int, token_dim: int, gaussians: int, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.input = nn.Linear(token_dim, width)
        self.places = nn.Parameter(torch.randn(1, tokens, width))
        self.blocks = nn.ModuleList(AttentionBlock(width, heads) for _ in range(depth))
        self.queries = nn.Parameter(torch.randn(1, gaussians, width))
        self.ask = AttentionBlock(width, heads)
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, NUMBERS))

    def forward(self, tokens: Float[Tensor, "B tokens token_dim"]) -> Float[Tensor, "B K 14"]:
        """The numbers before `gaussians.activated`."""
        h = self.input(tokens) + self.places
        for block in self.blocks:
            h = block(h)
        return self.output(self.ask(self.queries.expand(len(h), -1, -1), h))
