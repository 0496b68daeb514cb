from dataclasses import replace

import pytest

from burnish.report.outcomes import Outcomes, Played
from burnish.report.sections_worth import time_table
from burnish.report.verdict import verdict
from burnish.report.wording import change, count, number, percent, points, readable, seconds, signed
from tests.report.conftest import CANNOT_DECIDE, GUESSES

NO_SIMULATOR = {"evaluation": "no simulator was used."}


def outcomes(both, improved, worsened, neither):
    before = (True,) * both + (False,) * improved + (True,) * worsened + (False,) * neither
    after = (True,) * (both + improved) + (False,) * (worsened + neither)
    return Outcomes({"pretrained": Played(before), "refined": Played(after)})


def returns(before, after):
    return Outcomes({"pretrained": Played((), before), "refined": Played((), after)})


def test_better(report, gate):
    found = verdict(report(gate=gate()))
    assert (found.headline, found.tone) == ("48 % → 95 % · accepted", "better")
    assert found.sentence == (
        "Refinement in imagination raised drawer-open-v3 from 48 % to 95 % (+47 points, 95 % interval +36 to +57, "
        "100 paired episodes), without a simulator step in refinement."
    )
    assert verdict(report()).headline == "48 % → 95 % · no gate"


def test_worse(report):
    found = verdict(report(outcomes(10, 2, 40, 48)))
    assert found.tone == "worse" and found.headline.startswith("50 % → 12 %")
    assert "worse: from 50 % to 12 % (−38 points" in found.sentence and "raised" not in found.sentence


def test_an_interval_across_zero_is_no_success(report):
    found = verdict(report(outcomes(40, 12, 8, 40)))
    assert found.tone == "undecided" and "cannot be told from chance" in found.sentence


def test_no_better_iterate(report):
    found = verdict(report(outcomes(48, 0, 0, 52), iteration=0.0))
    assert (found.headline, found.tone) == ("48 % · kept", "kept")
    assert "No refined policy for drawer-open-v3 was better" in found.sentence


def test_a_rejection_names_the_reasons_and_what_the_simulator_says(report, gate):
    found = verdict(report(gate=gate(tested=GUESSES)))
    assert (found.headline, found.tone) == ("48 % → 95 % · rejected", "kept")
    assert "the held-out worlds do not know this task" in found.sentence
    assert "asked afterwards, says 48 % → 95 % (+47 points" in found.sentence
    unsure = verdict(report(gate=gate(after=(0.44, 0.56, 0.36, 0.55))))
    assert "kept the pretrained one: a real gain is not certain." in unsure.sentence


def test_a_gate_that_cannot_decide(report):
    found = verdict(report(gate=CANNOT_DECIDE))
    assert found.headline.endswith("not accepted") and "could not decide" in found.sentence
    assert "too few for 4 held-out worlds" in found.sentence


def test_without_a_simulator_everything_is_imagined(report, gate):
    alone = verdict(report(None, skipped=NO_SIMULATOR))
    assert (alone.headline, alone.tone) == ("41 % → 93 % in imagination · no gate", "unknown")
    assert alone.sentence.endswith("Nothing was measured in a simulator: no simulator was used.")
    gated = verdict(report(None, gate(), NO_SIMULATOR))
    assert "4 held-out worlds expect +31 points (at least +" in gated.sentence
    assert verdict(report(None, gate(tested=GUESSES), NO_SIMULATOR)).tone == "kept"
    assert verdict(report(None, skipped=NO_SIMULATOR, iteration=0.0)).headline == "41 % · kept"
    nothing = verdict(report(None, skipped=NO_SIMULATOR, imagined={}))
    assert nothing.headline.startswith("nothing measured")


