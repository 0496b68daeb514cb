"""What becomes of an outcome where imagination is not to be trusted: by hand, and as properties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import InputError
from burnish.imagination import Pessimism, PessimismConfig
from burnish.imagination.pessimism import CEILING, in_thresholds
from burnish.rewards import Outcome
from tests.imagination.counter_world import Distance, Doubt

NO, YES = torch.tensor([False] * 4), torch.tensor([True] * 4)


def outcome(success=False):
    return Outcome(torch.tensor([1.0, 2.0, 3.0, 4.0]), NO, YES if success else None)


def relative(disagreement, distance=(0.0, 0.0, 0.0, 0.0)):
    return {"disagreement": torch.tensor(disagreement), "distance": torch.tensor(distance)}


UNSURE = relative([0.5, 1.0, 1.5, math.nan], [0.0, 1.0, 0.25, 0.0])


def test_halting_ends_without_reward():
    found, halted = Pessimism().apply(outcome(success=True), UNSURE)
    assert halted.tolist() == found.terminated.tolist() == [False, False, True, True]
    assert found.reward.tolist() == [1, 2, 0, 0] and found.success.tolist() == [True, True, False, False]


def test_what_halts_may_be_worth_the_worst():
    found, _ = Pessimism(halt_reward=-20.0).apply(outcome(), UNSURE)
    assert found.reward.tolist() == [1, 2, -20, -20]


@pytest.mark.parametrize(("combine", "cost"), [("max", [0.5, 1.0, 1.5]), ("sum", [0.5, 2.0, 1.75])])
def test_a_penalty_by_hand(combine, cost):
    """Half a unit for each threshold; nothing ends but what is no number."""
    found, halted = Pessimism(rule="penalty", weight=0.5, combine=combine).apply(outcome(), UNSURE)
    assert found.reward.tolist() == pytest.approx([1 - cost[0] / 2, 2 - cost[1] / 2, 3 - cost[2] / 2, 0])
    assert halted.tolist() == found.terminated.tolist() == [False, False, False, True]


def test_both_is_a_penalty_that_halts():
    """Half a unit for each threshold as long as none is passed; then the worst."""
    found, halted = Pessimism(rule="both", weight=0.5, halt_reward=-20.0).apply(outcome(), UNSURE)
    assert found.reward.tolist() == pytest.approx([1 - 0.25, 2 - 0.5, -20, -20])
    assert halted.tolist() == found.terminated.tolist() == [False, False, True, True]


def test_a_penalty_has_a_ceiling_and_is_no_bonus():
    found, halted = Pessimism(rule="penalty").apply(outcome(), relative([1e9, -5.0, 0.0, math.inf]))
    assert found.reward.tolist() == [1 - CEILING, 2, 3, 0] and halted.tolist() == [False] * 3 + [True]


def test_without_a_rule_nothing_happens():
    found, halted = Pessimism(rule="none").apply(outcome(success=True), UNSURE)
    assert found.reward.tolist() == [1, 2, 3, 4] and found.success.all() and not halted.any()


def test_only_those_that_are_used_count():
    far = relative([2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0])
    for use, halts in ((("disagreement",), [0]), (("distance",), [1]), (None, [0, 1]), ((), [])):
        _, halted = Pessimism(use=use).apply(outcome(), far)
        assert torch.nonzero(halted).flatten().tolist() == halts


def test_as_configured():
    pessimism = Pessimism.of(PessimismConfig("penalty", 2.0, "sum"), (Doubt(), Distance(0.5)), -3.0)
    assert (pessimism.rule, pessimism.weight, pessimism.combine, pessimism.halt_reward) == ("penalty", 2.0, "sum", -3.0)
    assert pessimism.members == 1 and pessimism.without_rule().rule == "none" and Pessimism().members == 0
    assert Pessimism.of(PessimismConfig(), ()).uncertainties == ()
    with pytest.raises(InputError, match=r"pessimism.use: found \['spread'\], expected some of \['disagreement'\]"):
        Pessimism.of(PessimismConfig(use=("spread",)), (Doubt(),))
    Pessimism.of(PessimismConfig("none", use=()), (Doubt(),))


def test_units():
    """Three halves of a threshold; of a threshold of zero, nothing is nothing and anything is far."""
    assert in_thresholds(torch.tensor([3.0]), torch.tensor(2.0)).item() == 1.5
    assert in_thresholds(torch.tensor([0.0]), torch.tensor(0.0)).item() == 0
    assert in_thresholds(torch.tensor([0.1]), torch.tensor(0.0)).item() > 1
    assert in_thresholds(torch.tensor([0.1]), torch.tensor(math.nan)).isnan().all()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 20) | st.just(math.nan), min_size=4, max_size=4), st.floats(0, 3))
def test_pessimism_never_adds(values, weight):
    """No rule earns more than was earned, where that is not negative; none ends what is surely inside the data."""
    for rule in ("halt", "penalty", "none"):
        found, halted = Pessimism(rule=rule, weight=weight).apply(outcome(), relative(values))
        assert bool((found.reward <= outcome().reward).all()) and bool(found.reward.isfinite().all())
        assert not bool((halted & (torch.tensor(values) <= 1)).any())
        assert torch.equal(found.terminated, halted)
