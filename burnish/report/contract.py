"""The contract of `report.json`, as checks with clear errors."""

from collections.abc import Mapping
from typing import Any

from burnish.errors import InputError
from burnish.report.checks import Checker

SCHEMA = 1
POLICIES = ("pretrained", "refined")
CONTRACT_KEYS = frozenset(
    {
        "schema",
        "recipe",
        "task",
        "seed",
        "policies",
        "success",
        "return",
        "imagined_success",
        "imagined_return",
        "accepted",
        "chosen_iteration",
        "gate",
        "limit",
        "simulator_steps",
        "imagined_steps",
        "imagined_steps_per_second",
        "seconds",
        "versions",
        "device",
        "skipped",
    }
)
GATE_KEYS = ("estimate", "low", "high", "confidence", "worlds", "episodes")
"""What "gate" holds besides "accepted" and "reasons", unless the gate could not decide."""
# Rates and intervals are rounded to four digits, by hand-written reports perhaps to two.
ROUNDING = 0.0051


def validate_report(report: Any, source: str = "report.json") -> None:
    """Check `report` against the contract (schema 1); unknown additional keys are let through.

    Raises:
        InputError: names `source`, the field, what was found and what was expected.
    """
    check = Checker(source)
    check.mapping(report, "the report")
    if report.get("schema") != SCHEMA or isinstance(report.get("schema"), bool):
        check.fail("schema", report.get("schema"), f"{SCHEMA}")
    missing = sorted(CONTRACT_KEYS - set(report))
    if missing:
        raise InputError(f"{source}: missing {', '.join(missing)}")
    for name in ("recipe", "task", "device"):
        check.text(report[name], name)
    check.integer(report["seed"], "seed", minimum=None)
    check.flag(report["accepted"], "accepted")
    check.integer(report["chosen_iteration"], "chosen_iteration", minimum=0)
    _validate_measures(check, report)
    _validate_costs(check, report)
    check.keys(report["versions"], "versions", ("burnish", "torch", "python"), more=True)
    for name, version in report["versions"].items():
        check.text(version, f"versions.{name}")
    _validate_gate(check, report)


def _validate_measures(check: Checker, report: Mapping[str, Any]) -> None:
    check.mapping(report["skipped"], "skipped")
    for name, reason in report["skipped"].items():
        check.text(reason, f"skipped.{name}")
    check.mapping(report["policies"], "policies")
    for name, policy in report["policies"].items():
        check.mapping(policy, f"policies.{name}")
        _validate_both(check, policy, f"policies.{name}.", None)
    if report["success"] is None and report["return"] is None and "evaluation" not in report["skipped"]:
        check.fail("success", None, "counts, or returns, or a reason under skipped.evaluation")
    _validate_both(check, report, "", POLICIES)
    for measure, low, high in (("success", 0, 1), ("return", None, None)):
        imagined = report[f"imagined_{measure}"]
        if imagined is not None:
            check.keys(imagined, f"imagined_{measure}", POLICIES)
            for policy in POLICIES:
                check.number(imagined[policy], f"imagined_{measure}.{policy}", low, high)
    for name, bound in (("paired_difference", 1), ("return_difference", None)):
        if report.get(name) is not None:
            _validate_difference(check, report[name], name, bound)
    if report.get("failures_removed") is not None:
        check.number(report["failures_removed"], "failures_removed", None, 1)
    if report["limit"] is not None:
        check.keys(report["limit"], "limit", ("decisions", "action_repeat", "control_steps"))
        for name, value in report["limit"].items():
            check.integer(value, f"limit.{name}", minimum=1)


def _validate_both(check: Checker, found: Mapping[str, Any], where: str, policies: tuple[str, ...] | None) -> None:
    """Success and return, of one policy or of `policies` by name; each may be missing."""
    for measure, validate in (("success", _validate_count), ("return", _validate_return)):
        value = found.get(measure)
        if value is None:
            continue
        if policies is None:
            validate(check, value, f"{where}{measure}")
            continue
        check.keys(value, f"{where}{measure}", policies, more=True)
        for policy in policies:
            validate(check, value[policy], f"{where}{measure}.{policy}")


