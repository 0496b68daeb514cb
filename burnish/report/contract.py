"""The contract of `report.json`, as checks with clear errors."""

from collections.abc import Mapping
from typing import Any

from burnish.errors import InputError
from burnish.report.checks import Each, Maybe, Number, check, fail

SCHEMA = 1
POLICIES = ("pretrained", "refined")
GATE_KEYS = ("estimate", "low", "high", "confidence", "worlds", "episodes")
"""What "gate" holds besides "accepted" and "reasons", unless the gate could not decide."""

_SHARE, _STEPS, _EPISODES = Number(0, 1), Number(0, whole=True), Number(1, whole=True)
_SUCCESS = {"successes": _STEPS, "episodes": _EPISODES, "rate": _SHARE, "ci95": Each(_SHARE, 2)}
_RETURN = {"mean": Number(), "ci95": Each(Number(), 2), "episodes": _EPISODES}
_DIFFERENCE = {"confidence": _SHARE, "episodes": _EPISODES}
_PAIRED = dict.fromkeys(("improved", "worsened", "both", "neither"), _STEPS)
_ESTIMATE = {"confidence": _SHARE, "worlds": _EPISODES, "episodes": _EPISODES}


def _both(spec: Any) -> Maybe:
    return Maybe(dict.fromkeys(POLICIES, spec))


def _difference(bound: float | None, *centre: str) -> dict[str, Any]:
    return dict.fromkeys((*centre, "low", "high"), Number(None if bound is None else -bound, bound))


_REPORT = {
    "schema": Number(SCHEMA, SCHEMA, whole=True),
    **dict.fromkeys(("recipe", "task", "device"), str),
    "seed": Number(whole=True),
    "policies": Each(Each(object)),
    "success": _both(_SUCCESS),
    "return": _both(_RETURN),
    "imagined_success": _both(_SHARE),
    "imagined_return": _both(Number()),
    "paired_difference": Maybe(_DIFFERENCE | _PAIRED | {"p_value": _SHARE} | _difference(1, "difference")),
    "return_difference": Maybe(_DIFFERENCE | _difference(None, "difference")),
    "failures_removed": Maybe(Number(None, 1)),
    "limit": Maybe(dict.fromkeys(("decisions", "action_repeat", "control_steps"), _EPISODES)),
    "accepted": bool,
    "chosen_iteration": _STEPS,
    "gate": Maybe({"accepted": bool, "reasons": Each(str, 0)}),
    "simulator_steps": {"collection": _STEPS, "refinement": Number(0, 0, whole=True), "evaluation": _STEPS},
    "imagined_steps": _STEPS,
    "imagined_steps_per_second": Number(0),
    "seconds": Each(Number(0)),
    "versions": dict.fromkeys(("burnish", "torch", "python"), str),
    "skipped": Each(str),
}
CONTRACT_KEYS = frozenset(_REPORT)
# Rates and intervals are rounded to four digits, by hand-written reports perhaps to two.
ROUNDING = 0.0051


def validate_report(report: Any, source: str = "report.json") -> None:
    """Check `report` against the contract (schema 1); unknown additional keys are let through.

    Raises:
        InputError: names `source`, the field, what was found and what was expected.
    """
    if isinstance(report, Mapping) and (missing := sorted(CONTRACT_KEYS - set(report))):
        raise InputError(f"{source}: missing {', '.join(missing)}")
    check(report, _REPORT, "", source)
    for name, reasons in (("evaluation", ("success", "return")), ("gate", ("gate",))):
        if all(report[key] is None for key in reasons) and name not in report["skipped"]:
            fail(source, reasons[0], None, f"numbers, or a reason under skipped.{name}")
    if "over_filtered" in report:
        check(report["over_filtered"], {}, "over_filtered", source)
    for name, policy in report["policies"].items():
        if "success_own_limit" in policy:
            check(policy["success_own_limit"], _SUCCESS, f"policies.{name}.success_own_limit", source)
        check(policy.get("success"), Maybe(_SUCCESS), f"policies.{name}.success", source)
        check(policy.get("return"), Maybe(_RETURN), f"policies.{name}.return", source)
        if "action_change" in policy:
            check(policy["action_change"], Number(0), f"policies.{name}.action_change", source)
    for policy in POLICIES:
        if report["success"] is not None:
            _validate_success(report["success"][policy], f"success.{policy}", source)
        if report["return"] is not None:
            _validate_order(report["return"][policy], "mean", f"return.{policy}", source)
    for name in ("paired_difference", "return_difference"):
        if report[name] is not None:
            _validate_order(report[name], "difference", name, source)
    if report["gate"] is not None:
        _validate_gate(report["gate"], report["accepted"], source)


def _validate_success(count: Mapping[str, Any], where: str, source: str) -> None:
    if count["successes"] > count["episodes"]:
        fail(source, f"{where}.successes", count["successes"], f"at most episodes = {count['episodes']}")
    expected = count["successes"] / count["episodes"]
    if abs(count["rate"] - expected) > ROUNDING:
        fail(source, f"{where}.rate", count["rate"], f"successes / episodes = {expected:.4f}")
    _validate_order(count, "rate", where, source)


def _validate_order(found: Mapping[str, Any], centre: str, where: str, source: str) -> None:
    low, high = found["ci95"] if "ci95" in found else (found["low"], found["high"])
    if not low <= found[centre] <= high:
        fail(source, where, [low, found[centre], high], f"low <= {centre} <= high")


def _validate_gate(gate: Mapping[str, Any], accepted: bool, source: str) -> None:
    if not gate["reasons"]:
        fail(source, "gate.reasons", gate["reasons"], "at least one reason")
    if accepted and not gate["accepted"]:
        fail(source, "accepted", True, "false, because the gate did not accept the refined policy")
    if not gate["accepted"] and not set(GATE_KEYS) & set(gate):
        return  # it could not decide
    bound = None if gate.get("measure", "success") == "return" else 1
    check(gate, _ESTIMATE | _difference(bound, "estimate"), "gate", source)
    _validate_order(gate, "estimate", "gate", source)
    check(gate.get("checks", {}), Each(bool), "gate.checks", source)
