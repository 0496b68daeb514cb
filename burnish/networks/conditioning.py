"""What a denoiser of pictures is told besides the pictures: noise level, actions, and noise of the past frames."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from burnish.networks.mlp import FourierFeatures


@dataclass(frozen=True)
class ContextEmbedding:
    """What a denoiser keeps of past frames and actions; computed once per imagined step, read at each denoising step.

    `features` is the first layer's share of the context frames (that layer is linear, so the noisy frame's share is
    simply added); `condition` (B, width) is the share of the actions and of the context's noise level.
    """

    features: Tensor
    condition: Float[Tensor, "B width"]


class StepCondition(nn.Module):
    """MLP(Fourier(c_noise) + Fourier'(c_context) + [W e_1; …; W e_H]), as in DIAMOND and its CS:GO branch.

    e_i is the encoded action at frame i. DIAMOND looks actions up in a table; with two-hot actions, W e_i is the
    weighted sum of a table's rows. Keep it in float32: the angles of Fourier features do not survive bfloat16.
    """

    def __init__(self, frames: int, action_dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.noise = FourierFeatures(width)
        self.context_noise = FourierFeatures(width)
        self.action = nn.Linear(action_dim, -(-width // frames), bias=False)
        # With a handful of two-hot actions the sum is of order one, as a table's rows are: actions are heard beside the
        # noise level from the start.
        nn.init.normal_(self.action.weight, std=0.5)
        self.project = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def embed(self, action: Float[Tensor, "B H E"], c_context: Float[Tensor, " level"]) -> Float[Tensor, "B width"]:
        """The share of encoded actions and of the context's noise level ln(σ)/4; (B,), or (1,) for all rows."""
        return self.action(action).flatten(1)[:, : self.width] + self.context_noise(c_context)

    def forward(self, c_noise: Float[Tensor, " level"], embedded: Float[Tensor, "B width"]) -> Float[Tensor, "B width"]:
        """The vector that conditions every block; `c_noise` has shape (B,), or (1,) when all rows share a level."""
        return self.project(self.noise(c_noise) + embedded)
