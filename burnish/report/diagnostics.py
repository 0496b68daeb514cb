"""Plots of what refinement trusted: the classifier, the world model, and the ensemble's disagreement."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.ticker import PercentFormatter

from burnish.evaluation.correlation import spearman
from burnish.report.figures import BLUE, GREY, INK, MUTED, ORANGE, Plot, house_style, log_scale_where_wide, new_figure
from burnish.report.wording import count, percent

MAX_SCATTER_POINTS = 800


def plot_reliability(calibration: Mapping[str, Any]) -> Plot | None:
    """Reliability diagram of the success classifier; None where no bin holds a frame.

    `calibration["bins"]`: a list of {"low", "high", "mean_probability", "frequency", "count"} over held-out frames.
    """
    bins = [b for b in calibration.get("bins", ()) if b["count"] > 0]
    if not bins:
        return None
    counts = np.array([b["count"] for b in bins], dtype=float)
    with house_style():
        figure, axis = new_figure()
        axis.plot([0, 1], [0, 1], color=MUTED, linestyle=(0, (4, 3)), linewidth=1.1, label="perfectly calibrated")
        x = [b["mean_probability"] for b in bins]
        y = [b["frequency"] for b in bins]
        # Area by count on a square-root-of-log scale: the outer bins hold a hundred times the inner ones' frames.
        axis.plot(x, y, color=BLUE, linewidth=1.2)
        axis.scatter(x, y, s=12 + 10 * np.log1p(counts), color=BLUE, label="held-out frames", zorder=3)
        _as_shares(axis)
        axis.set_xlabel("predicted probability of success")
        axis.set_ylabel("frames that are successes")
        figure.legend(loc="outside upper left", ncols=2)
    gap = float(np.average(np.abs(np.subtract(x, y)), weights=counts))
    caption = (
        f"Held-out frames grouped by the predicted probability; larger dots hold more frames "
        f"({count(counts.sum())} in all). Mean gap to the diagonal: {percent(gap)}."
    )
    alt = f"Reliability diagram, {len(bins)} bins, mean gap between predicted and observed {percent(gap)}."
    return Plot(figure, "Success classifier: calibration", caption, alt)


def plot_precision_recall(calibration: Mapping[str, Any]) -> Plot | None:
    """Precision and recall over the threshold, with the chosen one; None without a curve.

    `calibration`: "curve" (a list of {"threshold", "precision", "recall"}), "threshold", "target_precision",
    "precision" and "recall" (at the threshold), "positives", "negatives" (held-out frames).
    """
    curve = sorted(calibration.get("curve", ()), key=lambda point: point["threshold"])
    if not curve:
        return None
    threshold = calibration["threshold"]
    with house_style():
        figure, axis = new_figure()
        for name, colour in (("precision", BLUE), ("recall", ORANGE)):
            known = [(p["threshold"], p[name]) for p in curve if p[name] is not None]
            axis.plot(*zip(*known, strict=True), color=colour, label=name) if known else None
        axis.axvline(threshold, color=INK, linestyle=(0, (4, 3)), linewidth=1.1, label="chosen threshold")
        if calibration.get("target_precision") is not None:
            axis.axhline(calibration["target_precision"], color=MUTED, linestyle=":", label="wanted precision")
        _as_shares(axis)
        axis.set_xlabel("threshold on the probability")
        axis.set_ylabel("precision, recall")
        figure.legend(loc="outside upper left", ncols=2)
    held_out = f"{count(calibration['positives'])} successes and {count(calibration['negatives'])} other frames"
    at_threshold = (
        f"At {threshold:.3g} the classifier has precision {_share(calibration['precision'])} "
        f"and recall {_share(calibration['recall'])} on held-out data ({held_out})"
    )
    caption = f"{at_threshold}; a positive ends the imagined episode with a reward."
    return Plot(figure, "Success classifier: threshold", caption, f"Precision and recall curves. {at_threshold}.")


def plot_prediction(prediction: Mapping[str, Any]) -> Plot:
    """Open-loop prediction error by horizon, against holding the last observation.

    `prediction`: "horizon" (steps), "model" and "hold_last" (each {"median", "p10", "p90"}, as long as "horizon"),
    "unit" (of the error, a text).
    """
    horizon = np.asarray(prediction["horizon"], dtype=float)
    with house_style():
        figure, axis = new_figure()
        for name, label, colour in (("hold_last", "hold the last observation", GREY), ("model", "world model", BLUE)):
            band = prediction[name]
            axis.fill_between(horizon, band["p10"], band["p90"], color=colour, alpha=0.22, linewidth=0)
            axis.plot(horizon, band["median"], color=colour, label=label, marker="o", markersize=3)
        axis.set_xlabel("horizon (environment steps)")
        axis.set_ylabel(f"error ({prediction['unit']})")
        axis.set_ylim(bottom=0)
        figure.legend(loc="outside upper left", ncols=2)
    model, hold = prediction["model"]["median"][-1], prediction["hold_last"]["median"][-1]
    last = f"{horizon[-1]:.0f} steps ahead"
    alt = f"Median error {last}: world model {model:.3g}, hold-last {hold:.3g} ({prediction['unit']})."
    ratio = f" At the last horizon the world model's median error is {model / hold:.2f} of hold-last's." if hold else ""
    caption = (
        "The world model runs on its own predictions, with the recorded actions of held-out episodes. "
        f"Lines are medians, bands hold 80 % of the windows.{ratio}"
    )
    return Plot(figure, "World model: open-loop prediction error", caption, alt)


def plot_disagreement(disagreement: Mapping[str, Any]) -> Plot | None:
    """The ensemble's disagreement against the world model's true error, with the halting threshold.

    `disagreement`: "pairs" (a list of [disagreement, error] on held-out real transitions), "threshold", and
    "spearman" (their rank correlation; computed from the pairs where it is missing).
    """
    pairs = np.asarray(disagreement.get("pairs", ()), dtype=float).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if not len(pairs):
        return None
    threshold = disagreement["threshold"]
    correlation = disagreement.get("spearman")
    if correlation is None:
        correlation = spearman(torch.from_numpy(pairs[:, 0]), torch.from_numpy(pairs[:, 1]))
    told = f"{correlation:.2f}" if np.isfinite(correlation) else "not defined"
    halted = float(np.mean(pairs[:, 0] > threshold))
    # Every n-th point in the order of disagreement: the shape stays, the page stays small.
    ordered = pairs[np.argsort(pairs[:, 0], kind="stable")]
    shown = ordered[np.linspace(0, len(ordered) - 1, min(len(ordered), MAX_SCATTER_POINTS)).astype(int)]
    with house_style():
        figure, axis = new_figure()
        axis.scatter(shown[:, 0], shown[:, 1], s=9, color=BLUE, alpha=0.45, linewidth=0)
        axis.axvline(threshold, color=INK, linestyle=(0, (4, 3)), linewidth=1.1, label="halting threshold")
        log_scale_where_wide(axis, "x", shown[:, 0])
        log_scale_where_wide(axis, "y", shown[:, 1])
        axis.set_xlabel("ensemble disagreement")
        axis.set_ylabel("true one-step error")
        figure.legend(loc="outside upper left")
    alt = f"Scatter of {len(pairs)} transitions; rank correlation {told}, threshold {threshold:.3g}."
    caption = (
        f"Held-out real transitions ({count(len(pairs))}, {len(shown)} drawn). Spearman's rank correlation "
        f"{told}; {percent(halted)} lie beyond the halting threshold {threshold:.3g}."
    )
    return Plot(figure, "Disagreement against true error", caption, alt)


def plot_coverage(uncertainty: Mapping[str, Any]) -> Plot:
    """Coverage of the bounds on the error by horizon, with each horizon's own factor and with that of one step.

    `uncertainty`: "horizon" (transitions), "target", "episodes", "windows" ({"calibration", "test"}) and "coverage",
    which holds "recalibrated", "one_step_factor", "low_disagreement" and "high_disagreement": each by horizon, None
    where undefined.
    """
    coverage, horizon = uncertainty["coverage"], uncertainty["horizon"]
    with house_style():
        figure, axis = new_figure()
        for name, label, colour in (
            ("one_step_factor", "one factor, of one step", ORANGE),
            ("recalibrated", "a factor for each horizon", BLUE),
        ):
            axis.plot(horizon, _with_gaps(coverage[name]), color=colour, label=label, marker="o", markersize=3)
        axis.axhline(uncertainty["target"], color=MUTED, linestyle=":", label="wanted")
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("horizon (transitions)")
        axis.set_ylabel("errors within their bound")
        figure.legend(loc="outside upper left", ncols=2)
    own, one_step, low, high = (
        _share(coverage[name][-1])
        for name in ("recalibrated", "one_step_factor", "low_disagreement", "high_disagreement")
    )
    caption = (
        f"Disagreement, averaged over the steps so far, times a factor bounds the error. Factors come from "
        f"{count(uncertainty['windows']['calibration'])} windows of one half of {count(uncertainty['episodes'])} "
        f"held-out episodes and are tried on {count(uncertainty['windows']['test'])} of the other half. At the last "
        f"horizon its own factor bounds {low} of the errors where disagreement is below its median, {high} where above."
    )
    alt = (
        f"Coverage {horizon[-1]} transitions ahead: {own} with a factor for each horizon, {one_step} with that of one "
        f"step; wanted {percent(uncertainty['target'])}."
    )
    return Plot(figure, "Disagreement: is its scale right?", caption, alt)


def plot_rank_correlation(uncertainty: Mapping[str, Any]) -> Plot:
    """Spearman's correlation of disagreement with the true error by horizon; `uncertainty` as in `plot_coverage`."""
    values, horizon = _with_gaps(uncertainty["rank_correlation"]), uncertainty["horizon"]
    with house_style():
        figure, axis = new_figure()
        axis.axhline(0, color=MUTED, linewidth=1.1)
        axis.plot(horizon, values, color=BLUE, marker="o", markersize=3)
        axis.set_ylim(np.nanmin([0, *values]) - 0.03, 1.03)
        axis.set_xlabel("horizon (transitions)")
        axis.set_ylabel("rank correlation with the error")
    first, last = ("not defined" if np.isnan(value) else f"{value:.2f}" for value in (values[0], values[-1]))
    caption = (
        "Spearman's rank correlation of disagreement, averaged over the steps so far, and the open-loop error: 1 where "
        "disagreement puts held-out windows in the order of their errors, 0 where it knows nothing of them."
    )
    alt = f"Rank correlation of disagreement and error: {first} one transition ahead, {last} at {horizon[-1]}."
    return Plot(figure, "Disagreement: does it rank errors?", caption, alt)


def _with_gaps(values: Sequence[float | None]) -> np.ndarray:
    """None as NaN, where matplotlib leaves a gap."""
    return np.array([np.nan if value is None else value for value in values])


def _as_shares(axis: Any) -> None:
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axis.set_xlim(-0.03, 1.03)
    axis.set_ylim(-0.03, 1.03)


def _share(value: float | None) -> str:
    return "unknown" if value is None else percent(value)
