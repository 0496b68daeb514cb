"""Two-hot over exponential bins: by hand, and nothing lost in between."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.networks import SymlogTwoHot, symexp


def test_bins_and_two_hots_by_hand():
    """Five bins to symexp(ln 4) = 3: -3, -1, 0, 1, 3. Two lies halfway between the last ones, ½ below zero's right."""
    codes = SymlogTwoHot(5, math.log(4))
    assert codes.bins.tolist() == pytest.approx([-3, -1, 0, 1, 3])
    found = codes.encode(torch.tensor([2.0, 0.5, -1.5, 0.0, 3.0, 9.0]))
    expected = [
        [0, 0, 0, 0.5, 0.5],
        [0, 0, 0.5, 0.5, 0],
        [0.25, 0.75, 0, 0, 0],
        [0, 0, 1, 0, 0],
        *[[0, 0, 0, 0, 1]] * 2,
    ]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_the_value_and_the_loss_by_hand():
    """Probabilities (.1, .2, .3, .2, .2): -.3 - .2 + .2 + .6 = .3; to 2.0 the cross-entropy is -(ln .2 + ln .2) / 2."""
    codes = SymlogTwoHot(5, math.log(4))
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.2, 0.2]]).log()
    assert codes.decode(logits).item() == pytest.approx(0.3, abs=1e-6)
    assert codes.loss(logits, torch.tensor([2.0])).item() == pytest.approx(-math.log(0.2), rel=1e-5)


def test_equal_logits_are_worth_exactly_nothing():
    codes = SymlogTwoHot(255, 20.0)
    assert (codes.decode(torch.full((4, 255), 3.7)) == 0).all()


def test_symexp_by_hand():
    x = torch.tensor([-1.0, 0.0, 1.0, math.log(10_001)])
    assert symexp(x).tolist() == pytest.approx([-math.e + 1, 0, math.e - 1, 1e4])


@settings(deadline=None)
@given(st.floats(-20_000, 20_000, width=32))
def test_nothing_is_lost(value):
    codes = SymlogTwoHot()
    code = codes.encode(torch.tensor([value]))
    assert code.sum().item() == pytest.approx(1) and (code > 0).sum() <= 2 and (code >= 0).all()
    assert (code * codes.bins).sum().item() == pytest.approx(value, rel=1e-4, abs=1e-4)


def test_an_even_number_of_bins_has_no_zero():
    with pytest.raises(ValueError, match="found 4 bins"):
        SymlogTwoHot(4)
