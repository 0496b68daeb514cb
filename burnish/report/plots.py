"""Plots of the outcome and of learning: before and after, refinement, supervised losses, imagined pictures."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter

from burnish.report.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    Plot,
    block_means,
    column,
    house_style,
    log_scale_where_wide,
    new_figure,
)
from burnish.report.wording import percent, points, signed

Rows = Sequence[Mapping[str, Any]]
STEPS = "imagined_steps"


def plot_success(success: Mapping[str, Any]) -> Plot:
    """Real success before and after, with Wilson's intervals; `success` is "success" of `report.json`."""
    with house_style():
        figure, axis = new_figure(size=(4.9, 2.2))
        _draw_rates(axis, success)
    before, after = success["pretrained"], success["refined"]
    alt = f"Bars of real success: pretrained {_rate_text(before)}, refined {_rate_text(after)}."
    caption = "Share of evaluation episodes that succeed in the real simulator; whiskers are Wilson's 95 % intervals."
    return Plot(figure, "Success rates", caption, alt)


def plot_difference(paired: Mapping[str, Any]) -> Plot:
    """The paired difference of real success with its interval; `paired` is "paired_difference" of `report.json`."""
    with house_style():
        figure, axis = new_figure(size=(4.9, 2.2))
        _draw_difference(axis, paired)
    alt = f"Paired difference {points(paired['difference'])}, {_paired_interval(paired)}; 0 means no change."
    caption = (
        f"Both policies start from the same states: {paired['improved']} newly succeed, {paired['worsened']} newly "
        f"fail, {paired['both']} succeed both times, {paired['neither']} never. McNemar's exact test: "
        f"p {_p_value(paired['p_value'])}. The interval is Newcombe's for paired rates."
    )
    return Plot(figure, "Paired difference", caption, alt)


def plot_refinement(
    rows: Rows, chosen: Mapping[str, Any] | None = None, real: Mapping[str, Any] | None = None
) -> list[Plot]:
    """Learning curves of refinement over imagined steps; a panel whose columns are missing is left out.

    `rows` hold "imagined_steps" and any of "eval/success", "train/success", "real/success", "eval/halted",
    "train/halted", "eval/distance", "eval/disagreement", "loss/value", "loss/policy", "kl_base", "kl" and "entropy".
    `chosen` is the row of the chosen iterate.  `real` is "success" of `report.json`: drawn at the two ends, pretrained
    at the first row and refined at the chosen one.
    """
    panels = [
        _curves(
            rows,
            chosen,
            "Success in imagination",
            "episodes that succeed",
            {
                "eval/success": ("deterministic, pessimistic", BLUE),
                "train/success": ("while training, exploring", GREY),
                "real/success": ("real simulator, other starts", GREEN),
            },
            "An imagined episode that halts counts as a failure.",
            share=True,
            real=real,
        ),
        _curves(
            rows,
            chosen,
            "Pessimistic halting",
            "episodes halted",
            {"eval/halted": ("deterministic", BLUE), "train/halted": ("while training", GREY)},
            "Imagined episodes stopped without reward: the ensemble disagreed, or they were far from the data.",
            share=True,
        ),
        _curves(
            rows,
            chosen,
            "Distance from the data",
            "mean, halting at 1",
            {"eval/distance": ("distance", BLUE), "eval/disagreement": ("disagreement", ORANGE)},
            "Of the judged policy's imagined states and actions, in units of the thresholds at which episodes halt.",
        ),
        _curves(
            rows,
            chosen,
            "Distance from the pretrained policy",
            "KL divergence (nats)",
            {"kl_base": ("to the pretrained policy", BLUE), "kl": ("of one update", ORANGE)},
            "How far refinement has moved the policy.",
        ),
        _curves(
            rows, chosen, "Value loss", "loss", {"loss/value": ("value", BLUE)}, "The critic's error on its returns."
        ),
        _curves(
            rows,
            chosen,
            "Policy loss",
            "loss",
            {"loss/policy": ("policy", BLUE)},
            "The clipped surrogate objective with its anchor.",
        ),
        _curves(
            rows,
            chosen,
            "Entropy",
            "entropy (nats)",
            {"entropy": ("policy", PURPLE)},
            "How widely the policy explores.",
        ),
    ]
    return [panel for panel in panels if panel is not None]


