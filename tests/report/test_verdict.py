import pytest

from burnish.evaluation.back_test import BackTest
from burnish.evaluation.intervals import paired_difference
from burnish.report.summary import SuccessCount, build_report, gate_summary
from burnish.report.verdict import verdict
from burnish.report.wording import count, percent, points, seconds, signed


def report_of(summary, both, improved, worsened, neither, **changes):
    before = [True] * both + [False] * improved + [True] * worsened + [False] * neither
    after = [True] * (both + improved) + [False] * (worsened + neither)
    values = {
        "pretrained": SuccessCount(both + worsened, len(before)),
        "refined": SuccessCount(both + improved, len(before)),
        "paired": paired_difference(before, after),
    }
    return build_report(summary(**(values | changes)))


def test_better(summary):
    found = verdict(build_report(summary()))
    assert found.tone == "better"
    assert found.sentence == (
        "Refinement in imagination raised drawer-open-v3 from 48 % to 95 % (+47 points, 95 % interval +36 to +57, "
        "100 paired episodes); no simulator step was used for refinement."
    )


def test_worse(summary):
    found = verdict(report_of(summary, 10, 2, 40, 48))
    assert found.tone == "worse"
    assert "worse: from 50 % to 12 % (−38 points" in found.sentence and "raised" not in found.sentence


def test_an_interval_across_zero_is_no_success(summary):
    found = verdict(report_of(summary, 40, 12, 8, 40))
    assert found.tone == "undecided"
    assert "from 48 % to 52 % (+4 points" in found.sentence
    assert "cannot tell from chance" in found.sentence and "raised" not in found.sentence


def test_no_change(summary):
    found = verdict(report_of(summary, 40, 5, 5, 50))
    assert found.tone == "undecided" and "left drawer-open-v3 at 45 % (0 points" in found.sentence


def test_rejected_keeps_the_pretrained_policy(summary):
    found = verdict(report_of(summary, 48, 0, 0, 52, accepted=False))
    assert found.tone == "kept"
    assert "rejected" in found.sentence and "kept, at 48 % (95 % interval 38 % to 58 %" in found.sentence


@pytest.mark.parametrize(("accepted", "words"), [(True, "41 % to 93 % success in imagination only"), (False, "kept")])
def test_skipped_evaluation_claims_nothing_real(summary, accepted, words):
    skipped = {"evaluation": "the data set names no simulator."}
    found = verdict(
        build_report(summary(pretrained=None, refined=None, paired=None, skipped=skipped, accepted=accepted))
    )
    assert found.tone == "unknown" and words in found.sentence
    assert "real success is unknown because evaluation was skipped (the data set names no simulator)" in found.sentence


def test_without_pairs_both_intervals_are_given(summary):
    found = verdict(build_report(summary(paired=None)))
    assert found.tone == "undecided"
    assert "from 48 % (95 % interval 38 % to 58 %) to 95 % (95 % interval 89 % to 98 %)" in found.sentence


def test_numbers_in_words():
    assert [percent(x) for x in (0.48, 1, 0, 7 / 15)] == ["48 %", "100 %", "0 %", "46.7 %"]
    assert [signed(x) for x in (0.47, -0.061, 0.004, -0.0002, 0.0)] == ["+47", "−6", "+0.4", "−0.02", "0"]
    assert [points(x) for x in (0.01, -0.01, 0.02)] == ["+1 point", "−1 point", "+2 points"]
    assert count(800000) == "800\u202f000"
    assert [seconds(x) for x in (4.04, 125, 59.96, 3720)] == ["4.0 s", "2 min 5 s", "60.0 s", "1 h 2 min"]


OWN_DATA = {"pretrained": None, "refined": None, "paired": None, "skipped": {"evaluation": "no simulator was used"}}


def gated(summary, found, accepted, **changes):
    return build_report(summary(gate=gate_summary(found), accepted=accepted, extra={"chosen_iteration": 36}, **changes))


def test_accepted_by_the_gate_and_evaluated(summary, gate):
    found = verdict(gated(summary, gate(), True))
    assert found.tone == "better"
    assert found.sentence == (
        "Refinement in imagination raised drawer-open-v3 from 48 % to 95 % (+47 points, 95 % interval +36 to +57, "
        "100 paired episodes). The trust gate had accepted it without the simulator: 4 held-out worlds that know this "
        "task expect +31 points, at least +27 and at most +36, each with 95 % confidence; no simulator step was used "
        "for refinement."
    )


