"""The study's page: its numbers by hand, bad rows that are named, and plots that show every row."""

import copy
import json
import re

import numpy as np
import pytest

from burnish.errors import InputError
from studies.page import render_html, render_markdown, study_of, write_study
from studies.plots import plot_decisions, plot_policies
from studies.tables import (
    agreement_table,
    decisions_table,
    gains_table,
    naive_table,
    rates_table,
    share_text,
)


def policy(task, name, estimate, successes, naive=None, kind="refined", seed=0):
    row = {"task": task, "seed": seed, "policy": name, "kind": kind, "estimate": estimate, "naive": naive}
    return row | {"real": {"successes": successes, "episodes": 10}}


def decision(accepted, up, down, task="hammer", **changes):
    row = {"task": task, "seed": 0, "setting": "as it is", "exploit": False, "accepted": accepted, "reason": "why"}
    row |= {"estimate": 0.1, "low": -0.05, "high": 0.2, "real_difference": (up - down) / 20}
    return row | {"improved": up, "worsened": down, "episodes": 20} | changes


POLICIES = [
    policy("hammer", "a", 0.6, 2, naive=0.9),
    policy("hammer", "b", 0.4, 5, naive=0.9, kind="exploited"),
    policy("hammer", "c", 0.9, 10, kind="pretrained"),
    policy("soccer", "a", 0.3, 3, naive=0.8),
    policy("soccer", "b", 0.4, 5, naive=0.7, kind="planned"),
]
DECISIONS = [
    decision(True, 6, 0),
    decision(True, 1, 3, task="soccer", exploit=True, setting="no halting"),
    decision(True, 0, 7, reason="above | 0"),
    decision(False, 0, 6, task="soccer"),
    decision(False, 8, 0, seed=4, estimate=-0.02),
]


def study(policies=POLICIES, decisions=DECISIONS, **more):
    return study_of(copy.deepcopy(policies), copy.deepcopy(decisions), "rows.json", **more)


def test_agreement_rows_by_hand():
    """Hammer: ranks (2, 1, 3) and (1, 2, 3), bias 0.2 / 3; soccer in order, 0.05 too low."""
    header, rows = agreement_table(study().numbers())
    assert header == ["task", "policies", "Pearson", "Spearman", "MMRV", "imagined − real"]
    assert rows[0][0:2] + rows[0][3:] == ["hammer", "3", "0.50", "0.200", "+7"]
    assert rows[1] == ["soccer", "2", "1.00", "1.00", "0.000", "−5"]
    assert rows[2][1] == "5" and rows[2][3:] == ["0.75", "0.100", "+0.8"]


def test_naive_estimates_are_compared_on_their_own_policies():
    """Hammer: the gate swaps 0.2 and 0.5, the naive one cannot tell them apart (0.3 of one of two policies)."""
    _, rows = naive_table(study().numbers())
    assert rows[0] == ["hammer", "2", "−1.00", "–", "−1.00", "–", "0.300", "0.150", "+15", "+55"]
    assert rows[1] == ["soccer", "2", "1.00", "−1.00", "1.00", "−1.00", "0.000", "0.200", "−5", "+35"]
    assert rows[2] == ["mean over tasks", "4", "0.00", "−1.00", "0.00", "−1.00", "0.150", "0.175", "+5", "+45"]


def test_rates_and_gains_by_hand():
    """By the test (p = 0.03, 1, 0.02, 0.03, 0.008) two are better, two worse; by the sign a third one is worse."""
    numbers = study().numbers()
    _, rows = rates_table(numbers.by_test)
    assert rows[0][:7] == ["all", "5", "3", "2", "2", "1", "1"]
    assert [cell.partition(" (")[0] for cell in rows[0][7:]] == ["20 %", "33 %", "50 %", "1", "20 %", "50 %"]
    assert rows[1][:7] == ["set up to exploit", "1", "1", "0", "0", "1", "0"] and rows[1][9] == "–"
    assert rates_table(numbers.by_sign)[1][1][6] == "1", "by the sign the exploit was accepted though worse"
    # 0.3 − 0.1 − 0.35 − 0.3 + 0.4; the gate: the first three; the oracle: 0.3 + 0.4; each over five.
    assert gains_table(numbers)[1][0] == ["all", "5", "−1", "−3", "+14"]


