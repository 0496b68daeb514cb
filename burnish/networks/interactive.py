"""A diffusion transformer over several kinds of features at once, whose denoised parts see each other (LaDi-WM)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from burnish.config import within
from burnish.errors import InputError
from burnish.networks.mlp import FourierFeatures
from burnish.networks.modulation import modulated, zeroed


@dataclass(frozen=True)
class InteractiveDiTConfig:
    """Sizes of the transformer."""

    width: int = within(96, 4)
    depth: int = within(4, 1)
    """Blocks; attention is over the tokens of a frame in every second one, over frames in the others."""
    heads: int = within(4, 1)

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise InputError(f"interactive DiT: found width {self.width}, expected a multiple of {self.heads} heads")


@dataclass(frozen=True)
class Denoised:
    """What the network says of a noisy future, each (B, T, Z).

    Attributes:
        first: the clean part, as each stream finds it alone.
        clean: the clean part, once each stream has seen the others' first.
        noise: the noise in it, likewise.
    """

    first: Tensor
    clean: Tensor
    noise: Tensor


class InteractiveDiT(nn.Module):
    """Denoises T future frames together, given past frames and the action that leads to each frame.

    A frame's Z numbers are those of several streams (geometry and semantics, say), a stream's those of its tokens. Each
    stream has weights of its own; tokens of all streams meet in one attention (arXiv 2505.11528, section 3.2). Frames
    attend to earlier ones alone, so that a prediction knows no later action, and any number of frames may be asked for.
    """

    def __init__(
        self, streams: Sequence[tuple[int, int]], action_dim: int, past: int, future: int, config: InteractiveDiTConfig
    ) -> None:
        """Make it.

        Args:
            streams: (tokens, numbers of a token) of each.
            action_dim: numbers of an action.
            past: frames that are seen.
            future: the most frames that are predicted at once.
            config: sizes.
        """
        super().__init__()
        self.sizes = [tokens * size for tokens, size in streams]
        self.tokens = [tokens for tokens, _ in streams]
        width = config.width
        self.embed = nn.ModuleList(nn.Linear(size, width) for _, size in streams)
        self.remember = nn.ModuleList(nn.Linear(size, width) for _, size in streams)
        count = sum(self.tokens)
        self.place = nn.Parameter(0.02 * torch.randn(count, width))
        self.age = nn.Parameter(0.02 * torch.randn(past, 1, width))
        self.ahead = nn.Parameter(0.02 * torch.randn(future, 1, width))
        self.level = FourierFeatures(width)
        self.action = nn.Linear(action_dim, width)
        self.condition = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(
            _Block(self.tokens, width, config.heads, along_time=bool(index % 2)) for index in range(config.depth)
        )
        self.heads = nn.ModuleList(_Head(size, width) for _, size in streams)
        self.see = nn.ModuleList(nn.Linear(size, width) for _, size in streams)

    def memory(self, past: Float[Tensor, "B H Z"]) -> Float[Tensor, "B HN W"]:
        """Past frames as tokens; computed once for a sample, not once for each denoising step."""
        return (self._tokens(self.remember, past) + self.place + self.age).flatten(1, 2)

    def forward(
        self, x: Float[Tensor, "B T Z"], level: Float[Tensor, " level"], action: Float[Tensor, "B T A"], memory: Tensor
    ) -> Denoised:
        """One call; `level` in [0, 1] has shape (B,), or (1,) where all rows share one."""
        count = x.shape[1]
        told = torch.cat([self.level(level).unsqueeze(1).expand(len(x), count, -1), self.action(action)], dim=-1)
        condition = self.condition(told)
        h = self._tokens(self.embed, x) + self.place + self.ahead[:count]
        for block in self.blocks:
            h = block(h, condition, memory)
        parts = h.split(self.tokens, dim=2)
        heads = [head for head in self.heads if isinstance(head, _Head)]
        read = [head.read(part, condition) for head, part in zip(heads, parts, strict=True)]
        first = [head.first(part) for head, part in zip(heads, read, strict=True)]
        # Each stream's last layer sees what the others have found.
        seen = [see(part) for see, part in zip(self.see, first, strict=True)]
        outputs = []
        for index, (head, part) in enumerate(zip(heads, read, strict=True)):
            others = [_as_many(each, part.shape[2]) for number, each in enumerate(seen) if number != index]
            outputs.append(head.last(part, sum(others, torch.zeros_like(part))))
        clean = [one + change for one, (change, _) in zip(first, outputs, strict=True)]
        return Denoised(_joined(first), _joined(clean), _joined([noise for _, noise in outputs]))

    def _tokens(self, layers: nn.ModuleList, frames: Float[Tensor, "B T Z"]) -> Float[Tensor, "B T N W"]:
        parts = frames.split(self.sizes, dim=-1)
        split = [part.unflatten(-1, (tokens, -1)) for part, tokens in zip(parts, self.tokens, strict=True)]
        return torch.cat([layer(part) for layer, part in zip(layers, split, strict=True)], dim=2)


class _Block(nn.Module):
    """Attention over all streams' tokens, or over a token's frames so far; then over the past; then an MLP a stream."""

    def __init__(self, tokens: Sequence[int], width: int, heads: int, along_time: bool) -> None:
        super().__init__()
        self.tokens, self.heads, self.along_time = tuple(tokens), heads, along_time
        self.streams = nn.ModuleList(_StreamLayers(width) for _ in tokens)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)

    def forward(self, h: Float[Tensor, "B T N W"], condition: Float[Tensor, "B T W"], memory: Tensor) -> Tensor:
        streams = [layers for layers in self.streams if isinstance(layers, _StreamLayers)]
        changes = [layers.changes(condition) for layers in streams]
        pairs = list(zip(streams, h.split(self.tokens, dim=2), changes, strict=True))
        qkv = torch.cat([layers.qkv(modulated(part, c[0], c[1])) for layers, part, c in pairs], dim=2)
        mixed = self._attend(qkv).split(self.tokens, dim=2)
        parts = [part + c[2] * layers.mix(m) for (layers, part, c), m in zip(pairs, mixed, strict=True)]
        h = torch.cat(parts, dim=2)
        h = h + self._look_back(h, memory)
        found = []
        for layers, part, c in zip(streams, h.split(self.tokens, dim=2), changes, strict=True):
            found.append(part + c[5] * layers.mlp(modulated(part, c[3], c[4])))
        return torch.cat(found, dim=2)

    def _attend(self, qkv: Float[Tensor, "B T N W3"]) -> Float[Tensor, "B T N W"]:
        rows = qkv.transpose(1, 2) if self.along_time else qkv
        q, k, v = rows.flatten(0, 1).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(q, k, v, is_causal=self.along_time)
        found = found.transpose(1, 2).flatten(2).unflatten(0, rows.shape[:2])
        return found.transpose(1, 2) if self.along_time else found

    def _look_back(self, h: Float[Tensor, "B T N W"], memory: Float[Tensor, "B M W"]) -> Float[Tensor, "B T N W"]:
        rows = functional.layer_norm(h, h.shape[-1:]).flatten(1, 2)
        q = self.query(rows).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        kept = functional.layer_norm(memory, memory.shape[-1:])
        k, v = self.key_value(kept).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.mix(found).view(h.shape)


class _StreamLayers(nn.Module):
    """A stream's own weights in a block; its gates are zero at birth."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def changes(self, condition: Float[Tensor, "B T W"]) -> Sequence[Tensor]:
        """Shift, scale and gate of attention, then those of the MLP, each (B, T, 1, W)."""
        return self.modulation(condition).unsqueeze(2).chunk(6, dim=-1)


