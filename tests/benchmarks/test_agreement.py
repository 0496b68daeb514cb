"""Correlations, rank violations and the rates of mistakes, against numbers worked out by hand."""

from dataclasses import replace
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.errors import InputError
from burnish.evaluation.intervals import discordant_interval, wilson_interval
from studies.agreement import (
    Agreement,
    GateDecision,
    ScoredPolicy,
    agreement,
    decision_groups,
    decision_rates,
    gains,
    mean_agreement,
    mean_maximum_rank_violation,
    pearson,
    rank_correlation,
    share,
)

# improved, worsened of 20 paired episodes. McNemar's exact p: 2 / 2^6 = 0.031, 2 / 2^5 = 0.0625.
PROVEN, LUCKY = (6, 0), (5, 0)


def decision(accepted, up, down, **changes):
    made = GateDecision("hammer", 0, "as it is", False, accepted, "why", 0.1, 0.0, 0.2, (up - down) / 20, up, down, 20)
    return replace(made, **changes)


def test_pearson_by_hand():
    """x − 2 = (−1, 0, 1), y − 2 = (−1, 1, 0): 1 / sqrt(2 · 2)."""
    assert pearson([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
    assert pearson([0.1, 0.2, 0.4], [0.3, 0.5, 0.9]) == pytest.approx(1.0)


def test_rank_correlation_shares_ranks_at_ties():
    """Ranks (1, 2.5, 2.5, 4) and (1, 2, 3, 4): 4.5 / sqrt(4.5 · 5); their order is all that counts."""
    assert rank_correlation([0.1, 0.3, 0.3, 0.9], [0.0, 0.01, 0.5, 1.0]) == pytest.approx(sqrt(0.9))
    assert rank_correlation([0, 1, 100], [0.9, 0.2, 0.1]) == pytest.approx(-1.0)


@pytest.mark.parametrize("correlation", [pearson, rank_correlation])
def test_no_correlation_with_a_constant_or_with_too_little(correlation):
    # The mean of three times 0.1 is not 0.1 in floating point.
    assert correlation([0.1, 0.1, 0.1], [0.2, 0.4, 0.9]) is None
    assert correlation([0.2, 0.4, 0.9], [0.1, 0.1, 0.1]) is None
    assert correlation([0.5], [0.5]) is None and correlation([], []) is None
    with pytest.raises(InputError, match="found 2 and 1"):
        correlation([1, 2], [1])


def test_rank_violation_by_hand():
    """The estimate swaps the policies at 0.2 and 0.5: both lose 0.3; the third is in its place."""
    assert mean_maximum_rank_violation([0.6, 0.4, 0.9], [0.2, 0.5, 1.0]) == pytest.approx(0.2)
    assert mean_maximum_rank_violation([0.1, 0.2, 0.3], [0.0, 0.5, 0.9]) == 0.0
    # Reversed: against 0.0, 0.5, 0.9 the worst partners are 0.9, 0.5 and 0.9 away.
    assert mean_maximum_rank_violation([3, 2, 1], [0.0, 0.5, 0.9]) == pytest.approx(2.3 / 3)


def test_rank_violation_at_ties():
    """An estimate that cannot tell 0.2 from 0.6 is charged to the worse one; a real tie that it orders costs 0."""
    assert mean_maximum_rank_violation([0.5, 0.5], [0.2, 0.6]) == pytest.approx(0.2)
    assert mean_maximum_rank_violation([0.5, 0.5, 0.5], [0.0, 0.4, 1.0]) == pytest.approx((1.0 + 0.6) / 3)
    assert mean_maximum_rank_violation([0.1, 0.9], [0.3, 0.3]) == 0.0
    with pytest.raises(InputError, match="found none"):
        mean_maximum_rank_violation([], [])


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=12))
def test_any_increasing_estimate_has_the_real_order(pairs):
    real = [value / 10 for _, value in pairs]
    estimates = [value / 10 for value, _ in pairs]
    assert mean_maximum_rank_violation([value**3 for value in real], real) == 0.0
    assert 0 <= mean_maximum_rank_violation(estimates, real) <= max(real) - min(real)


def test_agreement_and_its_mean():
    found = agreement([0.6, 0.4, 0.9], [0.2, 0.5, 1.0])
    # Ranks (2, 1, 3) and (1, 2, 3): 0.5; the means are 1.9 / 3 and 1.7 / 3.
    assert (found.policies, found.spearman) == (3, pytest.approx(0.5))
    assert (found.mmrv, found.bias) == (pytest.approx(0.2), pytest.approx(0.2 / 3))
    constant = agreement([0.5, 0.5], [0.2, 0.6])
    assert (constant.pearson, constant.spearman) == (None, None)
    mean = mean_agreement([found, constant])
    assert (mean.policies, mean.spearman, mean.mmrv) == (5, pytest.approx(0.5), pytest.approx(0.2)), "where it is known"
    empty = Agreement(0, None, None, None, None)
    assert agreement([], []) == empty == mean_agreement([])


