"""Denoisers of whole trajectories, (B, T, C), given a noise level and one vector of conditions for all steps."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.networks.conditional_unet import ConditionalUNet, ConditionalUNetConfig
from burnish.networks.mlp import ConditionalResidualMLP

_LEVEL_SCALE = 100.0
"""c_noise in units of the U-Net's step embedding, which tells integers apart: it spans about 200 of them."""


@dataclass(frozen=True)
class TrajectoryNetworkConfig:
    """The network of a trajectory's denoiser."""

    kind: Literal["mlp", "unet"] = "mlp"
    """unet: convolutions along time (Diffusion Policy's, as published systems have it). mlp: residual blocks over all
    steps at once; for a dozen short steps a tenth of the time on a CPU."""
    width: int = within(512, 1)
    """Of the mlp."""
    depth: int = within(4, 1)
    """Of the mlp."""
    unet: ConditionalUNetConfig = ConditionalUNetConfig(down_dims=(64, 128), kernel_size=3, diffusion_step_embed_dim=32)


class TrajectoryNetwork(nn.Module):
    """F_θ(x, c_noise, condition) over T steps of C channels."""

    def __init__(self, steps: int, channels: int, condition_dim: int, config: TrajectoryNetworkConfig) -> None:
        """For the U-Net, `steps` must be a multiple of 2 to the number of its halvings."""
        super().__init__()
        self.steps, self.channels = steps, channels
        self.flat: ConditionalResidualMLP | None = None
        self.unet: ConditionalUNet | None = None
        if config.kind == "mlp":
            self.flat = ConditionalResidualMLP(steps * channels, condition_dim, config.width, config.depth)
        else:
            width = 4 * config.unet.diffusion_step_embed_dim
            self.embed = nn.Sequential(nn.Linear(condition_dim, width), nn.Mish(), nn.Linear(width, width))
            self.unet = ConditionalUNet(channels, width, config.unet)

    def condition(self, condition: Float[Tensor, "B condition"]) -> Float[Tensor, "B width"]:
        """The condition as `forward` reads it: computed once for a sample, not once for each denoising step."""
        return self.embed(condition) if self.flat is None else self.flat.embed_context(condition)

    def forward(
        self, x: Float[Tensor, "B T C"], c_noise: Float[Tensor, " level"], condition: Float[Tensor, "B width"]
    ) -> Float[Tensor, "B T C"]:
        """One call; `c_noise` has shape (B,), or (1,) where all rows share a level."""
        if self.flat is not None:
            return self.flat(x.flatten(1), c_noise, condition).unflatten(1, (self.steps, self.channels))
        assert self.unet is not None
        return self.unet(x, (_LEVEL_SCALE * c_noise).expand(len(x)), condition)
