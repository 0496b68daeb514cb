"""Rank correlation, by hand."""

import math

import pytest
import torch

from burnish.evaluation.correlation import correlation_interval, mean_ranks, spearman


def test_spearman_by_hand():
    """1 - 6 Σd² / (n (n² - 1)): ranks (1, 2, 3, 4) and (2, 1, 4, 3) give 1 - 24/60."""
    x = torch.tensor([0.1, 5.0, 7.0, 100.0])
    assert spearman(x, torch.tensor([2.0, 1.0, 40.0, 30.0])) == pytest.approx(0.6)
    assert spearman(x, x.exp().sqrt()) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)
    assert spearman(x.view(2, 2), x.view(2, 2)) == pytest.approx(1)


def test_ties_share_their_mean_rank():
    """Ranks (1, 2.5, 2.5, 4) and (1, 2, 3, 4): 4.5 / √(4.5 · 5), in whatever order the ties come."""
    tied = torch.tensor([0.0, 5.0, 5.0, 9.0])
    assert mean_ranks(tied).tolist() == [1, 2.5, 2.5, 4]
    assert mean_ranks(torch.tensor([3.0, 1.0, 3.0, 3.0])).tolist() == [3, 1, 3, 3]
    for other in ([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]):
        assert spearman(tied, torch.tensor(other)) == pytest.approx(4.5 / math.sqrt(22.5))


def test_a_constant_has_no_correlation():
    assert math.isnan(spearman(torch.ones(3), torch.arange(3.0)))
    assert math.isnan(spearman(torch.ones(1), torch.ones(1)))


def test_spearman_of_noise_is_small():
    generator = torch.Generator().manual_seed(0)
    assert abs(spearman(torch.randn(2000, generator=generator), torch.randn(2000, generator=generator))) < 0.07


def test_fishers_interval_by_hand():
    """atanh(0.5) = 0.5493; over 28 pairs its standard error is 0.2."""
    low, high = correlation_interval(0.5, 28)
    assert (low, high) == (pytest.approx(math.tanh(0.5493 - 0.392), abs=1e-4), pytest.approx(0.7356, abs=1e-3))
    assert correlation_interval(0.9, 3) is None and correlation_interval(1.0, 10) == (1.0, 1.0)
    assert correlation_interval(math.nan, 10) is None