class _Head(nn.Module):
    """A stream's outputs: zero at birth."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.found = zeroed(nn.Linear(width, size))
        self.inner, self.outer = nn.Linear(width, width), zeroed(nn.Linear(width, 2 * size))

    def read(self, h: Float[Tensor, "B T n W"], condition: Float[Tensor, "B T W"]) -> Float[Tensor, "B T n W"]:
        shift, scale = self.modulation(condition).unsqueeze(2).chunk(2, dim=-1)
        return modulated(h, shift, scale)

    def first(self, read: Float[Tensor, "B T n W"]) -> Float[Tensor, "B T n size"]:
        return self.found(read)

    def last(self, read: Float[Tensor, "B T n W"], others: Float[Tensor, "B T n W"]) -> tuple[Tensor, Tensor]:
        """What is added to the clean part, and the noise."""
        change, noise = self.outer(functional.silu(self.inner(read + others))).split(self.size, dim=-1)
        return change, noise


def _as_many(tokens: Float[Tensor, "B T n W"], count: int) -> Tensor:
    """Token by token where both streams have the same number, else their mean for all."""
    return tokens if tokens.shape[2] == count else tokens.mean(2, keepdim=True)


def _joined(parts: Sequence[Tensor]) -> Float[Tensor, "B T Z"]:
    return torch.cat([part.flatten(2) for part in parts], dim=-1)


def straight_levels(steps: int) -> list[tuple[float, float]]:
    """(t, next t) of `steps` equal steps from noise, t = 1, to what is clean, t = 0."""
    return list(itertools.pairwise([1 - index / steps for index in range(steps)] + [0.0]))
