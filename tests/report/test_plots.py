"""The renderer draws the numbers of a plot, and nothing leaks from or into matplotlib's own settings."""

import matplotlib
import numpy as np
import pytest

from burnish.report.figures import png_bytes
from burnish.report.plots import draw, svg
from burnish.report.section import Axis, Mark, Plot, Series


def line(*series, **more):
    return Plot("line", "Title", series, **more)


def test_lines_bands_and_gaps():
    band = Series("a band", (1.0, 2.0, 3.0), (1.0, None, 3.0), (0.5, 1.0, 2.0), (2.0, 3.0, 4.0))
    axis = draw(line(band, Series("dashed", (1.0,), (2.0,), style="dashed"))).figure.axes[0]
    first, second = axis.get_lines()
    assert np.isnan(first.get_ydata()[1]) and list(first.get_xdata()) == [1, 2, 3]
    assert second.get_linestyle() == "--" and len(axis.collections) == 1
    assert [text.get_text() for text in axis.figure.legends[0].get_texts()] == ["a band", "dashed"]


def test_points_have_whiskers_of_no_negative_length():
    points = Series("real", (1.0,), (0.5,), (0.51,), (0.75,), style="points")
    axis = draw(line(points)).figure.axes[0]
    ((start, end),) = axis.collections[0].get_segments()
    assert (start.tolist(), end.tolist()) == ([1, 0.5], [1, 0.75])


def test_marks_are_drawn_across():
    marks = (Mark(2.0, "chosen"), Mark(0.9, "wanted", "y"), Mark(0, "", "diagonal"))
    x, y, diagonal = draw(line(marks=marks)).figure.axes[0].get_lines()
    assert list(x.get_xdata()) == [2, 2] and list(y.get_ydata()) == [0.9, 0.9]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]


@pytest.mark.parametrize("kind", ["bars", "interval"])
def test_rows_lie_below_each_other(kind):
    series = tuple(
        Series("", (row,), (value,), (value - 0.1,), (value + 0.1,), (f"{value}",))
        for row, value in ((0, 0.4), (1, 0.5))
    )
    plot = Plot(kind, "Rates", series, y=Axis("rate", "share", 0, 1), names=("before", "after"), marks=(Mark(0),))
    axis = draw(plot).figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["before", "after"]
    assert [text.get_text() for text in axis.texts] == ["0.4", "0.5"]
    assert axis.get_ylim()[0] > axis.get_ylim()[1], "the first row is on top"
    if kind == "bars":
        assert [bar.get_width() for bar in axis.patches] == [0.4, 0.5]


def test_a_heat_map_has_its_rows_and_columns():
    rows = tuple(Series(name, (0.0, 1.0), values) for name, values in (("a", (1.0, None)), ("b", (3.0, 4.0))))
    axis = draw(Plot("heat", "Cells", rows, names=("left", "right"))).figure.axes[0]
    assert np.isnan(axis.images[0].get_array().filled(np.nan)[0, 1])
    assert sorted(text.get_text() for text in axis.texts) == ["1", "3", "4"]


def test_wide_numbers_get_a_logarithm_and_narrow_ones_none():
    for last, scale in ((100.0, "log"), (2.0, "linear")):
        found = draw(line(Series("", (0.0, 1.0), (1.0, last)), y=Axis("loss", "wide"))).figure.axes[0]
        assert found.get_yscale() == scale


def test_a_plot_of_nothing_is_drawn():
    for kind in ("line", "scatter", "bars", "interval"):
        assert "<svg" in svg(Plot(kind, "Nothing", ()), "p")


def test_svg_is_words_with_its_own_ids_and_colours_of_the_theme():
    found = svg(line(Series("$x_1$ & <b>", (0.0, 1.0), (0.0, 1.0)), Series('"b"', (0.0,), (1.0,))), "plot7")
    assert 'aria-label="Title, values: $x_1$ &amp; &lt;b&gt; from 0 to 1; &quot;b&quot; from 1 to 1."' in found
    assert "$x_1$ &amp; &lt;b&gt;" in found
    assert "var(--blue, #0072b2)" in found and 'id="plot7-' in found and "<metadata>" not in found


def test_the_same_numbers_are_the_same_bytes_whatever_the_users_settings():
    plot = line(Series("a", (0.0, 1.0), (0.0, 1.0)))
    before = svg(plot, "p")
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "text.usetex": False}):
        assert svg(plot, "p") == before
        assert matplotlib.rcParams["font.size"] == 30
    assert png_bytes(draw(plot))[:4] == b"\x89PNG"
