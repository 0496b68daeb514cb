"""What an evaluation in a simulator found, episode by episode, and the numbers that report.json takes from it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from burnish.config import from_dict
from burnish.errors import InputError
from burnish.evaluation.intervals import mean_interval, paired_difference, wilson_interval
from burnish.storage import read_json, write_json

OUTCOMES_FILE = "outcomes.json"


@dataclass(frozen=True)
class Played:
    """One policy's evaluation episodes: whether each succeeded, what each returned; empty where nothing says so.

    Attributes:
        success: within the run's limit.
        returns: within the run's limit.
        decisions: after how many each first succeeded within the simulator's own limit; None where it never did.
        action_change: of each episode, the mean |a(t+1) − a(t)| over time and dimensions, as a share of the action's
            range; small numbers are smooth motion.
    """

    success: tuple[bool, ...] = ()
    returns: tuple[float, ...] = ()
    decisions: tuple[int | None, ...] = ()
    action_change: tuple[float, ...] = ()


@dataclass(frozen=True)
class Outcomes:
    """Every policy's episodes, in the order of their starts.

    Attributes:
        policies: by name; `pretrained` and `refined` are those that the verdict compares.
        seeds: of the starts, the same for every policy.
        decisions: after which an episode has failed.
        action_repeat: control steps of a decision.
        own_decisions: the simulator's own limit, to which episodes were played on.
    """

    policies: dict[str, Played]
    seeds: tuple[int, ...] = ()
    decisions: int | None = None
    action_repeat: int = 1
    own_decisions: int | None = None

    def __post_init__(self) -> None:
        parts = [part for played in self.policies.values() for part in vars(played).values()]
        lengths = {len(part) for part in parts} - {0}
        if len(lengths) > 1:
            raise InputError(f"policies: found {sorted(lengths)} episodes, expected equally many of all")


def save_outcomes(folder: str | Path, outcomes: Outcomes) -> None:
    """Leave the outcomes in a stage's folder for the report."""
    write_json(Path(folder) / OUTCOMES_FILE, asdict(outcomes))


def read_outcomes(folder: str | Path) -> Outcomes | None:
    """Read what `save_outcomes` left; None where there is no such file, InputError where it is damaged."""
    path = Path(folder) / OUTCOMES_FILE
    return from_dict(Outcomes, read_json(path), str(path)) if path.exists() else None


def success_count(successes: int, episodes: int) -> dict[str, Any]:
    """Counts, rate, and Wilson's 95 % interval, rounded to four digits."""
    low, high = wilson_interval(successes, episodes)
    rate = round(successes / episodes, 4)
    return {"successes": successes, "episodes": episodes, "rate": rate, "ci95": [round(low, 4), round(high, 4)]}


def return_summary(returns: tuple[float, ...], reference: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Mean and Student's 95 % interval; with a reference also the mean between its low end (0) and its high one (1)."""
    centre, low, high = mean_interval(returns)
    told = {"mean": centre, "ci95": [low, high], "episodes": len(returns)}
    if reference is not None:
        told["normalised"] = (centre - reference["low"]) / (reference["high"] - reference["low"])
    return told


def comparison(before: Played, after: Played) -> dict[str, Any]:
    """Paired differences of success and of return, each where both policies have it."""
    told: dict[str, Any] = {}
    if before.success and after.success:
        paired = paired_difference(before.success, after.success)
        plain = {name: _rounded(name, value) for name, value in asdict(paired).items()}
        method = "Newcombe 1998, method 10; exact McNemar test"
        told["paired_difference"] = {**plain, "episodes": paired.episodes, "method": method}
    if before.returns and after.returns:
        centre, low, high = mean_interval([new - old for old, new in zip(before.returns, after.returns, strict=True)])
        told["return_difference"] = {
            **{"difference": centre, "low": low, "high": high, "confidence": 0.95, "episodes": len(after.returns)},
            "method": "Student's t over paired episodes",
        }
    return told


def time_to_success(played: Played) -> dict[str, Any]:
    """Success within the simulator's own limit, and the median time of those episodes; nothing where it is unknown."""
    if not played.decisions:
        return {}
    times = [each for each in played.decisions if each is not None]
    count = success_count(len(times), len(played.decisions))
    return {"success_own_limit": {**count, "median_decisions": median(times) if times else None}}


def smoothness(played: Played) -> dict[str, Any]:
    """How much the action changes from one decision to the next, on average over episodes; nothing where unknown."""
    return {"action_change": round(mean(played.action_change), 5)} if played.action_change else {}


def reference(returns: Mapping[str, float] | None) -> dict[str, Any] | None:
    """What returns are measured against: random motion and the best source in the data; None where it lacks either.

    Args:
        returns: the mean return of each source of recorded episodes.
    """
    known = dict(returns or {})
    low = known.pop("random", None)
    best = max(known, key=lambda name: known[name], default=None)
    if low is None or best is None or known[best] <= low:
        return None
    return {"low": low, "low_source": "random", "high": known[best], "high_source": best}


def _rounded(name: str, value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) and name != "p_value" else value
