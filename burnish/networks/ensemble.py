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


class GaussianEnsemble(nn.Module):
    """E means and log standard deviations; these lie between learned bounds (PETS, arXiv 1805.12114, appendix A.1)."""

    def __init__(self, members: int, input_dim: int, hidden: Sequence[int], output_dim: int) -> None:
        super().__init__()
        self.mean, self.unbounded = (EnsembleMLP(members, input_dim, hidden, output_dim) for _ in range(2))
        self.min_log_std = nn.Parameter(torch.full((output_dim,), -5.0))
        self.log_range = nn.Parameter(torch.zeros(output_dim))

    @property
    def range(self) -> Float[Tensor, " output"]:
        """How far the bounds lie apart."""
        return self.log_range.exp()

    def log_std(self, x: Tensor) -> Float[Tensor, "members batch output"]:
        """Of inputs as `EnsembleMLP` has them, bounded softly."""
        highest = self.min_log_std + self.range
        log_std = highest - nn.functional.softplus(highest - self.unbounded(x))
        return self.min_log_std + nn.functional.softplus(log_std - self.min_log_std)
