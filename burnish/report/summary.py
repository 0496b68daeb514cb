"""`report.json`: built from a run's numbers, checked, written and read.

The file is a contract that others' tools read; `validate_report` states it.  Keys beyond the contract are additive:
"skipped", "paired_difference", "failures_removed", "gate" and whatever `RunSummary.extra` names.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import InputError, RunError
from burnish.evaluation.intervals import PairedDifference, wilson_interval
from burnish.report.contract import CONTRACT_KEYS, GATE_KEYS, SCHEMA, SECONDS_KEYS, validate_report
from burnish.report.files import write_atomically

MAX_REPORT_BYTES = 16 * 2**20
_ADDED = {"skipped", "paired_difference", "failures_removed", "gate"}


@dataclass(frozen=True)
class SuccessCount:
    """How many of the evaluation episodes succeeded."""

    successes: int
    episodes: int

    def to_dict(self) -> dict[str, Any]:
        """The contract's form: counts, rate, and Wilson's 95 % interval, rounded to four digits."""
        low, high = wilson_interval(self.successes, self.episodes)
        return {
            "successes": self.successes,
            "episodes": self.episodes,
            "rate": round(self.successes / self.episodes, 4),
            "ci95": [round(low, 4), round(high, 4)],
        }


@dataclass(frozen=True)
class RunSummary:
    """Everything that `report.json` says about a finished run.

    `pretrained` and `refined` are the real evaluation; both are None where it was skipped, and then
    `skipped["evaluation"]` says why.  `accepted` tells whether a refined iterate was chosen over the pretrained
    policy, and the trust gate did not reject it (both without the simulator).  `gate` is the decision of the trust
    gate (`gate_summary`); None where there was no gate, and then `skipped["gate"]` says why.
    `collection_steps`, `refinement_steps` and `evaluation_steps` count steps of the real simulator;
    `refinement_steps` must be 0.  `seconds` is wall time per stage (a contract's stage that did not run counts as 0).
    `skipped` maps anything left out to its reason; `extra` adds further top-level keys.
    """

    recipe: str
    task: str
    seed: int
    pretrained: SuccessCount | None
    refined: SuccessCount | None
    imagined_pretrained: float
    imagined_refined: float
    accepted: bool
    collection_steps: int
    evaluation_steps: int
    imagined_steps: int
    imagined_steps_per_second: float
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    device: str
    refinement_steps: int = 0
    paired: PairedDifference | None = None
    gate: Mapping[str, Any] | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


def build_report(summary: RunSummary) -> dict[str, Any]:
    """The contract's dictionary for `summary`, validated.

    Raises RunError where refinement touched the simulator, and InputError where the numbers contradict each other.
    """
    if summary.refinement_steps != 0:
        raise RunError(
            f"refinement must not touch the simulator, but {summary.refinement_steps} simulator steps were counted"
        )
    clash = sorted((CONTRACT_KEYS | _ADDED) & set(summary.extra))
    if clash:
        raise InputError(f"report.json: additional keys may not replace the contract's: {clash}")
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "recipe": summary.recipe,
        "task": summary.task,
        "seed": summary.seed,
        "success": _success(summary),
        "imagined_success": {
            "pretrained": round(summary.imagined_pretrained, 4),
            "refined": round(summary.imagined_refined, 4),
        },
        "accepted": summary.accepted,
        "simulator_steps": {
            "collection": summary.collection_steps,
            "refinement": summary.refinement_steps,
            "evaluation": summary.evaluation_steps,
        },
        "imagined_steps": summary.imagined_steps,
        "seconds": {name: round(seconds, 2) for name, seconds in _all_seconds(summary.seconds).items()},
        "imagined_steps_per_second": round(summary.imagined_steps_per_second, 1),
        "versions": dict(summary.versions),
        "device": summary.device,
        "skipped": dict(summary.skipped),
        "paired_difference": _paired(summary.paired),
        "failures_removed": failures_removed(summary.pretrained, summary.refined),
        "gate": None if summary.gate is None else dict(summary.gate),
        **summary.extra,
    }
    validate_report(report)
    return report


def failures_removed(pretrained: SuccessCount | None, refined: SuccessCount | None) -> float | None:
    """The share of the pretrained policy's failures that are gone; None where there was none, or no evaluation.

    Negative where the refined policy fails more often.
    """
    if pretrained is None or refined is None or pretrained.successes == pretrained.episodes:
        return None
    before = 1 - pretrained.successes / pretrained.episodes
    after = 1 - refined.successes / refined.episodes
    return round(1 - after / before, 4)


def gate_summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """What `report.json` says of the content of gate.json; without numbers where the gate could not judge.

    "checks" tells of each check by name whether it passed; "knowledge" whether the worlds know the task.
    """
    told = {"accepted": found["accepted"], "reasons": list(found["reasons"])}
    if "estimate" not in found:
        return told
    checks = {check["name"]: check["passed"] for check in found["checks"]}
    told |= {"knowledge": found.get("knowledge", "know"), "checks": checks}
    return {**told, **{name: _rounded(found[name]) for name in GATE_KEYS}}


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Validate `report` and write it to `path` in one step (temporary name, then rename)."""
    validate_report(report)
    text = json.dumps(report, indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())


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


def _success(summary: RunSummary) -> dict[str, Any] | None:
    if summary.pretrained is None and summary.refined is None:
        return None
    if summary.pretrained is None or summary.refined is None:
        raise InputError("report.json: success needs both the pretrained and the refined policy, or neither")
    return {"pretrained": summary.pretrained.to_dict(), "refined": summary.refined.to_dict()}


def _all_seconds(seconds: Mapping[str, float]) -> dict[str, float]:
    return dict(seconds) | {name: 0.0 for name in SECONDS_KEYS if name not in seconds}


def _paired(paired: PairedDifference | None) -> dict[str, Any] | None:
    if paired is None:
        return None
    return {
        name: round(value, 4) if isinstance(value, float) and name != "p_value" else value
        for name, value in asdict(paired).items()
    } | {"episodes": paired.episodes, "method": "Newcombe 1998, method 10; exact McNemar test"}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"found {name}, expected a finite number")
