"""Sections about policies: before and after in the real simulator, and refinement by iterate."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from burnish.evaluation.correlation import correlation_interval, pearson, spearman
from burnish.report.contract import POLICIES
from burnish.report.section import Axis, Colour, Mark, Plot, Section, Series, curve, numbers
from burnish.report.sections_worth import time_table
from burnish.report.verdict import can_decide, difference, handed_out, interval, measured_by, refused_by_gate
from burnish.report.wording import MEASURES, Measure, count, readable

Rows = Sequence[Mapping[str, Any]]
_COLOURS: tuple[Colour, ...] = ("grey", "blue", "green", "purple", "orange")
_STEPS = Axis("imagined steps", "count")
_SHARE: dict[str, Any] = {"scale": "share", "low": 0, "high": 1}
_TRAINING = ("while training, exploring", "grey")
_EVALUATED = ("deterministic, pessimistic", "blue")
# Title, unit, columns of the metrics with their names, caption.
_PANELS: tuple[tuple[str, Axis, Mapping[str, tuple[str, Any]], str], ...] = (
    (
        "Success in imagination",
        Axis("episodes that succeed", **_SHARE),
        {"eval/success": _EVALUATED, "train/success": _TRAINING},
        "Pessimistic: an imagined episode that leaves the data counts as a failure, so this lies below real success. "
        "Exploring lies lower still: actions are drawn around the policy's. Only the order of iterates counts.",
    ),
    (
        "Return in imagination",
        Axis("return of an episode"),
        {"eval/return": _EVALUATED, "train/return": _TRAINING},
        "Pessimistic: where the world model is uncertain, an episode ends or pays. Only the order of iterates counts.",
    ),
    (
        "Pessimistic halting",
        Axis("episodes halted", **_SHARE),
        {"eval/halted": ("deterministic", "blue"), "train/halted": ("while training", "grey")},
        "Imagined episodes stopped without reward: the ensemble disagreed, or they were far from the data.",
    ),
    (
        "Distance from the data",
        Axis("mean over imagined steps; 1 is the threshold"),
        {"eval/distance": ("distance", "blue"), "eval/disagreement": ("disagreement", "orange")},
        "Of the evaluated policy's imagined states and actions, in units of the thresholds of pessimism.",
    ),
    (
        "Distance from the pretrained policy",
        Axis("KL divergence (nats)"),
        {"kl_base": ("to the pretrained policy", "blue"), "kl": ("of one update", "orange")},
        "How far refinement has moved the policy.",
    ),
    ("Entropy", Axis("entropy (nats)"), {"entropy": ("policy", "purple")}, "How widely the policy explores."),
)


def outcome_section(report: Mapping[str, Any]) -> Section:
    """Every policy in the real simulator, and the paired differences; `report` is a valid report.json."""
    section = Section("outcome", "Before and after, in the real simulator", order=10)
    if report["success"] is None and report["return"] is None:
        reason = report["skipped"]["evaluation"].rstrip(". ")
        return replace(section, missing=(f"Evaluation in a simulator was skipped: {reason}.",))
    words, warnings, plots = [], [], []
    if report["limit"] is not None:
        ends = "has failed" if report["success"] is not None else "ends"
        words.append(f"An episode {ends} {limit_words(report['limit'])}.")
    if refused_by_gate(report):
        words.append(
            "“Refined” is the policy that the trust gate did not accept; the run hands out the "
            f"{handed_out(report)} one."
        )
    elif not report["accepted"]:
        start = report.get("start", "pretrained")
        words.append(f"“Refined” is the {start} policy here: no refined one was better in imagination.")
    if "filtered" in report["policies"]:
        shown = "every recorded success" if report["success"] is not None else "the recorded episodes of highest return"
        words.append(f"“Filtered” is the cheap alternative: {shown}, cloned in seconds, and no more.")
    for name, measure in MEASURES.items():
        if report[name] is None:
            continue
        plots.append(_levels(report, measure))
        found = difference(report, measure)
        if found is not None:
            plots.append(_difference(report, measure, found))
            if report["accepted"] and found["high"] < 0 and measure is measured_by(report):
                decided = (
                    "contradicts the decision" if report["gate"] is not None else "has it worse, and no gate was asked"
                )
                warnings.append(f"The simulator {decided}: do not run the refined policy on a robot.")
    speed = time_table(report)
    tables = () if speed is None else (speed,)
    return replace(section, words=tuple(words), warnings=tuple(warnings), plots=tuple(plots), tables=tables)


def limit_words(limit: Mapping[str, int]) -> str:
    """After how long an episode is over."""
    decisions, repeat = limit["decisions"], limit["action_repeat"]
    each = f" of {repeat} control steps each ({count(limit['control_steps'])} in all)" if repeat > 1 else ""
    return f"after {count(decisions)} decisions{each}"


def refinement_section(
    rows: Rows, iteration: int, imagined: Mapping[str, Mapping[str, float]], stopped: str | None = None
) -> Section:
    """Learning curves over imagined steps, and how the iterate was chosen.

    Args:
        rows: the stage's metrics: "iteration", "imagined_steps", and any of "eval/success", "eval/return",
            "eval/halted", "eval/distance", "eval/disagreement", "train/…", "kl", "kl_base", "entropy", "loss/…".
        iteration: the chosen iterate; 0 where none was better than the pretrained policy.
        imagined: {"success" or "return": {"pretrained": …, "refined": …}}, by which it was chosen.
        stopped: why refinement ended.
    """
    words = []
    for name, ends in imagined.items():
        value = MEASURES[name].value
        words.append(
            f"The iterate is chosen by pessimistic {name} in imagination, never by a real one: "
            f"{value(ends['pretrained'])} for the policy that it began with, {value(ends['refined'])} for the refined "
            "one."
        )
    words.append(f"The chosen iterate is number {iteration}." if iteration else "No iterate was better.")
    if stopped:
        words.append(f"Refinement stopped: {stopped}.")
    at = next((row["imagined_steps"] for row in rows if row.get("iteration") == iteration), None)
    marks = () if at is None else (Mark(float(at), "chosen iterate"),)
    losses = {key for row in rows for key in row if key.startswith("loss/")}
    panels = [*_PANELS, *(_loss_panel(key) for key in sorted(losses))]
    plots = [plot for panel in panels if (plot := _panel(rows, marks, *panel)) is not None]
    missing = () if plots else ("Refinement left no metrics.",)
    return Section(
        "refinement", "Refinement in imagination", 40, (" ".join(words),), plots=tuple(plots), missing=missing
    )


def curve_section(curve: Rows, rows: Rows) -> Section:
    """Real success or return of a few iterates, drawn over those of imagination.

    Args:
        curve: {"iteration", "ci95", and "rate" or "mean"}, measured after the choice.
        rows: the refinement's metrics, which know the imagined steps of each iteration.
    """
    steps = {row["iteration"]: row["imagined_steps"] for row in rows if "iteration" in row}
    told = "Real values were measured after the choice, for comparison alone; whiskers are 95 % intervals."
    plots, words = [], list[str]()
    scores = {row["iteration"]: row["eval/score"] for row in rows if "eval/score" in row}
    for key, (title, axis, *_) in zip(("rate", "mean"), _PANELS, strict=False):
        known = [row for row in curve if key in row and row["iteration"] in steps]
        x, y = numbers(steps[row["iteration"]] for row in known), numbers(row[key] for row in known)
        low, high = (numbers(row["ci95"][end] for row in known) for end in (0, 1))
        if known:
            series = Series("real, other starts", x, y, low, high, colour="orange", style="points")
            plots.append(Plot("line", title, (series,), _STEPS, axis, told))
        words += _agreement([(scores[row["iteration"]], row[key]) for row in known if row["iteration"] in scores])
    return Section("refinement", "Refinement in imagination", 40, tuple(words), plots=tuple(plots))


def _agreement(pairs: Sequence[tuple[float, float]]) -> list[str]:
    """How imagined and real values of some policies go together, in a sentence."""
    if len(pairs) < 3:
        return []
    imagined, real = torch.tensor(pairs, dtype=torch.float64).T
    r, rho = pearson(imagined, real), spearman(imagined, real)
    interval = correlation_interval(r, len(pairs))
    sure = "" if interval is None else f" (95 % interval {interval[0]:.2f} to {interval[1]:.2f})"
    ranks = "" if math.isnan(rho) else f", their ranks at ρ = {rho:.2f}"
    told = f"Over these {len(pairs)} iterates, imagined and real values correlate at r = {r:.2f}{sure}{ranks}."
    return [re.sub(r"(?<= )-(?=\d)", "−", told)]


def _levels(report: Mapping[str, Any], measure: Measure) -> Plot:
    """Success rates as bars, returns as points: these have no natural zero."""
    share, series = measure.name == "success", []
    found = {name: policy[measure.name] for name, policy in report["policies"].items() if measure.name in policy}
    for row, one in enumerate(found.values()):
        text = measure.value(one[measure.mean]) + (f" ({one['successes']} of {one['episodes']})" if share else "")
        low, high = one["ci95"]
        series.append(Series("", (row,), (one[measure.mean],), (low,), (high,), (text,), (), _COLOURS[row % 5]))
    if share:
        caption = "Share of evaluation episodes that succeed; whiskers are Wilson's 95 % intervals."
    else:
        caption = "Mean over evaluation episodes; whiskers are Student's 95 % intervals."
        caption += _normalised(report["return"])
    axis = Axis("success rate" if share else "mean return of an episode", **measure.axis)
    return Plot(
        "bars" if share else "interval",
        readable(measure.name),
        tuple(series),
        Axis(),
        axis,
        caption,
        names=tuple(found),
    )


def _normalised(returns: Mapping[str, Any]) -> str:
    against, value = returns.get("reference"), MEASURES["return"].value
    if against is None:
        return ""
    told = ", ".join(f"{name} {returns[name]['normalised']:.2f}" for name in POLICIES).replace("-", "−")
    return (
        f" Normalised, 0 for {against['low_source']} episodes of the data ({value(against['low'])}) and 1 for those by "
        f"{against['high_source']} ({value(against['high'])}): {told}."
    )


def _difference(report: Mapping[str, Any], measure: Measure, found: Mapping[str, Any]) -> Plot:
    """The paired difference, and above it what the gate had expected."""
    rows: list[tuple[str, Mapping[str, Any], Colour]] = [("simulator", found, "blue")]
    gate = report["gate"]
    if gate is not None and can_decide(gate) and gate.get("measure", "success") == measure.name:
        rows.insert(0, ("expected by the gate", {**gate, "difference": gate["estimate"]}, "grey"))
    series = []
    for row, (_, one, colour) in enumerate(rows):
        centre, low, high = ((measure.scale * one[name],) for name in ("difference", "low", "high"))
        series.append(Series("", (row,), centre, low, high, (measure.change(one["difference"]),), colour=colour))
    caption = f"Both policies start from the same states; {interval(found, measure)}."
    if "improved" in found:
        p = "< 0.0001" if found["p_value"] < 1e-4 else f"= {found['p_value']:.2g}"
        caption = (
            f"Both policies start from the same states: {found['improved']} newly succeed, {found['worsened']} newly "
            f"fail, {found['both']} succeed both times, {found['neither']} never ({interval(found, measure)}; "
            f"McNemar's exact test: p {p})."
        )
    if len(rows) > 1:
        caption += " The gate's expectation stood before the simulator was asked; its bounds are one-sided."
    names, axis = tuple(row[0] for row in rows), Axis(f"refined − pretrained{measure.unit}")
    return Plot("interval", f"Difference in {measure.name}", tuple(series), Axis(), axis, caption, (Mark(0),), names)


def _panel(
    rows: Rows, marks: tuple[Mark, ...], title: str, axis: Axis, columns: Mapping[str, tuple[str, Any]], caption: str
) -> Plot | None:
    found = [curve(rows, "imagined_steps", key, *named) for key, named in columns.items()]
    series = tuple(one for one in found if one is not None)
    return Plot("line", title, series, _STEPS, axis, caption, marks) if series else None


def _loss_panel(key: str) -> tuple[str, Axis, Mapping[str, tuple[str, Any]], str]:
    name = readable(key.removeprefix("loss/"))
    return f"{name} loss", Axis("loss"), {key: (name.lower(), "blue")}, ""
