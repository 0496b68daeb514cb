"""Start states that are drawn the more often the more the critic errs from there (DWS, arXiv 2502.07825)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

STALE = 0.02
"""Share of its distance to the mean that a priority forgets in each update: what was seen long ago says little of the
present critic, and a start that once looked learned is tried again."""
LEAST = 0.1
"""Of the mean priority: no start is ever given up."""


class StartPriorities:
    """A priority for each start state, relative to the mean; those never begun from have 1.

    In proportion to |TD error|^exponent, as prioritised replay has it for transitions (arXiv 1511.05952). The error of
    a start is the mean over the decisions of a rollout whose episodes began there; that of the start state alone, which
    one decision in twenty is, would be noise.
    """

    def __init__(self, count: int, exponent: float, device: torch.device) -> None:
        self.exponent = exponent
        self.error = torch.ones(count, device=device)

    def draw(self, pick: Float[Tensor, " B"], among: Int[Tensor, " N"]) -> Int[Tensor, " B"]:
        """One of `among` for each uniform number."""
        weights = self.error[among].clamp(min=LEAST).pow(self.exponent)
        upto = weights.cumsum(0, dtype=torch.float64)
        index = torch.searchsorted(upto, pick.to(torch.float64) * upto[-1], right=True)
        return among[index.clamp(max=len(among) - 1)]

    def learned(self, start: Int[Tensor, "T N"], error: Float[Tensor, "T N"]) -> None:
        """Take in the |TD errors| of decisions in episodes from these starts; -1 for starts that nobody drew."""
        start, error = start.flatten(), error.detach().flatten()
        relative = error / error.mean().clamp(min=1e-12)
        known = start >= 0
        # One row more takes what has no start.
        row = torch.where(known, start, len(self.error))
        total = self.error.new_zeros(len(self.error) + 1).index_add_(0, row, relative)[:-1]
        count = self.error.new_zeros(len(self.error) + 1).index_add_(0, row, torch.ones_like(relative))[:-1]
        self.error.lerp_(torch.ones_like(self.error), STALE)
        self.error = torch.where(count > 0, total / count.clamp(min=1), self.error)

    def rows(self, count: int) -> Float[Tensor, "count k"]:
        """The priorities in so many rows, as the states of environments are kept; filled up with ones."""
        width = -(-len(self.error) // count)
        return functional.pad(self.error, (0, count * width - len(self.error)), value=1.0).view(count, width)

    def restore(self, rows: Float[Tensor, "count k"]) -> None:
        """Go on from `rows`; where another number of processes left fewer of them, the rest begins anew."""
        found = rows.flatten()[: len(self.error)].to(self.error.device)
        self.error = functional.pad(found, (0, len(self.error) - len(found)), value=1.0)
