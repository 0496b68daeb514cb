"""The verdict: what a run showed, in one honest sentence or two."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from burnish.report.wording import percent, points, signed

Tone = Literal["better", "worse", "undecided", "kept", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """A headline, and its kind.

    `better` and `worse`: the paired interval excludes 0.  `undecided`: it does not, or there is no paired comparison.
    `kept`: the run hands out the pretrained policy.  `unknown`: evaluation in a simulator was skipped, so that there is
    nothing but what was imagined.
    """

    sentence: str
    tone: Tone


def verdict(report: Mapping[str, Any]) -> Verdict:
    """Put a validated `report.json` into words; intervals decide, not point estimates."""
    words, tone = _finding(report)
    return Verdict(f"{words}; no simulator step was used for refinement.", tone)


def refused_by_gate(report: Mapping[str, Any]) -> bool:
    """Whether a refined policy was chosen in imagination, but the trust gate did not accept it."""
    gate = report.get("gate")
    return gate is not None and not gate["accepted"] and report.get("chosen_iteration") != 0


def bounds(gate: Mapping[str, Any]) -> str:
    """Both bounds of the gate's estimate; each is one-sided."""
    low, high, confidence = signed(gate["low"]), signed(gate["high"]), percent(gate["confidence"])
    return f"at least {low} and at most {high}, each with {confidence} confidence"


def _finding(report: Mapping[str, Any]) -> tuple[str, Tone]:
    if refused_by_gate(report):
        return _refused(report), "kept"
    if report["success"] is None:
        return _not_evaluated(report), "unknown"
    if not report["accepted"]:
        return _kept(report), "kept"
    words, tone = _evaluated(report)
    if report.get("gate") is None:
        return words, tone
    gate, opinion = report["gate"], "wrongly accepted it" if tone == "worse" else "had accepted it"
    return f"{words}. The trust gate {opinion} without the simulator: {_worlds(gate)} expect {_estimate(gate)}", tone


def _evaluated(report: Mapping[str, Any]) -> tuple[str, Tone]:
    paired = report.get("paired_difference")
    if paired is None:
        return _unpaired(report), "undecided"
    before, after = _rates(report)
    subject = "Refinement in imagination"
    if paired["low"] > 0:
        return f"{subject} raised {report['task']} from {before} to {after} ({_change(paired)})", "better"
    if paired["high"] < 0:
        return f"{subject} made {report['task']} worse: from {before} to {after} ({_change(paired)})", "worse"
    if paired["difference"] == 0:
        change = f"left {report['task']} at {before}"
    else:
        change = f"moved {report['task']} from {before} to {after}"
    return f"{subject} {change} ({_change(paired)}), which this evaluation cannot tell from chance", "undecided"


def _refused(report: Mapping[str, Any]) -> str:
    gate, task = report["gate"], report["task"]
    if "estimate" in gate:
        told = (
            f"The trust gate rejected the refined policy for {task}, so the pretrained one was kept: "
            f"{' and '.join(_reasons(gate))} (expected: {_estimate(gate)})"
        )
        name = "rejected"
    else:
        told = (
            f"The trust gate could not judge the refined policy for {task}, so the pretrained one was kept: "
            f"{'; '.join(gate['reasons'])}"
        )
        name = "refined"
    if report["success"] is None:
        return f"{told}. {_no_simulator(report)}"
    (before, after), paired = _rates(report), report.get("paired_difference")
    change = "" if paired is None else f" ({_change(paired)})"
    return (
        f"{told}. In the simulator, asked afterwards, the {name} policy would have moved {task} from {before} to "
        f"{after}{change}"
    )


def _worlds(gate: Mapping[str, Any]) -> str:
    return f"{gate['worlds']} held-out worlds that {gate.get('knowledge', 'know')} this task"


def _reasons(gate: Mapping[str, Any]) -> list[str]:
    """Why the gate rejected, short; a check that is not known here speaks for itself."""
    failed = [name for name, passed in gate.get("checks", {}).items() if not passed]
    if len(failed) != len(gate["reasons"]):
        return list(gate["reasons"])
    gain = "it is expected to do worse" if gate["high"] < 0 else "a real gain is not certain"
    if gate["low"] > 0:
        gain = "the gain that is certain is too small"
    ignorant = "the held-out worlds do not know this task (replayed episodes often end otherwise than recorded)"
    known: dict[str, str] = {"gain": gain, "back-test": ignorant}
    return [known.get(name, str(reason)) for name, reason in zip(failed, gate["reasons"], strict=True)]


def _not_evaluated(report: Mapping[str, Any]) -> str:
    if report["accepted"] and report.get("gate") is not None:
        gate = report["gate"]
        before, after = (percent(gate["expected_success"][policy], 0) for policy in ("pretrained", "refined"))
        return (
            f"The trust gate accepted the refined policy for {report['task']}: {_worlds(gate)} "
            f"expect real success of {after} instead of {before} ({_estimate(gate)}). "
            f"{_no_simulator(report)}"
        )
    imagined = report["imagined_success"]
    if not report["accepted"]:
        change = f"No refined policy for {report['task']} was better in imagination, so the pretrained one was kept"
    else:
        before, after = percent(imagined["pretrained"]), percent(imagined["refined"])
        change = f"Refinement moved {report['task']} from {before} to {after} success in imagination only"
    return f"{change}; real success is unknown because evaluation was skipped ({_why_not(report)})"


def _estimate(gate: Mapping[str, Any]) -> str:
    return f"{points(gate['estimate'])}, {bounds(gate)}"


def _no_simulator(report: Mapping[str, Any]) -> str:
    return f"Real success was not measured ({_why_not(report)})"


def _why_not(report: Mapping[str, Any]) -> str:
    return report["skipped"]["evaluation"].rstrip(". ")


def _kept(report: Mapping[str, Any]) -> str:
    pretrained = report["success"]["pretrained"]
    low, high = pretrained["ci95"]
    return (
        f"Refinement in imagination was rejected for {report['task']}: no refined policy was better in imagination, "
        f"so the pretrained one was kept, at {percent(pretrained['rate'])} "
        f"(95 % interval {percent(low, 0)} to {percent(high, 0)}, {pretrained['episodes']} episodes)"
    )


def _unpaired(report: Mapping[str, Any]) -> str:
    parts = []
    for policy in ("pretrained", "refined"):
        count = report["success"][policy]
        low, high = count["ci95"]
        parts.append(f"{percent(count['rate'])} (95 % interval {percent(low, 0)} to {percent(high, 0)})")
    return (
        f"Refinement in imagination moved {report['task']} from {parts[0]} to {parts[1]}, "
        f"without a paired comparison of the same start states"
    )


def _rates(report: Mapping[str, Any]) -> tuple[str, str]:
    success = report["success"]
    return percent(success["pretrained"]["rate"]), percent(success["refined"]["rate"])


def _change(paired: Mapping[str, Any]) -> str:
    return f"{points(paired['difference'])}, {_interval(paired)}, {_episodes(paired)} paired episodes"


def _interval(paired: Mapping[str, Any]) -> str:
    return f"{percent(paired['confidence'])} interval {signed(paired['low'])} to {signed(paired['high'])}"


def _episodes(paired: Mapping[str, Any]) -> int:
    return sum(paired[name] for name in ("improved", "worsened", "both", "neither"))
