"""`report.json`: built from what stages recorded and what the evaluation found, checked, written and read.

The file is a contract that others' tools read; `contract.validate_report` states it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.report.contract import POLICIES, SCHEMA, validate_report
from burnish.report.facts import Facts
from burnish.report.outcomes import (
    Outcomes,
    comparison,
    reference,
    return_summary,
    smoothness,
    success_count,
    time_to_success,
)
from burnish.storage import write_bytes_atomic

MAX_REPORT_BYTES = 16 * 2**20


def build_report(
    run: Mapping[str, Any],
    facts: Facts,
    outcomes: Outcomes | None,
    versions: Mapping[str, str],
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The contract's dictionary, validated.

    Args:
        run: with "recipe", "task" and "seed".
        facts: what the stages recorded.
        outcomes: of the real evaluation; None where there was none, and then facts.skipped says why ("evaluation").
        versions: of the packages.
        extra: further top-level keys.

    Raises:
        InputError: the numbers contradict each other.
    """
    against = reference(facts.returns)
    policies = (
        {} if outcomes is None else {name: _policy(played, against) for name, played in outcomes.policies.items()}
    )
    compared = [policies.get(name, {}) for name in POLICIES]
    report: dict[str, Any] = {
        "schema": SCHEMA,
        **{name: run[name] for name in ("recipe", "task", "seed")},
        "policies": policies,
        "success": _of_both(compared, "success"),
        "return": _of_both(compared, "return"),
        "paired_difference": None,
        "return_difference": None,
        **_compared(outcomes),
        **_over_filtered(outcomes),
        "failures_removed": None,
        "limit": _limit(outcomes),
        **{f"imagined_{name}": _imagined(facts, name) for name in ("success", "return")},
        "start": facts.start,
        "doubts": dict(facts.doubts),
        "accepted": facts.accepted,
        "chosen_iteration": facts.iteration,
        "gate": None if facts.gate is None else dict(facts.gate),
        "simulator_steps": facts.simulator_steps,
        "imagined_steps": facts.imagined_steps,
        "imagined_steps_per_second": round(facts.imagined_steps / max(facts.seconds["refinement"], 1e-9), 1),
        "seconds": {role: round(seconds, 2) for role, seconds in facts.seconds.items()},
        "clock_seconds": round(facts.clock_seconds, 2),
        "stages": facts.stages,
        "versions": dict(versions),
        "device": facts.device,
        "skipped": dict(facts.skipped),
    }
    if report["return"] is not None:
        report["return"]["reference"] = against
    if report["success"] is not None:
        report["failures_removed"] = failures_removed(*(report["success"][name] for name in POLICIES))
    clash = sorted(set(report) & set(extra or {}))
    if clash:
        raise InputError(f"report.json: additional keys may not replace the contract's: {clash}")
    report |= extra or {}
    validate_report(report)
    return report


def failures_removed(pretrained: Mapping[str, Any], refined: Mapping[str, Any]) -> float | None:
    """The share of the pretrained policy's failures that are gone; None where there was none.

    Negative where the refined policy fails more often.
    """
    before, after = (1 - count["successes"] / count["episodes"] for count in (pretrained, refined))
    return round(1 - after / before, 4) if before else None


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Validate `report` and write it to `path` in one step (temporary name, then rename)."""
    validate_report(report)
    text = json.dumps(report, indent=2, allow_nan=False, ensure_ascii=False)
    write_bytes_atomic(path, (text + "\n").encode())


def read_report(path: Path) -> dict[str, Any]:
    """Read and validate a `report.json`; raises InputError naming the file and what is wrong in it."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_REPORT_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes, a report has at most {MAX_REPORT_BYTES}")
        report = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise InputError(f"{path}: could not be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no valid JSON: {error}") from error
    validate_report(report, source=str(path))
    return report


def _policy(played: Any, against: Mapping[str, Any] | None) -> dict[str, Any]:
    told = {}
    if played.success:
        told["success"] = success_count(sum(played.success), len(played.success))
    if played.returns:
        told["return"] = return_summary(played.returns, against)
    return told | time_to_success(played) | smoothness(played)


def _of_both(compared: list[dict[str, Any]], measure: str) -> dict[str, Any] | None:
    if not all(measure in policy for policy in compared):
        return None
    return {name: policy[measure] for name, policy in zip(POLICIES, compared, strict=True)}


def _compared(outcomes: Outcomes | None) -> dict[str, Any]:
    if outcomes is None or not set(POLICIES) <= set(outcomes.policies):
        return {}
    return comparison(*(outcomes.policies[name] for name in POLICIES))


def _over_filtered(outcomes: Outcomes | None) -> dict[str, Any]:
    """Refined against cloning the successes of the same data, from the same starts."""
    if outcomes is None or not {"filtered", "refined"} <= set(outcomes.policies):
        return {}
    return {"over_filtered": comparison(outcomes.policies["filtered"], outcomes.policies["refined"])}


def _limit(outcomes: Outcomes | None) -> dict[str, int] | None:
    if outcomes is None or outcomes.decisions is None:
        return None
    steps = outcomes.decisions * outcomes.action_repeat
    told = {"decisions": outcomes.decisions, "action_repeat": outcomes.action_repeat, "control_steps": steps}
    own = outcomes.own_decisions
    return told if own is None else {**told, "own_decisions": own, "own_control_steps": own * outcomes.action_repeat}


def _imagined(facts: Facts, measure: str) -> dict[str, float] | None:
    found = facts.imagined.get(measure)
    return None if found is None else {name: round(float(found[name]), 4) for name in POLICIES}


def _refuse_constant(name: str) -> float:
    raise ValueError(f"found {name}, expected a finite number")
