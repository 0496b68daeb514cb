"""Calibration by hand: five frames, thresholds between them."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.rewards.calibration import calibrate, calibrate_ends

PROBABILITY = torch.tensor([0.55, 0.65, 0.75, 0.85, 0.95])
SUCCESS = torch.tensor([False, True, False, True, True])


@pytest.mark.parametrize(
    ("target", "between", "precision", "recall", "reached"),
    [
        (0.60, (0.50, 0.50), 3 / 5, 1, True),  # all five predicted
        (0.70, (0.55, 0.65), 3 / 4, 1, True),  # four predicted, three right
        (0.95, (0.75, 0.85), 2 / 2, 2 / 3, True),  # 0.85 and 0.95 are right, 0.65 is missed
    ],
)
def test_threshold_by_hand(target, between, precision, recall, reached):
    found = calibrate(PROBABILITY, SUCCESS, target)
    assert between[0] <= found.threshold <= between[1]
    assert found.threshold <= between[0] + 0.02, "the lowest one that does it"
    assert (found.precision, found.recall) == (pytest.approx(precision), pytest.approx(recall))
    assert found.reached is reached
    assert (found.positives, found.negatives) == (3, 2)
    assert found.target_precision == target


def test_ends_that_are_foreseen_with_small_chances_alone_are_told():
    """Of six frames two are ends, with chances of .05 and .03; .04 is none: two of three predictions are right."""
    chance = torch.tensor([0.001, 0.002, 0.05, 0.04, 0.03, 0.001])
    ended = torch.tensor([False, False, True, False, True, False])
    assert calibrate(chance, ended, 0.9).recall == 0, "no threshold of a half or more tells any"
    found = calibrate_ends(chance, ended, 0.9)
    assert (found.precision, found.recall) == (pytest.approx(2 / 3), 1) and not found.reached
    assert 0.02 <= found.threshold <= 0.03


def test_who_knows_nothing_of_ends_tells_none():
    """The same chance everywhere: all of ten frames or none, and all would be ten times as many as there are."""
    found = calibrate_ends(torch.full((10,), 0.1), torch.arange(10) == 3, 0.9)
    assert found.recall == 0 and found.threshold > 0.1
    found = calibrate_ends(torch.full((10,), 0.1), torch.arange(10) < 6, 0.9)
    assert found.recall == 1, "where most frames are ends, all is not too much"


def test_unreachable_precision():
    """The confident frame is wrong: at best one of two predictions is right."""
    found = calibrate(torch.tensor([0.6, 0.9]), torch.tensor([True, False]), 0.95)
    assert not found.reached
    assert found.precision == pytest.approx(0.5) and found.recall == pytest.approx(1)
    assert found.threshold <= 0.6


def test_a_precise_threshold_that_finds_nothing_is_refused():
    """Above 0.9 all is right, but that is one success of four; at 0.5 the F1 score is highest: 4 of 5, all found."""
    probability, success = torch.tensor([0.6, 0.61, 0.62, 0.9, 0.97]), torch.tensor([True, True, True, False, True])
    found = calibrate(probability, success, 0.95)
    assert found.threshold <= 0.6 and not found.reached
    assert (found.precision, found.recall) == (pytest.approx(0.8), pytest.approx(1))
    assert calibrate(probability, success, 0.95, least_recall=0.2).precision == pytest.approx(1)


def test_nothing_is_ever_predicted():
    found = calibrate(torch.tensor([0.1, 0.2]), torch.tensor([True, False]), 0.9)
    assert not found.reached and found.precision == 0 and found.recall == 0
    assert found.threshold >= 0.5


def test_no_success_in_the_held_out_frames():
    found = calibrate(torch.tensor([0.1, 0.8]), torch.tensor([False, False]), 0.9)
    assert not found.reached and found.recall == 0 and found.positives == 0


def test_lowest_is_respected():
    """Perfectly separated far below one half: the threshold stays at `lowest`."""
    probability, success = torch.tensor([0.1, 0.2, 0.6]), torch.tensor([False, False, True])
    assert calibrate(probability, success, 0.9).threshold == pytest.approx(0.5)
    assert calibrate(probability, success, 0.9, lowest=0.3).threshold == pytest.approx(0.3)


def test_reliability_by_hand():
    """Bins of a tenth: two frames in the first, none in the second, one at 0.55, a certain one in the last."""
    probability = torch.tensor([0.02, 0.08, 0.55, 1.0, 0.91])
    success = torch.tensor([False, True, True, True, False])
    bins = calibrate(probability, success, 0.9).bins
    assert [round(row["low"] * 10) for row in bins] == [0, 5, 9]
    assert [row["count"] for row in bins] == [2, 1, 2]
    assert [row["mean_probability"] for row in bins] == pytest.approx([0.05, 0.55, 0.955])
    assert [row["frequency"] for row in bins] == pytest.approx([0.5, 1.0, 0.5])


def test_plain_data():
    found = json.loads(json.dumps(calibrate(PROBABILITY, SUCCESS, 0.7).to_dict()))
    assert found["reached"] is True and found["positives"] == 3
    assert {"threshold", "precision", "recall"} == set(found["curve"][0])


frames = st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=40)


@given(frames, st.floats(0.1, 1.0))
def test_properties(rows, target):
    probability, success = torch.tensor([p for p, _ in rows]), torch.tensor([s for _, s in rows])
    found = calibrate(probability, success, target)
    predicted = probability.double() >= found.threshold
    hits = int((predicted & success).sum())
    assert found.precision == pytest.approx(hits / max(1, int(predicted.sum())))
    assert found.recall == pytest.approx(hits / max(1, int(success.sum())))
    assert found.reached == (found.precision >= target and predicted.any())
    assert sum(row["count"] for row in found.bins) == len(rows)
    recalls = [point["recall"] for point in found.curve]
    assert recalls == sorted(recalls, reverse=True)


@pytest.mark.parametrize(("rule", "shown", "expected"), [
    ("lowest", 10, 0.5), ("highest", 10, 0.89), ("auto", 10, 0.89), ("highest", 30, 0.89), ("auto", 30, 0.5)
])  # fmt: skip
def test_how_far_the_threshold_goes(rule, shown, expected):
    """One success of ten at 0.6, nine at 0.9; failures at 0.1. Between 0.6 and 0.9 nine tenths are found."""
    probability = torch.tensor([0.6] + [0.9] * 9).repeat(shown // 10)
    probability, success = torch.cat([probability, torch.full((20,), 0.1)]), torch.arange(shown + 20) < shown
    assert calibrate(probability, success, 0.95, rule=rule).threshold == pytest.approx(expected, abs=0.011)
