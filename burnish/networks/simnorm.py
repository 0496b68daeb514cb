"""Simplicial normalisation (TD-MPC2, arXiv 2310.16828): a vector as several small distributions."""

from jaxtyping import Float
from torch import Tensor, nn


class SimNorm(nn.Module):
    """A softmax over each `group` of neighbouring numbers: bounded, and sparse where it is sure."""

    def __init__(self, group: int = 8) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """D must be a multiple of the group."""
        return x.unflatten(-1, (-1, self.group)).softmax(-1).flatten(-2)
