"""Sections about models: the success classifier, prediction error, uncertainty, imagined pictures, training curves.

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


def calibration_section(calibration: Mapping[str, Any]) -> Section:
    """How far a success classifier's probabilities and its threshold can be relied on (`Calibration.to_dict`, and the
    names of `relations` that it sees)."""
    drawn = (_reliability(calibration), _precision_recall(calibration))
    plots = tuple(plot for plot in drawn if plot is not None)
    missing = () if plots else ("The calibration holds neither bins nor a curve.",)
    pairs = "; ".join(" from ".join(pair) for pair in calibration.get("relations", ()))
    words = (f"Recorded successes bring numbers together, so it also sees how far they are apart: {pairs}.",)
    return Section("success-classifier", "Success classifier", 50, words if pairs else (), plots=plots, missing=missing)


def judge_section(found: Mapping[str, Any]) -> Section:
    """How a judge of whole episodes agrees with labels, and what it was asked (`stages.films.fit_judge`)."""
    kinds = {"recorded": "recorded, held out", "imagined": "the same, imagined under their actions"}
    rows = tuple(
        (
            name,
            *(str(found[key][each]) for each in ("both", "only_label", "only_judge", "neither", "unanswered")),
            f"{found[key]['kappa']:.2f}",
        )
        for key, name in kinds.items()
        if key in found
    )
    header = ("episodes", "success", "missed", "taken for one", "failure", "unanswered", "Cohen's κ")
    table = Table(header, rows, "The judge against labels")
    return Section(
        "judge", "Judge of whole episodes", 50, (f"{found['kind']}. {judge_use(found['use'])}",), tables=(table,)
    )


def judge_use(use: Mapping[str, Any]) -> str:
    """What a judge was asked and what came of it, in words (`JudgeUse`)."""
    words = [f"asked about {use['asked']:,} episodes, {use['unanswered']} of them without a verdict"]
    words += [f"{use['cached']} from its memory"] if use["cached"] else []
    words += [f"{use['ties']} ties"] if use["ties"] else []
    if use["requests"]:
        tokens = f"{use['tokens_in']:,} and {use['tokens_out']:,} tokens in and out"
        words.append(f"{use['requests']:,} requests with {tokens}")
    words += [f"a cost of {use['cost']:.2f}"] if use.get("cost") else []
    words += [f"{number} × {reason}" for reason, number in use["reasons"].items()]
    return "The judge was " + "; ".join(words) + "."


def reward_section(found: Mapping[str, Any]) -> Section:
    """How much of the held-out rewards a learned reward explains (`RewardHead.evaluate`)."""
    rows = [("recorded transitions", found["r2"], found["rmse"])]
    if "imagined_rmse" in found:
        rows.append(("imagined continuations", found["imagined_r2"], found["imagined_rmse"]))
    words = "The reward was learned from the data; this is what it says of episodes that it did not learn from."
    table = Table(
        ("", "share of the variance explained", "error (root mean square)"),
        tuple((name, "–" if r2 is None else percent(r2), f"{error:.3g}") for name, r2, error in rows),
        "Learned reward on held-out episodes",
    )
    return Section("learned-reward", "Learned reward", 50, (words,), tables=(table,))


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
    across, up = (
        Axis(name, "share", 0, 1) for name in ("predicted probability of success", "frames that are successes")
    )
    return Plot("line", "Calibration", series, across, up, caption, (Mark(0, "perfectly calibrated", "diagonal"),))


def _precision_recall(calibration: Mapping[str, Any]) -> Plot | None:
    points = sorted(calibration.get("curve", ()), key=lambda point: point["threshold"])
    colours: dict[str, Colour] = {"precision": "blue", "recall": "orange"}
    found = (curve(points, "threshold", name, name, colour) for name, colour in colours.items())
    series = tuple(one for one in found if one is not None)
    if not series:
        return None
    threshold, target = calibration["threshold"], calibration.get("target_precision")
    caption = (
        f"At {threshold:.3g} the classifier has precision {_share(calibration['precision'])} and recall "
        f"{_share(calibration['recall'])} on held-out data ({count(calibration['positives'])} successes and "
        f"{count(calibration['negatives'])} other frames); a positive ends the imagined episode with a reward."
    )
    across, up = (Axis(name, "share", 0, 1) for name in ("threshold on the probability", "precision, recall"))
    marks = (Mark(threshold, "chosen threshold"), *(() if target is None else (Mark(target, "wanted precision", "y"),)))
    return Plot("line", "Threshold", series, across, up, caption, marks)


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
