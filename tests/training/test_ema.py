"""The moving average by hand."""

import pytest
import torch
from torch import nn

from burnish.training import ExponentialMovingAverage


def module(value):
    parameter = nn.Linear(1, 1, bias=False)
    parameter.weight.data.fill_(value)
    return parameter


def test_two_updates_by_hand():
    """Decay warms up as 2/11, 3/12: 0 and 1 give 9/11; then 0.25 · 9/11 + 0.75 · 2."""
    linear = module(0.0)
    ema = ExponentialMovingAverage(linear, decay=0.99)
    linear.weight.data.fill_(1.0)
    ema.update()
    assert ema.average[0].item() == pytest.approx(9 / 11)
    linear.weight.data.fill_(2.0)
    ema.update()
    assert ema.average[0].item() == pytest.approx(0.25 * 9 / 11 + 0.75 * 2)
    assert linear.weight.item() == 2.0, "the module itself is left alone until the end"
    ema.copy_to_module()
    assert linear.weight.item() == pytest.approx(0.25 * 9 / 11 + 1.5)


def test_decay_is_capped():
    """At decay 0.1, below 2/11, the warm-up plays no part."""
    linear = module(0.0)
    ema = ExponentialMovingAverage(linear, decay=0.1)
    linear.weight.data.fill_(1.0)
    ema.update()
    assert ema.average[0].item() == pytest.approx(0.9)


def test_state_round_trip():
    linear = module(1.0)
    ema = ExponentialMovingAverage(linear, decay=0.9)
    ema.update()
    linear.weight.data.fill_(5.0)
    ema.update()
    other = ExponentialMovingAverage(module(7.0), decay=0.9)
    other.load_state_dict(ema.state_dict())
    assert torch.equal(other.average[0], ema.average[0]) and other.updates == 2
