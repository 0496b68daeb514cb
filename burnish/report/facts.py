"""What finished stages recorded, by generic keys: the report knows no stage by name.

A stage may record under its outputs

- `role`: one of `ROLES`, by default training; seconds and simulator steps are added up by role;
- `simulator_steps`, `imagined_steps`: numbers of steps;
- `iteration`, `stopped`, `device`: of a refinement, the chosen iterate (0: the policy it began with), why it ended;
- `imagined`: of a refinement, {"success" or "return": {"pretrained": …, "refined": …}}. Where one refinement went on
  from another, iterations are added up, the first one's "pretrained" is compared with the last one's "refined", each
  in the models of its time;
- `start`, `imagined_start`: which policy refinement began with, and the candidates' scores in imagination;
- `gate`: the decision (`sections_gate.gate_summary`);
- `returns`: of recorded episodes, the mean return by source;
- `skipped`: {what was left out: why};
- `doubts`: {what imagination rests on: why it is to be trusted less}.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from burnish.errors import InputError, RunError
from burnish.report.checks import Each, Number, check, fail

ROLES = ("collection", "training", "refinement", "gate", "evaluation")
_OUTPUTS = {
    "simulator_steps": Number(0),
    "imagined_steps": Number(0),
    "iteration": Number(0),
    "imagined": Each(Each(Number())),
    "start": str,
    "imagined_start": Each(Number()),
    "gate": {"accepted": bool, "reasons": Each(str, 0)},
    "returns": Each(Number()),
    "skipped": Each(str),
    "doubts": Each(str),
}


@dataclass(frozen=True)
class Finished:
    """A stage that is done: its folder, its seconds of work, what it recorded, and when it ended (UTC)."""

    name: str
    folder: Path
    seconds: float = 0.0
    outputs: Mapping[str, Any] = field(default_factory=dict)
    ended: datetime | None = None

    @classmethod
    def of(cls, name: str, folder: Path, manifest: Any) -> "Finished":
        """From the stage's manifest; InputError where it is damaged."""
        source = f"{folder}: the manifest"
        check(manifest, {"seconds": Number(0), "outputs": Each(object)}, "", source)
        outputs = manifest["outputs"]
        for key, spec in _OUTPUTS.items():
            if key in outputs:
                check(outputs[key], spec, f"outputs.{key}", source)
        if outputs.get("role", ROLES[1]) not in ROLES:
            fail(source, "outputs.role", outputs["role"], f"one of {', '.join(ROLES)}")
        return cls(name, Path(folder), float(manifest["seconds"]), outputs, _time(manifest.get("finished")))

    @property
    def role(self) -> str:
        """What the stage is there for."""
        return self.outputs.get("role", "training")


@dataclass(frozen=True)
class Facts:
    """What all stages together say."""

    seconds: dict[str, float]
    clock_seconds: float
    """What passed while any stage was worked on: less than the sum of seconds where some were so side by side."""
    simulator_steps: dict[str, int]
    imagined_steps: int
    imagined: dict[str, Mapping[str, float]]
    iteration: int
    device: str
    stages: list[dict[str, Any]]
    gate: Mapping[str, Any] | None = None
    returns: Mapping[str, float] | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    start: str = "pretrained"
    doubts: Mapping[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether a refined policy was chosen, and no gate rejected it."""
        return self.iteration != 0 and (self.gate is None or bool(self.gate["accepted"]))


def facts(stages: Sequence[Finished]) -> Facts:
    """Add up what the stages recorded.

    Raises:
        RunError: a stage that is not to use a simulator did, or a refinement does not say that it used none.
        InputError: no stage refined a policy.
    """
    refinements = [stage for stage in stages if stage.role == "refinement"]
    if not refinements:
        raise InputError("no stage of this run refined a policy, so there is nothing to report; run refinement first")
    if any("simulator_steps" not in stage.outputs for stage in refinements):
        raise RunError("the refined policy's stage does not say that it used no simulator; run refinement again")
    steps = {role: _sum(stages, role, "simulator_steps") for role in ROLES}
    for role in ("training", "refinement", "gate"):
        if steps[role]:
            raise RunError(f"{role} must not touch the simulator, but {steps[role]:.0f} simulator steps were counted")
    first, last = refinements[0].outputs, refinements[-1].outputs
    imagined: dict[str, Mapping[str, float]] = {
        measure: {**scores, "pretrained": first["imagined"].get(measure, scores)["pretrained"]}
        for measure, scores in last.get("imagined", {}).items()
    }
    return Facts(
        seconds={role: sum(stage.seconds for stage in stages if stage.role == role) for role in ROLES},
        clock_seconds=_clock(stages),
        simulator_steps={role: int(steps[role]) for role in ("collection", "refinement", "evaluation")},
        imagined_steps=int(_sum(stages, "refinement", "imagined_steps")),
        imagined=imagined,
        iteration=int(_sum(stages, "refinement", "iteration")),
        device=str(last.get("device", "cpu")),
        stages=[{"name": stage.name, "role": stage.role, "seconds": round(stage.seconds, 2)} for stage in stages],
        gate=_last(stages, "gate"),
        returns=_last(stages, "returns"),
        start=_last(stages, "start") or "pretrained",
        # Held-out worlds have to prove themselves in the back-test.
        doubts={what: why for s in stages if s.role != "gate" for what, why in s.outputs.get("doubts", {}).items()},
        skipped={name: why for stage in stages for name, why in stage.outputs.get("skipped", {}).items()},
    )


def _time(written: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(written)
    except (TypeError, ValueError):
        return None


def _clock(stages: Sequence[Finished]) -> float:
    """Seconds in which at least one stage was worked on, each up to its end; where ends are unknown, one by one."""
    ended = [(stage.ended.timestamp(), stage.seconds) for stage in stages if stage.ended is not None]
    if len(ended) < len(stages):
        return sum(stage.seconds for stage in stages)
    spans = sorted((end - took, end) for end, took in ended)
    total, until = 0.0, -math.inf
    for begin, end in spans:
        total, until = total + max(0.0, end - max(begin, until)), max(until, end)
    return total


def _sum(stages: Sequence[Finished], role: str, key: str) -> float:
    return sum(stage.outputs.get(key, 0) for stage in stages if stage.role == role)


def _last(stages: Sequence[Finished], key: str) -> Any:
    return next((stage.outputs[key] for stage in reversed(stages) if key in stage.outputs), None)
