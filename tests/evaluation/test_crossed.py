"""The crossed mean by hand, and what its bounds are worth."""

import math

import numpy as np
import pytest
import torch

from burnish.errors import InputError
from burnish.evaluation.crossed import crossed_mean
from burnish.evaluation.intervals import student_quantile


def test_crossed_mean_by_hand():
    """Mean squares 3 · 4.5 (rows), 2 · 3.25 (columns) and 3 / 2 (the rest): (13.5 + 6.5 - 1.5) / 6."""
    found = crossed_mean(torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 8.0]]))
    assert found.mean == pytest.approx(3.5)
    assert found.error == pytest.approx(math.sqrt(18.5 / 6))
    assert found.freedom == pytest.approx(18.5**2 / (13.5**2 / 1 + 6.5**2 / 2 + 1.5**2 / 2))


def test_worlds_and_starts_play_the_same_part():
    """Transposed, rows and columns change places and nothing else."""
    table = torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 8.0]])
    one, other = crossed_mean(table), crossed_mean(table.T)
    assert (one.mean, one.error, one.freedom) == pytest.approx((other.mean, other.error, other.freedom))


def test_where_subtraction_comes_out_too_small_the_larger_mean_square_stands_alone():
    """Rows 200/3, columns 50/3, the rest 350/3: the sum is negative. And columns 54, rows 0, the rest 2: 52 < 54."""
    found = crossed_mean(torch.tensor([[0.0, 10.0, 0.0], [10.0, 0.0, 20.0]]))
    assert (found.mean, found.error, found.freedom) == pytest.approx((20 / 3, math.sqrt(200 / 3 / 6), 1))
    found = crossed_mean(torch.tensor([[0.0, 2.0, 10.0], [2.0, 0.0, 10.0]]))
    assert (found.mean, found.error, found.freedom) == pytest.approx((4, 3, 2))


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_a_table_without_variance_has_an_error_nevertheless(value):
    found = crossed_mean(torch.full((4, 50), value))
    assert (found.mean, found.error, found.freedom) == (value, 1 / 50, 49)


def test_the_error_of_an_almost_constant_table_is_no_smaller():
    """One start in 50 that differs, in one world of four: mean squares 0.005 each, error sqrt(0.005 / 200)."""
    table = torch.zeros(4, 50)
    table[0, 0] = 1
    assert crossed_mean(table).error == pytest.approx(1 / 50)
    assert math.sqrt(0.005 / 200) < 1 / 50


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_one_world_or_one_start_shows_no_spread(shape):
    with pytest.raises(InputError, match=f"at least 2 worlds and 2 starts, found {shape[0]} and {shape[1]}"):
        crossed_mean(torch.zeros(shape))


@pytest.mark.parametrize("spread", [(1.0, 1.0, 1.0), (1.0, 0.0, 1.0), (0.0, 1.0, 1.0), (0.3, 3.0, 1.0)])
def test_the_lower_bound_holds_about_as_often_as_it_says(spread):
    """4 worlds and 20 starts with normal effects around 0; neither more worlds nor more starts alone would help.

    Taken for 80 independent numbers, the table of worlds that differ would have its bound hold far less often.
    """
    of_world, of_start, of_both = spread
    generator = torch.Generator().manual_seed(0)
    worlds, starts, both = (torch.randn(200, *shape, generator=generator) for shape in ((4, 1), (1, 20), (4, 20)))
    tables = 100 + of_world * worlds + of_start * starts + of_both * both
    # Between these the quantile is nearly a straight line in 1 / freedom.
    freedoms = [60, 10, 5, 3, 2, 1.5, 1.2, 1]
    quantiles = [student_quantile(0.95, freedom) for freedom in freedoms]
    held, naive = 0, 0
    for table in tables:
        found = crossed_mean(table)
        quantile = np.interp(1 / found.freedom, [1 / freedom for freedom in freedoms], quantiles)
        held += found.mean - quantile * found.error < 100
        naive += float(table.mean() - 1.66 * table.std() / math.sqrt(80)) < 100
    assert 0.9 <= held / 200 <= 0.99
    if of_world == 1:
        assert naive / 200 < 0.85