def plot_training(name: str, rows: Rows) -> Plot | None:
    """The loss curves of one supervised stage; None where the rows hold no loss.

    `rows` hold "step" and "loss" (training), and may hold "validation/loss".
    """
    series = {"loss": ("training", BLUE), "validation/loss": ("held out", ORANGE)}
    plot = _curves(rows, None, name, "loss", series, "", x="step", x_label="training step")
    if plot is not None:
        axis = plot.figure.axes[0]
        losses = [np.asarray(line.get_ydata(), dtype=float) for line in axis.get_lines()]
        log_scale_where_wide(axis, "y", np.concatenate(losses))
    return plot


def plot_validation(name: str, rows: Rows) -> Plot | None:
    """A world model's validation while it trained; None where there was none.  `rows` may hold
    "validation/open_loop_error", in standard deviations of the data."""
    return _curves(
        rows,
        None,
        f"{name}: validation",
        "median error (standard deviations)",
        {"validation/open_loop_error": ("held out", ORANGE)},
        "Open-loop prediction of held-out episodes, at the last horizon.",
        x="step",
        x_label="training step",
    )


def plot_outcomes(name: str, rows: Rows) -> Plot | None:
    """Whether a world model knew the outcome of replayed episodes while it trained; None where that was not measured.

    `rows` may hold "validation/outcome_error", 1 − the correlation of imagined and recorded success.
    """
    return _curves(
        rows,
        None,
        f"{name}: outcomes of replayed episodes",
        "1 − correlation",
        {"validation/outcome_error": ("held out", ORANGE)},
        "Held-out episodes, replayed from their first frames: 0 where imagined success always agrees, 1 where it says "
        "nothing. Training may stop where this no longer falls.",
        x="step",
        x_label="training step",
    )


def plot_pictures(fidelity: Mapping[str, Any]) -> list[Plot]:
    """How true imagined pictures are by horizon, a plot for each metric that was measured; hold-last is dashed.

    `fidelity`: "horizon" (transitions) and "sources"; each source has "windows" and some of "psnr_moving" and
    "ssim", a mapping with the means of "model" and "hold_last" by horizon (None where there is none).
    """
    wanted = {
        "psnr_moving": ("Imagined pictures: PSNR where something moves", "PSNR of moving pixels (dB)", "higher"),
        "ssim": ("Imagined pictures: SSIM", "structural similarity", "higher"),
    }
    measured = [metric for metric in wanted if any(metric in told for told in fidelity["sources"].values())]
    return [_draw_fidelity(fidelity, metric, *wanted[metric]) for metric in measured]


def _draw_fidelity(fidelity: Mapping[str, Any], metric: str, title: str, y_label: str, better: str) -> Plot:
    described = []
    with house_style():
        figure, axis = new_figure()
        for (source, told), colour in zip(fidelity["sources"].items(), cycle((BLUE, ORANGE, GREEN, PURPLE))):
            for who, style in (("model", "-"), ("hold_last", "--")):
                # Matplotlib leaves a gap where a number is missing.
                values = [float("nan") if value is None else value for value in told[metric][who]]
                label = source if who == "model" else None
                axis.plot(fidelity["horizon"], values, style, color=colour, label=label, marker="o", markersize=3)
            model, hold = (_last(told[metric][who]) for who in ("model", "hold_last"))
            described.append(f"{source} {model}, hold-last {hold}")
        axis.plot([], [], "--", color=MUTED, label="hold the last picture")
        axis.set_xlabel("horizon (transitions)")
        axis.set_ylabel(y_label)
        figure.legend(loc="outside upper left", ncols=3)
    windows = ", ".join(f"{told['windows']} {source}" for source, told in fidelity["sources"].items())
    caption = (
        f"Means over windows of held-out episodes ({windows}), imagined open-loop under the recorded actions; "
        f"{better} is better. Dashed: the present picture, held."
    )
    return Plot(figure, title, caption, f"{title}, at the last horizon: {'; '.join(described)}.")


