"""The trust gate's numbers by hand, and what it accepts and rejects."""

import json
import math
from dataclasses import replace

import pytest
import torch

from burnish.config import check
from burnish.errors import InputError
from burnish.evaluation.agreement import BackTest
from burnish.evaluation.gate import GateConfig, PolicyEvidence, Recorded, decide, expected_outcome
from burnish.evaluation.handing_out import disputed
from burnish.imagination import ImaginedEvaluation

GOOD = BackTest(both=40, only_real=3, only_imagined=4, neither=40)
BLIND = BackTest(both=20, only_real=20, only_imagined=20, neither=20)


def play(success, doubt=0.5, distance=0.0, mean_distance=0.25):
    """Hand-written outcomes; doubts are one number or one for each episode."""
    success = torch.tensor(success, dtype=torch.bool)

    def column(value):
        return torch.as_tensor(value, dtype=torch.float32).expand(len(success)).clone()

    halted = ~((column(doubt) <= 1) & (column(distance) <= 1))
    outcome = (success & ~halted).float()
    return ImaginedEvaluation(outcome, success, success.float(), halted, {"distance": column(mean_distance)})


def plays(*shares, episodes=64):
    """One play a world; the share of its episodes that succeeds, in a random order of its own."""
    made = []
    for world, share in enumerate(shares):
        order = torch.randperm(episodes, generator=torch.Generator().manual_seed(world))
        made.append(play((order < round(share * episodes)).tolist()))
    return made


# -- the configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"worlds": 1}, "gate.worlds is 1, expected 0"),
        ({"worlds": -2}, "gate.worlds is -2"),
        ({"training_share": 0.0}, "gate.training_share is 0, expected more than 0 and at most 1"),
        ({"training_share": 1.5}, "gate.training_share is 1.5"),
        ({"training_share": math.nan}, "gate.training_share is nan"),
        ({"episodes": 1}, "gate.episodes is 1, expected 2 or more"),
        ({"confidence": 0.5}, "gate.confidence is 0.5, expected more than 0.5 and less than 1"),
        ({"confidence": 1.0}, "gate.confidence is 1"),
        ({"margin": -0.1}, "gate.margin is -0.1"),
        ({"margin": 1.0}, "gate.margin is 1"),
        ({"least_skill": 1.0}, "gate.least_skill is 1"),
        ({"least_skill": -0.1}, "gate.least_skill is -0.1"),
        ({"full_skill": 1.0}, "gate.full_skill is 1"),
        ({"doubtful_margin": math.nan}, "gate.doubtful_margin is nan"),
    ],
)
def test_a_gate_that_cannot_be_is_refused(wrong, named):
    with pytest.raises(InputError) as caught:
        check(GateConfig(**wrong), "gate")
    assert named in str(caught.value)


def test_the_ends_of_what_is_allowed():
    GateConfig(worlds=0)
    GateConfig(worlds=2, training_share=1.0, episodes=2, confidence=0.51, margin=0.0, least_skill=0.0)


# -- the evidence ------------------------------------------------------------------------------------------------------


def test_evidence_by_hand():
    """Of six episodes four succeed, one of them beyond the threshold; one of the others was halted, too."""
    found = PolicyEvidence.of(
        [
            play([1, 1, 0], doubt=[0.5, 1.5, 1.0], mean_distance=[0.1, 0.7, 0.1]),
            play([1, 1, 0], distance=[0.0, 1.0, 2.0], mean_distance=[0.2, 0.3, 0.4]),
        ]
    )
    assert (found.pessimistic, found.hopeful, found.halted) == pytest.approx((3 / 6, 4 / 6, 2 / 6))
    assert found.distance == pytest.approx(1.8 / 6)
    assert found.per_world == pytest.approx((1 / 3, 2 / 3))


# -- the decision ------------------------------------------------------------------------------------------------------


def test_the_decision_by_hand():
    """Changes 1 1 1 and 0 1 0: mean 2/3, error 1/3, one degree of freedom, of which the 75 % quantile is 1.

    One imagined success is worth 9/10 - 2/10, with variance (0.09 + 0.16) / 10.
    """
    tested = BackTest(both=8, only_real=1, only_imagined=0, neither=7)
    found = decide(
        [play([0, 0, 0]), play([1, 0, 0])],
        [play([1, 1, 1]), play([1, 1, 0])],
        tested,
        GateConfig(confidence=0.75),
        Recorded(3, 7),
    )
    assert (found.imagined_difference, found.imagined_error) == pytest.approx((2 / 3, 1 / 3))
    assert found.estimate == pytest.approx(0.7 * 2 / 3)
    half = math.sqrt((0.7 / 3) ** 2 + (2 / 3) ** 2 * 0.025 + (1 / 3) ** 2 * 0.025)
    assert (found.low, found.high) == pytest.approx((0.7 * 2 / 3 - half, 0.7 * 2 / 3 + half))
    assert found.accepted and found.confidence == 0.75 and found.recorded == Recorded(3, 7)
    assert (found.pretrained.pessimistic, found.refined.pessimistic) == pytest.approx((1 / 6, 5 / 6))
    assert found.refined.per_world == pytest.approx((1, 2 / 3))
    written = found.to_dict()
    assert written["transfer"] == pytest.approx(0.7) and written["skill"] == pytest.approx(7 / math.sqrt(63))
    expected = {"pretrained": 4 / 9, "refined": 4 / 9 + 0.7 * 2 / 3}
    assert written["expected_success"] == pytest.approx(expected)
    without = replace(found, recorded=None).to_dict()["expected_success"]
    assert without == pytest.approx({"pretrained": (0.9 + 5 * 0.2) / 6, "refined": (5 * 0.9 + 0.2) / 6})
    assert found.reasons == (
        "the held-out worlds know this task: in 16 recorded episodes that they replayed, imagined and real outcomes "
        "agree at φ = 0.88 (asked for: at least 0.40)",
        "in 2 held-out worlds the refined policy is expected to gain +47 points of real success, at least +20.5 with "
        "75 % confidence",
    )


