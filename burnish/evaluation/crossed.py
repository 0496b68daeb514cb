"""The mean of a table whose rows and columns are both random samples: held-out worlds, and recorded starts."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from burnish.errors import InputError


@dataclass(frozen=True)
class CrossedMean:
    """A mean over K worlds and N starts with its standard error, and how many degrees of freedom that has."""

    mean: float
    error: float
    freedom: float


def crossed_mean(values: Float[Tensor, "K N"]) -> CrossedMean:
    """The mean of a table whose rows (worlds) and columns (starts) are both random samples, K, N ≥ 2.

    Worlds differ from each other, and starts do: neither is averaged away by more of the other. Var = (MS_rows +
    MS_columns − MS_residual) / KN, and Satterthwaite's degrees of freedom (R. L. Brennan, "Generalizability Theory",
    2001, sections 2.2 and 6.1). Where the table shows no variance at all, N starts could still have hidden one that
    differs: the error is at least 1 / N.
    """
    k, n = values.shape
    if k < 2 or n < 2:
        raise InputError(f"a crossed mean needs at least 2 worlds and 2 starts, found {k} and {n}")
    table = values.double()
    rows, columns, mean = table.mean(1), table.mean(0), table.mean()
    residual = table - rows[:, None] - columns[None, :] + mean
    squares = [n * rows.var(), k * columns.var(), residual.square().sum() / ((k - 1) * (n - 1))]
    by_row, by_column, by_residual = (float(square) for square in squares)
    variance = by_row + by_column - by_residual
    terms = [(by_row, k - 1), (by_column, n - 1), (by_residual, (k - 1) * (n - 1))]
    if variance < max(by_row, by_column):  # an estimate by subtraction may come out too small, even negative
        variance, terms = max((by_row, k - 1), (by_column, n - 1))[0], [max((by_row, k - 1), (by_column, n - 1))]
    spread = sum(square**2 / freedom for square, freedom in terms)
    freedom = variance**2 / spread if spread > 0 else float(n - 1)
    return CrossedMean(float(mean), max((variance / (k * n)) ** 0.5, 1 / n), max(freedom, 1.0))
