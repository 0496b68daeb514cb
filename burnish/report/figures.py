"""One look for all plots, and their way into a page: inline SVG that follows the page's light or dark theme.

Matplotlib takes a second to import, so whoever needs this module imports it where it draws.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any, Literal, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito's palette (colour-blind safe). The page may replace each colour through its CSS variable.
INK, MUTED, GRID = "#1c2127", "#69727d", "#dfe3e8"
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#a65b8a", "#8b949e"
_THEME = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    PURPLE: "purple",
    GREY: "grey",
}
_STYLE: dict[str, Any] = {
    "font.size": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    # Task names and the like are text, never TeX: a "$" in them stays a "$".
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 1.6,
    # Text stays text: it can be searched, and takes the page's font.
    "svg.fonttype": "none",
}
# Small, so that the text stays large enough where a phone shrinks it.
SIZE = (4.1, 2.7)


@dataclass(frozen=True)
class Drawing:
    """A figure with its heading, a caption for everybody and a text for those who cannot see it."""

    figure: Figure
    title: str
    caption: str
    alt: str


def _defaults() -> dict[str, Any]:
    # The backend is process-wide and not ours to touch; the report draws without one.
    return {str(key): value for key, value in matplotlib.rcParamsDefault.items() if not str(key).startswith("backend")}


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib settings of the report; nothing leaks into the caller's."""
    # The defaults first: a matplotlibrc on the user's machine must not change the report.
    with matplotlib.rc_context(cast(Any, _defaults() | _STYLE)):
        yield


def new_figure(size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """A figure outside pyplot's global state, with its one pair of axes."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def log_scale_where_wide(axis: Axes, side: Literal["x", "y"], values: np.ndarray, ratio: float = 20) -> None:
    """Give one side of the axes a log scale where its values are positive and span more than `ratio`."""
    if not len(values) or values.min() <= 0 or values.max() / values.min() <= ratio:
        return
    (axis.set_xscale if side == "x" else axis.set_yscale)("log")
    ruler = axis.xaxis if side == "x" else axis.yaxis
    # Plain numbers: matplotlib's own log labels are TeX.
    ruler.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    few = values.max() / values.min() < 100
    ruler.set_minor_locator(LogLocator(subs=(2.0, 5.0) if few else (1.0,)))
    ruler.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}") if few else NullFormatter())


def inline_svg(drawing: Drawing, name: str) -> str:
    """The drawing as an `<svg>` element for an HTML page; `name` (a word, unique on the page) keeps ids apart."""
    buffer = io.StringIO()
    with house_style(), matplotlib.rc_context({"svg.hashsalt": name}):
        drawing.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # The ids matplotlib counts up ("axes_1", clip paths) are the same in every figure; the page has many figures.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace('xlink:href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    for colour, variable in _THEME.items():
        svg = svg.replace(colour, f"var(--{variable}, {colour})")
    width, height = drawing.figure.get_size_inches() * 72
    opening = (
        f'<svg class="plot" role="img" aria-label="{escape(drawing.alt)}" viewBox="0 0 {width:g} {height:g}" '
        f'style="max-width: {1.7 * width:.0f}px" xmlns="http://www.w3.org/2000/svg">'
    )
    return re.sub(r"^<svg[^>]*>", lambda _: opening, svg, count=1)


def png_bytes(drawing: Drawing, dots_per_inch: int = 160) -> bytes:
    """The drawing as a PNG on white, for places that take no SVG."""
    buffer = io.BytesIO()
    with house_style():
        drawing.figure.savefig(buffer, format="png", dpi=dots_per_inch, facecolor="white")
    return buffer.getvalue()
