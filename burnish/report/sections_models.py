"""Sections about world models: prediction error, uncertainty, imagined pictures, training curves.

Each takes the plain numbers of what `evaluation` measured. Those of one world model share a section.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.report.section import Axis, Colour, Mark, Plot, Section, Series, Table, curve, numbers
from burnish.report.wording import count, percent, readable

Rows = Sequence[Mapping[str, Any]]
_HORIZON = Axis("horizon (transitions)")
_SCATTER_POINTS = 800
_COLOURS: tuple[Colour, ...] = ("blue", "orange", "green", "purple")
# Of validation columns: what is measured, and what it means.
_VALIDATION = {
    "open_loop_error": (
        "median error (standard deviations of the data)",
        "Open-loop prediction of held-out episodes, at the last horizon.",
    ),
    "outcome_error": (
        "1 − correlation of imagined and recorded outcomes",
        "Held-out episodes, replayed from their first frames: 0 where imagined success always agrees, 1 where it says "
        "nothing. Training may stop where this no longer falls.",
    ),
}
_PICTURES = {
    "psnr_moving": ("Imagined pictures: where something moves", "PSNR of moving pixels (dB)"),
    "ssim": ("Imagined pictures: structure", "structural similarity (SSIM)"),
}


def world_model_section(**more: Any) -> Section:
    """The section of a world model, with whatever parts."""
    return Section("world-model", "World model and its uncertainty", 60, **more)


def prediction_section(prediction: Mapping[str, Any]) -> Section:
    """Open-loop prediction error by horizon against holding the last observation (`OpenLoop.summary`)."""
    hold, model = prediction["hold_last"], prediction["model"]
    horizon = numbers(prediction["horizon"])
    series = (_band("hold the last", horizon, hold, "grey"), _band("world model", horizon, model, "blue"))
    last, last_hold = model["median"][-1], hold["median"][-1]
    ratio = f" At the last horizon the median error is {last / last_hold:.2f} of hold-last's." if last_hold else ""
    caption = (
        "The world model runs on its own predictions, with the recorded actions of held-out episodes. Lines are "
        f"medians, bands hold 80 % of the windows.{ratio}"
    )
    axes = Axis("horizon (environment steps)"), Axis(f"error ({prediction['unit']})", low=0)
    return world_model_section(plots=(Plot("line", "Open-loop prediction error", series, *axes, caption),))


def disagreement_section(disagreement: Mapping[str, Any]) -> Section:
    """An ensemble's disagreement against the true error.

    Args:
        disagreement: "pairs" ([disagreement, error] of held-out transitions), "threshold", "spearman" (or None).
    """
    pairs = [pair for pair in disagreement["pairs"] if all(map(math.isfinite, pair))]
    if not pairs:
        return world_model_section(missing=("No held-out transition has a disagreement.",))
    threshold, correlation = float(disagreement["threshold"]), disagreement.get("spearman")
    beyond = sum(pair[0] > threshold for pair in pairs) / len(pairs)
    # Every n-th point in the order of disagreement: the shape stays, the page stays small.
    shown = sorted(pairs)[:: max(1, math.ceil(len(pairs) / _SCATTER_POINTS))]
    series = Series("", tuple(float(pair[0]) for pair in shown), numbers(pair[1] for pair in shown))
    caption = (
        f"Held-out real transitions ({count(len(pairs))}, {len(shown)} drawn). Spearman's rank correlation "
        f"{'not defined' if correlation is None else f'{correlation:.2f}'}; {percent(beyond)} lie beyond the threshold "
        f"of pessimism, {threshold:.3g}."
    )
    axes, mark = (
        (Axis("ensemble disagreement", "wide"), Axis("true one-step error", "wide")),
        Mark(threshold, "threshold"),
    )
    plot = Plot("scatter", "Disagreement against true error", (series,), *axes, caption, (mark,))
    return world_model_section(plots=(plot,))


def uncertainty_section(uncertainty: Mapping[str, Any]) -> Section:
    """Whether disagreement is calibrated, by horizon (`Uncertainty.summary`)."""
    horizon, coverage, windows = numbers(uncertainty["horizon"]), uncertainty["coverage"], uncertainty["windows"]
    low, high = (_share(coverage[name][-1]) for name in ("low_disagreement", "high_disagreement"))
    caption = (
        "Disagreement, averaged over the steps so far, times a factor bounds the error. Factors come from "
        f"{count(windows['calibration'])} windows of one half of {count(uncertainty['episodes'])} held-out episodes "
        f"and are tried on {count(windows['test'])} of the other half. At the last horizon its own factor bounds {low} "
        f"of the errors where disagreement is below its median, {high} where above."
    )
    one = Series("one factor", horizon, numbers(coverage["one_step_factor"]), colour="orange")
    each = Series("one for each horizon", horizon, numbers(coverage["recalibrated"]))
    axis, wanted = Axis("errors within their bound", "share", 0, 1), Mark(uncertainty["target"], "wanted", "y")
    scale = Plot("line", "Uncertainty: is its scale right?", (one, each), _HORIZON, axis, caption, (wanted,))

    values = numbers(uncertainty["rank_correlation"])
    caption = (
        "Spearman's rank correlation of disagreement, averaged over the steps so far, and the open-loop error: 1 where "
        "disagreement puts held-out windows in the order of their errors, 0 where it knows nothing of them."
    )
    axis = Axis("rank correlation with the error", low=min(0.0, *(value or 0.0 for value in values)), high=1)
    ranks = Series("", horizon, values)
    rank = Plot("line", "Uncertainty: does it rank errors?", (ranks,), _HORIZON, axis, caption, (Mark(0, "", "y"),))
    warning = uncertainty.get("warning")
    return world_model_section(plots=(scale, rank), warnings=(warning,) if warning else ())


def picture_section(fidelity: Mapping[str, Any]) -> Section:
    """How true imagined pictures are, and whether they follow the actions (`Fidelity.summary`).

    Args:
        fidelity: "horizon" and "sources"; each source has "windows" and, by metric, the means of "model" and
            "hold_last" by horizon; optionally "action_following", which may say why it is "missing".
    """
    sources = fidelity["sources"]
    measured = [name for name in _PICTURES if any(name in source for source in sources.values())]
    following, words = fidelity.get("action_following", {}), ()
    own, missing = following.get("own_future", {}), following.get("missing")
    if own.get("rate") is not None:
        words = (
            f"In {percent(own['rate'], 0)} of {own['windows']} held-out windows the recorded actions bring imagination "
            "nearer to what happened than another window's actions do (50 %: it does not follow them).",
        )
    windows = ", ".join(f"{found['windows']} {source}" for source, found in sources.items())
    caption = (
        f"Means over windows of held-out episodes ({windows}), imagined open-loop under the recorded actions; higher "
        "is better. Dashed: the present picture, held."
    )
    plots = []
    for metric in measured:
        title, unit = _PICTURES[metric]
        plots.append(Plot("line", title, _pictures(fidelity, metric), _HORIZON, Axis(unit), caption))
    return world_model_section(plots=tuple(plots), words=words, missing=(missing,) if missing else ())


def failure_section(failures: Mapping[str, Any]) -> Section:
    """Whether an imagined failure stays one (`FailureFidelity.summary`)."""
    words = []
    for name, word in (("failures_kept", "failed"), ("successes_kept", "succeeded")):
        told = failures.get(name, {}).get("imagined", {})
        if told.get("rate") is not None:
            words.append(
                f"Of {told['episodes']} held-out episodes that {word}, {told['kept']} {word} in imagination, too, "
                "under the same actions and by the classifier."
            )
    return world_model_section(words=tuple(words))


def training_section(curves: Mapping[str, Rows]) -> Section | None:
    """The loss curves of supervised stages, by their names; None where there is none.

    Rows hold "step" and "loss", and may hold "validation/loss" and other "validation/…" columns.
    """
    plots = [plot for name, rows in curves.items() for plot in _training(readable(name), rows)]
    return Section("training", "Training", 70, plots=tuple(plots)) if plots else None


def _training(name: str, rows: Rows) -> list[Plot]:
    steps = Axis("training step", "count")
    found = (curve(rows, "step", "loss", "training"), curve(rows, "step", "validation/loss", "held out", "orange"))
    series = tuple(one for one in found if one is not None)
    plots = [Plot("line", name, series, steps, Axis("loss", "wide"))] if series else []
    columns = {key for row in rows for key in row if key.startswith("validation/")} - {"validation/loss"}
    for key in sorted(columns):
        one, what = curve(rows, "step", key, "held out", "orange"), key.removeprefix("validation/")
        label, caption = _VALIDATION.get(what, (readable(what).lower(), ""))
        if one is not None:
            plots.append(Plot("line", f"{name}: {readable(what).lower()}", (one,), steps, Axis(label), caption))
    return plots


def _pictures(fidelity: Mapping[str, Any], metric: str) -> tuple[Series, ...]:
    horizon, series = numbers(fidelity["horizon"]), []
    measured = {source: found[metric] for source, found in fidelity["sources"].items() if metric in found}
    for number, (source, found) in enumerate(measured.items()):
        model, hold, colour = numbers(found["model"]), numbers(found["hold_last"]), _COLOURS[number % 4]
        series.append(Series(readable(source).lower(), horizon, model, colour=colour))
        series.append(Series("", horizon, hold, colour=colour, style="dashed"))
    return tuple(series)


def _band(label: str, x: tuple[float, ...], band: Mapping[str, Sequence[float]], colour: Colour) -> Series:
    middle, low, high = (numbers(band[name]) for name in ("median", "p10", "p90"))
    return Series(label, x, middle, low, high, colour=colour)


def _share(value: float | None) -> str:
    return "unknown" if value is None else percent(value)


def gradient_section(found: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> Section:
    """How well a local model's gradients agree with finite differences of the world model.

    Args:
        found: by local model ("pretrained", "refreshed"), by number of decisions: "cosine" (mean), "low" and "high"
            (quartiles), "ratio" of lengths, "starts"; None where nothing could be compared.
    """

    def cell(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    rows = tuple(
        (name, decisions, *(cell(row[key]) for key in ("cosine", "low", "high", "ratio")), f"{row['starts'] or 0:.0f}")
        for name, by_steps in found.items()
        for decisions, row in by_steps.items()
    )
    table = Table(
        ("local model", "decisions", "mean cosine", "lower quartile", "upper quartile", "length ratio", "starts"), rows
    )
    words = (
        "Refinement takes values from the world model and gradients from a small local model. Here the gradient of "
        "the critic's value, with respect to the decisions that led to it, is compared with finite differences of the "
        "world model under the same random numbers: a cosine of 1 is the same direction, 0 is none."
    )
    return Section("gradients", "Gradients of the local model", 45, (words,), tables=(table,))
