"""What the makers of sections say about measured numbers; by hand where there is something to compute."""

import pytest

from burnish.report.plots import described, draw
from burnish.report.sections_gate import gate_section
from burnish.report.sections_models import (
    disagreement_section,
    failure_section,
    picture_section,
    prediction_section,
    training_section,
    uncertainty_section,
)
from burnish.report.sections_policies import curve_section, outcome_section, refinement_section
from burnish.report.sections_rewards import calibration_section, ends_section, reward_section
from burnish.report.sections_run import data_section, mean_returns, untested_section, work_section
from tests.report.conftest import CANNOT_DECIDE, IMAGINED
from tests.report.test_verdict import returns

ROWS = [
    {"iteration": 0.0, "imagined_steps": 0.0, "eval/success": 0.4, "eval/distance": 0.2},
    {"iteration": 1.0, "imagined_steps": 100.0, "train/success": 0.1, "loss/value": 2.0, "loss/actor": 1.0, "kl": 0.1},
    {"iteration": 2.0, "imagined_steps": 200.0, "eval/success": 0.6, "loss/value": 1.0, "eval/halted": 0.25},
]


def drawn(section):
    """Every plot can be drawn; their titles."""
    for plot in section.plots:
        draw(plot)
    return [plot.title for plot in section.plots]


def test_refinement_has_a_panel_for_whatever_was_measured_and_any_learners_losses():
    section = refinement_section(ROWS, 2, IMAGINED, "iterations were over")
    assert drawn(section) == [
        "Success in imagination",
        "Pessimistic halting",
        "Distance from the data",
        "Distance from the pretrained policy",
        "Actor loss",
        "Value loss",
    ]
    assert [one.label for one in section.plots[0].series] == ["deterministic, pessimistic", "while training, exploring"]
    assert section.plots[0].marks[0].value == 200 and "lies below real success" in section.plots[0].caption
    assert section.words[0].endswith(
        "41 % for the policy that it began with, 93 % for the refined one. The chosen iterate is number 2. "
        "Refinement stopped: iterations were over."
    )


def test_no_better_iterate_and_no_metrics():
    section = refinement_section([], 0, {"return": {"pretrained": -3.0, "refined": -3.0}})
    assert "pessimistic return in imagination" in section.words[0] and "No iterate was better." in section.words[0]
    assert section.missing == ("Refinement left no metrics.",)


@pytest.mark.parametrize(("key", "title"), [("rate", "Success in imagination"), ("mean", "Return in imagination")])
def test_real_values_of_iterates_lie_over_the_imagined_ones(key, title):
    rows = [{"iteration": 2, key: 0.5, "ci95": [0.25, 0.75]}, {"iteration": 9, key: 0.5, "ci95": [0.25, 0.75]}]
    (plot,) = curve_section(rows, ROWS).plots
    (series,) = plot.series
    assert plot.title == title and (series.x, series.y, series.low, series.high) == ((200,), (0.5,), (0.25,), (0.75,))


def test_the_gates_evidence(gate):
    section = gate_section(gate())
    assert drawn(section) == ["Both policies in each held-out world", "Expected real gain"]
    assert "the policies play in 4 held-out worlds, from the same 128 recorded starts" in section.words[0]
    assert section.words[1].startswith("Accepted: the run hands out the refined policy")
    checks, policies, back_test = section.tables
    assert [row[:2] for row in checks.rows] == [("back-test", "✓ passed"), ("gain", "✓ passed")]
    assert ("imagined success, pessimistic", "41 %", "80.9 %") in policies.rows
    assert ("expected real success", "47.4 %", "78.6 %") in policies.rows
    assert ("real success in the data (95 % interval)", "71 of 150 (40 % to 55 %)", "unknown") in policies.rows
    assert back_test.rows == (("real success", "61", "6"), ("real failure", "9", "84"))
    assert "Of 70 that succeed in imagination, 61 had succeeded in reality; of 90 that fail" in back_test.note
    assert section.plots[0].caption.startswith("In all of 4 held-out worlds")


def test_a_rejection_says_what_to_do(gate):
    section = gate_section(gate(after=(0.44, 0.56, 0.36, 0.55), recorded=None) | {"warning": "Look here."})
    assert section.words[1].startswith("Rejected: the run hands out the pretrained policy")
    assert section.warnings == ("Look here.",) and section.plots[0].caption.startswith("In 3 of 4")
    assert "at least −0.7 with" in section.tables[0].rows[1][2]
    assert ("real success in the data", "never recorded", "unknown") in section.tables[1].rows
    assert "compared the pretrained one with itself" in gate_section(gate(), refined=False).words[1]