def test_expected_success_stays_within_what_a_rate_can_be():
    tested, recorded = BackTest(both=8, only_real=1, only_imagined=0, neither=7), Recorded(9, 10)
    assert expected_outcome(tested, recorded, 0.5, 0.5) == pytest.approx(10 / 12)
    assert expected_outcome(tested, recorded, 0.2, 1.0) == 1.0
    assert expected_outcome(tested, Recorded(0, 10), 0.8, 0.1) == 0.0


def test_bounds_stay_within_what_a_difference_can_be():
    """The same numbers at 95 %, where the quantile is 6.3."""
    tested = BackTest(both=8, only_real=1, only_imagined=0, neither=7)
    found = decide([play([0, 0, 0]), play([1, 0, 0])], [play([1, 1, 1]), play([1, 1, 0])], tested, GateConfig())
    assert (found.low, found.high) == (-1, 1) and not found.accepted


def test_a_clear_gain_in_worlds_that_know_the_task_is_accepted():
    found = decide(plays(0.4, 0.3, 0.35, 0.4), plays(0.95, 0.9, 0.95, 0.9), GOOD, GateConfig())
    assert found.accepted and found.low > 0.2
    assert [check.name for check in found.checks] == ["back-test", "gain"]
    assert all(check.passed for check in found.checks) and len(found.reasons) == 2


def test_no_gain_is_rejected():
    same = plays(0.4, 0.5, 0.4, 0.5)
    found = decide(same, same, GOOD, GateConfig())
    assert not found.accepted and found.estimate == 0 and found.low < 0 < found.high
    assert len(found.reasons) == 1 and found.reasons[0].startswith("in 4 held-out worlds the refined")


def test_a_loss_is_rejected():
    found = decide(plays(0.9, 0.9, 0.95, 0.9), plays(0.4, 0.3, 0.35, 0.4), GOOD, GateConfig())
    assert not found.accepted and found.high < 0


def test_a_large_imagined_gain_is_worth_nothing_where_the_back_test_shows_no_skill():
    found = decide(plays(0.1, 0.1, 0.1, 0.1), plays(1.0, 1.0, 1.0, 1.0), BLIND, GateConfig())
    assert not found.accepted and found.imagined_difference > 0.89
    assert found.estimate == pytest.approx(0) and found.low < 0
    assert len(found.reasons) == 2 and found.reasons[0].startswith("the held-out worlds do not know this task")


def test_a_weak_back_test_alone_is_reason_enough():
    """φ = 0.15: many episodes make sure that the little is real, so that the gain alone would pass."""
    weak = BackTest(both=575, only_real=425, only_imagined=425, neither=575)
    pretrained, refined = plays(0.1, 0.1, 0.1, 0.1), plays(1.0, 1.0, 1.0, 1.0)
    found = decide(pretrained, refined, weak, GateConfig())
    assert not found.accepted and found.low > 0 and len(found.reasons) == 1
    assert "do not know this task" in found.reasons[0] and "φ = 0.15 (asked for: at least 0.30)" in found.reasons[0]
    assert decide(pretrained, refined, weak, GateConfig(least_skill=0.15)).accepted
    assert decide(pretrained, refined, weak, GateConfig(least_skill=0.1, full_skill=0.15, doubtful_margin=0.9)).accepted


def test_worlds_that_half_know_the_task_must_promise_much():
    """φ = 0.35, between the two: large gains pass, and small ones only where the worlds know the task."""
    half = BackTest(both=675, only_real=325, only_imagined=325, neither=675)
    before, large, small = plays(0.1, 0.1, 0.1, 0.1), plays(0.8, 0.8, 0.8, 0.8), plays(0.4, 0.4, 0.4, 0.4)
    assert half.skill == pytest.approx(0.35)
    found = decide(before, large, half, GateConfig())
    assert found.accepted and found.low > 0.1
    assert "half know this task" in found.reasons[0]
    assert "φ = 0.35 (asked for: at least 0.40, or 0.30 for a large gain)" in found.reasons[0]
    assert found.reasons[1].endswith("with 95 % confidence (asked for: more than +10.0)")
    refused = decide(before, small, half, GateConfig())
    assert not refused.accepted and 0 < refused.low < 0.1
    assert [check.name for check in refused.checks if not check.passed] == ["gain"]
    assert decide(before, small, half, GateConfig(full_skill=0.3)).accepted
    assert not decide(before, large, half, GateConfig(least_skill=0.4)).accepted


