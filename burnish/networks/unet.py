"""A U-Net for pictures, conditioned by adaptive group normalisation (DIAMOND, arXiv 2405.12399, Appendix)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from burnish.config import within
from burnish.errors import InputError
from burnish.networks.conditioning import ContextEmbedding, StepCondition

GROUP_SIZE = 32


def groups_of(channels: int) -> int:
    """Number of normalisation groups: of 32 channels each, or larger ones where that does not divide."""
    groups = max(1, channels // GROUP_SIZE)
    return groups if channels % groups == 0 else max(n for n in range(1, groups) if channels % n == 0)


@dataclass(frozen=True)
class UNetConfig:
    """Sizes, one entry per level, from the full resolution down; each level halves height and width."""

    channels: tuple[int, ...] = within((16, 32, 32, 64), 1)
    depths: tuple[int, ...] = within((1, 1, 1, 1), 1)
    """Residual blocks per level on the way down; one more on the way up."""
    attention: tuple[bool, ...] = (False, False, False, False)
    """Levels with self-attention; the middle always has it."""
    condition: int = within(128, 2)
    """Width of the conditioning vector."""
    head_width: int = within(8, 1)
    """Channels of one attention head."""

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.depths) == len(self.attention) > 0:
            found = f"{len(self.channels)} channels, {len(self.depths)} depths and {len(self.attention)} attention"
            raise InputError(f"U-Net: found {found}, expected one of each per level")
        if self.head_width < 1 or any(channels < 1 or channels % self.head_width for channels in self.channels):
            raise InputError(
                f"U-Net: found channels {self.channels}, expected multiples of the head width {self.head_width}"
            )
        if min(self.depths) < 1 or self.condition < 2 or self.condition % 2:
            found = f"depths {self.depths} and condition {self.condition}"
            raise InputError(f"U-Net: found {found}, expected depths of at least 1 and an even condition")


UNET_PRESETS = {
    "xs": UNetConfig(),
    "diamond": UNetConfig((64, 64, 64, 64), (2, 2, 2, 2), (False, False, False, False), 256),
    "medium": UNetConfig((64, 128, 256, 512), (2, 2, 2, 2), (False, False, True, True), 1024),
    "published": UNetConfig((128, 256, 512, 1024), (2, 2, 2, 2), (False, False, True, True), 2048),
}
"""About 1 M parameters; DIAMOND on Atari (4.4 M); 83 M; DIAMOND on CS:GO, almost surely World4RL's (330 M)."""


