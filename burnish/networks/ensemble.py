"""Several MLPs of one shape, evaluated in one batched call."""

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class EnsembleMLP(nn.Module):
    """E independent MLPs with SiLU; weights are stacked, so one `baddbmm` a layer serves all members."""

    def __init__(self, members: int, input_dim: int, hidden: Sequence[int], output_dim: int) -> None:
        super().__init__()
        self.members = members
        sizes = [input_dim, *hidden, output_dim]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in itertools.pairwise(sizes):
            bound = 1 / math.sqrt(fan_in)
            self.weights.append(nn.Parameter(torch.empty(members, fan_in, fan_out).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(members, 1, fan_out).uniform_(-bound, bound)))

    def forward(self, x: Float[Tensor, "batch input"] | Float[Tensor, "members batch input"]) -> Tensor:
        """Map (batch, input), shared by all members, or (members, batch, input) to (members, batch, output)."""
        if x.dim() == 2:
            x = x.expand(self.members, *x.shape)
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if i < last:
                x = nn.functional.silu(x)
        return x
