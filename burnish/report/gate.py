"""The trust gate's evidence in words and tables, for somebody who must decide what may run on the robot."""

import re
from collections.abc import Mapping
from typing import Any

from burnish.evaluation.intervals import wilson_interval
from burnish.report.sections import prose, table
from burnish.report.verdict import refused_by_gate
from burnish.report.wording import count, percent

_POLICIES = ("pretrained", "refined")


def gate_words(gate: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """What stands above the plots: how it was decided, what to do, and each check."""
    parts = [f"<p>{prose(_method(gate))}</p>"] if judged(gate) else []
    parts.append(f"<p>{prose(_advice(gate, report))}</p>")
    if judged(gate):
        rows = [
            [_unbroken(check["name"]), _unbroken(_outcome(check)), _sentence(check["sentence"])]
            for check in gate["checks"]
        ]
        parts.append(table(["Check", "result", "what was found"], rows, texts=3))
    else:
        parts.append(f'<p class="missing">{prose(_sentence("; ".join(gate["reasons"])))}.</p>')
    return "".join(parts)


def gate_tables(gate: Mapping[str, Any]) -> str:
    """What stands below the plots: both policies in numbers, and the back-test."""
    policies = table(["", *_POLICIES], _policy_rows(gate))
    counts = gate["back_test"]
    outcomes = table(
        ["", "imagined success", "imagined failure"],
        [
            ["real success", count(counts["both"]), count(counts["only_real"])],
            ["real failure", count(counts["only_imagined"]), count(counts["neither"])],
        ],
    )
    note = f'<p class="muted">{prose(_back_test_sentence(gate))}</p>'
    return (
        f'<div class="grid"><div><h3>Both policies in the held-out worlds</h3>{policies}</div>'
        f"<div><h3>Back-test: recorded episodes, replayed</h3>{outcomes}{note}</div></div>"
    )


def judged(gate: Mapping[str, Any]) -> bool:
    """Whether there is a decision with numbers, rather than too few data for one."""
    return "estimate" in gate


def _method(gate: Mapping[str, Any]) -> str:
    return (
        f"Before any simulator is asked, both policies play in {gate['worlds']} held-out worlds, from the same "
        f"{gate['episodes']} recorded starts. Refinement never saw these worlds; each learned from another part of the "
        "episodes, with a success classifier of its own. An episode that leaves the data there counts as a failure. "
        "The refined policy is handed out only where every check passes."
    )


def _advice(gate: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    paired = report.get("paired_difference")
    if report["accepted"] and paired is not None and paired["high"] < 0:
        return (
            "The simulator contradicts the gate's decision: although the refined policy was accepted (accepted/ in the "
            "run folder), do not run it on a robot."
        )
    if report["accepted"]:
        return (
            "Accepted: the run hands out the refined policy (accepted/ in the run folder). On a robot, let it begin "
            "under supervision, from starts like the recorded ones, in turns with the pretrained policy."
        )
    if refused_by_gate(report):
        why = "Rejected" if judged(gate) else "Not judged"
        return (
            f"{why}: the run hands out the pretrained policy (accepted/ in the run folder). On a robot, use that one; "
            "the refined policy stays in refined/ for study. More recorded episodes of the pretrained policy, with "
            "successes and failures, are what the gate learns most from."
        )
    return (
        "No refined policy was better in imagination, so the run hands out the pretrained one (accepted/ in the run "
        "folder), and the gate compared it with itself."
    )


def _policy_rows(gate: Mapping[str, Any]) -> list[list[str]]:
    def row(name: str, key: str) -> list[str]:
        return [name, *(percent(gate[policy][key]) for policy in _POLICIES)]

    rows = [
        row("imagined success, halted episodes as failures", "pessimistic"),
        row("imagined success, whatever the doubts", "hopeful"),
        row("episodes halted by the worlds' doubts", "halted"),
        ["mean distance to the data (halted at 1)", *(f"{gate[policy]['distance']:.2f}" for policy in _POLICIES)],
        ["expected real success", *(percent(gate["expected_success"][policy]) for policy in _POLICIES)],
    ]
    recorded = gate["recorded"]
    if recorded is None:
        return [*rows, ["real success in the data", "never recorded", "unknown"]]
    low, high = wilson_interval(recorded["successes"], recorded["episodes"])
    told = f"{recorded['successes']} of {recorded['episodes']} (95 % interval {percent(low, 0)} to {percent(high, 0)})"
    return [*rows, ["real success in the data", told, "unknown"]]


def _back_test_sentence(gate: Mapping[str, Any]) -> str:
    counts = gate["back_test"]
    imagined, other = counts["both"] + counts["only_imagined"], counts["only_real"] + counts["neither"]
    return (
        f"Each held-out world replayed episodes that it had not learned from, {imagined + other} in all. Of {imagined} "
        f"that succeed in imagination, {counts['both']} had succeeded in reality; of {other} that fail in imagination, "
        f"{counts['only_real']} had. Worlds that know the task come near all and near none. "
        f"φ = {gate['skill']:.2f} sums this up: 1 is perfect, 0 no better than guessing. Two replays of the same "
        f"episode agree at {counts['repeatability']:.2f}. For what the worlds get wrong beyond this luck, the gate "
        f"multiplies an imagined gain by {gate['transfer']:.2f}."
    )


def _outcome(check: Mapping[str, Any]) -> str:
    return "✓ passed" if check["passed"] else "✗ not passed"


def _unbroken(text: str) -> str:
    return text.replace("-", "\u2011").replace(" ", "\u00a0")


def _sentence(text: str) -> str:
    # Formatted numbers come with a hyphen for a minus.
    return re.sub(r"(?<= )-(?=\d)", "−", text[:1].upper() + text[1:])
