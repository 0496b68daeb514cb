"""A diffusion transformer for sets of latent tokens that looks at actions by cross-attention (as GWM, 2508.17600)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.networks.attention import CrossAttention
from burnish.networks.dit import DiTBlock
from burnish.networks.mlp import FourierFeatures

_NOISE = 32


@dataclass(frozen=True)
class TokenDiTConfig:
    """Sizes of the transformer."""

    tokens: int = within(8, 1)
    """Tokens that the predicted vector consists of, of equal size."""
    width: int = within(64, 4)
    depth: int = within(2, 1)
    heads: int = within(4, 1)


class TokenDiT(nn.Module):
    """F_θ of a vector that consists of tokens, with the interface of `ConditionalResidualMLP`. Zero at birth.

    The context's first numbers are states and changes of the same tokens; the rest, actions and which frames are real,
    becomes `frames` tokens that every block looks at. Both are embedded once for all denoising steps.
    """

    def __init__(self, input_dim: int, past: int, rest: int, frames: int, config: TokenDiTConfig) -> None:
        """`input_dim` numbers are predicted given a context of `past` vectors of them and `rest` other numbers."""
        super().__init__()
        self.config, self.past, self.frames = config, past, frames
        self.token_dim, width = input_dim // config.tokens, config.width
        self.state = nn.Linear(past * self.token_dim, width)
        self.place = nn.Parameter(0.5 * torch.randn(1, config.tokens, width))
        self.action = nn.Linear(rest, frames * width)
        self.moment = nn.Parameter(0.5 * torch.randn(1, frames, width))
        self.input = nn.Linear(self.token_dim, width, bias=False)
        self.noise = nn.Sequential(FourierFeatures(_NOISE), nn.Linear(_NOISE, width), nn.SiLU())
        self.blocks = nn.ModuleList(DiTBlock(width, config.heads) for _ in range(config.depth))
        self.actions = nn.ModuleList(CrossAttention(width, config.heads, silent=True) for _ in range(config.depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, self.token_dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def embed_context(self, context: Float[Tensor, "B context"]) -> Float[Tensor, "B embedded"]:
        """What holds for all denoising steps, flattened: the tokens' share, then the actions'."""
        tokens, numbers = self.config.tokens, self.config.tokens * self.token_dim
        states = context[:, : self.past * numbers].unflatten(1, (self.past, tokens, self.token_dim))
        h = self.state(states.transpose(1, 2).flatten(2)) + self.place
        actions = self.action(context[:, self.past * numbers :]).unflatten(1, (self.frames, -1)) + self.moment
        return torch.cat([h, actions], dim=1).flatten(1)

    def hidden(
        self, x: Float[Tensor, "B D"], c_noise: Float[Tensor, " level"], context: Float[Tensor, "B embedded"]
    ) -> Float[Tensor, "B tokens W"]:
        """The last layer's tokens."""
        tokens = self.config.tokens
        embedded = context.unflatten(1, (tokens + self.frames, -1))
        h = self.input(x.unflatten(1, (tokens, -1))) + embedded[:, :tokens]
        condition, actions = self.noise(c_noise), embedded[:, tokens:]
        for block, look in zip(self.blocks, self.actions, strict=True):
            h = look(block(h, condition), actions)
        return self.norm(h)

    def forward(
        self, x: Float[Tensor, "B D"], c_noise: Float[Tensor, " level"], context: Float[Tensor, "B embedded"]
    ) -> Float[Tensor, "B D"]:
        """One network call; `c_noise` has shape (B,), or (1,) when all rows share a level."""
        return self.head(self.hidden(x, c_noise, context)).flatten(1)
