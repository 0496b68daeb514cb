"""Sections about what imagination rewards: the success classifier, judges, learned rewards, ends of episodes."""

import math
from collections.abc import Mapping
from typing import Any

from burnish.report.section import Axis, Colour, Mark, Plot, Section, Series, Table, curve
from burnish.report.wording import count, percent

FEW_ENDS = 0.5
"""Share of the held-out ends below which a warning is due."""


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
    ends, doubts = ends_told(found, found["terminations"])
    return Section("learned-reward", "Learned reward", 50, (words, *ends), doubts, tables=(table,))


def ends_section(found: Mapping[str, Any]) -> Section:
    """How well a world model tells that an episode is over by itself ("precision", "recall", "positives")."""
    words, doubts = ends_told(found, found["positives"])
    return Section("world-model", "World model and its uncertainty", 60, words, doubts)


def ends_told(found: Mapping[str, Any], ends: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words and warnings about held-out `ends` of episodes; none where they are not learned here."""
    if "recall" not in found:
        return (), ()
    recall, precision = (percent(found[name], 0) for name in ("recall", "precision"))
    words = f"Of {count(round(ends))} held-out ends of episodes {recall} are told; of those told {precision} are ends."
    if found["recall"] >= FEW_ENDS:
        return (words,), ()
    doubt = "Most ends are missed: refinement may find where no episode ends. Train longer, or record more ends."
    return (words,), (doubt,)


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


def _share(value: float | None) -> str:
    return "unknown" if value is None else percent(value)
