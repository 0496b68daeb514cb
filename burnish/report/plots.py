"""The one renderer: a plot as numbers (`section.Plot`) becomes a drawing."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FuncFormatter, PercentFormatter

from burnish.report import figures
from burnish.report.figures import INK, MUTED, SIZE, Drawing, house_style, inline_svg, log_scale_where_wide, new_figure
from burnish.report.section import Axis, Plot, Series
from burnish.report.wording import number, percent

_DASHES = (0, (4, 3))
_LABEL_WIDTH = 48


def svg(plot: Plot, name: str) -> str:
    """The plot as an inline `<svg>`; `name` (a word, unique on the page) keeps its ids apart."""
    return inline_svg(draw(plot), name)


def draw(plot: Plot) -> Drawing:
    """Draw the plot in the house style."""
    drawers = {"line": _line, "scatter": _line, "bars": _rows, "interval": _rows, "heat": _heat}
    rows = len(plot.names) if plot.kind in ("bars", "interval", "heat") else 0
    size = (SIZE[0], 1.0 + 0.36 * max(2, rows)) if rows else SIZE
    with house_style():
        figure, axis = new_figure(size)
        drawers[plot.kind](axis, plot)
        labelled = [label for label in axis.get_legend_handles_labels()[1] if label]
        if len(labelled) > 1 or (labelled and plot.marks):
            # Above the axes, where no curve can run through it.
            figure.legend(loc="outside upper left", ncols=2)
    return Drawing(figure, plot.title, plot.caption, described(plot))


def described(plot: Plot) -> str:
    """The plot in words, for those who cannot see it: the value of every row, or where each line begins and ends."""
    written = percent if plot.y.scale == "share" else number
    told = []
    for series in plot.series:
        known = [(x, written(y)) for x, y in zip(series.x, series.y, strict=True) if y is not None]
        if plot.names:
            told += [f"{plot.names[int(x)]} {series.label} {value}".replace("  ", " ") for x, value in known]
        elif known:
            told.append(f"{series.label} from {known[0][1]} to {known[-1][1]}".strip())
    return f"{plot.title}, {plot.y.label or 'values'}: {'; '.join(told) or 'nothing'}."


def _line(axis: Axes, plot: Plot) -> None:
    for series in plot.series:
        _draw_series(axis, plot, series)
    for mark in plot.marks:
        look: dict[str, Any] = {"color": MUTED, "linestyle": _DASHES, "linewidth": 1.1, "label": mark.label or None}
        if mark.on == "diagonal":
            axis.plot([0, 1], [0, 1], **look)
        else:
            (axis.axvline if mark.on == "x" else axis.axhline)(mark.value, **look)
    axis.set_xlabel(plot.x.label)
    # Above the axes rather than turned beside them, where a long label has no room.
    axis.set_title(textwrap.fill(plot.y.label, _LABEL_WIDTH), loc="left", fontsize=9, color=MUTED)
    _scale(axis, "x", plot.x, np.array([value for series in plot.series for value in series.x]))
    _scale(axis, "y", plot.y, np.concatenate([_values(series) for series in plot.series] or [np.zeros(0)]))


def _draw_series(axis: Axes, plot: Plot, series: Series) -> None:
    colour, values = _colour(series), _values(series)
    alone = plot.kind == "scatter" or series.style == "points"
    if series.low and not alone:
        axis.fill_between(series.x, series.low, series.high, color=colour, alpha=0.22, linewidth=0)
    elif series.low:
        axis.errorbar(
            series.x, values, yerr=_whiskers(series), fmt="D", color=colour, markersize=5, capsize=3, label=series.label
        )
        return
    if alone:
        many = len(series.x) > 100
        size: Any = series.size or (9 if many else 22)
        axis.scatter(
            series.x, values, s=size, color=colour, alpha=0.45 if many else 1, linewidth=0, label=series.label, zorder=3
        )
        return
    marker = "o" if len(series.x) < 30 else None
    line = _DASHES if series.style == "dashed" else "solid"
    axis.plot(series.x, values, color=colour, linestyle=line, marker=marker, markersize=3, label=series.label)


def _rows(axis: Axes, plot: Plot) -> None:
    """Bars, or points with whiskers, one row below the other; rows with points of several series are joined."""
    bars, joined = plot.kind == "bars", plot.kind == "interval" and len(plot.series) > 1
    if joined:
        for row in range(len(plot.names)):
            ends = [series.y[series.x.index(row)] or 0 for series in plot.series if row in series.x]
            axis.plot([min(ends), max(ends)] if ends else [], [row, row] if ends else [], color=MUTED, linewidth=1.2)
    for index, series in enumerate(plot.series):
        values, colour = _values(series), _colour(series)
        if bars:
            axis.barh(series.x, values, height=0.56, color=colour, label=series.label)
        if series.low:
            look: dict[str, Any] = {"fmt": "none"} if bars else {"fmt": "D", "color": colour, "markersize": 5}
            axis.errorbar(values, series.x, xerr=_whiskers(series), ecolor=INK, capsize=4, label=None, **look)
        elif not bars:
            axis.plot(values, series.x, "oDs^"[index % 4], color=colour, markersize=5.5, label=series.label)
        for at, value, text in zip(series.x, values, series.text or ("",) * len(values), strict=True):
            place = (plot.y.high if bars and plot.y.high is not None else value, at)
            shift, across = ((6, 0), "left") if bars else ((0, 7), "center")
            axis.annotate(
                text, place, shift, textcoords="offset points", ha=across, va="center" if bars else "bottom",
                annotation_clip=False,
            )  # fmt: skip
    for mark in plot.marks:
        axis.axvline(mark.value, color=INK, linewidth=1, label=mark.label or None)
    axis.set_yticks(range(len(plot.names)), [textwrap.fill(name, 18) for name in plot.names])
    axis.set_ylim(len(plot.names) - 0.45, -0.75)
    axis.set_xlabel(plot.y.label)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    _scale(axis, "x", plot.y, np.concatenate([_values(series) for series in plot.series] or [np.zeros(0)]))
    if plot.y.low is None and plot.y.high is None:
        axis.margins(x=0.15)


def _heat(axis: Axes, plot: Plot) -> None:
    cells = np.full((len(plot.series), len(plot.names)), np.nan)
    for row, series in enumerate(plot.series):
        cells[row, [int(column) for column in series.x]] = _values(series)
    image = axis.imshow(cells, cmap="cividis", aspect="auto", vmin=plot.y.low, vmax=plot.y.high)
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value) and cells.size <= 100:
            light = float(np.asarray(image.norm(value))) < 0.6
            axis.text(column, row, number(float(value)), ha="center", va="center", color="white" if light else "black")
    axis.set_xticks(range(len(plot.names)), plot.names)
    axis.set_yticks(range(len(plot.series)), [series.label for series in plot.series])
    axis.set_xlabel(plot.x.label)
    axis.set_title(plot.y.label, loc="left", fontsize=9, color=MUTED)
    axis.grid(visible=False)


def _scale(axis: Axes, side: Any, wanted: Axis, values: np.ndarray) -> None:
    ruler = axis.xaxis if side == "x" else axis.yaxis
    limits = axis.set_xlim if side == "x" else axis.set_ylim
    if wanted.scale == "share":
        ruler.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    elif wanted.scale == "count":
        ruler.set_major_formatter(EngFormatter(sep=""))
    elif wanted.scale == "wide":
        log_scale_where_wide(axis, side, values[np.isfinite(values)])
    if wanted.scale == "plain":
        ruler.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    if wanted.low is not None or wanted.high is not None:
        # A little air, so that a line along the end is seen.
        air = 0.03 * ((wanted.high - wanted.low) if None not in (wanted.low, wanted.high) else 0)  # type: ignore[operator]
        limits(None if wanted.low is None else wanted.low - air, None if wanted.high is None else wanted.high + air)


def _values(series: Series) -> np.ndarray:
    """NaN for what is missing: matplotlib leaves a gap there."""
    return np.array([np.nan if value is None else value for value in series.y], dtype=np.float64)


def _whiskers(series: Series) -> np.ndarray:
    values = _values(series)
    # Numbers are rounded; a whisker of −0.0001 is no whisker.
    return np.maximum(0, np.stack([values - np.array(series.low), np.array(series.high) - values]))


def _colour(series: Series) -> str:
    return getattr(figures, series.colour.upper())