def test_shares():
    assert share_text(study().numbers().by_test["all"].false_accepts) == "20 % (4–62)"


def test_every_decision_is_listed_and_mistakes_come_first():
    _, rows = decisions_table(study().decisions)
    assert [row[5] for row in rows] == ["false accept", "false reject", "false accept, not proven", "", ""]
    assert rows[0] == [
        *("hammer", "as it is", "accepted", "above | 0", "worse", "false accept"),
        *("0", "+10 (−5 to +20)", "−35", "0 / 7 / 20", "0.016"),
    ]
    assert rows[2][1] == "no halting (to exploit)" and rows[2][4] == "undecided"


def test_the_first_sentence_is_the_result():
    lines = render_markdown(study()).splitlines()
    assert lines[2] == (
        "Of 5 refinements the gate accepted 3, 1 of them truly worse than the pretrained policy by McNemar's test (2 "
        "by the sign of the difference alone), and it rejected 1 of the 2 that were truly better; over 5 policies its "
        "imagined success has a rank correlation of 0.75 with real success (mean over 2 tasks); on the 2 of them that "
        "have a naive estimate, too (1 task), it has 1.00, the naive estimate −1.00."
    )
    tables = [line for line in render_markdown(study()).splitlines() if line.startswith("|")]
    assert len({line.count("|") - line.count("\\|") for line in tables[-7:]}) == 1, "a bar in a reason is escaped"


def test_a_study_may_have_one_side_only():
    alone = study(decisions=[])
    assert "gate decided" not in render_html(alone) + render_markdown(alone) and plot_decisions(()) is None
    alone = study(policies=[])
    assert "Does imagination" not in render_html(alone) + render_markdown(alone) and plot_policies(()) is None
    one = study(policies=POLICIES[:1], decisions=[])
    assert "cannot be correlated" in render_markdown(one), "one policy has no order"
    with pytest.raises(InputError, match=r"rows\.json: found neither"):
        study([], [])


def test_the_scatter_has_every_policy():
    plot = plot_policies(study().policies)
    assert plot is not None
    hammer, soccer = plot.figure.axes
    assert (hammer.get_title(), soccer.get_title()) == ("hammer", "soccer")
    points = [np.asarray(c.get_offsets()) for c in hammer.collections]
    drawn = sorted(map(tuple, np.concatenate(points).tolist()))
    assert drawn == [(0.4, 0.5), (0.6, 0.2), (0.9, 0.2), (0.9, 0.5), (0.9, 1.0)]
    assert "5 in all" in plot.caption and "(4)" in plot.caption
    legend = [text.get_text() for text in plot.figure.legends[0].get_texts()]
    assert legend == ["pretrained", "refined", "exploited", "planned", "hollow: naive", "imagined = real"]


def test_five_tasks_take_two_lines_of_panels():
    plot = plot_policies(study([policy(f"task {index}", "a", 0.5, 5) for index in range(5)]).policies)
    assert plot is not None
    panels = [axis for axis in plot.figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in panels] == [f"task {index}" for index in range(5)]
    assert "Hollow" not in plot.caption, "there is no naive estimate"


def test_the_plot_of_decisions_tells_mistakes_apart():
    plot = plot_decisions(study().decisions)
    assert plot is not None
    (axis,) = plot.figure.axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axis.get_lines() if "(" in str(line.get_label())}
    assert drawn == {
        "rejected (1)": [[10, -30]],
        "accepted (1)": [[10, 30]],
        "false reject, proven (1)": [[-2, 40]],
        "false accept, not proven (1)": [[10, -10]],
        "false accept, proven (1)": [[10, -35]],
    }
    assert "2 are false accepts and 1 false rejects" in plot.alt