def test_a_gate_that_cannot_decide_shows_why():
    section = gate_section(CANNOT_DECIDE)
    assert section.words[0].startswith("Not decided") and section.plots == ()
    assert section.missing == ("The data has 1 successful episodes, too few for 4 held-out worlds.",)


def test_a_gate_on_returns(gate):
    found = gate() | {"measure": "return", "estimate": 12.5, "low": 3.0, "high": 22.0}
    section = gate_section(found)
    assert section.plots[1].caption.startswith("4 held-out worlds expect +12.5 (at least +3, at most +22")
    assert section.plots[1].series[0].y == (12.5,) and section.plots[0].y.scale == "plain"


def test_the_outcome_with_what_the_gate_expected(report, gate):
    section = outcome_section(report(gate=gate()))
    assert section.words == ("An episode has failed after 100 decisions of 2 control steps each (200 in all).",)
    rates, difference = section.plots
    assert [one.text[0] for one in rates.series] == ["48 % (48 of 100)", "95 % (95 of 100)"]
    assert difference.names == ("expected by the gate", "simulator") and "49 newly succeed, 2 newly fail" in (
        difference.caption
    )
    assert [round(one.y[0]) for one in difference.series] == [31, 47] and drawn(section)
    assert "the trust gate did not accept" in outcome_section(report(gate=gate() | {"accepted": False})).words[1]


def test_the_outcome_in_returns_with_a_reference(report):
    found = report(returns((0.0, 1.0, 2.0), (1.0, 3.0, 5.0)), imagined={})
    against = {"low": -1.0, "low_source": "random", "high": 9.0, "high_source": "expert"}
    found["return"] |= {"reference": against}
    for name, value in (("pretrained", 0.2), ("refined", 0.4)):
        found["return"][name]["normalised"] = value
    section = outcome_section(found)
    assert drawn(section) == ["Return", "Difference in return"]
    assert "0 for random episodes of the data (−1) and 1 for those by expert (9): pretrained 0.20, refined 0.40." in (
        section.plots[0].caption
    )


def test_a_worse_policy_is_warned_of_whether_a_gate_decided_or_none_was_asked(report, gate):
    worse = returns((1.0, 2.0, 3.0), (0.0, 1.0, 2.0))
    alone, decided = (outcome_section(report(worse, imagined={}, gate=each)) for each in (None, gate()))
    assert alone.warnings == (
        "The simulator has it worse, and no gate was asked: do not run the refined policy on a robot.",
    )
    assert decided.warnings[0].startswith("The simulator contradicts the decision: do not run the refined policy")


def test_data_by_source():
    sources, lengths, success = ("expert", "play_data", "expert"), (10, 20, 30), (True, False, True)
    (table,) = data_section(sources, lengths, success, (1.0, -4.0, 2.0)).tables
    assert table.header == ("Source", "episodes", "successes", "mean return", "frames")
    assert table.rows == (
        ("expert", "2", "2", "1.5", "40"),
        ("play data", "1", "0", "−4", "20"),
        ("total", "3", "2", "−0.333", "60"),
    )
    (plain,) = data_section(("a",), (5,)).tables
    assert plain.header == ("Source", "episodes", "frames") and plain.rows == (("a", "1", "5"),)
    assert mean_returns(sources, (1.0, -4.0, 2.0)) == {"expert": 1.5, "play_data": -4.0}


def test_what_was_done_and_what_was_not_tested(report, gate):
    found = report(gate=gate())
    time, steps, stages = work_section(found).tables
    assert time.rows[-1] == ("total", "3 min 44 s") and ("refinement", "0") in steps.rows
    assert ("Dreams", "training", "1 min 1 s") in stages.rows
    words = " ".join(untested_section(found).words)
    assert "run for 100 episodes" in words and "what these never show" in words and "one seed (0)" in words


BAND = {"median": [0.1, 0.2], "p10": [0.0, 0.1], "p90": [0.2, 0.4]}


def test_prediction_error_beside_hold_last():
    hold = {"median": [0.2, 0.8], "p10": [0.1, 0.1], "p90": [0.2, 1.0]}
    section = prediction_section({"horizon": [1, 2], "model": BAND, "hold_last": hold, "unit": "metres"})
    assert "the median error is 0.25 of hold-last's" in section.plots[0].caption and drawn(section)
    assert [one.label for one in section.plots[0].series] == ["hold the last", "world model"]
    assert section.plots[0].y.label == "error (metres)"


