"""How far imagined success can be trusted: its agreement with real success, and what a gate's decisions were worth."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from burnish.errors import InputError
from burnish.evaluation.intervals import mcnemar_exact, wilson_interval

Outcome = Literal["better", "worse", "undecided"]
Truth = Literal["sign", "test"]
# A difference between two policies' real success counts as proven below this p-value of McNemar's exact test.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class ScoredPolicy:
    """One policy, scored in imagination and in the real simulator; rates in [0, 1].

    `estimate` is the gate's, in held-out world models; `naive` the imagined success in the very world model in which
    the policy was refined, None where there is none.
    """

    task: str
    seed: int
    policy: str
    kind: str
    estimate: float
    naive: float | None
    successes: int
    episodes: int

    @property
    def real(self) -> float:
        """The real success rate."""
        return self.successes / self.episodes


@dataclass(frozen=True)
class GateDecision:
    """One refinement that the gate let pass or not, and what it was worth in reality.

    All differences are refined − pretrained, in rate units (−1 to 1): `estimate` with its interval [`low`, `high`] is
    the gate's, `real_difference` that of `episodes` paired real episodes. `improved` of these failed before and
    succeeded after, `worsened` the reverse. `exploit`: the refinement was set up to exploit its world model.
    """

    task: str
    seed: int
    setting: str
    exploit: bool
    accepted: bool
    reason: str
    estimate: float
    low: float
    high: float
    real_difference: float
    improved: int
    worsened: int
    episodes: int

    @property
    def p_value(self) -> float:
        """Of McNemar's exact two-sided test of "no real change"."""
        return mcnemar_exact(self.improved, self.worsened)

    def outcome(self, truth: Truth = "sign") -> Outcome:
        """What refinement did in reality: by the sign of the real difference, or only where the test proves it."""
        if self.real_difference == 0 or (truth == "test" and self.p_value >= SIGNIFICANCE):
            return "undecided"
        return "better" if self.real_difference > 0 else "worse"

    def mistake(self, truth: Truth = "sign") -> str | None:
        """A "false accept" was truly worse, a "false reject" truly better; None for everything else."""
        wrong = "worse" if self.accepted else "better"
        return f"false {'accept' if self.accepted else 'reject'}" if self.outcome(truth) == wrong else None


@dataclass(frozen=True)
class Share:
    """`count` of `total`, with its rate and Wilson's 95 % interval (None where `total` is 0)."""

    count: int
    total: int
    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class DecisionRates:
    """How often the gate erred: a false accept was truly worse, a false reject truly better.

    Each of the two is given over everything (all decisions) and over what it could be (the accepted and the truly
    worse ones, or the truly better ones).
    """

    decisions: int
    accepted: int
    better: int
    worse: int
    undecided: int
    false_accepts: Share
    false_accepts_of_accepted: Share
    false_accepts_of_worse: Share
    false_rejects: Share
    false_rejects_of_better: Share


@dataclass(frozen=True)
class Gains:
    """Mean real difference a decision (rate units) under three rules; what is rejected changes nothing, so counts 0.

    The oracle accepts what was better in the very episodes that are counted, so it is flattered by their luck.
    """

    decisions: int
    accept_all: float | None
    gate: float | None
    oracle: float | None


@dataclass(frozen=True)
class Agreement:
    """How well one estimate orders and meets the real success of `policies` policies.

    `pearson` and `spearman` in [−1, 1] (None below two policies or where a side is constant); `mmrv` is the mean
    maximum rank violation and `bias` the mean of estimate − real, both in rate units (None without a policy).
    """

    policies: int
    pearson: float | None
    spearman: float | None
    mmrv: float | None
    bias: float | None


