"""Differences between numbers of one unit, which a network would have to find between two that each range far more."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BodyDifferences(nn.Module):
    """Differences x_i - x_j of chosen pairs of state dimensions, in units of their root mean square over the data."""

    left: Tensor
    right: Tensor
    scale: Tensor

    def __init__(self, pairs: tuple[tuple[int, int], ...] = ()) -> None:
        super().__init__()
        self.pairs = pairs
        self.register_buffer("left", torch.tensor([i for i, _ in pairs], dtype=torch.long))
        self.register_buffer("right", torch.tensor([j for _, j in pairs], dtype=torch.long))
        self.register_buffer("scale", torch.ones(len(pairs)))

    @torch.no_grad()
    def fit(self, frames: Float[Tensor, "F D"]) -> None:
        """Take the scale from `frames` (in the data's units).

        Root mean square, not deviation: zero must stay zero, and two bodies may keep a constant distance.
        """
        if self.pairs:
            self.scale.copy_(self.raw(frames).square().mean(0).sqrt().clamp(min=1e-4))

    def raw(self, frames: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch P"]:
        """The differences in the data's units."""
        return frames[..., self.left] - frames[..., self.right]

    def forward(self, frames: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch P"]:
        """The scaled differences of frames in the data's units."""
        return self.raw(frames) / self.scale

    def magnified(self, frames: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch P2"]:
        """The scaled differences as they are, and with the neighbourhood of zero, where contact happens, magnified."""
        if not self.pairs:
            return frames[..., :0]
        scaled = self(frames)
        return torch.cat([scaled, (5 * scaled).tanh()], dim=-1)