@pytest.mark.parametrize(
    ("skill", "asked"), [(0.29, None), (0.3, 0.1), (0.39, 0.1), (0.4, 0.0), (0.9, 0.0), (-0.5, None)]
)
def test_what_is_asked_for_by_skill(skill, asked):
    assert GateConfig().asked_gain(skill) == asked
    if asked is not None:
        assert GateConfig(margin=0.2).asked_gain(skill) == 0.2


def test_worlds_that_worsen_with_skill_below_zero_are_no_gain():
    """Imagination that is wrong the other way round, and a policy that is worse there: minus times minus."""
    wrong = BackTest(both=3, only_real=40, only_imagined=40, neither=3)
    found = decide(plays(0.9, 0.9, 0.9, 0.9), plays(0.1, 0.1, 0.1, 0.1), wrong, GateConfig(least_skill=0.0))
    assert found.low > 0 and not found.accepted


def test_worlds_that_contradict_each_other_are_not_believed():
    """The same mean gain of a half: in all worlds, or in two of four."""
    before = plays(0.0, 0.0, 0.0, 0.0)
    agreed = decide(before, plays(0.5, 0.5, 0.5, 0.5), GOOD, GateConfig())
    torn = decide(before, plays(1.0, 0.0, 1.0, 0.0), GOOD, GateConfig())
    assert agreed.imagined_difference == torn.imagined_difference == 0.5
    assert agreed.accepted and not torn.accepted
    assert torn.imagined_error > 3 * agreed.imagined_error


def test_success_beyond_the_data_earns_nothing():
    """All refined episodes succeed, and all passed a threshold on the way."""
    before = plays(0.2, 0.2)
    for far in ({"doubt": 1.01}, {"distance": 1.01}, {"doubt": math.nan}):
        after = [play([1] * 64, **far) for _ in before]
        found = decide(before, after, GOOD, GateConfig())
        assert not found.accepted and found.refined.pessimistic == 0 and found.refined.hopeful == 1
        assert found.refined.halted == 1


def test_the_margin_must_be_passed():
    pretrained, refined = plays(0.4, 0.3, 0.35, 0.4), plays(0.95, 0.9, 0.95, 0.9)
    found = decide(pretrained, refined, GOOD, GateConfig())
    assert decide(pretrained, refined, GOOD, GateConfig(margin=found.low - 0.01)).accepted
    assert not decide(pretrained, refined, GOOD, GateConfig(margin=found.low)).accepted


def test_few_back_tested_episodes_leave_more_doubt():
    pretrained, refined = plays(0.4, 0.3, 0.35, 0.4), plays(0.95, 0.9, 0.95, 0.9)
    few, many = (
        decide(pretrained, refined, BackTest(9 * size, size, size, 9 * size), GateConfig()) for size in (1, 100)
    )
    assert few.high - few.low > 2 * (many.high - many.low) > 0


def test_as_many_worlds_play_both_policies():
    with pytest.raises(ValueError, match="shorter"):
        decide(plays(0.1, 0.1, 0.1), plays(0.9, 0.9), GOOD, GateConfig())


def test_what_is_written_is_plain_json():
    found = decide(plays(0.4, 0.3), plays(0.9, 0.9), GOOD, GateConfig(), Recorded(10, 30))
    for verdict in (found, replace(found, recorded=None)):
        written = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
        assert written["accepted"] is verdict.accepted and written["reasons"] == list(verdict.reasons)
        counts = {"both": 40, "only_real": 3, "only_imagined": 4, "neither": 40}
        assert written["back_test"] == counts | {"repeatability": 1.0}
        assert written["checks"][1]["name"] == "gain" and len(written["refined"]["per_world"]) == 2
        assert written["recorded"] == (None if verdict.recorded is None else {"successes": 10, "episodes": 30})


def test_starts_that_would_teach_most():
    """Of four starts the worlds agree about the first and last; one of four says otherwise about the second."""
    worlds = [play([1, 1, 1, 0]), play([1, 1, 0, 0]), play([1, 0, 1, 0]), play([1, 1, 0, 0])]
    found = disputed(worlds, episodes=[7, 8, 9, 10])
    assert found == [{"episode": 9, "outcomes": [1, 0, 1, 0]}, {"episode": 8, "outcomes": [1, 1, 0, 1]}]
    assert disputed(worlds, [7, 8, 9, 10], count=1) == found[:1]
