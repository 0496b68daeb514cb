"""The verdict: what a run showed, in a headline of a few words and one honest sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from burnish.report.contract import POLICIES
from burnish.report.wording import MEASURES, Measure, percent

Tone = Literal["better", "worse", "undecided", "kept", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """A headline, the sentence below it, and their kind.

    `better` and `worse`: the paired interval excludes 0. `undecided`: it does not. `kept`: the run hands out the
    pretrained policy. `unknown`: nothing was measured outside of imagination.
    """

    headline: str
    sentence: str
    tone: Tone


def verdict(report: Mapping[str, Any]) -> Verdict:
    """Put a validated `report.json` into words; intervals decide, not point estimates."""
    found, doubts = _verdict(report), report.get("doubts", {})
    if not doubts:
        return found
    told = "; ".join(f"the {what}: {why}" for what, why in doubts.items())
    sentence = f"{found.sentence} Success in imagination is to be trusted less than usual ({told})."
    return replace(found, headline=f"{found.headline} · doubtful imagination", sentence=sentence)


def _verdict(report: Mapping[str, Any]) -> Verdict:
    measure, task = measured_by(report), report["task"]
    values = _values(report, measure)
    arrow = " → ".join(values)
    if report[measure.name] is None:
        begun = " (from the filtered policy)" if report.get("start") == "filtered" else ""
        arrow = f"{arrow} in imagination{begun}" if values else "nothing measured"
    if refused_by_gate(report):
        decided = can_decide(report["gate"])
        why = "rejected the refined policy" if decided else "could not decide about the refined policy"
        sentence = f"The trust gate {why} for {task} and {_instead(report)}: {'; '.join(_reasons(report['gate']))}."
        if report[measure.name] is not None:
            sentence += f" The simulator, asked afterwards, says {arrow}{_change(report, measure)}."
            sentence += beside_cloning(report, measure)
        else:
            sentence += f" {_not_measured(report)}"
        return Verdict(f"{arrow} · {'rejected' if decided else 'not accepted'}", sentence, "kept")
    if not report["accepted"]:
        kept = handed_out(report)
        sentence = f"No refined policy for {task} was better in imagination, so the {kept} one was kept."
        if report[measure.name] is None:
            sentence += f" {_not_measured(report)}"
        return Verdict(f"{values[0] if values else arrow} · kept", sentence, "kept")
    gated = report["gate"] is not None
    headline = f"{arrow} · {'accepted' if gated else 'no gate'}"
    if report[measure.name] is None:
        gate = (
            f" The trust gate accepted it: {expected(report['gate'])}."
            if gated and "estimate" in report["gate"]
            else ""
        )
        moved = (
            f"Refinement moved {task} from {arrow.replace(' → ', ' to ')} only." if values else f"{task} was refined."
        )
        return Verdict(headline, f"{moved}{gate} {_not_measured(report)}", "unknown")
    words, tone = _evaluated(report, measure, values)
    words = f"{words}, without a simulator step in refinement.{beside_cloning(report, measure)}"
    return Verdict(headline, words, tone)


def _instead(report: Mapping[str, Any]) -> str:
    if handed_out(report) == "pretrained":
        return "kept the pretrained one"
    unsure = "" if report["gate"].get("vouched", True) else ", for which it cannot vouch either"
    return f"handed out the one cloned from all recorded successes{unsure}"


def handed_out(report: Mapping[str, Any]) -> str:
    """The policy that the run hands out: pretrained, filtered or refined."""
    gate = report["gate"]
    if gate is not None:
        return gate.get("handed_out", "refined" if gate["accepted"] else "pretrained")
    return "refined" if report["accepted"] else report.get("start", "pretrained")


def beside_cloning(report: Mapping[str, Any], measure: Measure) -> str:
    """The cheap alternative in a sentence: is the refined policy better than cloning the best of the same data?"""
    key = "paired_difference" if measure.name == "success" else "return_difference"
    found = report.get("over_filtered", {}).get(key)
    if found is None:
        return ""
    how = "better than" if found["low"] > 0 else "worse than" if found["high"] < 0 else "not told from"
    filtered = measure.value(report["policies"]["filtered"][measure.name][measure.mean])
    shown = "successes" if measure.name == "success" else "best episodes"
    return (
        f" It is {how} cloning the {shown} of the same data, which has {filtered}: "
        f"{measure.change(found['difference'])}, {interval(found, measure)}."
    )


def measured_by(report: Mapping[str, Any]) -> Measure:
    """Success, where it was measured or at least imagined; else return."""
    for name in ("success", "return", "imagined_success", "imagined_return"):
        if report[name] is not None:
            return MEASURES[name.removeprefix("imagined_")]
    return MEASURES["success"]


def refused_by_gate(report: Mapping[str, Any]) -> bool:
    """Whether a refined policy was chosen in imagination, but the trust gate did not accept it."""
    gate = report["gate"]
    return gate is not None and not gate["accepted"] and report["chosen_iteration"] != 0


def can_decide(gate: Mapping[str, Any]) -> bool:
    """Whether there is a decision with numbers, rather than too few data for one."""
    return "estimate" in gate


def expected(gate: Mapping[str, Any]) -> str:
    """The gate's estimate in words; each bound is one-sided."""
    measure = MEASURES[gate.get("measure", "success")]
    low, high, confidence = measure.bound(gate["low"]), measure.bound(gate["high"]), percent(gate["confidence"])
    return (
        f"{gate['worlds']} held-out worlds expect {measure.change(gate['estimate'])} "
        f"(at least {low}, at most {high}, each with {confidence} confidence)"
    )


