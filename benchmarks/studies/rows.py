"""The rows of an imagined-real study: plain dictionaries, as JSON has them, checked and made into what is counted."""

from collections.abc import Mapping
from typing import Any

from studies.agreement import GateDecision, ScoredPolicy
from studies.checks import Checker

# Rows may be rounded to three digits.
ROUNDING = 0.00051


def policies_from(rows: Any, source: str = "policies") -> tuple[ScoredPolicy, ...]:
    """Check a list of {"task", "seed", "policy", "kind", "estimate", "naive", "real": {"successes", "episodes"}}.

    Unknown additional keys are let through. Raises InputError naming `source`, the row, the field, what was found and
    what was expected; also where a task and seed have the same policy twice.
    """
    check = Checker(source)
    check.sequence(rows, "policies")
    policies: list[ScoredPolicy] = []
    known: dict[tuple[str, int, str], int] = {}
    for index, row in enumerate(rows):
        policy = _policy(check, row, f"policies[{index}]")
        key = (policy.task, policy.seed, policy.policy)
        if key in known:
            expected = f"a name of its own on {policy.task}, seed {policy.seed} (policies[{known[key]}] has it)"
            check.fail(f"policies[{index}].policy", policy.policy, expected)
        known[key] = index
        policies.append(policy)
    return tuple(policies)


def decisions_from(rows: Any, source: str = "decisions") -> tuple[GateDecision, ...]:
    """Check a list of objects with the fields of `GateDecision`.

    Unknown additional keys are let through. Raises InputError as `policies_from` does; also where the real
    difference is not that of its counts.
    """
    check = Checker(source)
    check.sequence(rows, "decisions")
    return tuple(_decision(check, row, f"decisions[{index}]") for index, row in enumerate(rows))


def _policy(check: Checker, row: Any, where: str) -> ScoredPolicy:
    check.keys(row, where, ("task", "seed", "policy", "kind", "estimate", "naive", "real"), more=True)
    for name in ("task", "policy", "kind"):
        check.text(row[name], f"{where}.{name}")
    check.integer(row["seed"], f"{where}.seed", minimum=None)
    check.number(row["estimate"], f"{where}.estimate", 0, 1)
    if row["naive"] is not None:
        check.number(row["naive"], f"{where}.naive", 0, 1)
    real = row["real"]
    check.keys(real, f"{where}.real", ("successes", "episodes"), more=True)
    check.integer(real["episodes"], f"{where}.real.episodes", minimum=1)
    check.integer(real["successes"], f"{where}.real.successes", minimum=0)
    if real["successes"] > real["episodes"]:
        check.fail(f"{where}.real.successes", real["successes"], f"at most episodes = {real['episodes']}")
    names = ("task", "seed", "policy", "kind", "estimate", "naive")
    return ScoredPolicy(**{name: row[name] for name in names}, successes=real["successes"], episodes=real["episodes"])


def _decision(check: Checker, row: Any, where: str) -> GateDecision:
    names = tuple(GateDecision.__dataclass_fields__)
    check.keys(row, where, names, more=True)
    for name in ("task", "setting"):
        check.text(row[name], f"{where}.{name}")
    if not isinstance(row["reason"], str):
        check.fail(f"{where}.reason", row["reason"], "a text")
    for name in ("exploit", "accepted"):
        check.flag(row[name], f"{where}.{name}")
    check.integer(row["seed"], f"{where}.seed", minimum=None)
    for name in ("estimate", "low", "high", "real_difference"):
        check.number(row[name], f"{where}.{name}", -1, 1)
    if not row["low"] <= row["estimate"] <= row["high"]:
        check.fail(where, [row["low"], row["estimate"], row["high"]], "low <= estimate <= high")
    _check_counts(check, row, where)
    return GateDecision(**{name: row[name] for name in names})


def _check_counts(check: Checker, row: Mapping[str, Any], where: str) -> None:
    check.integer(row["episodes"], f"{where}.episodes", minimum=1)
    for name in ("improved", "worsened"):
        check.integer(row[name], f"{where}.{name}", minimum=0)
    discordant = row["improved"] + row["worsened"]
    if discordant > row["episodes"]:
        check.fail(f"{where}.episodes", row["episodes"], f"at least improved + worsened = {discordant}")
    expected = (row["improved"] - row["worsened"]) / row["episodes"]
    if abs(row["real_difference"] - expected) > ROUNDING:
        expected_text = f"(improved − worsened) / episodes = {expected:.4f}"
        check.fail(f"{where}.real_difference", row["real_difference"], expected_text)