def _validate_count(check: Checker, count: Any, where: str) -> None:
    check.keys(count, where, ("successes", "episodes", "rate", "ci95"))
    check.integer(count["episodes"], f"{where}.episodes", minimum=1)
    check.integer(count["successes"], f"{where}.successes", minimum=0)
    if count["successes"] > count["episodes"]:
        check.fail(f"{where}.successes", count["successes"], f"at most episodes = {count['episodes']}")
    check.number(count["rate"], f"{where}.rate", 0, 1)
    expected = count["successes"] / count["episodes"]
    if abs(count["rate"] - expected) > ROUNDING:
        check.fail(f"{where}.rate", count["rate"], f"successes / episodes = {expected:.4f}")
    _validate_interval(check, count["ci95"], count["rate"], f"{where}.ci95", "rate")


def _validate_return(check: Checker, found: Any, where: str) -> None:
    check.keys(found, where, ("mean", "ci95", "episodes"), more=True)
    check.integer(found["episodes"], f"{where}.episodes", minimum=1)
    check.number(found["mean"], f"{where}.mean", None, None)
    if "normalised" in found:
        check.number(found["normalised"], f"{where}.normalised", None, None)
    _validate_interval(check, found["ci95"], found["mean"], f"{where}.ci95", "mean")


def _validate_interval(check: Checker, interval: Any, centre: float, where: str, name: str) -> None:
    if not isinstance(interval, list) or len(interval) != 2:
        check.fail(where, interval, "[low, high]")
    for bound in interval:
        check.number(bound, where, None, None)
    if not interval[0] <= centre <= interval[1]:
        check.fail(where, interval, f"low <= {name} {centre} <= high")


def _validate_costs(check: Checker, report: Mapping[str, Any]) -> None:
    check.keys(report["simulator_steps"], "simulator_steps", ("collection", "refinement", "evaluation"))
    for name, steps in report["simulator_steps"].items():
        check.integer(steps, f"simulator_steps.{name}", minimum=0)
    if report["simulator_steps"]["refinement"] != 0:
        check.fail("simulator_steps.refinement", report["simulator_steps"]["refinement"], "0")
    check.integer(report["imagined_steps"], "imagined_steps", minimum=0)
    check.number(report["imagined_steps_per_second"], "imagined_steps_per_second", 0, None)
    check.mapping(report["seconds"], "seconds")
    for name, seconds in report["seconds"].items():
        check.number(seconds, f"seconds.{name}", 0, None)


def _validate_difference(check: Checker, found: Any, where: str, bound: float | None) -> None:
    counts = ("improved", "worsened", "both", "neither") if bound else ()
    check.keys(found, where, ("difference", "low", "high", "confidence", "episodes", *counts), more=True)
    for name in ("difference", "low", "high"):
        check.number(found[name], f"{where}.{name}", None if bound is None else -bound, bound)
    check.number(found["confidence"], f"{where}.confidence", 0, 1)
    for name in ("episodes", *counts):
        check.integer(found[name], f"{where}.{name}", minimum=0)
    if not found["low"] <= found["difference"] <= found["high"]:
        check.fail(where, [found["low"], found["difference"], found["high"]], "low <= difference <= high")


def _validate_gate(check: Checker, report: Mapping[str, Any]) -> None:
    gate = report["gate"]
    if gate is None:
        if "gate" not in report["skipped"]:
            check.fail("gate", None, "a decision, or a reason under skipped.gate")
        return
    check.keys(gate, "gate", ("accepted", "reasons"), more=True)
    check.flag(gate["accepted"], "gate.accepted")
    check.sequence(gate["reasons"], "gate.reasons")
    if not gate["reasons"]:
        check.fail("gate.reasons", gate["reasons"], "at least one reason")
    for number, reason in enumerate(gate["reasons"]):
        check.text(reason, f"gate.reasons.{number}")
    if report["accepted"] and not gate["accepted"]:
        check.fail("accepted", True, "false, because the gate did not accept the refined policy")
    if not gate["accepted"] and not set(GATE_KEYS) & set(gate):
        return  # it could not decide
    check.keys(gate, "gate", GATE_KEYS, more=True)
    bound = None if gate.get("measure", "success") == "return" else 1
    for name in ("estimate", "low", "high"):
        check.number(gate[name], f"gate.{name}", None if bound is None else -bound, bound)
    if not gate["low"] <= gate["estimate"] <= gate["high"]:
        check.fail("gate", [gate["low"], gate["estimate"], gate["high"]], "low <= estimate <= high")
    check.number(gate["confidence"], "gate.confidence", 0, 1)
    for name in ("worlds", "episodes"):
        check.integer(gate[name], f"gate.{name}", minimum=1)
    check.mapping(gate.get("checks", {}), "gate.checks")
    for name, passed in gate.get("checks", {}).items():
        check.flag(passed, f"gate.checks.{name}")
