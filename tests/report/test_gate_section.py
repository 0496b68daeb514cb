"""The trust gate's section: its evidence in words, tables and plots."""

from burnish.report.gate_plots import plot_estimate, plot_worlds

from burnish.evaluation.intervals import paired_difference
from burnish.report.html import render_html
from burnish.report.summary import build_report, gate_summary
from tests.report.test_html import WITHOUT_PLOTS, Page

UNSURE = (0.44, 0.56, 0.36, 0.55)
SAME = (0.42, 0.5, 0.38, 0.46)


def page_of(inputs, summary, found, accepted, iteration=36, refinement=None, **changes):
    values = {"gate": gate_summary(found), "accepted": accepted, "extra": {"chosen_iteration": iteration}}
    report = build_report(summary(**values, **changes))
    others = WITHOUT_PLOTS | {"refinement": refinement}
    return Page(render_html(inputs(report, gate=found, chosen_iteration=iteration or None, **others)))


def test_an_accepted_policys_evidence(inputs, summary, gate):
    page = page_of(inputs, summary, gate(), True)
    words = page.words().replace("\u2011", "-")
    assert page.tags.count("svg") == 2 + 2
    for told in (
        "both policies play in 4 held-out worlds, from the same 128 recorded starts",
        "Accepted: the run hands out the refined policy",
        "back-test|✓ passed|The held-out worlds know this task",
        "gain|✓ passed|In 4 held-out worlds the refined policy is expected to gain +31 points of real success",
        "opinion|has no vote|Fitted Q evaluation on the recorded data alone does not contradict: its discounted value "
        "changes by +0.25 ± 0.12",
        "imagined success, halted episodes as failures|41 %|80.9 %",
        "mean distance to the data (halted at 1)|0.30|0.40",
        "expected real success|47.4 %|78.6 %",
        "real success in the data|71 of 150 (95 % interval 40 % to 55 %)|unknown",
        "real success|61|6|real failure|9|84",
        "Of 70 that succeed in imagination, 61 had succeeded in reality; of 90 that fail in imagination, 6 had.",
        "what these never show",
    ):
        assert told.replace("|", "") in words, told  # nothing is between cells
    assert page.words("dd").startswith("accepted")


def test_a_rejected_policys_evidence(inputs, summary, gate):
    page = page_of(inputs, summary, gate(after=UNSURE, recorded=None), False, refinement=inputs().refinement)
    words = page.words()
    assert "✗ not passed" in words and "✓ passed" in words and "at least −0.7 with" in words
    assert "“Refined” is the policy that the trust gate did not accept" in words
    assert "“Refined” is the pretrained policy here" not in words
    assert "The chosen iterate is number 36, which the trust gate did not accept." in words
    assert "On a robot, use that one" in words and "never recorded" in words
    assert "refined, not used (real)" in page.words("dt") and "failures removed" not in page.words("dt")


def test_a_simulator_that_contradicts_the_gate_is_heeded(inputs, summary, gate):
    paired = paired_difference([True] * 50 + [False] * 50, [True] * 10 + [False] * 90)
    words = page_of(inputs, summary, gate(), True, paired=paired).words()
    assert "do not run it on a robot" in words and "let it begin" not in words


def test_a_gate_that_could_not_judge_shows_why(inputs, summary, cannot_judge):
    page = page_of(inputs, summary, cannot_judge, False)
    assert page.tags.count("svg") == 2
    assert "Not judged: the run hands out the pretrained policy" in page.words()
    assert "The data has 1 successful episodes, too few for 4 held-out worlds." in page.words()
    assert "no trust gate vouches for it" in page.words()


def test_where_no_iterate_was_better_refined_is_the_pretrained_policy(inputs, summary, gate):
    page = page_of(inputs, summary, gate(after=SAME), False, iteration=0)
    assert "“Refined” is the pretrained policy here" in page.words()
    assert "the gate compared it with itself" in page.words() and "trust gate" not in page.words("dt")


def test_the_gates_warnings_are_shown(inputs, summary, gate):
    for warning in ("The second opinion did not converge.", None):
        found = gate()
        page = page_of(
            inputs, summary, found | {"second_opinion": {**found["second_opinion"], "warning": warning}}, True
        )
        assert page.words("strong") == (warning or "")


def test_whatever_gate_json_says_is_escaped(inputs, summary, gate):
    hostile = "<script>alert(1)</script>"
    found = gate() | {"checks": [{"name": hostile, "passed": True, "sentence": hostile}], "warning": hostile}
    assert "script" not in page_of(inputs, summary, found, True).tags


def test_a_run_without_a_gate_says_why(inputs):
    page = Page(render_html(inputs(missing={"gate": "This recipe has none."}, **WITHOUT_PLOTS)))
    assert "This recipe has none." in page.words()


def test_each_world_has_both_policies(gate):
    found = gate()
    plot = plot_worlds(found)
    before, after = plot.figure.axes[0].get_lines()
    assert list(before.get_xdata()) == list(found["pretrained"]["per_world"])
    assert list(after.get_xdata()) == list(found["refined"]["per_world"])
    assert plot.caption.startswith("In all of 4 held-out worlds")
    assert plot_worlds(gate(after=UNSURE)).caption.startswith("In 3 of 4 held-out worlds")
    assert plot_worlds(gate(after=SAME)).caption.startswith("In none of 4 held-out worlds")


def test_the_estimate_has_its_bounds_and_the_simulator_below(gate):
    found = gate()
    paired = {"difference": 0.47, "low": 0.36, "high": 0.57}
    axis = plot_estimate(found, paired).figure.axes[0]
    drawn = [segment[:, 0].tolist() for bars in axis.collections for segment in bars.get_segments()]
    expected = [[100 * found["low"], 100 * found["high"]], [36.0, 57.0]]
    assert [[round(end, 6) for end in ends] for ends in drawn] == [[round(end, 6) for end in ends] for ends in expected]
    assert "simulator" not in plot_estimate(found).caption
