"""The verdict: what a run showed, in one honest sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from burnish.report.wording import percent, points, signed

Tone = Literal["better", "worse", "undecided", "kept", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """One sentence, and its kind.

    `better` and `worse`: the paired interval excludes 0.  `undecided`: it does not, or there is no paired comparison.
    `kept`: no refined iterate was accepted.  `unknown`: evaluation in a simulator was skipped.
    """

    sentence: str
    tone: Tone


def verdict(report: Mapping[str, Any]) -> Verdict:
    """Put a validated `report.json` into words; the interval decides, not the point estimate."""
    closing = "no simulator step was used for refinement."
    if report["success"] is None:
        return Verdict(f"{_not_evaluated(report)}; {closing}", "unknown")
    if not report["accepted"]:
        return Verdict(f"{_kept(report)}; {closing}", "kept")
    paired = report.get("paired_difference")
    if paired is None:
        return Verdict(f"{_unpaired(report)}; {closing}", "undecided")
    before, after = _rates(report)
    counts = f"{points(paired['difference'])}, {_interval(paired)}, {_episodes(paired)} paired episodes"
    subject = "Refinement in imagination"
    if paired["low"] > 0:
        sentence = f"{subject} raised {report['task']} from {before} to {after} ({counts}); {closing}"
        return Verdict(sentence, "better")
    if paired["high"] < 0:
        sentence = f"{subject} made {report['task']} worse: from {before} to {after} ({counts}); {closing}"
        return Verdict(sentence, "worse")
    if paired["difference"] == 0:
        change = f"left {report['task']} at {before}"
    else:
        change = f"moved {report['task']} from {before} to {after}"
    sentence = f"{subject} {change} ({counts}), which this evaluation cannot tell from chance; {closing}"
    return Verdict(sentence, "undecided")


def _not_evaluated(report: Mapping[str, Any]) -> str:
    imagined = report["imagined_success"]
    reason = report["skipped"]["evaluation"].rstrip(". ")
    if not report["accepted"]:
        change = f"No refined policy for {report['task']} was better in imagination, so the pretrained one was kept"
    else:
        before, after = percent(imagined["pretrained"]), percent(imagined["refined"])
        change = f"Refinement moved {report['task']} from {before} to {after} success in imagination only"
    return f"{change}; real success is unknown because evaluation was skipped ({reason})"


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


def _interval(paired: Mapping[str, Any]) -> str:
    return f"{percent(paired['confidence'])} interval {signed(paired['low'])} to {signed(paired['high'])}"


def _episodes(paired: Mapping[str, Any]) -> int:
    return sum(paired[name] for name in ("improved", "worsened", "both", "neither"))
