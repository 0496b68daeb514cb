"""What a refinement is worth: beside cloning the successes, beside speed, and where imagination is wrong."""

from collections.abc import Mapping
from typing import Any

from burnish.report.section import Section, Table
from burnish.report.wording import count, number, percent

_FALSE_CLAIMS = 0.1
"""Share of real failures that a classifier may call success before the report warns."""


def time_table(report: Mapping[str, Any]) -> Table | None:
    """Success within the run's limit and within the simulator's own, how long success took, and how smooth it is."""
    limit, known = report["limit"], {n: p for n, p in report["policies"].items() if "success_own_limit" in p}
    if not known or limit is None or "own_control_steps" not in limit:
        return None
    repeat = limit["action_repeat"]
    rows = []
    for name, policy in known.items():
        whole = policy["success_own_limit"]
        took, rough = whole["median_decisions"], policy.get("action_change")
        rows.append(
            (
                name,
                f"{percent(policy['success']['rate'])}",
                f"{percent(whole['rate'])} ({percent(whole['ci95'][0], 0)} to {percent(whole['ci95'][1], 0)})",
                "–" if took is None else count(took * repeat),
                *(() if rough is None else (percent(rough),)),
            )
        )
    heading = (
        "",
        f"success within {count(limit['control_steps'])} control steps (this run's limit)",
        f"within {count(limit['own_control_steps'])} (the simulator's own)",
        "control steps to success, median",
    )
    note = "What the first two columns differ by is speed: episodes that succeed, but later than this run waits."
    if all("action_change" in policy for policy in known.values()):
        heading += ("action's change between decisions",)
        note += " The last one tells smooth motion from rough, as a share of the action's range."
    return Table(heading, tuple(rows), "Speed and smoothness", 1, note)


def start_section(name: str, rule: str, scores: Mapping[str, float]) -> Section:
    """Which policy refinement began with, and why.

    Args:
        name: the chosen one, "pretrained" or "filtered".
        rule: "auto", or what was asked for.
        scores: what imagination gives the candidates, pessimistically.
    """
    told = ", ".join(f"{number(score)} for the {policy} policy" for policy, score in scores.items())
    why = "as asked for" if rule != "auto" else "by these scores"
    words = (
        f"Refinement begins with the {name} policy ({why}). “Pretrained” is cloned from demonstrations alone; "
        "“filtered” from every recorded episode that succeeded (of highest return, where nothing tells success), which "
        f"takes seconds and needs no world model. Scores in imagination: {told}.",
    )
    return Section("refinement", "Refinement in imagination", 40, words)


def gap_section(found: Mapping[str, Mapping[str, Any]]) -> Section:
    """Where imagined success that is not real comes from, and real success that imagination misses.

    Args:
        found: `Anatomy.summary` by policy.
    """
    header = (
        "",
        "real success",
        "imagined",
        "imagined only: reward",
        "imagined only: dynamics",
        "real only: halted",
        "real only: lost",
        "real failures called success",
    )
    rows = []
    for name, one in found.items():
        claims = one["false_claims"]
        told = "–" if claims is None else f"{percent(claims['share'], 0)} of {claims['failures']}"
        counts = (one[key] for key in ("real", "imagined", "reward", "dynamics", "halted", "lost"))
        rows.append((name, *(str(number) for number in counts), told))
    note = (
        "Every policy imagines the evaluation's episodes again, from the same starts. Success that only imagination "
        "has comes from the reward where the classifier calls the real frames a success, too, and from the dynamics "
        "where it does not. Real success that imagination lacks was halted by pessimism, or lost on the way."
    )
    warnings = tuple(
        f"On {percent(one['false_claims']['share'], 0)} of the {name} policy's real failures the classifier claims "
        "success: it has seen no near miss. Record failures that come close, and label them."
        for name, one in found.items()
        if one["false_claims"] is not None and one["false_claims"]["ci95"][0] > _FALSE_CLAIMS
    )
    table = Table(header, tuple(rows), "Imagined and real, start by start", 1, note)
    return Section("gap", "Where imagination is wrong", 42, (), warnings, tables=(table,))
