"""Sections about models: the success classifier, prediction error, uncertainty, imagined pictures, training curves.

Each takes the plain numbers of what `evaluation` measured. Those of one world model share a section.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from burnish.report.section import Axis, Colour, Mark, Plot, Section, Series, curve, numbers
from burnish.report.wording import count, percent, readable

Rows = Sequence[Mapping[str, Any]]
_HORIZON = Axis("horizon (transitions)")
_SCATTER_POINTS = 800
_PREDICTORS: tuple[tuple[str, str, Colour], ...] = (
    ("hold_last", "hold the last", "grey"),
    ("model", "world model", "blue"),
)
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


def world_model_section(**more: Any) -> Section:
    """The section of a world model, with whatever parts."""
    return Section("world-model", "World model and its uncertainty", 60, **more)


def calibration_section(calibration: Mapping[str, Any]) -> Section:
    """How far a success classifier's probabilities and its threshold can be relied on.

    Args:
        calibration: "bins" ({"mean_probability", "frequency", "count"} over held-out frames), "curve" ({"threshold",
            "precision", "recall"}), and "threshold", "target_precision", "precision", "recall", "positives" and
            "negatives" at it.
    """
    drawn = (_reliability(calibration), _precision_recall(calibration))
    plots = tuple(plot for plot in drawn if plot is not None)
    missing = () if plots else ("The calibration holds neither bins nor a curve.",)
    return Section("success-classifier", "Success classifier", 50, plots=plots, missing=missing)


def prediction_section(prediction: Mapping[str, Any]) -> Section:
    """Open-loop prediction error by horizon against holding the last observation (`OpenLoop.summary`)."""
    horizon, unit = tuple(map(float, prediction["horizon"])), prediction["unit"]
    series = tuple(_band(label, horizon, prediction[name], colour) for name, label, colour in _PREDICTORS)
    model, hold = (prediction[name]["median"][-1] for name in ("model", "hold_last"))
    ratio = f" At the last horizon the world model's median error is {model / hold:.2f} of hold-last's." if hold else ""
    caption = (
        "The world model runs on its own predictions, with the recorded actions of held-out episodes. Lines are "
        f"medians, bands hold 80 % of the windows.{ratio}"
    )
    alt = f"Median error {horizon[-1]:.0f} steps ahead: world model {model:.3g}, hold-last {hold:.3g} ({unit})."
    axes = Axis("horizon (environment steps)"), Axis(f"error ({unit})", low=0)
    return world_model_section(
        plots=(Plot("line", "Open-loop prediction error", series, *axes, caption=caption, alt=alt),)
    )


def disagreement_section(disagreement: Mapping[str, Any]) -> Section:
    """An ensemble's disagreement against the true error.

    Args:
        disagreement: "pairs" ([disagreement, error] of held-out transitions), "threshold", "spearman" (or None).
    """
    pairs = [pair for pair in disagreement["pairs"] if all(map(math.isfinite, pair))]
    if not pairs:
        return world_model_section(missing=("No held-out transition has a disagreement.",))
    threshold, correlation = disagreement["threshold"], disagreement.get("spearman")
    told = "not defined" if correlation is None else f"{correlation:.2f}"
    beyond = sum(pair[0] > threshold for pair in pairs) / len(pairs)
    # Every n-th point in the order of disagreement: the shape stays, the page stays small.
    step = max(1, math.ceil(len(pairs) / _SCATTER_POINTS))
    shown = sorted(pairs)[::step]
    series = Series("", tuple(float(pair[0]) for pair in shown), numbers(pair[1] for pair in shown))
    caption = (
        f"Held-out real transitions ({count(len(pairs))}, {len(shown)} drawn). Spearman's rank correlation {told}; "
        f"{percent(beyond)} lie beyond the threshold of pessimism, {threshold:.3g}."
    )
    plot = Plot(
        "scatter",
        "Disagreement against true error",
        (series,),
        Axis("ensemble disagreement", "wide"),
        Axis("true one-step error", "wide"),
        (Mark(float(threshold), "threshold"),),
        caption=caption,
        alt=f"Scatter of {len(pairs)} transitions; rank correlation {told}, threshold {threshold:.3g}.",
    )
    return world_model_section(plots=(plot,))


def uncertainty_section(uncertainty: Mapping[str, Any]) -> Section:
    """Whether disagreement is calibrated, by horizon (`Uncertainty.summary`)."""
    warning = uncertainty.get("warning")
    plots = (_coverage(uncertainty), _rank_correlation(uncertainty))
    return world_model_section(plots=plots, warnings=(warning,) if warning else ())


def picture_section(fidelity: Mapping[str, Any]) -> Section:
    """How true imagined pictures are, and whether they follow the actions (`Fidelity.summary`).

    Args:
        fidelity: "horizon" and "sources"; each source has "windows" and, by metric, the means of "model" and
            "hold_last" by horizon; optionally "action_following".
    """
    wanted = {
        "psnr_moving": ("Imagined pictures: where something moves", "PSNR of moving pixels (dB)", "higher"),
        "ssim": ("Imagined pictures: structure", "structural similarity (SSIM)", "higher"),
        "lpips": ("Imagined pictures: perception", "perceptual distance (LPIPS)", "lower"),
    }
    measured = [name for name in wanted if any(name in source for source in fidelity["sources"].values())]
    own, words = fidelity.get("action_following", {}).get("own_future", {}), ()
    if own.get("rate") is not None:
        words = (
            f"In {percent(own['rate'], 0)} of {own['windows']} held-out windows the recorded actions bring imagination "
            "nearer to what happened than another window's actions do (50 %: it does not follow them).",
        )
    return world_model_section(plots=tuple(_pictures(fidelity, name, *wanted[name]) for name in measured), words=words)


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
    plots = []
    if series:
        ends = "; ".join(f"{one.label} from {one.y[0]:.3g} to {one.y[-1]:.3g}" for one in series)
        plots.append(Plot("line", name, series, steps, Axis("loss", "wide"), alt=f"{name}: loss, {ends}."))
    columns = {key for row in rows for key in row if key.startswith("validation/")} - {"validation/loss"}
    for key in sorted(columns):
        one = curve(rows, "step", key, "held out", "orange")
        if one is not None:
            what = key.removeprefix("validation/")
            label, caption = _VALIDATION.get(what, (readable(what).lower(), ""))
            title = f"{name}: {readable(what).lower()}"
            alt = f"{title}, {label}: from {one.y[0]:.3g} to {one.y[-1]:.3g}."
            plots.append(Plot("line", title, (one,), steps, Axis(label), caption=caption, alt=alt))
    return plots


def _reliability(calibration: Mapping[str, Any]) -> Plot | None:
    bins = [one for one in calibration.get("bins", ()) if one["count"] > 0]
    if not bins:
        return None
    x, y, counts = (tuple(float(one[key]) for one in bins) for key in ("mean_probability", "frequency", "count"))
    gap = sum(n * abs(a - b) for a, b, n in zip(x, y, counts, strict=True)) / sum(counts)
    # The outer bins hold a hundred times the inner ones' frames: area by the logarithm of the count.
    size = tuple(12 + 10 * math.log1p(n) for n in counts)
    series = (Series("", x, y), Series("held-out frames", x, y, size=size, style="points"))
    caption = (
        f"Held-out frames grouped by the predicted probability; larger dots hold more frames ({count(sum(counts))} in "
        f"all). Mean gap to the diagonal: {percent(gap)}."
    )
    return Plot(
        "line",
        "Calibration",
        series,
        Axis("predicted probability of success", "share", 0, 1),
        Axis("frames that are successes", "share", 0, 1),
        (Mark(0, "perfectly calibrated", "diagonal"),),
        caption=caption,
        alt=f"Reliability diagram, {len(bins)} bins, mean gap between predicted and observed {percent(gap)}.",
    )


def _precision_recall(calibration: Mapping[str, Any]) -> Plot | None:
    points = sorted(calibration.get("curve", ()), key=lambda point: point["threshold"])
    found = (
        curve(points, "threshold", "precision", "precision"),
        curve(points, "threshold", "recall", "recall", "orange"),
    )
    series = tuple(one for one in found if one is not None)
    if not series:
        return None
    threshold, target = calibration["threshold"], calibration.get("target_precision")
    told = (
        f"At {threshold:.3g} the classifier has precision {_share(calibration['precision'])} and recall "
        f"{_share(calibration['recall'])} on held-out data ({count(calibration['positives'])} successes and "
        f"{count(calibration['negatives'])} other frames)"
    )
    return Plot(
        "line",
        "Threshold",
        series,
        Axis("threshold on the probability", "share", 0, 1),
        Axis("precision, recall", "share", 0, 1),
        (Mark(threshold, "chosen threshold"), *(() if target is None else (Mark(target, "wanted precision", "y"),))),
        caption=f"{told}; a positive ends the imagined episode with a reward.",
        alt=f"Precision and recall curves. {told}.",
    )


def _coverage(uncertainty: Mapping[str, Any]) -> Plot:
    coverage, horizon = uncertainty["coverage"], tuple(map(float, uncertainty["horizon"]))
    series = (
        Series("one factor", horizon, numbers(coverage["one_step_factor"]), colour="orange"),
        Series("one for each horizon", horizon, numbers(coverage["recalibrated"])),
    )
    own, one_step, low, high = (
        _share(coverage[name][-1])
        for name in ("recalibrated", "one_step_factor", "low_disagreement", "high_disagreement")
    )
    caption = (
        "Disagreement, averaged over the steps so far, times a factor bounds the error. Factors come from "
        f"{count(uncertainty['windows']['calibration'])} windows of one half of {count(uncertainty['episodes'])} "
        f"held-out episodes and are tried on {count(uncertainty['windows']['test'])} of the other half. At the last "
        f"horizon its own factor bounds {low} of the errors where disagreement is below its median, {high} where above."
    )
    alt = (
        f"Coverage {horizon[-1]:.0f} transitions ahead: {own} with a factor for each horizon, {one_step} with that of "
        f"one step; wanted {percent(uncertainty['target'])}."
    )
    axis, mark = Axis("errors within their bound", "share", 0, 1), Mark(uncertainty["target"], "wanted", "y")
    return Plot("line", "Uncertainty: is its scale right?", series, _HORIZON, axis, (mark,), caption=caption, alt=alt)


def _rank_correlation(uncertainty: Mapping[str, Any]) -> Plot:
    values = numbers(uncertainty["rank_correlation"])
    series = Series("", tuple(map(float, uncertainty["horizon"])), values)
    first, last = ("not defined" if value is None else f"{value:.2f}" for value in (values[0], values[-1]))
    return Plot(
        "line",
        "Uncertainty: does it rank errors?",
        (series,),
        _HORIZON,
        Axis(
            "rank correlation with the error", low=min(0, *(value for value in values if value is not None), 0), high=1
        ),
        (Mark(0, "", "y"),),
        caption="Spearman's rank correlation of disagreement, averaged over the steps so far, and the open-loop error: "
        "1 where disagreement puts held-out windows in the order of their errors, 0 where it knows nothing of them.",
        alt=f"Rank correlation of disagreement and error: {first} one transition ahead, {last} at the last horizon.",
    )


def _pictures(fidelity: Mapping[str, Any], metric: str, title: str, unit: str, better: str) -> Plot:
    series, told = [], []
    colours: tuple[Colour, ...] = ("blue", "orange", "green", "purple")
    for (source, found), colour in zip(fidelity["sources"].items(), cycle(colours)):
        if metric not in found:
            continue
        for who, style in (("model", "solid"), ("hold_last", "dashed")):
            label = readable(source).lower() if who == "model" else ""
            horizon, values = tuple(map(float, fidelity["horizon"])), numbers(found[metric][who])
            series.append(Series(label, horizon, values, colour=colour, style=style))  # type: ignore[arg-type]
        last = [found[metric][who][-1] for who in ("model", "hold_last")]
        told.append("{} {}, hold-last {}".format(source, *("unknown" if v is None else f"{v:.3g}" for v in last)))
    windows = ", ".join(f"{found['windows']} {source}" for source, found in fidelity["sources"].items())
    caption = (
        f"Means over windows of held-out episodes ({windows}), imagined open-loop under the recorded actions; {better} "
        "is better. Dashed: the present picture, held."
    )
    alt = f"{title}, at the last horizon: {'; '.join(told)}."
    return Plot("line", title, tuple(series), _HORIZON, Axis(unit), caption=caption, alt=alt)


def _band(label: str, x: tuple[float, ...], band: Mapping[str, Sequence[float]], colour: Colour) -> Series:
    low, high = (tuple(map(float, band[name])) for name in ("p10", "p90"))
    return Series(label, x, numbers(band["median"]), low, high, colour=colour)


def _share(value: float | None) -> str:
    return "unknown" if value is None else percent(value)