def test_returns(report):
    better = verdict(report(returns((-10.0, -12.0, -11.0), (-5.0, -8.0, -6.0)), imagined={}))
    assert (better.headline, better.tone) == ("−11 → −6.33 · no gate", "better")
    assert "raised the return of drawer-open-v3 from −11 to −6.33 (+4.67, 95 % interval" in better.sentence
    chance = verdict(report(returns((0.0, 1.0), (1.0, 0.5)), imagined={}))
    assert chance.tone == "undecided"
    worse = verdict(report(returns((1.0, 2.0, 3.0), (0.0, 1.0, 2.0)), imagined={}))
    assert worse.tone == "worse"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (percent(0.48), "48 %"),
        (percent(0.46667), "46.7 %"),
        (signed(0.47), "+47"),
        (signed(-0.004), "−0.4"),
        (signed(0.00004), "+0.004"),
        (signed(0), "0"),
        (points(0.01), "+1 point"),
        (points(-0.381), "−38 points"),
        (count(800000), "800\u202f000"),
        (seconds(4.04), "4.0 s"),
        (seconds(125), "2 min 5 s"),
        (seconds(7300), "2 h 1 min"),
        (number(-1234.5), "−1\u202f234"),
        (number(0.01234), "0.0123"),
        (number(-0.0), "0"),
        (change(12.34), "+12.3"),
        (change(-2), "−2"),
        (readable("world_model"), "World model"),
        (readable("gate/world_0/reward"), "Gate: world 0: reward"),
    ],
)
def test_numbers_as_a_reader_sees_them(found, expected):
    assert found == expected


# -- the cheap alternative ---------------------------------------------------------------------------------------------


def with_filtered(filtered, late=(), own=None):
    """The pretrained policy's 48 of 100, the refined one's 95, and what filtered cloning has, in the same order."""
    played = {
        "pretrained": Played((True,) * 48 + (False,) * 52),
        "filtered": Played((True,) * filtered + (False,) * (100 - filtered), (), late),
        "refined": Played((True,) * 95 + (False,) * 5),
    }
    return Outcomes(played, decisions=100, action_repeat=2, own_decisions=own)


def test_the_verdict_says_what_cloning_the_successes_gives(report):
    better = verdict(report(with_filtered(70))).sentence
    assert "better than cloning the successes of the same data, which has 70 %: +25 points" in better
    assert (
        "is not told from cloning the successes of the same data, which has 95 %: 0 points"
        in verdict(report(with_filtered(95))).sentence
    )
    assert "is worse than cloning" in verdict(report(with_filtered(100))).sentence
    assert "cloning the successes" not in verdict(report()).sentence


def test_a_filtered_policy_that_is_handed_out_is_named(report, gate):
    decided = gate(tested=GUESSES) | {"handed_out": "filtered", "vouched": True}
    assert "and handed out the one cloned from all recorded successes:" in verdict(report(gate=decided)).sentence
    unsure = decided | {"vouched": False}
    assert "successes, for which it cannot vouch either:" in verdict(report(gate=unsure)).sentence
    kept = verdict(report(with_filtered(70), iteration=0.0, start="filtered"))
    assert "so the filtered one was kept" in kept.sentence


def test_doubts_about_imagination_are_in_the_first_line(report):
    found = verdict(report(doubts={"success classifier": "it was calibrated on 3 held-out frames of success"}))
    assert found.headline.endswith("· doubtful imagination")
    assert "trusted less than usual (the success classifier: it was calibrated on 3 held-out frames" in found.sentence


def test_success_within_both_limits(report):
    late = tuple(range(50, 120)) + (None,) * 30
    found = report(with_filtered(51, late, own=250))
    assert found["limit"]["own_control_steps"] == 500
    own = found["policies"]["filtered"]["success_own_limit"]
    assert (own["successes"], own["rate"], own["median_decisions"]) == (70, 0.7, 84.5)
    assert "success_own_limit" not in found["policies"]["refined"]
    table = time_table(found)
    assert table.rows == (("filtered", "51 %", "70 % (60 % to 78 %)", "169"),)
    assert time_table(report()) is None


def test_smoothness_stands_beside_time_to_success(report):
    late = tuple(range(50, 120)) + (None,) * 30
    outcomes = with_filtered(51, late, own=250)
    rough = replace(outcomes.policies["filtered"], action_change=(0.1, 0.2, *(0.15,) * 98))
    found = report(replace(outcomes, policies={**outcomes.policies, "filtered": rough}))
    assert found["policies"]["filtered"]["action_change"] == 0.15
    table = time_table(found)
    assert table.rows[0][-1] == "15 %" and table.header[-1] == "action's change between decisions"
