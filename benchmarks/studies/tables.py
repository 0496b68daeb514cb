"""The numbers of an imagined-real study, and their tables as rows of text."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from burnish.report.wording import percent, signed
from studies.agreement import (
    Agreement,
    DecisionRates,
    Gains,
    GateDecision,
    ScoredPolicy,
    Share,
    agreement,
    decision_groups,
    decision_rates,
    gains,
    mean_agreement,
)

Table = tuple[list[str], list[list[str]]]
MEAN = "mean over tasks"


@dataclass(frozen=True)
class Numbers:
    """All that is counted: agreement by task (the last entry is the mean over tasks), decisions by group.

    `gate` covers all policies; `gate_beside_naive` and `naive` those alone that have a naive estimate, so that the two
    can be compared.
    """

    gate: dict[str, Agreement]
    gate_beside_naive: dict[str, Agreement]
    naive: dict[str, Agreement]
    by_test: dict[str, DecisionRates]
    by_sign: dict[str, DecisionRates]
    gains: dict[str, Gains]

    def as_json(self) -> dict[str, Any]:
        """Plain dictionaries; None where a number is not defined."""
        return asdict(self)


def numbers_of(policies: Sequence[ScoredPolicy], decisions: Sequence[GateDecision]) -> Numbers:
    """Count everything."""
    both = [policy for policy in policies if policy.naive is not None]
    groups = decision_groups(decisions)
    return Numbers(
        gate=_by_task(policies, lambda policy: policy.estimate),
        gate_beside_naive=_by_task(both, lambda policy: policy.estimate),
        # Never None here; the type cannot say so.
        naive=_by_task(both, lambda policy: policy.naive or 0.0),
        by_test={name: decision_rates(members, "test") for name, members in groups.items()},
        by_sign={name: decision_rates(members, "sign") for name, members in groups.items()},
        gains={name: gains(members) for name, members in groups.items()},
    )


def agreement_table(numbers: Numbers) -> Table:
    """One row a task: the gate's estimates of all policies against their real success."""
    header = ["task", "policies", "Pearson", "Spearman", "MMRV", "imagined − real"]
    rows = [
        [task, str(a.policies), number(a.pearson), number(a.spearman), number(a.mmrv, 3), _points(a.bias)]
        for task, a in numbers.gate.items()
    ]
    return header, rows


def naive_table(numbers: Numbers) -> Table:
    """The gate's and the naive estimate side by side, on the policies that have both."""
    names = {"Pearson": "pearson", "Spearman": "spearman", "MMRV": "mmrv", "imagined − real": "bias"}
    header = ["task", "policies", *(f"{name}: {who}" for name in names for who in ("gate", "naive"))]
    rows = []
    for task, gate in numbers.gate_beside_naive.items():
        cells = []
        for name in names.values():
            for value in (getattr(gate, name), getattr(numbers.naive[task], name)):
                cells.append(_points(value) if name == "bias" else number(value, 3 if name == "mmrv" else 2))
        rows.append([task, str(gate.policies), *cells])
    return header, rows


def rates_table(rates: dict[str, DecisionRates]) -> Table:
    """One row a group of decisions: what they were, and the two kinds of mistakes."""
    header = ["decisions", "number", "accepted", "better", "worse", "undecided"]
    header += ["false accepts", "of all", "of the accepted", "of the worse"]
    header += ["false rejects", "of all", "of the better"]
    rows = []
    for name, r in rates.items():
        counts = map(str, (r.decisions, r.accepted, r.better, r.worse, r.undecided))
        accepts = map(share_text, (r.false_accepts, r.false_accepts_of_accepted, r.false_accepts_of_worse))
        rejects = map(share_text, (r.false_rejects, r.false_rejects_of_better))
        rows.append([name, *counts, str(r.false_accepts.count), *accepts, str(r.false_rejects.count), *rejects])
    return header, rows


def gains_table(numbers: Numbers) -> Table:
    """One row a group: the mean real difference under three rules."""
    header = ["decisions", "number", "accept all", "the gate", "oracle"]
    rows = [
        [name, str(g.decisions), _points(g.accept_all), _points(g.gate), _points(g.oracle)]
        for name, g in numbers.gains.items()
    ]
    return header, rows


def decisions_table(decisions: Sequence[GateDecision]) -> Table:
    """Every decision, the mistakes first, the proven ones of these before the others."""
    header = ["task", "setting", "decision", "reason", "in truth", "mistake"]
    header += ["seed", "estimated difference", "real difference", "improved / worsened / episodes", "p"]
    ordered = sorted(decisions, key=lambda d: (*_severity(d), d.task, d.setting, d.seed))
    return header, [_decision(decision) for decision in ordered]


def share_text(share: Share) -> str:
    """A rate with its interval in per cent: "14 % (4–40)"; "–" where there is nothing to count."""
    if share.rate is None or share.low is None or share.high is None:
        return "–"
    return f"{percent(share.rate, 0)} ({100 * share.low:.0f}–{100 * share.high:.0f})"


def _by_task(policies: Sequence[ScoredPolicy], estimate: Callable[[ScoredPolicy], float]) -> dict[str, Agreement]:
    parts = {}
    for task in sorted({policy.task for policy in policies}):
        chosen = [policy for policy in policies if policy.task == task]
        parts[task] = agreement([estimate(policy) for policy in chosen], [policy.real for policy in chosen])
    return parts | {MEAN: mean_agreement(list(parts.values()))}


def _severity(decision: GateDecision) -> tuple[int, int]:
    proven, by_sign = decision.mistake("test"), decision.mistake()
    return (0 if proven else 1 if by_sign else 2), (0 if by_sign == "false accept" else 1)


def _decision(d: GateDecision) -> list[str]:
    mistake = d.mistake("test") or (f"{d.mistake()}, not proven" if d.mistake() else "")
    estimate = f"{signed(d.estimate)} ({signed(d.low)} to {signed(d.high)})"
    counts = f"{d.improved} / {d.worsened} / {d.episodes}"
    p_value = "< 0.001" if d.p_value < 1e-3 else f"{d.p_value:.3f}"
    verdict = "accepted" if d.accepted else "rejected"
    setting = f"{d.setting} (to exploit)" if d.exploit else d.setting
    texts = [d.task, setting, verdict, d.reason, d.outcome("test"), mistake]
    return [*texts, str(d.seed), estimate, signed(d.real_difference), counts, p_value]


def number(value: float | None, digits: int = 2) -> str:
    """A statistic without a unit; "–" where it is not defined."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _points(value: float | None) -> str:
    return "–" if value is None else signed(value)
