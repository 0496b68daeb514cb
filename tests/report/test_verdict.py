import pytest

from burnish.evaluation.intervals import paired_difference
from burnish.report.summary import SuccessCount, build_report
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