def _curves(
    rows: Rows,
    chosen: Mapping[str, Any] | None,
    title: str,
    y_label: str,
    series: Mapping[str, tuple[str, str]],
    caption: str,
    share: bool = False,
    real: Mapping[str, Any] | None = None,
    x: str = STEPS,
    x_label: str = "imagined steps",
) -> Plot | None:
    curves = {key: column(rows, x, key) for key in series}
    curves = {key: curve for key, curve in curves.items() if len(curve[0])}
    if not curves:
        return None
    described = []
    with house_style():
        figure, axis = new_figure()
        for key, (x_values, y_values) in curves.items():
            label, colour = series[key]
            marker = "o" if len(x_values) < 30 else None
            axis.plot(*block_means(x_values, y_values), color=colour, label=label, marker=marker, markersize=3)
            described.append(f"{label} from {_number(y_values[0], share)} to {_number(y_values[-1], share)}")
        if chosen is not None and chosen.get(x) is not None:
            axis.axvline(chosen[x], color=MUTED, linestyle=(0, (4, 3)), linewidth=1.1, label="chosen iterate")
        if real is not None:
            _draw_real(axis, rows, chosen, real)
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        if share:
            axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
            axis.set_ylim(-0.03, 1.03)
        if len(axis.get_legend_handles_labels()[1]) > 1:
            # Above the axes, where no curve can run through it.
            figure.legend(loc="outside upper left", ncols=2)
    return Plot(figure, title, caption, f"{title} over {x_label}: {'; '.join(described)}.")


def _draw_real(axis: Axes, rows: Rows, chosen: Mapping[str, Any] | None, real: Mapping[str, Any]) -> None:
    ends = [(rows[0].get(STEPS), real["pretrained"])]
    if chosen is not None:
        ends.append((chosen.get(STEPS), real["refined"]))
    for index, (x, counted) in enumerate((x, counted) for x, counted in ends if x is not None):
        axis.errorbar(
            [x],
            [counted["rate"]],
            yerr=_whiskers(counted),
            fmt="D",
            color=ORANGE,
            markersize=5,
            capsize=3,
            zorder=4,
            label="real simulator" if index == 0 else None,
        )


def _draw_rates(axis: Axes, success: Mapping[str, Any]) -> None:
    for position, (policy, colour) in enumerate((("pretrained", GREY), ("refined", BLUE))):
        counted = success[policy]
        axis.barh(position, counted["rate"], height=0.56, color=colour)
        axis.errorbar(counted["rate"], position, xerr=_whiskers(counted), fmt="none", ecolor=INK, capsize=4)
        axis.text(1.04, position, _rate_text(counted), va="center", fontweight="bold")
    axis.set_yticks([0, 1], ["pretrained", "refined"])
    axis.invert_yaxis()
    # Room for the labels to the right of 100 %.
    axis.set_xlim(0, 1.5)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axis.set_xlabel("success rate", x=1 / 3)
    axis.spines["bottom"].set_bounds(0, 1)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)


def _draw_difference(axis: Axes, paired: Mapping[str, Any]) -> None:
    difference, low, high = (100 * paired[key] for key in ("difference", "low", "high"))
    axis.axvline(0, color=INK, linewidth=1)
    axis.errorbar(
        difference, 0, xerr=[[difference - low], [high - difference]], fmt="D", color=BLUE, ecolor=INK, capsize=4
    )
    text = f"{points(paired['difference'])}\n{_paired_interval(paired)}"
    axis.text(difference, -0.16, text, ha="center", va="bottom", linespacing=1.4)
    reach = max(abs(low), abs(high), 10) * 1.35
    axis.set_xlim(-reach if low < 0 else -0.25 * reach, reach if high > 0 else 0.25 * reach)
    axis.set_ylim(0.5, -1)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("refined − pretrained (percentage points)")


def _whiskers(counted: Mapping[str, Any]) -> list[list[float]]:
    low, high = counted["ci95"]
    # The contract rounds; a whisker of −0.0001 is no whisker.
    return [[max(0.0, counted["rate"] - low)], [max(0.0, high - counted["rate"])]]


def _rate_text(counted: Mapping[str, Any]) -> str:
    return f"{percent(counted['rate'])}  ({counted['successes']} of {counted['episodes']})"


def _paired_interval(paired: Mapping[str, Any]) -> str:
    return f"{percent(paired['confidence'])} interval {signed(paired['low'])} to {signed(paired['high'])}"


def _p_value(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"= {value:.2g}"


def _last(values: Sequence[float | None]) -> str:
    return _number(values[-1], False) if values[-1] is not None else "not known"


def _number(value: float, share: bool) -> str:
    return percent(value, 0) if share else f"{value:.3g}"
