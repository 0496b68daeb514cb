"""Which of its policies a run hands out, and which recordings would teach it most: what gate.json holds besides."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from burnish.evaluation.gate import GateVerdict
from burnish.imagination import ImaginedEvaluation

OVER_FILTERED = "refined_over_filtered"


def disputed(plays: Sequence[ImaginedEvaluation], episodes: Sequence[int], count: int = 10) -> list[dict[str, Any]]:
    """The starts whose outcome the worlds disagree about most, the most disputed first: recordings from there would
    teach most. Starts about which all agree are none.

    Args:
        plays: one a world, all from the same starts.
        episodes: of each start, the recorded episode that began there.
        count: at most so many.
    """
    outcomes = torch.stack([play.outcome.double() for play in plays])
    spread = outcomes.var(0, correction=0)
    order = spread.argsort(descending=True, stable=True)[:count].tolist()
    return [
        {"episode": episodes[row], "outcomes": outcomes[:, row].tolist()} for row in order if float(spread[row]) > 0
    ]


def handed_out(verdicts: Mapping[str, GateVerdict], fallback: bool = False) -> dict[str, Any]:
    """What gate.json holds: the refined policy's verdict, the filtered one's beside it, and which one is handed out.

    Of two that are accepted, the refined one goes out unless it is expected to be worse than the filtered one. Of none,
    the pretrained one; with `fallback` the filtered one, where success is what counts, unless worlds that know the task
    at least by half expect it to be worse: no world model had a part in it, and cloning more successes was rarely worse
    (docs/trust.md). The top level speaks of the refined policy: it is accepted where it is handed out. "vouched" says
    whether the one that is handed out was accepted.
    """
    found = verdicts["refined"].to_dict()
    name = "refined" if found["accepted"] else "pretrained"
    vouched = found["accepted"]
    if "filtered" in verdicts:
        filtered, over = verdicts["filtered"], verdicts[OVER_FILTERED]
        brief = ("accepted", "estimate", "low", "high", "confidence")
        found["filtered"] = {key: getattr(filtered, key) for key in brief} | {"reasons": list(filtered.reasons)}
        found[OVER_FILTERED] = {key: getattr(over, key) for key in brief[1:]}
        if filtered.accepted and (name == "pretrained" or over.estimate < 0):
            if name == "refined":
                found["accepted"] = False
                found["reasons"] = ["cloning the successes of the same data is expected to be better"]
            name, vouched = "filtered", True
        elif name == "pretrained" and fallback and not _told_worse(filtered):
            name = "filtered"
    return {**found, "handed_out": name, "vouched": vouched}


def _told_worse(filtered: GateVerdict) -> bool:
    if filtered.back_test.measure != "success":
        return True
    return filtered.knowledge != "do not know" and filtered.estimate < 0
