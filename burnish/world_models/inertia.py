"""What a linear regression already knows of the next change: a hand follows its commands, a ball rolls on.

A network trained for minutes learns neither exactly, and where the data ends it predicts anything; so it only has to
predict what the regression leaves. That has very heavy tails: nearly nothing most of the time, sixty standard
deviations in a collision. Squared errors would be about collisions alone, so networks see it compressed.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

RIDGE = 1e-3
"""Weight of the squared coefficients, per row of data."""
KNEE = 0.25
"""Standard deviations of the regression's error from which on errors are compressed: asinh is linear below."""
SLACK = 0.05
"""How far what is predicted may lie beyond the data, as a share of its range there."""
LEAST = 1e-3
"""Least standard deviation, in that of the changes: what is linear to the last digit is not blown up to unit size."""


class Inertia(nn.Module):
    """Ridge regression of changes (B, d) on past changes and actions (B, p), and the units of what it leaves.

    What is left, `rest`, is asinh((change − expected) / k) / u: k is `KNEE` standard deviations of the regression's
    error, and u makes the deviation over the data 1. Neither the expected change nor the rest leaves its range in the
    data by more than `SLACK`. With `linear` False there is no regression and no compression: the mean change is
    expected, and the rest is standardised.

    Attributes:
        error_std: standard deviation (d,) of the regression's error over the data.
    """

    coefficients: Tensor
    error_std: Tensor
    unit: Tensor
    change_range: Tensor
    rest_range: Tensor

    def __init__(self, past_dim: int, change_dim: int, linear: bool = True) -> None:
        super().__init__()
        self.linear = linear
        everything = torch.tensor([[-torch.inf], [torch.inf]]).repeat(1, change_dim)
        self.register_buffer("coefficients", torch.zeros(past_dim + 1, change_dim))
        self.register_buffer("error_std", torch.ones(change_dim))
        self.register_buffer("unit", torch.ones(change_dim))
        self.register_buffer("change_range", everything.clone())
        self.register_buffer("rest_range", everything.clone())

    @torch.no_grad()
    def fit(self, past: Float[Tensor, "n p"], change: Float[Tensor, "n d"]) -> None:
        """Least squares with a penalty on all coefficients but the intercept; all units and ranges."""
        if not self.linear:
            self.coefficients[-1] = change.mean(0)
            self.error_std.copy_(change.std(0).clamp(min=LEAST))
            return
        rows, target = torch.cat([past, past.new_ones(len(past), 1)], dim=1).double(), change.double()
        penalty = torch.full((rows.shape[1],), RIDGE * len(rows), dtype=rows.dtype, device=rows.device)
        penalty[-1] = 0
        self.coefficients.copy_(torch.linalg.solve(rows.T @ rows + torch.diag(penalty), rows.T @ target))
        self.change_range.copy_(_range(change))
        self.error_std.copy_((change - self.expected(past)).std(0).clamp(min=LEAST))
        self.unit.fill_(1)
        self.unit.copy_(self.rest(past, change).std(0).clamp(min=LEAST))
        self.rest_range.copy_(_range(self.rest(past, change)))

    def expected(self, past: Float[Tensor, "B p"]) -> Float[Tensor, "B d"]:
        """The regression's prediction."""
        if not self.linear:
            return self.coefficients[-1]
        return (past @ self.coefficients[:-1] + self.coefficients[-1]).clamp(*self.change_range)

    def rest(self, past: Float[Tensor, "B p"], change: Float[Tensor, "B d"]) -> Float[Tensor, "B d"]:
        """What it leaves of `change`, compressed and standardised."""
        error = (change - self.expected(past)) / self.error_std
        return (error / KNEE).asinh() / self.unit if self.linear else error

    def change(self, past: Float[Tensor, "B p"], rest: Float[Tensor, "B d"]) -> Float[Tensor, "B d"]:
        """The change of which `rest` is left: the inverse of `rest` within the data's range."""
        error = KNEE * (self.unit * rest.clamp(*self.rest_range)).sinh() if self.linear else rest
        return self.expected(past) + self.error_std * error


def _range(values: Float[Tensor, "n d"]) -> Float[Tensor, "2 d"]:
    low, high = values.amin(0), values.amax(0)
    slack = SLACK * (high - low)
    return torch.stack([low - slack, high + slack])
