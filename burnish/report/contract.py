"""The contract of `report.json`, as checks with clear errors."""

from collections.abc import Mapping
from typing import Any

from burnish.errors import InputError
from burnish.report.checks import Checker

SCHEMA = 1
CONTRACT_KEYS = frozenset(
    {
        "schema",
        "recipe",
        "task",
        "seed",
        "success",
        "imagined_success",
        "accepted",
        "simulator_steps",
        "imagined_steps",
        "seconds",
        "imagined_steps_per_second",
        "versions",
        "device",
    }
)
SECONDS_KEYS = ("collect", "world_model", "classifier", "pretrain", "refine", "evaluate")
POLICIES = ("pretrained", "refined")
KNOWLEDGE = ("know", "half know", "do not know")
GATE_KEYS = (
    "estimate",
    "low",
    "high",
    "confidence",
    "worlds",
    "episodes",
    "skill",
    "transfer",
    "expected_success",
)
"""What "gate" holds besides "accepted" and "reasons", unless the gate could not judge."""
# Rates and intervals are rounded to four digits, by hand-written reports perhaps to two.
ROUNDING = 0.0051


def validate_report(report: Any, source: str = "report.json") -> None:
    """Check `report` against the contract (schema 1); unknown additional keys are let through.

    Raises InputError naming `source`, the field, what was found and what was expected.
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
    _validate_success(check, report)
    check.keys(report["imagined_success"], "imagined_success", POLICIES)
    for policy in POLICIES:
        check.number(report["imagined_success"][policy], f"imagined_success.{policy}", 0, 1)
    _validate_costs(check, report)
    check.keys(report["versions"], "versions", ("burnish", "torch", "python"), more=True)
    for name, version in report["versions"].items():
        check.text(version, f"versions.{name}")
    if report.get("paired_difference") is not None:
        _validate_paired(check, report["paired_difference"])
    if report.get("failures_removed") is not None:
        check.number(report["failures_removed"], "failures_removed", None, 1)
    if "gate" in report:  # runs from before there was one have none
        _validate_gate(check, report)


def _validate_success(check: Checker, report: Mapping[str, Any]) -> None:
    skipped = report.get("skipped", {})
    check.mapping(skipped, "skipped")
    for name, reason in skipped.items():
        check.text(reason, f"skipped.{name}")
    success = report["success"]
    if success is None:
        if "evaluation" not in skipped:
            check.fail("success", None, "counts, or a reason under skipped.evaluation")
        return
    check.keys(success, "success", POLICIES)
    for policy in POLICIES:
        _validate_count(check, success[policy], f"success.{policy}")


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
    interval = count["ci95"]
    if not isinstance(interval, list) or len(interval) != 2:
        check.fail(f"{where}.ci95", interval, "[low, high]")
    for bound in interval:
        check.number(bound, f"{where}.ci95", 0, 1)
    if not interval[0] <= count["rate"] <= interval[1]:
        check.fail(f"{where}.ci95", interval, f"low <= rate {count['rate']} <= high")


def _validate_costs(check: Checker, report: Mapping[str, Any]) -> None:
    check.keys(report["simulator_steps"], "simulator_steps", ("collection", "refinement", "evaluation"))
    for name, steps in report["simulator_steps"].items():
        check.integer(steps, f"simulator_steps.{name}", minimum=0)
    if report["simulator_steps"]["refinement"] != 0:
        check.fail("simulator_steps.refinement", report["simulator_steps"]["refinement"], "0")
    check.integer(report["imagined_steps"], "imagined_steps", minimum=0)
    check.number(report["imagined_steps_per_second"], "imagined_steps_per_second", 0, None)
    check.keys(report["seconds"], "seconds", SECONDS_KEYS, more=True)
    for name, seconds in report["seconds"].items():
        check.number(seconds, f"seconds.{name}", 0, None)


def _validate_paired(check: Checker, paired: Any) -> None:
    where = "paired_difference"
    counts = ("improved", "worsened", "both", "neither")
    check.keys(paired, where, ("difference", "low", "high", "confidence", "p_value", *counts), more=True)
    for name in ("difference", "low", "high"):
        check.number(paired[name], f"{where}.{name}", -1, 1)
    for name in ("confidence", "p_value"):
        check.number(paired[name], f"{where}.{name}", 0, 1)
    for name in counts:
        check.integer(paired[name], f"{where}.{name}", minimum=0)
    if not paired["low"] <= paired["difference"] <= paired["high"]:
        check.fail(where, [paired["low"], paired["difference"], paired["high"]], "low <= difference <= high")


def _validate_gate(check: Checker, report: Mapping[str, Any]) -> None:
    gate = report["gate"]
    if gate is None:
        if "gate" not in report.get("skipped", {}):
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
        return  # it could not judge
    check.keys(gate, "gate", GATE_KEYS, more=True)
    for name in ("estimate", "low", "high", "skill", "transfer"):
        check.number(gate[name], f"gate.{name}", -1, 1)
    if not gate["low"] <= gate["estimate"] <= gate["high"]:
        check.fail("gate", [gate["low"], gate["estimate"], gate["high"]], "low <= estimate <= high")
    check.number(gate["confidence"], "gate.confidence", 0, 1)
    for name in ("worlds", "episodes"):
        check.integer(gate[name], f"gate.{name}", minimum=1)
    check.keys(gate["expected_success"], "gate.expected_success", POLICIES)
    for policy in POLICIES:
        check.number(gate["expected_success"][policy], f"gate.expected_success.{policy}", 0, 1)
    if gate.get("knowledge", "know") not in KNOWLEDGE:
        check.fail("gate.knowledge", gate["knowledge"], f"one of {', '.join(KNOWLEDGE)}")
    if "checks" in gate:
        check.mapping(gate["checks"], "gate.checks")
        for name, passed in gate["checks"].items():
            check.flag(passed, f"gate.checks.{name}")