def test_the_real_rate():
    assert ScoredPolicy("hammer", 0, "refined", "refined", 0.5, None, 3, 4).real == 0.75


@pytest.mark.parametrize(
    ("up", "down", "by_sign", "by_test"),
    [
        (*PROVEN, "better", "better"),
        (*LUCKY, "better", "undecided"),
        (0, 6, "worse", "worse"),
        (1, 2, "worse", "undecided"),
        (3, 3, "undecided", "undecided"),
        (0, 0, "undecided", "undecided"),
    ],
)
def test_what_was_true(up, down, by_sign, by_test):
    made = decision(True, up, down)
    assert (made.outcome(), made.outcome("test")) == (by_sign, by_test)


def test_rates_by_hand():
    """Accepted: 6 up, 5 up, 6 down, 2 down, 0; rejected: 6 up, 5 up, 6 down."""
    accepted = [decision(True, *PROVEN), decision(True, *LUCKY), decision(True, 0, 6), decision(True, 0, 2)]
    accepted.append(decision(True, 0, 0))
    decisions = [*accepted, decision(False, *PROVEN), decision(False, *LUCKY), decision(False, 0, 6)]
    sign, test = decision_rates(decisions), decision_rates(decisions, "test")
    assert (sign.decisions, sign.accepted, sign.better, sign.worse, sign.undecided) == (8, 5, 4, 3, 1)
    assert (sign.false_accepts.count, sign.false_accepts.rate) == (2, 2 / 8)
    assert (sign.false_accepts_of_accepted.rate, sign.false_accepts_of_worse.rate) == (2 / 5, 2 / 3)
    assert (sign.false_rejects.rate, sign.false_rejects_of_better.rate) == (2 / 8, 2 / 4)
    assert (test.better, test.worse, test.undecided) == (2, 2, 4)
    assert (test.false_accepts.rate, test.false_accepts_of_accepted.rate) == (1 / 8, 1 / 5)
    assert (test.false_accepts_of_worse.rate, test.false_rejects_of_better.rate) == (1 / 2, 1 / 2)
    interval = (sign.false_accepts_of_worse.low, sign.false_accepts_of_worse.high)
    assert interval == wilson_interval(2, 3)
    assert [d.mistake() for d in decisions] == [
        *(None, None, "false accept", "false accept", None),
        *("false reject", "false reject", None),
    ]


def test_rates_of_nothing():
    rates = decision_rates([])
    assert rates.decisions == 0 and rates.false_accepts == share(0, 0)
    assert (share(0, 0).rate, share(0, 0).low, share(0, 0).high) == (None, None, None)
    assert gains([]).gate is None
    assert decision_groups([]) == {"all": [], "set up to exploit": [], "not set up to exploit": []}


def test_groups():
    first, second = decision(True, 1, 0), decision(False, 0, 1, task="soccer", setting="no halting", exploit=True)
    assert decision_groups([first, second]) == {
        "all": [first, second],
        "set up to exploit": [second],
        "not set up to exploit": [first],
        "setting: as it is": [first],
        "setting: no halting": [second],
        "task: hammer": [first],
        "task: soccer": [second],
    }


def test_gains_by_hand():
    """Differences 0.3 and −0.1 accepted, 0.2 and −0.3 rejected."""
    decisions = [decision(True, 6, 0), decision(True, 0, 2), decision(False, 4, 0), decision(False, 0, 6)]
    found = gains(decisions)
    assert found.accept_all == pytest.approx(0.1 / 4)
    assert found.gate == pytest.approx(0.2 / 4)
    assert found.oracle == pytest.approx(0.5 / 4)


def test_the_interval_of_discordant_pairs_by_hand():
    """Cells 6.5 and 0.5 of 22: 6 / 22 ± z · sqrt(7 − 36 / 22) / 22."""
    half = 1.959964 * sqrt(7 - 36 / 22) / 22
    assert discordant_interval(6, 0, 20) == pytest.approx((6 / 22 - half, 6 / 22 + half), abs=1e-6)
    low, high = discordant_interval(0, 0, 20)
    assert low == -high < 0, "no change seen is not no change"
    with pytest.raises(InputError, match="episodes=5"):
        discordant_interval(4, 2, 5)