def test_worlds_that_half_know_the_task_are_called_so(summary, gate):
    half = BackTest(both=40, only_real=27, only_imagined=24, neither=69)
    assert 0.3 < half.skill < 0.4
    found = gate(before=(0.05, 0.08, 0.04, 0.06), after=(0.93, 0.96, 0.9, 0.94), tested=half)
    assert found["accepted"] and found["knowledge"] == "half know"
    for evaluated in ({}, OWN_DATA):
        sentence = verdict(gated(summary, found, True, **evaluated)).sentence
        assert "4 held-out worlds that half know this task expect" in sentence


def test_a_wrong_acceptance_is_called_wrong(summary, gate):
    paired = paired_difference([True] * 50 + [False] * 50, [True] * 10 + [False] * 90)
    counts = {"pretrained": SuccessCount(50, 100), "refined": SuccessCount(10, 100), "paired": paired}
    found = verdict(gated(summary, gate(), True, **counts))
    assert found.tone == "worse" and "The trust gate wrongly accepted it" in found.sentence


def test_rejected_by_the_gate_says_what_it_would_have_been_worth(summary, gate):
    found = verdict(gated(summary, gate(after=(0.44, 0.56, 0.36, 0.55)), False))
    assert found.tone == "kept"
    assert found.sentence == (
        "The trust gate rejected the refined policy for drawer-open-v3, so the pretrained one was kept: a real gain is "
        "not certain (expected: +3 points, at least −0.7 and at most +7, each with 95 % confidence). In the simulator, "
        "asked afterwards, the rejected policy would have moved drawer-open-v3 from 48 % to 95 % (+47 points, 95 % "
        "interval +36 to +57, 100 paired episodes); no simulator step was used for refinement."
    )


def test_reasons_of_a_rejection(summary, gate, guessing):
    def sentence(found, **changes):
        report = gated(summary, found, False, **OWN_DATA)
        return verdict({**report, "gate": report["gate"] | changes}).sentence

    worse = gate(after=(0.1, 0.16, 0.06, 0.15))
    assert "kept: it is expected to do worse (expected: −24 points" in sentence(worse)
    both = sentence(gate(after=(0.44, 0.56, 0.36, 0.55), tested=guessing))
    assert "do not know this task" in both and "and a real gain is not certain" in both
    only_blind = sentence(gate(tested=guessing))
    assert "do not know this task" in only_blind and "gain is" not in only_blind
    unknown = sentence(worse, checks={"gain": True, "third opinion": False}, reasons=["the robot objects"])
    assert "kept: the robot objects (expected" in unknown
    assert "kept: one and two (" in sentence(worse, checks={}, reasons=["one", "two"])


def test_without_an_evaluation_the_gates_estimate_is_the_claim(summary, gate):
    found = verdict(gated(summary, gate(), True, **OWN_DATA))
    assert found.tone == "unknown"
    assert "expect real success of 79 % instead of 47 % (+31 points, at least +27" in found.sentence
    assert "Real success was not measured (no simulator was used)" in found.sentence
    rejected = verdict(gated(summary, gate(after=(0.44, 0.56, 0.36, 0.55)), False, **OWN_DATA))
    assert rejected.tone == "kept" and "Real success was not measured" in rejected.sentence
    assert "In the simulator" not in rejected.sentence


def test_a_gate_that_could_not_judge(summary, cannot_judge):
    found = verdict(gated(summary, cannot_judge, False))
    assert found.tone == "kept"
    assert "could not judge the refined policy for drawer-open-v3, so the pretrained one was kept" in found.sentence
    assert "too few for 4 held-out worlds. In the simulator, asked afterwards, the refined policy" in found.sentence


def test_where_nothing_was_better_in_imagination_the_gate_has_no_say(summary, gate):
    """The pretrained policy was compared with itself."""
    same = gate_summary(gate(after=(0.42, 0.5, 0.38, 0.46)))
    report = build_report(summary(gate=same, accepted=False, extra={"chosen_iteration": 0}))
    assert verdict(report).tone == "kept"
    assert "no refined policy was better in imagination" in verdict(report).sentence
    assert "gate" not in verdict(report).sentence
