"""What a few numbers do to a picture: the decoder of latent actions."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from burnish.networks.unet import ResidualBlock

HEAD_WIDTH = 8


class FrameChange(nn.Module):
    """A small U-Net that draws what becomes of a picture; the code scales and shifts every residual block.

    Strided convolutions from S down to S / 2^levels, the mirror image back, what was seen on the way down beside it.
    What is drawn is the change alone, zero at birth.
    """

    def __init__(self, channels: int, code_dim: int, widths: tuple[int, ...], condition: int) -> None:
        super().__init__()
        self.code = nn.Sequential(nn.Linear(code_dim, condition), nn.SiLU(), nn.Linear(condition, condition), nn.SiLU())
        before = (channels, *widths[:-1])
        self.shrink = nn.ModuleList(
            nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in zip(before, widths, strict=True)
        )
        self.down = nn.ModuleList(ResidualBlock(w, w, condition, False, HEAD_WIDTH) for w in widths)
        pairs = list(itertools.pairwise(widths))
        self.up = nn.ModuleList(ResidualBlock(o + i, i, condition, False, HEAD_WIDTH) for i, o in pairs)
        for block in (*self.down, *self.up):
            # A denoiser's blocks begin as shortcuts; here the code has to be heard from the first step on.
            block.conv_out.reset_parameters()  # type: ignore[operator, union-attr]
        self.output = nn.ConvTranspose2d(widths[0], channels, 4, stride=2, padding=1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]

    def forward(self, pictures: Float[Tensor, "B C S S"], codes: Float[Tensor, "B Z"]) -> Float[Tensor, "B C S S"]:
        """What the codes change in the pictures."""
        condition, h, seen = self.code(codes), pictures, []
        for shrink, block in zip(self.shrink, self.down, strict=True):
            h = block(shrink(h), condition)
            seen.append(h)
        h = seen.pop()
        for block in reversed(self.up):
            h = block(torch.cat([functional.interpolate(h, scale_factor=2.0), seen.pop()], dim=1), condition)
        return self.output(functional.silu(h))
