"""Diffusion Policy's convolutional U-Net over an action sequence (arXiv 2303.04137, section III-A).

Its weights bear the names that LeRobot's checkpoints of type `diffusion` give them (below `diffusion.unet.`).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from burnish.config import within

_LAST_GROUPS = 8
"""Of the last normalisation, in every checkpoint, whatever `n_groups` is."""


@dataclass(frozen=True)
class ConditionalUNetConfig:
    """Sizes, under the names of LeRobot's configuration."""

    down_dims: tuple[int, ...] = within((512, 1024, 2048), 1)
    """Channels of each stage; all but the last one halve the sequence."""
    kernel_size: int = within(5, 1)
    n_groups: int = within(8, 1)
    diffusion_step_embed_dim: int = within(128, 4)
    use_film_scale_modulation: bool = True
    """Whether the condition scales channels besides shifting them."""


class ConditionalUNet(nn.Module):
    """Denoises (B, T, A), given a step and a condition, by FiLM in every residual block (arXiv 1709.07871)."""

    def __init__(self, action_dim: int, condition_dim: int, config: ConditionalUNetConfig) -> None:
        super().__init__()
        embedded, dims = config.diffusion_step_embed_dim, config.down_dims
        self.diffusion_step_encoder = nn.Sequential(
            _StepEmbedding(embedded), nn.Linear(embedded, 4 * embedded), nn.Mish(), nn.Linear(4 * embedded, embedded)
        )

        def block(before: int, after: int) -> _Block:
            return _Block(before, after, embedded + condition_dim, config)

        stages = list(zip((action_dim, *dims[:-1]), dims, strict=True))
        last = len(stages) - 1
        self.down_modules = nn.ModuleList(
            nn.ModuleList([block(i, o), block(o, o), nn.Conv1d(o, o, 3, 2, 1) if number < last else nn.Identity()])
            for number, (i, o) in enumerate(stages)
        )
        self.mid_modules = nn.ModuleList(block(dims[-1], dims[-1]) for _ in range(2))
        self.up_modules = nn.ModuleList(
            nn.ModuleList([block(2 * o, i), block(i, i), nn.ConvTranspose1d(i, i, 4, 2, 1)])
            for i, o in reversed(stages[1:])
        )
        self.final_conv = nn.Sequential(
            _Convolution(dims[0], dims[0], config.kernel_size, _LAST_GROUPS),
            nn.Conv1d(dims[0], action_dim, kernel_size=1),
        )

    def forward(
        self, x: Float[Tensor, "B T A"], step: Int[Tensor, " B"], condition: Float[Tensor, "B C"]
    ) -> Float[Tensor, "B T A"]:
        """What the checkpoint was trained to tell (the noise, or the clean actions) at training steps `step`."""
        condition = torch.cat([self.diffusion_step_encoder(step), condition], dim=-1)
        h, passed = x.transpose(1, 2), []
        for one, two, halve in self.down_modules:  # type: ignore[misc]
            h = two(one(h, condition), condition)
            passed.append(h)
            h = halve(h)
        for each in self.mid_modules:
            h = each(h, condition)
        for one, two, double in self.up_modules:  # type: ignore[misc]
            h = torch.cat([h, passed.pop()], dim=1)
            h = double(two(one(h, condition), condition))
        return self.final_conv(h).transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, before: int, after: int, condition_dim: int, config: ConditionalUNetConfig) -> None:
        super().__init__()
        self.scales = config.use_film_scale_modulation
        self.conv1 = _Convolution(before, after, config.kernel_size, config.n_groups)
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(condition_dim, after * (2 if self.scales else 1)))
        self.conv2 = _Convolution(after, after, config.kernel_size, config.n_groups)
        self.residual_conv = nn.Conv1d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h, film = self.conv1(x), self.cond_encoder(condition).unsqueeze(-1)
        if self.scales:
            scale, shift = film.chunk(2, dim=1)
            h = scale * h + shift
        else:
            h = h + film
        return self.conv2(h) + self.residual_conv(x)


class _Convolution(nn.Module):
    def __init__(self, before: int, after: int, kernel_size: int, groups: int) -> None:
        super().__init__()
        convolution = nn.Conv1d(before, after, kernel_size, padding=kernel_size // 2)
        self.block = nn.Sequential(convolution, nn.GroupNorm(groups, after), nn.Mish())

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class _StepEmbedding(nn.Module):
    """Sinusoids of the step at geometric frequencies, from 1 down to 1/10000."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pairs = width // 2

    def forward(self, step: Tensor) -> Tensor:
        place = torch.arange(self.pairs, device=step.device)
        frequency = torch.exp(-math.log(10000) / (self.pairs - 1) * place)
        angle = step.unsqueeze(-1) * frequency
        return torch.cat([angle.sin(), angle.cos()], dim=-1)
