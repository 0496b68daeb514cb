"""The trust gate's section and summary, for somebody who must decide what may run on the robot."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.evaluation.intervals import wilson_interval
from burnish.report.contract import GATE_KEYS
from burnish.report.section import Axis, Mark, Plot, Section, Series, Table, numbers
from burnish.report.verdict import can_decide, expected
from burnish.report.wording import MEASURES, Measure, count, percent

_POLICIES = ("pretrained", "refined")
_OPTIONAL = ("skill", "transfer", "knowledge", "measure", "handed_out", "vouched", "filtered", "refined_over_filtered")


def gate_summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """What `report.json` says of a gate's decision; without numbers where the gate could not decide.

    "checks" tells of each check by name whether it passed.
    """
    told = {"accepted": found["accepted"], "reasons": list(found["reasons"])}
    if not can_decide(found):
        return told
    told["checks"] = {check["name"]: check["passed"] for check in found["checks"]}
    for name in (*GATE_KEYS, *_OPTIONAL, "expected_success", "expected_return"):
        if name in found:
            told[name] = _rounded(found[name])
    return told


def gate_section(found: Mapping[str, Any], refined: bool = True) -> Section:
    """How the gate decided, what to do, every check, and both policies in each held-out world.

    Args:
        found: the content of gate.json; any mapping in it may hold a "warning".
        refined: a refined policy was chosen in imagination, rather than the pretrained one.
    """
    measure, section = MEASURES[found.get("measure", "success")], ("gate", "The trust gate", 20)
    parts = [found, *(part for part in found.values() if isinstance(part, Mapping))]
    warnings = tuple(part["warning"] for part in parts if isinstance(part.get("warning"), str))
    if not can_decide(found):
        reasons = _sentence("; ".join(found["reasons"])).rstrip(". ")
        words = (_advice(found, refined),)
        return Section(*section, words=words, warnings=warnings, missing=(f"{reasons}.",))
    outcome = {True: "✓ passed", False: "✗ not passed"}
    checks = ((one["name"], outcome[one["passed"]], _sentence(one["sentence"])) for one in found["checks"])
    tables = [Table(("Check", "result", "what was found"), tuple(checks), "Checks", 3)]
    tables.append(Table(("", *_POLICIES), _policy_rows(found, measure), "Both policies in the held-out worlds"))
    if "both" in found.get("back_test", {}):
        tables.append(_back_test(found))
    if found.get("teach"):
        tables.append(_teach(found["teach"], measure))
    words = (_method(found), _advice(found, refined), *_beside(found, measure))
    plots = (_worlds(found, measure), _estimate(found, measure))
    return Section(*section, words=words, warnings=warnings, plots=plots, tables=tuple(tables))


def _method(gate: Mapping[str, Any]) -> str:
    return (
        f"Before any simulator is asked, the policies play in {gate['worlds']} held-out worlds, from the same "
        f"{gate['episodes']} recorded starts. Refinement never saw these worlds; each learned from another part of the "
        "episodes, with a reward of its own. An episode that leaves the data there counts as a failure. The refined "
        "policy is handed out only where every check passes."
    )


def _advice(gate: Mapping[str, Any], refined: bool) -> str:
    if not refined:
        return "No refined policy was better in imagination, so the gate compared the pretrained one with itself."
    if gate.get("handed_out") == "filtered":
        why = (
            "the held-out worlds vouch for it, and do not say that the refined one is better."
            if gate["filtered"]["accepted"]
            else "the held-out worlds vouch for neither policy; of the two that no world model has touched it is the "
            "one that saw more successes. On a robot, let it begin under supervision."
        )
        return (
            "The run hands out the filtered policy, cloned from the recorded successes (accepted/ in the run folder): "
            f"{why}"
        )
    if gate["accepted"]:
        return (
            "Accepted: the run hands out the refined policy (accepted/ in the run folder). On a robot, let it begin "
            "under supervision, from starts like the recorded ones, in turns with the pretrained policy."
        )
    return (
        f"{'Rejected' if can_decide(gate) else 'Not decided'}: the run hands out the pretrained policy (accepted/ in "
        "the run folder); the refined one stays in the run folder for study. More recorded episodes of the pretrained "
        "policy, with successes and failures, are what the gate learns most from."
    )


def _beside(gate: Mapping[str, Any], measure: Measure) -> tuple[str, ...]:
    """What the held-out worlds say of filtered cloning, the cheap alternative."""
    if "filtered" not in gate:
        return ()
    filtered, over = gate["filtered"], gate["refined_over_filtered"]
    return (
        f"Cloning every recorded success instead (the filtered policy) is expected to change the pretrained one by "
        f"{measure.change(filtered['estimate'])} (at least {measure.bound(filtered['low'])}), and the refined policy "
        f"differs from the filtered one by {measure.change(over['estimate'])} ({measure.bound(over['low'])} to "
        f"{measure.bound(over['high'])}).",
    )


def _policy_rows(gate: Mapping[str, Any], measure: Measure) -> tuple[tuple[str, ...], ...]:
    def row(name: str, key: str, written: Any) -> tuple[str, ...] | None:
        if not all(key in gate[policy] for policy in _POLICIES):
            return None
        return (name, *(written(gate[policy][key]) for policy in _POLICIES))

    rows = [
        row(f"imagined {measure.name}, pessimistic", "pessimistic", measure.value),
        row(f"imagined {measure.name}, however uncertain", "hopeful", measure.value),
        row("episodes halted", "halted", percent),
        row("mean distance to the data (halted at 1)", "distance", lambda value: f"{value:.2f}"),
    ]
    wanted = gate.get(f"expected_{measure.name}")
    if wanted is not None:
        rows.append((f"expected real {measure.name}", *(measure.value(wanted[policy]) for policy in _POLICIES)))
    recorded = gate.get("recorded")
    if recorded is not None and "successes" in recorded:
        low, high = wilson_interval(recorded["successes"], recorded["episodes"])
        told = f"{recorded['successes']} of {recorded['episodes']} ({percent(low, 0)} to {percent(high, 0)})"
        rows.append(("real success in the data (95 % interval)", told, "unknown"))
    elif measure.name == "success":
        rows.append(("real success in the data", "never recorded", "unknown"))
    return tuple(one for one in rows if one is not None)


def _back_test(gate: Mapping[str, Any]) -> Table:
    counts = gate["back_test"]
    imagined, other = counts["both"] + counts["only_imagined"], counts["only_real"] + counts["neither"]
    note = (
        f"Each held-out world replayed episodes that it had not learned from, {imagined + other} in all. Of {imagined} "
        f"that succeed in imagination, {counts['both']} had succeeded in reality; of {other} that fail in imagination, "
        f"{counts['only_real']} had. Worlds that know the task come near all and near none. φ = {gate['skill']:.2f} "
        f"sums this up: 1 is perfect, 0 no better than guessing. Two replays of the same episode agree at "
        f"{counts['repeatability']:.2f}. For what the worlds get wrong beyond this luck, the gate multiplies an "
        f"imagined gain by {gate['transfer']:.2f}."
    )
    rows = (
        ("real success", count(counts["both"]), count(counts["only_real"])),
        ("real failure", count(counts["only_imagined"]), count(counts["neither"])),
    )
    return Table(
        ("", "imagined success", "imagined failure"), rows, "Back-test: recorded episodes, replayed", note=note
    )


def _teach(starts: Sequence[Mapping[str, Any]], measure: Measure) -> Table:
    rows = tuple(
        (str(one["episode"]), one["source"], " ".join(measure.value(value) for value in one["outcomes"]))
        for one in starts
    )
    note = (
        "Recorded starts from which the held-out worlds disagree most about how the refined policy ends. Record more "
        "episodes from such starts, successes and failures: they would teach most."
    )
    return Table(
        ("episode", "recorded by", f"{measure.name} in each world"), rows, "These starts would teach most", 2, note
    )


def _worlds(gate: Mapping[str, Any], measure: Measure) -> Plot:
    before, after = (numbers(gate[policy]["per_world"]) for policy in _POLICIES)
    places = tuple(float(row) for row in range(len(after)))
    series = (Series("pretrained", places, before, colour="grey"), Series("refined", places, after))
    better = sum(new > old for old, new in zip(before, after, strict=True))
    caption = (
        f"In {({0: 'none', len(places): 'all'}).get(better, better)} of {len(places)} held-out worlds the refined "
        "policy does better. The worlds learned from different episodes of the same data, so that their spread shows "
        "how much hangs on single episodes, but not what all of the data lack."
    )
    axis = Axis(f"imagined {measure.name}, pessimistic", **measure.axis)
    names = tuple(f"world {row + 1}" for row in range(len(places)))
    return Plot("interval", "Both policies in each held-out world", series, Axis(), axis, caption, names=names)


def _estimate(gate: Mapping[str, Any], measure: Measure) -> Plot:
    centre, low, high = ((measure.scale * gate[key],) for key in ("estimate", "low", "high"))
    series = Series("", (0.0,), centre, low, high, (measure.change(gate["estimate"]),))
    caption = (
        f"{_sentence(expected(gate))}. The bounds cover how far the held-out worlds differ, the luck of the starts, "
        "and how few recorded episodes the back-test had."
    )
    axis = Axis(f"refined − pretrained{measure.unit}")
    return Plot("interval", "Expected real gain", (series,), Axis(), axis, caption, (Mark(0),), ("expected",))


def _sentence(text: str) -> str:
    # Formatted numbers come with a hyphen for a minus.
    return re.sub(r"(?<= )-(?=\d)", "−", text[:1].upper() + text[1:])


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    return round(value, 4) if isinstance(value, float) else value