def difference(report: Mapping[str, Any], measure: Measure) -> Mapping[str, Any] | None:
    """The paired difference of the measure."""
    return report.get("paired_difference" if measure.name == "success" else "return_difference")


def interval(found: Mapping[str, Any], measure: Measure) -> str:
    """A difference's interval in words."""
    low, high = measure.bound(found["low"]), measure.bound(found["high"])
    return f"{percent(found['confidence'])} interval {low} to {high}"


def _evaluated(report: Mapping[str, Any], measure: Measure, values: list[str]) -> tuple[str, Tone]:
    task, found = report["task"], difference(report, measure)
    what = f"{task}" if measure.name == "success" else f"the return of {task}"
    ends = f"from {values[0]} to {values[1]}{_change(report, measure)}"
    if found is None:
        return f"Refinement in imagination moved {what} {ends}, compared without pairs of the same start", "undecided"
    if found["low"] > 0:
        return f"Refinement in imagination raised {what} {ends}", "better"
    if found["high"] < 0:
        return f"Refinement in imagination made {task} worse: {ends}", "worse"
    return f"Refinement in imagination moved {what} {ends}, which cannot be told from chance", "undecided"


def _change(report: Mapping[str, Any], measure: Measure) -> str:
    found = difference(report, measure)
    if found is None:
        return ""
    return f" ({measure.change(found['difference'])}, {interval(found, measure)}, {found['episodes']} paired episodes)"


def _values(report: Mapping[str, Any], measure: Measure) -> list[str]:
    if report[measure.name] is not None:
        key = "rate" if measure.name == "success" else "mean"
        return [measure.value(report[measure.name][policy][key]) for policy in POLICIES]
    imagined = report[f"imagined_{measure.name}"]
    return [] if imagined is None else [measure.value(imagined[policy]) for policy in POLICIES]


def _reasons(gate: Mapping[str, Any]) -> list[str]:
    """Why the gate did not accept, short; a check that is not known here speaks for itself."""
    failed = [name for name, passed in gate.get("checks", {}).items() if not passed]
    if len(failed) != len(gate["reasons"]):
        return [str(reason).rstrip(". ") for reason in gate["reasons"]]
    gain = "worse is expected" if gate["high"] < 0 else "a real gain is not certain"
    if gate["low"] > 0:
        gain = "the gain that is certain is too small"
    known = {"gain": gain, "back-test": "the held-out worlds do not know this task"}
    return [known.get(name, str(reason)) for name, reason in zip(failed, gate["reasons"], strict=True)]


def _not_measured(report: Mapping[str, Any]) -> str:
    reason = report["skipped"].get("evaluation", "there was no evaluation").rstrip(". ")
    return f"Nothing was measured in a simulator: {reason}."
