"""The trust gate: is the refined policy better than the pretrained one, by all that is known without a simulator?

Refinement chose its iterate in the very models that it may have exploited. The gate asks others: held-out worlds, each
trained on other episodes with another seed and with a success classifier of its own, never used for refinement. Both
policies play from the same recorded starts in all of them, and a policy that leaves the data there earns nothing.

An episode's outcome is its success, 0 or 1, or where nothing tells success its return.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from burnish.config import within
from burnish.errors import InputError
from burnish.evaluation.agreement import Agreement
from burnish.evaluation.crossed import crossed_mean
from burnish.evaluation.intervals import student_quantile
from burnish.imagination import ImaginedEvaluation

Knowledge = Literal["know", "half know", "do not know"]


@dataclass(frozen=True)
class GateConfig:
    """Size of the evidence, and how sure the gate must be."""

    worlds: int = within(4, 0)
    """Held-out worlds; each leaves another share of the episodes out of its training. 0: no gate."""
    training_share: float = within(1.0, 0, 1, open_low=True)
    """Training steps of a held-out world and its classifier, as a share of the run's own. Less is faster, but
    on coffee-pull-v3 a quarter, a half and all of the steps made worlds that agree with reality at φ .13, .27, .34."""
    episodes: int = within(128, 2)
    """Imagined episodes of each policy in each held-out world, from the same recorded starts."""
    confidence: float = within(0.95, 0.5, 1, open_low=True, open_high=True)
    """Of the one-sided claim that the refined policy is better."""
    least_skill: float = within(0.3, 0, 1, open_high=True)
    """Correlation (of successes φ) of imagined and real outcomes that the back-test must show; below it the worlds do
    not know the task."""
    full_skill: float = within(0.4, 0, 1, open_high=True)
    """Correlation from which on any gain is believed; below it only one that is surely more than `doubtful_margin`."""
    doubtful_margin: float = within(0.1, 0, 1, open_high=True)
    """Gain in real success, 0 to 1, or in standard deviations of recorded returns, that worlds with a skill between the
    two must promise at `confidence`. Worlds that half know a task are right about large gains far more often than
    about small ones (docs/trust.md)."""
    margin: float = within(0.0, 0, 1, open_high=True)
    """Gain in the same units that the refined policy must have at that confidence."""

    def __post_init__(self) -> None:
        if self.worlds == 1:
            raise InputError("gate.worlds is 1, expected 0 (no gate), or 2 and more: one has no spread")

    def knowledge(self, skill: float) -> Knowledge:
        """What worlds with this skill are called."""
        if skill < self.least_skill:
            return "do not know"
        return "know" if skill >= self.full_skill else "half know"

    def asked_gain(self, skill: float) -> float | None:
        """The gain that worlds with this skill must promise at `confidence`; None where no promise of theirs counts."""
        asked = {"know": self.margin, "half know": max(self.margin, self.doubtful_margin), "do not know": None}
        return asked[self.knowledge(skill)]


@dataclass(frozen=True)
class PolicyEvidence:
    """What the held-out worlds say about one policy: success rates, or mean returns.

    Attributes:
        pessimistic: over all worlds, a halted episode counted as a failure.
        hopeful: over all worlds, whatever the doubts.
        halted: share of the episodes in which a world's doubts passed their threshold.
        distance: mean distance to the data on the way, as a multiple of the halting threshold.
        per_world: `pessimistic` in each world.
    """

    pessimistic: float
    hopeful: float
    halted: float
    distance: float
    per_world: tuple[float, ...]

    @classmethod
    def of(cls, plays: Sequence[ImaginedEvaluation]) -> "PolicyEvidence":
        """From one play in each world."""

        def over_all(values: list[Tensor]) -> float:
            return float(torch.stack([value.double() for value in values]).mean())

        return cls(
            over_all([play.outcome for play in plays]),
            over_all([play.hopeful for play in plays]),
            over_all([play.halted for play in plays]),
            over_all([play.distance for play in plays]),
            tuple(play.score for play in plays),
        )


@dataclass(frozen=True)
class Recorded:
    """Real episodes in the data in which the pretrained policy acted, without noise."""

    successes: int
    episodes: int

    @property
    def expected(self) -> float:
        """Its success rate, with one success and one failure more, for few episodes."""
        return (self.successes + 1) / (self.episodes + 2)


@dataclass(frozen=True)
class RecordedReturn:
    """The same, where returns are what counts."""

    mean: float
    episodes: int

    @property
    def expected(self) -> float:
        """The mean return."""
        return self.mean


@dataclass(frozen=True)
class Check:
    """One condition of acceptance, and what was found."""

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True)
class GateVerdict:
    """The decision and everything that it rests on; differences are refined − pretrained, of success rates or returns.

    Attributes:
        accepted: all checks passed.
        estimate: expected real difference.
        low, high: one-sided bounds of it, each at `confidence`.
        imagined_difference: of pessimistic outcomes, mean over worlds and starts, and its standard error.
        worlds, episodes: held-out worlds, and the starts from which each policy played in all of them.
        knowledge: whether the worlds know the task, by the back-test.
        recorded: how the pretrained policy did in the data; None where it did not act there.
    """

    accepted: bool
    estimate: float
    low: float
    high: float
    confidence: float
    imagined_difference: float
    imagined_error: float
    worlds: int
    episodes: int
    pretrained: PolicyEvidence
    refined: PolicyEvidence
    back_test: Agreement
    knowledge: Knowledge
    recorded: Recorded | RecordedReturn | None
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was rejected, or everything that speaks for it."""
        return tuple(check.sentence for check in self.checks if check.passed == self.accepted)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for gate.json."""
        return {
            **asdict(self),
            "measure": self.back_test.measure,
            "skill": self.back_test.skill,
            "transfer": self.back_test.transfer[0],
            f"expected_{self.back_test.measure}": {
                name: expected_outcome(self.back_test, self.recorded, self.pretrained.pessimistic, imagined)
                for name, imagined in (
                    ("pretrained", self.pretrained.pessimistic),
                    ("refined", self.refined.pessimistic),
                )
            },
            "reasons": list(self.reasons),
        }


def expected_outcome(
    tested: Agreement, recorded: Recorded | RecordedReturn | None, pretrained: float, imagined: float
) -> float:
    """The real success or return to expect of a policy with this imagined one, where the pretrained has `pretrained`.

    The pretrained policy's is known from the data, and the imagined difference to it counts for what it was worth in
    the back-test. Where the pretrained policy never acted in the data without noise, the back-test says both.
    """
    if recorded is None:
        return tested.expected(imagined)
    expected = recorded.expected + tested.transfer[0] * (imagined - pretrained)
    return min(1.0, max(0.0, expected)) if tested.measure == "success" else expected


def decide(
    pretrained: Sequence[ImaginedEvaluation],
    refined: Sequence[ImaginedEvaluation],
    tested: Agreement,
    config: GateConfig,
    recorded: Recorded | RecordedReturn | None = None,
) -> GateVerdict:
    """Accept the refined policy only where imagination is known to tell the truth and says that it is better.

    The less of the truth it tells (the back-test's skill), the more it must promise (`GateConfig.asked_gain`).

    `pretrained` and `refined` hold one play a world, from the same starts. The expected real difference is the
    imagined one times what an imagined outcome is worth by the back-test; its error has the spread between worlds,
    the luck of the starts and the uncertainty of the back-test (variance of a product: L. A. Goodman, JASA 55, 1960).
    """
    change = [new.outcome.double() - old.outcome.double() for old, new in zip(pretrained, refined, strict=True)]
    imagined = crossed_mean(torch.stack(change))
    worth, worth_error = tested.transfer
    estimate = worth * imagined.mean
    error = (
        (worth * imagined.error) ** 2 + (imagined.mean * worth_error) ** 2 + (imagined.error * worth_error) ** 2
    ) ** 0.5
    half = student_quantile(config.confidence, imagined.freedom) * error
    low, high = estimate - half, estimate + half
    if tested.measure == "success":
        low, high = max(-1.0, low), min(1.0, high)
    checks = [_back_test_check(tested, config), _gain_check(estimate, low, len(change), tested, config)]
    evidence = {"pretrained": PolicyEvidence.of(pretrained), "refined": PolicyEvidence.of(refined)}
    if tested.reach is not None:
        before, after = (each.pessimistic for each in evidence.values())
        checks.append(_reach_check(expected_outcome(tested, recorded, before, after), tested.reach))
    return GateVerdict(
        accepted=all(check.passed for check in checks),
        estimate=estimate,
        low=low,
        high=high,
        confidence=config.confidence,
        imagined_difference=imagined.mean,
        imagined_error=imagined.error,
        worlds=len(change),
        episodes=len(change[0]),
        **evidence,
        back_test=tested,
        knowledge=config.knowledge(tested.skill),
        recorded=recorded,
        checks=tuple(checks),
    )


def _back_test_check(tested: Agreement, config: GateConfig) -> Check:
    skill, least, full = tested.skill, config.least_skill, max(config.least_skill, config.full_skill)
    knowledge = config.knowledge(skill)
    asked = {
        "know": f"at least {full:.2f}",
        "half know": f"at least {full:.2f}, or {least:.2f} for a large gain",
        "do not know": f"at least {least:.2f}",
    }
    agree = "outcomes agree at φ" if tested.measure == "success" else "returns correlate at r"
    return Check(
        "back-test",
        skill >= least,
        f"the held-out worlds {knowledge} this task: in {tested.episodes} recorded episodes that they replayed, "
        f"imagined and real {agree} = {skill:.2f} (asked for: {asked[knowledge]})",
    )


def _gain_check(estimate: float, low: float, worlds: int, tested: Agreement, config: GateConfig) -> Check:
    asked = config.asked_gain(tested.skill)
    least = tested.unit * (config.margin if asked is None else asked)
    if tested.measure == "success":
        words = f"{100 * estimate:+.0f} points of real success, at least {100 * low:+.1f}", f"{100 * least:+.1f}"
    else:
        words = f"{estimate:+.3g} of real return, at least {low:+.3g}", f"{least:+.3g}"
    wanted = f" (asked for: more than {words[1]})" if least > 0 else ""
    return Check(
        "gain",
        low > least,
        f"in {worlds} held-out worlds the refined policy is expected to gain {words[0]} with "
        f"{100 * config.confidence:.0f} % confidence{wanted}",
    )


def _reach_check(expected: float, reach: float) -> Check:
    where = "within" if expected <= reach else "beyond"
    return Check(
        "reach",
        expected <= reach,
        f"a return of {expected:.3g}, which they expect of the refined policy, lies {where} what the recorded episodes "
        f"can speak of (up to {reach:.3g}: the highest, and once more their range)",
    )