def test_the_page_is_whole_and_harmless():
    rows = [*DECISIONS, decision(True, 0, 0, task="<b>&", reason="<script>alert(1)</script>")]
    page = render_html(study(decisions=rows, command="python <x>"))
    assert "<b>&<" not in page and "<script" not in page and "python &lt;x&gt;" in page
    assert not re.findall(r"""\bsrc\s*=|href="(?!#)""", page)
    assert page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>")


def test_files(tmp_path):
    rows = [POLICIES[0] | {"world_models": 4}, *POLICIES[1:]]
    path = write_study(study(policies=rows, command="make study"), tmp_path / "new", "gate")
    assert sorted(file.name for file in path.parent.iterdir()) == ["gate.html", "gate.json", "gate.md", "gate.png"]
    assert "](gate.png)" in path.read_text() and (path.parent / "gate.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads((path.parent / "gate.json").read_text())
    assert stored["policies"][0]["world_models"] == 4, "what a row has besides is kept"
    assert stored["numbers"]["naive"]["hammer"]["spearman"] is None
    assert stored["numbers"]["by_test"]["all"]["false_accepts"]["rate"] == 0.2
    write_study(study(policies=[]), path.parent, "gate")
    assert not (path.parent / "gate.png").exists(), "no picture of an earlier study"
    with pytest.raises(InputError, match="JSON cannot hold"):
        write_study(study(policies=[POLICIES[0] | {"more": float("nan")}]), tmp_path, "gate")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimate": 1.2}, r"policies\[1\]\.estimate: found 1.2, expected a number from 0 to 1"),
        ({"estimate": float("nan")}, r"policies\[1\]\.estimate: found nan, expected a finite number"),
        ({"naive": "high"}, r"policies\[1\]\.naive: found 'high', expected a finite number"),
        ({"seed": 1.5}, r"policies\[1\]\.seed: found 1.5, expected an integer"),
        ({"kind": ""}, r"policies\[1\]\.kind: found '', expected a non-empty text"),
        ({"policy": "a"}, r"policies\[1\]\.policy: found 'a', expected a name of its own on hammer, seed 0"),
        ({"real": {"successes": 11, "episodes": 10}}, r"real\.successes: found 11, expected at most episodes = 10"),
        ({"real": {"successes": 0, "episodes": 0}}, r"real\.episodes: found 0, expected at least 1"),
        ({"real": 0.5}, r"policies\[1\]\.real: found 0.5, expected an object"),
    ],
)
def test_bad_policies_are_named(change, message):
    with pytest.raises(InputError, match=rf"^rows\.json: .*{message}"):
        study([POLICIES[0], POLICIES[1] | change, *POLICIES[2:]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accepted": 1}, r"decisions\[1\]\.accepted: found 1, expected true or false"),
        ({"exploit": None}, r"decisions\[1\]\.exploit: found None, expected true or false"),
        ({"reason": None}, r"decisions\[1\]\.reason: found None, expected a text"),
        ({"low": 0.15}, r"decisions\[1\]: found \[0.15, 0.1, 0.2\], expected low <= estimate <= high"),
        ({"improved": -1}, r"decisions\[1\]\.improved: found -1, expected at least 0"),
        ({"improved": 18}, r"decisions\[1\]\.episodes: found 20, expected at least improved \+ worsened = 21"),
        ({"real_difference": 0.1}, r"real_difference: found 0.1, expected \(improved − worsened\) / episodes = -0.1"),
    ],
)
def test_bad_decisions_are_named(change, message):
    with pytest.raises(InputError, match=rf"^rows\.json: .*{message}"):
        study(decisions=[DECISIONS[0], DECISIONS[1] | change])


def test_missing_fields_are_named():
    missing = {key: value for key, value in DECISIONS[0].items() if key != "worsened"}
    with pytest.raises(InputError, match=r"decisions\[0\]: found .*expected the keys .*worsened"):
        study(decisions=[missing])
    with pytest.raises(InputError, match="policies: found 3, expected a list"):
        study(policies=3)
