"""A transformer over the latents of a video: attention within each frame, and from each frame back in time.

World-Gymnast's world model (arXiv 2602.02454) is of this kind: a DiT (arXiv 2212.09748) whose blocks alternate between
space and causal time, conditioned frame by frame on a noise level and on the action that led to the frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from burnish.config import within
from burnish.errors import InputError
from burnish.networks.dit import positions
from burnish.networks.mlp import FourierFeatures
from burnish.networks.modulation import modulated

Kept = tuple[Float[Tensor, "B NH P d"], Float[Tensor, "B NH P d"]]
"""Keys and values of P past frames in one attention over time; places and heads side by side."""


@dataclass(frozen=True)
class FrameDiTConfig:
    """Sizes of the transformer."""

    width: int = within(64, 4)
    depth: int = within(3, 1)
    """Layers, each of which attends within a frame and then back in time."""
    heads: int = within(4, 1)

    def __post_init__(self) -> None:
        if self.width % 4 or self.width % (2 * self.heads):
            raise InputError(
                f"frame DiT: found width {self.width} and {self.heads} heads, expected a width that is a multiple of 4 "
                "and of twice the heads"
            )


class FrameDiT(nn.Module):
    """F_θ on frames of N = side² tokens with D numbers each; outputs zero at birth.

    Frame t sees tokens, noise level and action of itself and of earlier frames alone.
    """

    position: Tensor

    def __init__(self, side: int, token_dim: int, action_dim: int, config: FrameDiTConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.input, self.output = nn.Linear(token_dim, width), nn.Linear(width, token_dim)
        self.register_buffer("position", positions(side, width), persistent=False)
        self.level = nn.Sequential(FourierFeatures(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.action = nn.Sequential(nn.Linear(action_dim, width), nn.SiLU(), nn.Linear(width, width))
        blocks = [_Block(width, config.heads, over_time) for _ in range(config.depth) for over_time in (False, True)]
        self.blocks = nn.ModuleList(blocks)
        self.modulation = nn.Linear(width, 2 * width)
        for layer in (self.modulation, self.output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        x: Float[Tensor, "B T N D"],
        level: Float[Tensor, "B T"],
        action: Float[Tensor, "B T A"],
        valid: Bool[Tensor, "B PT"],
        past: Sequence[Kept] = (),
    ) -> tuple[Float[Tensor, "B T N D"], list[Kept]]:
        """What the network says of T frames, and the keys and values of theirs and of the past's.

        Args:
            x: tokens.
            level: noise level of each frame, in [0, 1].
            action: of each frame, that which led to it.
            valid: which of the P past and T present frames are real; others are seen by no frame but themselves.
            past: what an earlier call kept of P frames that come before these.
        """
        condition = functional.silu(self.level(level) + self.action(action))
        h = self.input(x) + self.position
        _count, length = level.shape
        before = valid.shape[1] - length
        own = torch.ones(length, length + before, dtype=torch.bool, device=x.device)
        seen = own.tril(before) & valid[:, None]
        # A frame that is none sees itself, so that no row of the attention is empty.
        seen = (seen | (own.tril(before) & own.triu(before)))[:, None]
        kept, places = list[Kept](), iter(past)
        for block in self.blocks:
            assert isinstance(block, _Block)
            if block.over_time:
                h, keys = block.back_in_time(h, condition, seen, next(places, None))
                kept.append(keys)
            else:
                h = block.within_frames(h, condition)
        shift, scale = self.modulation(condition).unsqueeze(2).chunk(2, dim=-1)
        return self.output(modulated(h, shift, scale)), kept


class _Block(nn.Module):
    """Attention within frames or over time, then an MLP, both modulated and gated by the frame's condition."""

    def __init__(self, width: int, heads: int, over_time: bool) -> None:
        super().__init__()
        self.heads, self.over_time = heads, over_time
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def within_frames(self, h: Float[Tensor, "B T N W"], condition: Float[Tensor, "B T W"]) -> Tensor:
        """All tokens of a frame see each other."""
        parts = self._parts(condition)
        q, k, v = self._heads(h, parts).permute(3, 0, 1, 4, 2, 5).flatten(1, 2)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self._added(h, mixed.transpose(1, 2).flatten(2).view_as(h), parts)

    def back_in_time(
        self, h: Float[Tensor, "B T N W"], condition: Float[Tensor, "B T W"], seen: Tensor, past: Kept | None
    ) -> tuple[Tensor, Kept]:
        """Each token sees the one at its place in earlier frames."""
        parts = self._parts(condition)
        q, k, v = self._heads(h, parts).permute(3, 0, 2, 4, 1, 5).flatten(2, 3)
        before = 0 if past is None else past[0].shape[2]
        q, k = rotated(q, before), rotated(k, before)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        mixed = mixed.unflatten(1, (-1, self.heads)).permute(0, 3, 1, 2, 4).flatten(3)
        return self._added(h, mixed, parts), (k, v)

    def _parts(self, condition: Tensor) -> tuple[Tensor, ...]:
        return self.modulation(condition).unsqueeze(2).chunk(6, dim=-1)

    def _heads(self, h: Tensor, parts: tuple[Tensor, ...]) -> Tensor:
        """Queries, keys and values (B, T, N, 3, heads, d)."""
        return self.qkv(modulated(h, parts[0], parts[1])).unflatten(-1, (3, self.heads, -1))

    def _added(self, h: Tensor, mixed: Tensor, parts: tuple[Tensor, ...]) -> Tensor:
        h = torch.addcmul(h, parts[2], self.mix(mixed))
        return torch.addcmul(h, parts[5], self.mlp(modulated(h, parts[3], parts[4])))


def rotated(x: Float[Tensor, "B H T d"], first: int) -> Float[Tensor, "B H T d"]:
    """Rotary positions `first`, `first` + 1, … (arXiv 2104.09864): products of two depend on their distance alone."""
    half = x.shape[-1] // 2
    frequency = 10_000 ** (-torch.arange(half, device=x.device) / half)
    angle = torch.arange(first, first + x.shape[2], device=x.device).unsqueeze(1) * frequency
    one, other = x.chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([one * cos - other * sin, one * sin + other * cos], dim=-1)