class UNet(nn.Module):
    """F_θ: the noisy next frame, past frames and a condition in, a picture of the next frame's shape out.

    Outputs zero at birth. Pictures of any size: they are padded to a multiple of 2^(levels - 1) and cropped.
    """

    def __init__(
        self, image_channels: int, context_channels: int, frames: int, action_dim: int, config: UNetConfig
    ) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.condition = StepCondition(frames, action_dim, config.condition)
        # One 3×3 convolution of [context; noisy frame], in two halves: the context's is computed once per frame.
        self.context = _conv3(context_channels, channels[0])
        self.input = _conv3(image_channels, channels[0], bias=False)
        outer = (channels[0], *channels[:-1])
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for above, width, depth, attention in zip(outer, channels, config.depths, config.attention, strict=True):
            ins = [above] + [width] * (depth - 1)
            self.down.append(_Level(ins, [width] * depth, config, attention))
            ins = [2 * width] * depth + [above + width]
            self.up.append(_Level(ins, [width] * depth + [above], config, attention))
        self.middle = _Level([channels[-1]] * 2, [channels[-1]] * 2, config, True)
        self.shrink = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for width in channels[:-1])
        self.grow = nn.ModuleList(_conv3(width, width) for width in channels[:-1])
        for layer in self.shrink:
            nn.init.orthogonal_(layer.weight)  # type: ignore[arg-type]
        self.norm = nn.GroupNorm(groups_of(channels[0]), channels[0])
        self.output = _conv3(channels[0], image_channels)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]

    def embed(
        self, context: Float[Tensor, "B C h w"], action: Float[Tensor, "B H E"], c_context: Float[Tensor, " level"]
    ) -> ContextEmbedding:
        """What holds for all denoising steps of one frame: past frames, encoded actions, the past's noise level."""
        return ContextEmbedding(self.context(self._pad(context)), self.condition.embed(action, c_context))

    def forward(
        self, x: Float[Tensor, "B c h w"], c_noise: Float[Tensor, " level"], embedding: ContextEmbedding
    ) -> Float[Tensor, "B c h w"]:
        """One network call; `c_noise` has shape (B,), or (1,) when all rows share a level."""
        height, width = x.shape[-2:]
        condition = self.condition(c_noise, embedding.condition).to(embedding.features.dtype)
        h = self.input(self._pad(x)) + embedding.features
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            if level:
                h = self.shrink[level - 1](h)
            skips.append(h)
            for block in blocks.children():
                h = block(h, condition)
                skips.append(h)
        for block in self.middle.children():
            h = block(h, condition)
        for level in reversed(range(len(self.up))):
            for block in self.up[level].children():
                h = block(torch.cat([h, skips.pop()], dim=1), condition)
            if level:
                h = self.grow[level - 1](functional.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.output(functional.silu(self.norm(h)))[..., :height, :width]

    def largest_activation(self, image_size: int) -> int:
        """Numbers in the largest hidden layer of one picture: what has to fit into a processor's cache."""
        return 2 * self.config.channels[0] * image_size**2

    def _pad(self, x: Tensor) -> Tensor:
        multiple = 2 ** (len(self.config.channels) - 1)
        height, width = x.shape[-2:]
        if height % multiple == 0 and width % multiple == 0:
            return x
        return functional.pad(x, (0, -width % multiple, 0, -height % multiple))


class _Level(nn.Sequential):
    """The residual blocks of one level."""

    def __init__(self, ins: list[int], outs: list[int], config: UNetConfig, attention: bool) -> None:
        pairs = zip(ins, outs, strict=True)
        super().__init__(*(ResidualBlock(i, o, config.condition, attention, config.head_width) for i, o in pairs))


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice, beside a shortcut; the second convolution starts at zero."""

    def __init__(self, ins: int, outs: int, condition: int, attention: bool, head_width: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(ins, outs, 1) if ins != outs else nn.Identity()
        self.norm_in, self.norm_out = AdaptiveGroupNorm(ins, condition), AdaptiveGroupNorm(outs, condition)
        self.conv_in, self.conv_out = _conv3(ins, outs), _conv3(outs, outs)
        self.attention = PixelAttention(outs, head_width) if attention else nn.Identity()
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Float[Tensor, "B i h w"], condition: Float[Tensor, "B cond"]) -> Float[Tensor, "B o h w"]:
        """Map (B, ins, h, w) to (B, outs, h, w)."""
        h = self.conv_in(self.norm_in.activated(x, condition))
        h = self.conv_out(self.norm_out.activated(h, condition))
        return self.attention(self.shortcut(x) + h)


class AdaptiveGroupNorm(nn.Module):
    """Group normalisation whose scale and shift are linear in the condition: x̂ (1 + scale) + shift."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.groups = groups_of(channels)
        self.modulation = nn.Linear(condition, 2 * channels)
        self.one_pass = False
        """Whether compiled code for a CPU reads pictures once for the statistics and once for all the rest."""

    def forward(self, x: Float[Tensor, "B c h w"], condition: Float[Tensor, "B cond"]) -> Float[Tensor, "B c h w"]:
        """Normalise and modulate."""
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, functional.group_norm(x, self.groups), 1 + scale)

    def activated(self, x: Float[Tensor, "B c h w"], condition: Float[Tensor, "B cond"]) -> Float[Tensor, "B c h w"]:
        """Normalise, modulate, and SiLU."""
        if not self.one_pass:
            return functional.silu(self(x, condition))
        channels, height, width = x.shape[1:]
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2).float()
        member = torch.eye(self.groups, device=x.device).repeat_interleave(channels // self.groups, dim=1)
        share = member.T * (self.groups / (channels * height * width))
        mean, square = pixels.sum(1) @ share, pixels.square().sum(1) @ share
        # Products with `member` give each channel its group's numbers, and keep the root out of the loop over pixels,
        # into which the compiler moves all that is no product.
        inverse = torch.rsqrt(square - mean.square() + 1e-5) @ member
        scale, shift = self.modulation(condition).float().chunk(2, dim=1)
        factor = inverse * (1 + scale)
        modulated = pixels * factor.unsqueeze(1) + (shift - (mean @ member) * factor).unsqueeze(1)
        return functional.silu(modulated).to(x.dtype).unflatten(1, (height, width)).permute(0, 3, 1, 2)


class PixelAttention(nn.Module):
    """Self-attention over the pixels, added to its input; the output projection starts at zero."""

    def __init__(self, channels: int, head_width: int) -> None:
        super().__init__()
        self.heads = channels // head_width
        self.norm = nn.GroupNorm(groups_of(channels), channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "B c h w"]) -> Float[Tensor, "B c h w"]:
        """Attend."""
        batch, channels, height, width = x.shape
        tokens = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)
        q, k, v = tokens.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return x + self.output(mixed.transpose(2, 3).reshape(batch, channels, height, width))


def _conv3(ins: int, outs: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(ins, outs, 3, padding=1, bias=bias)
