"""The linear part of a change, and the units of what it leaves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.world_models.inertia import KNEE, SLACK, Inertia


def fitted(past, change):
    inertia = Inertia(past.shape[1], change.shape[1])
    inertia.fit(past, change)
    return inertia


def test_a_line_by_hand():
    """Changes 0, 1, 2, 5 after 0, 1, 2, 3: slope 1.6, intercept −0.4, but not below 0 − 5 % of 5: errors 0.25, −0.2,
    −0.8, 0.6."""
    past, change = torch.arange(4.0)[:, None], torch.tensor([0.0, 1.0, 2.0, 5.0])[:, None]
    inertia = fitted(past, change)
    torch.testing.assert_close(inertia.expected(torch.tensor([[1.0]])), torch.tensor([[1.2]]), atol=5e-3, rtol=0)
    deviation = float(torch.tensor([0.25, -0.2, -0.8, 0.6]).std())
    assert inertia.error_std.item() == pytest.approx(deviation, rel=5e-3)
    raw = torch.tensor([0.25, -0.2, -0.8, 0.6]) / (KNEE * deviation)
    expected = raw.asinh() / raw.asinh().std()
    torch.testing.assert_close(inertia.rest(past, change)[:, 0], expected, atol=2e-2, rtol=0)


def test_what_is_linear_leaves_nothing_and_is_not_blown_up():
    past = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    change = past @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3
    inertia = fitted(past, change)
    torch.testing.assert_close(inertia.expected(past), change, atol=2e-2, rtol=0)
    assert inertia.rest(past, change + 1e-4).abs().max() < 30, "rounding stays small"


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1000))
def test_change_inverts_rest(past_dim, change_dim, seed):
    generator = torch.Generator().manual_seed(seed)
    past = torch.randn(50, past_dim, generator=generator)
    change = torch.randn(50, change_dim, generator=generator) ** 3  # heavy tails
    inertia = fitted(past, change)
    rest = inertia.rest(past, change)
    torch.testing.assert_close(rest.std(0), torch.ones(change_dim), atol=1e-3, rtol=0)
    torch.testing.assert_close(inertia.change(past, rest), change, atol=1e-3, rtol=1e-3)


def test_collisions_do_not_rule_the_units():
    """One change in a thousand is a hundred times as large: what is left of it is a few deviations."""
    generator = torch.Generator().manual_seed(0)
    past, change = torch.randn(2000, 1, generator=generator), 0.1 * torch.randn(2000, 1, generator=generator)
    change[:2] = torch.tensor([[10.0], [-10.0]])
    rest = fitted(past, change).rest(past, change)
    assert change.abs().max() > 30 * change.std() and rest.abs().max() < 12
    assert 0.3 < rest[2:].std() < 1.1


def test_nothing_leaves_the_data_by_much():
    generator = torch.Generator().manual_seed(0)
    past, change = torch.randn(500, 2, generator=generator), torch.randn(500, 1, generator=generator)
    change = change + past[:, :1]
    inertia = fitted(past, change)
    low, high = change.min(), change.max()
    reach = SLACK * (high - low) + 1e-4
    far = inertia.expected(torch.full((1, 2), 1e6))
    assert low - reach <= far <= high + reach
    worst = inertia.change(torch.zeros(1, 2), torch.full((1, 1), 1e9))
    assert worst.isfinite().all() and worst < 2 * high


def test_an_unfitted_one_changes_nothing():
    inertia = Inertia(2, 1)
    past, rest = torch.ones(3, 2), torch.zeros(3, 1)
    assert torch.equal(inertia.change(past, rest), torch.zeros(3, 1))