def test_disagreement_by_hand():
    pairs = [[k / 1000, k / 500] for k in range(1, 1001)]
    (plot,) = disagreement_section({"pairs": pairs, "threshold": 0.9, "spearman": 1.0}).plots
    assert len(plot.series[0].x) == 500 and "10 % lie beyond" in plot.caption and "correlation 1.00" in plot.caption
    assert disagreement_section({"pairs": [], "threshold": 1.0}).missing


def test_uncertainty_with_gaps_and_its_warning():
    names = ("recalibrated", "one_step_factor", "low_disagreement", "high_disagreement")
    coverage = {name: [0.9, None] for name in names}
    found = {"horizon": [1, 2], "target": 0.9, "rank_correlation": [0.5, None], "coverage": coverage}
    found |= {"episodes": 8, "windows": {"calibration": 40, "test": 50}, "warning": "Its members agree."}
    section = uncertainty_section(found)
    assert section.warnings == ("Its members agree.",) and len(drawn(section)) == 2
    assert section.plots[0].series[1].y == (0.9, None) and "bounds unknown" in section.plots[0].caption
    assert uncertainty_section(found | {"warning": None}).warnings == ()


def test_pictures_and_failures():
    means = {"model": [30.0, None], "hold_last": [25.0, 20.0]}
    source = {"windows": 9, "psnr_moving": means, "ssim": means}
    following = {"own_future": {"rate": 0.75, "windows": 40}}
    section = picture_section({"horizon": [1, 2], "sources": {"expert": source}, "action_following": following})
    assert len(drawn(section)) == 2 and "75 % of 40 held-out windows" in section.words[0]
    assert section.plots[0].series[0].y == (30.0, None) and section.plots[0].series[1].style == "dashed"
    kept = {"imagined": {"kept": 7, "episodes": 9, "rate": 7 / 9}}
    (words,) = failure_section({"failures_kept": kept, "successes_kept": {"imagined": {"rate": None}}}).words
    assert words.startswith("Of 9 held-out episodes that failed, 7 failed in imagination, too")


def test_calibration_by_hand():
    bins = [
        {"mean_probability": 0.1, "frequency": 0.0, "count": 30},
        {"mean_probability": 0.8, "frequency": 0.9, "count": 10},
        {"mean_probability": 0.5, "frequency": 0.0, "count": 0},
    ]
    curve = [{"threshold": 0.5, "precision": 0.9, "recall": 1.0}, {"threshold": 0.9, "precision": None, "recall": 0.0}]
    at = {"threshold": 0.5, "target_precision": 0.98, "precision": 0.9, "recall": 1.0, "positives": 9, "negatives": 31}
    section = calibration_section({"bins": bins, "curve": curve, **at})
    assert drawn(section) == ["Calibration", "Threshold"]
    assert "(40 in all). Mean gap to the diagonal: 10 %." in section.plots[0].caption
    assert "precision 90 % and recall 100 %" in section.plots[1].caption and section.plots[1].series[0].y == (0.9,)
    assert calibration_section({**at, "bins": [], "curve": []}).missing and not section.words
    related = calibration_section({"bins": bins, "curve": curve, **at, "relations": [["arm.0", "block.0"]]})
    assert "how far they are apart: arm.0 from block.0." in related.words[0]


def test_training_curves_of_any_stage():
    rows = [
        {"step": 1, "loss": 2.0, "validation/loss": 3.0, "validation/open_loop_error": 0.5},
        {"step": 2, "loss": 1.0, "validation/some_score": 0.25},
    ]
    section = training_section({"dynamics_of_hands": rows, "empty": []})
    assert section is not None and drawn(section) == [
        "Dynamics of hands",
        "Dynamics of hands: open loop error",
        "Dynamics of hands: some score",
    ]
    assert described(section.plots[0]) == "Dynamics of hands, loss: training from 2 to 1; held out from 3 to 3."
    assert training_section({"empty": []}) is None


def test_ends_that_are_missed_are_a_warning():
    found = ends_section({"precision": 0.75, "recall": 0.88, "positives": 115})
    assert found.words == ("Of 115 held-out ends of episodes 88 % are told; of those told 75 % are ends.",)
    assert not found.warnings
    missed = ends_section({"precision": 0.0, "recall": 0.0, "positives": 23})
    assert "no episode ends" in missed.warnings[0]
    learned = {"r2": 0.9, "rmse": 0.1, "terminations": 4.0}
    assert len(reward_section(learned).words) == 1 and not reward_section(learned).warnings
    assert reward_section({**learned, "precision": 1.0, "recall": 0.25}).warnings == missed.warnings