def pearson(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Pearson's correlation of N pairs, in [−1, 1]; None below two pairs or where one side is constant."""
    _check_lengths(x, y)
    # Equality, not the variance: rounding in a mean gives a constant column a variance beside 0.
    if len(x) < 2 or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    centre_x, centre_y = mean(x), mean(y)
    dx, dy = [value - centre_x for value in x], [value - centre_y for value in y]
    norm = math.sqrt(math.fsum(value * value for value in dx) * math.fsum(value * value for value in dy))
    product = math.fsum(a * b for a, b in zip(dx, dy, strict=True))
    return max(-1.0, min(1.0, product / norm)) if norm > 0 else None


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Spearman's rank correlation of N pairs: Pearson's of the ranks, where ties share their mean rank."""
    return pearson(_mean_ranks(x), _mean_ranks(y))


def mean_maximum_rank_violation(estimate: Sequence[float], real: Sequence[float]) -> float:
    """MMRV of N policies, in rate units: 0 where `estimate` orders them as `real` does.

    The mean over i of the maximum over j of |R_i − R_j| · 1[(Q_i < Q_j) ≠ (R_i < R_j)], for estimates Q and real
    rates R: X. Li et al., "Evaluating real-world robot manipulation policies in simulation" (SIMPLER, arXiv
    2405.05941). Equal estimates of unequal policies are a violation, of the worse one (their code has > for <, and
    so charges the better one). Raises InputError without a policy.
    """
    _check_lengths(estimate, real)
    if not real:
        raise InputError("a rank violation needs at least one policy, found none")
    pairs = list(zip(estimate, real, strict=True))
    # The product with the indicator as in the paper: i = j gives the 0 of a policy without a violation.
    return mean(max(abs(r - s) * ((q < p) != (r < s)) for p, s in pairs) for q, r in pairs)


def agreement(estimate: Sequence[float], real: Sequence[float]) -> Agreement:
    """All four numbers of N policies' estimated and real success rates."""
    _check_lengths(estimate, real)
    if not real:
        return Agreement(0, None, None, None, None)
    return Agreement(
        policies=len(real),
        pearson=pearson(estimate, real),
        spearman=rank_correlation(estimate, real),
        mmrv=mean_maximum_rank_violation(estimate, real),
        bias=mean(estimate) - mean(real),
    )


def mean_agreement(parts: Sequence[Agreement]) -> Agreement:
    """The means over tasks, each over those that have the number; `policies` is their sum.

    Tasks are not pooled: their difficulty alone would correlate everything.
    """
    return Agreement(
        sum(part.policies for part in parts),
        *(_mean(getattr(part, name) for part in parts) for name in ("pearson", "spearman", "mmrv", "bias")),
    )


def decision_rates(decisions: Sequence[GateDecision], truth: Truth = "sign") -> DecisionRates:
    """Count the gate's mistakes; `truth` says when a refinement was truly better or worse (`GateDecision.outcome`).

    The intervals take decisions as independent; those of one task and seed share data and models, so they are too
    narrow where there are many of these.
    """
    outcomes = [decision.outcome(truth) for decision in decisions]
    accepted = sum(decision.accepted for decision in decisions)
    better, worse = outcomes.count("better"), outcomes.count("worse")
    mistakes = [decision.mistake(truth) for decision in decisions]
    accepts, rejects = mistakes.count("false accept"), mistakes.count("false reject")
    return DecisionRates(
        decisions=len(decisions),
        accepted=accepted,
        better=better,
        worse=worse,
        undecided=outcomes.count("undecided"),
        false_accepts=share(accepts, len(decisions)),
        false_accepts_of_accepted=share(accepts, accepted),
        false_accepts_of_worse=share(accepts, worse),
        false_rejects=share(rejects, len(decisions)),
        false_rejects_of_better=share(rejects, better),
    )


def decision_groups(decisions: Sequence[GateDecision]) -> dict[str, list[GateDecision]]:
    """All decisions; those set up to exploit and the others (either may be empty); each setting; each task."""
    groups = {
        "all": list(decisions),
        "set up to exploit": [decision for decision in decisions if decision.exploit],
        "not set up to exploit": [decision for decision in decisions if not decision.exploit],
    }
    by: dict[str, Callable[[GateDecision], str]] = {"setting": lambda d: d.setting, "task": lambda d: d.task}
    for name, key in by.items():
        for value in sorted({key(decision) for decision in decisions}):
            groups[f"{name}: {value}"] = [decision for decision in decisions if key(decision) == value]
    return groups


def gains(decisions: Sequence[GateDecision]) -> Gains:
    """What accepting every refinement, the gate, and an oracle bring in reality."""
    differences = [decision.real_difference for decision in decisions]
    kept = [decision.real_difference if decision.accepted else 0.0 for decision in decisions]
    return Gains(len(decisions), _mean(differences), _mean(kept), _mean(max(0.0, d) for d in differences))


def share(count: int, total: int) -> Share:
    """`count` of `total` as a rate with Wilson's 95 % interval."""
    if total == 0:
        return Share(count, total, None, None, None)
    return Share(count, total, count / total, *wilson_interval(count, total))


def _mean_ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; the n equal values after m smaller ones share the rank m + (n + 1) / 2."""
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def _check_lengths(x: Sequence[float], y: Sequence[float]) -> None:
    if len(x) != len(y):
        raise InputError(f"pairs of numbers must be equally many: found {len(x)} and {len(y)}")
