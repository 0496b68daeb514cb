import re
import xml.etree.ElementTree as ElementTree

import numpy as np
from burnish.report.diagnostics import (
    plot_coverage,
    plot_disagreement,
    plot_precision_recall,
    plot_prediction,
    plot_rank_correlation,
    plot_reliability,
)
from matplotlib import rcParams

from burnish.report.figures import block_means, column, inline_svg, png_bytes
from burnish.report.plots import (
    plot_difference,
    plot_refinement,
    plot_success,
    plot_training,
    plot_validation,
)


def test_success_bars_have_the_rates_and_intervals(inputs):
    report = inputs().report
    plot = plot_success(report["success"])
    axis = plot.figure.axes[0]
    assert [bar.get_width() for bar in axis.patches] == [0.48, 0.95]
    whiskers = [collection.get_segments()[0] for collection in axis.collections]
    np.testing.assert_allclose(whiskers[0][:, 0], report["success"]["pretrained"]["ci95"])
    np.testing.assert_allclose(whiskers[1][:, 0], report["success"]["refined"]["ci95"])
    assert "48 %" in plot.alt and "95 of 100" in plot.alt


def test_difference_is_drawn_in_points(inputs):
    paired = inputs().report["paired_difference"]
    plot = plot_difference(paired)
    (whisker,) = plot.figure.axes[0].collections
    np.testing.assert_allclose(whisker.get_segments()[0][:, 0], [100 * paired["low"], 100 * paired["high"]])
    assert "49 newly succeed, 2 newly fail, 46 succeed both times, 3 never" in plot.caption


def test_refinement_marks_the_chosen_iterate_and_the_real_ends(inputs):
    sample = inputs()
    chosen = sample.refinement[36]
    plots = plot_refinement(sample.refinement, chosen, sample.report["success"])
    assert [plot.title for plot in plots] == [
        "Success in imagination",
        "Pessimistic halting",
        "Distance from the pretrained policy",
        "Value loss",
        "Policy loss",
        "Entropy",
    ]
    for plot in plots:
        lines = {line.get_label(): line for line in plot.figure.axes[0].get_lines()}
        assert list(lines["chosen iterate"].get_xdata()) == [720_000, 720_000]
    axis = plots[0].figure.axes[0]
    # Evaluations happen every other row; the gaps are left out, not drawn as zeros.
    assert len(axis.get_lines()[0].get_xdata()) == 21
    ends = [container.lines[0].get_xydata()[0].tolist() for container in axis.containers]
    assert ends == [[0.0, 0.48], [720_000.0, 0.95]]


def test_the_distance_from_the_data_is_drawn_where_it_was_judged():
    rows = [
        {"imagined_steps": 0, "eval/distance": 0.4, "eval/disagreement": 0.3},
        {"imagined_steps": 5, "loss/value": 1.0},
        {"imagined_steps": 10, "eval/distance": 0.6, "eval/disagreement": 0.2},
    ]
    (plot,) = [plot for plot in plot_refinement(rows) if plot.title == "Distance from the data"]
    lines = [line.get_xydata().tolist() for line in plot.figure.axes[0].get_lines()]
    assert lines == [[[0, 0.4], [10, 0.6]], [[0, 0.3], [10, 0.2]]]
    (plot,) = plot_refinement([{"imagined_steps": 0, "eval/disagreement": 0.3}])
    assert plot.title == "Distance from the data" and len(plot.figure.axes[0].get_lines()) == 1


def test_panels_without_columns_are_left_out():
    rows = [{"imagined_steps": 10 * k, "eval/success": 0.1 * k} for k in range(5)]
    assert [plot.title for plot in plot_refinement(rows)] == ["Success in imagination"]
    assert plot_refinement([{"imagined_steps": 1}]) == []


def test_training_loss_takes_a_log_scale_only_where_it_can():
    falling = [{"step": k, "loss": 10.0**-k, "validation/loss": None} for k in range(4)]
    assert plot_training("World model", falling).figure.axes[0].get_yscale() == "log"
    negative = [{"step": k, "loss": -float(k)} for k in range(4)]
    assert plot_training("Policy", negative).figure.axes[0].get_yscale() == "linear"
    assert plot_training("Nothing", [{"step": 1}]) is None


def test_validation_has_a_plot_of_its_own_where_there_was_any():
    """Its unit is not the loss's."""
    rows = [
        {"step": 10 * k, "loss": 1.0} | ({"validation/open_loop_error": 0.5 / k} if k % 2 else {}) for k in (1, 2, 3)
    ]
    plot = plot_validation("World model", rows)
    assert plot.figure.axes[0].get_lines()[0].get_xydata().tolist() == [[10, 0.5], [30, 0.5 / 3]]
    assert len(plot_training("World model", rows).figure.axes[0].get_lines()) == 1
    assert plot_validation("World model", [{"step": 1, "loss": 1.0}]) is None


def test_column_drops_what_is_missing_or_not_finite():
    rows = [{"x": 0, "y": 1.0}, {"x": 1}, {"x": 2, "y": None}, {"x": 3, "y": float("nan")}, {"x": 4, "y": 2.0}]
    x, y = column(rows, "x", "y")
    assert x.tolist() == [0, 4] and y.tolist() == [1, 2]


def test_block_means_by_hand():
    x, y = block_means(np.arange(6.0), np.array([1.0, 3, 5, 7, 9, 11]), limit=3)
    assert x.tolist() == [0.5, 2.5, 4.5] and y.tolist() == [2, 6, 10]
    long_x, long_y = block_means(np.arange(1001.0), np.ones(1001))
    assert len(long_x) == 300 and np.all(long_y == 1) and np.all(np.diff(long_x) > 0)


def test_reliability_leaves_out_empty_bins_and_weighs_the_gap():
    bins = [
        {"low": 0, "high": 0.5, "mean_probability": 0.2, "frequency": 0.1, "count": 30},
        {"low": 0.5, "high": 0.9, "mean_probability": 0.7, "frequency": 0.0, "count": 0},
        {"low": 0.9, "high": 1, "mean_probability": 0.9, "frequency": 0.5, "count": 10},
    ]
    plot = plot_reliability({"bins": bins})
    assert plot.figure.axes[0].collections[0].get_offsets().tolist() == [[0.2, 0.1], [0.9, 0.5]]
    assert "17.5 %" in plot.caption  # (30 × 0.1 + 10 × 0.4) / 40
    assert plot_reliability({"bins": []}) is None


def test_precision_recall_shows_the_threshold(inputs):
    calibration = inputs().calibration
    plot = plot_precision_recall(calibration)
    lines = {line.get_label(): line for line in plot.figure.axes[0].get_lines()}
    assert set(lines) == {"precision", "recall", "chosen threshold", "wanted precision"}
    assert lines["chosen threshold"].get_xdata()[0] == 0.82
    assert "precision 98.4 % and recall 91 %" in plot.caption
    # Beyond every predicted probability precision is undefined.
    undefined = {**calibration, "precision": None, "curve": [{"threshold": 0.9, "precision": None, "recall": 0.0}]}
    assert "precision unknown" in plot_precision_recall(undefined).caption


def test_prediction_states_the_ratio_at_the_last_horizon(inputs):
    plot = plot_prediction(inputs().prediction)
    assert "0.20 of hold-last's" in plot.caption
    assert plot.figure.axes[0].get_ylabel() == "error (normalised RMS)"


def test_disagreement_counts_what_would_halt():
    pairs = [[0.01 * k, 0.02 * k] for k in range(1, 101)]
    plot = plot_disagreement({"threshold": 0.955, "pairs": pairs})
    assert "correlation 1.00; 5 % lie beyond" in plot.caption
    assert plot_disagreement({"threshold": 1.0, "pairs": []}) is None
    constant = plot_disagreement({"threshold": 1.0, "pairs": [[0.5, 1.0], [0.5, 2.0]], "spearman": None})
    assert "rank correlation not defined; 0 %" in constant.caption
    many = plot_disagreement({"threshold": 0.5, "pairs": np.random.default_rng(0).random((5000, 2)).tolist()})
    assert len(many.figure.axes[0].collections[0].get_offsets()) == 800


def test_coverage_is_drawn_before_and_after(inputs):
    uncertainty = inputs().uncertainty
    plot = plot_coverage(uncertainty)
    lines = {line.get_label(): list(line.get_ydata()) for line in plot.figure.axes[0].get_lines()}
    assert lines["a factor for each horizon"] == uncertainty["coverage"]["recalibrated"]
    assert lines["one factor, of one step"] == uncertainty["coverage"]["one_step_factor"]
    assert lines["wanted"] == [0.9, 0.9]
    assert "940 windows of one half of 18 held-out episodes" in plot.caption
    assert "94 % of the errors where disagreement is below its median, 84 % where above" in plot.caption
    assert "25 transitions ahead: 88.5 % with a factor for each horizon, 18.2 % with" in plot.alt
    unknown = uncertainty["coverage"] | {"high_disagreement": [None] * 25}
    assert "unknown where above" in plot_coverage(uncertainty | {"coverage": unknown}).caption


def test_rank_correlation_leaves_gaps(inputs):
    plot = plot_rank_correlation(inputs().uncertainty | {"horizon": [1, 2, 3], "rank_correlation": [0.5, -0.25, None]})
    _, line = plot.figure.axes[0].get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [0.5, -0.25, np.nan])
    assert plot.figure.axes[0].get_ylim() == (-0.28, 1.03)
    assert "0.50 one transition ahead, not defined at 3" in plot.alt


def test_inline_svg_is_well_formed_themed_and_repeatable(inputs):
    plot = plot_training('A <b>"task"</b> & $x^2$', [{"step": k, "loss": 1.0 + k} for k in range(3)])
    svg = inline_svg(plot, "plot1")
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == plot.alt and root.get("role") == "img"
    assert "var(--ink" in svg and "http://www.w3.org/1999/xlink" not in svg.split(">", 1)[0]
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert ids and all(name.startswith("plot1-") for name in ids) and len(ids) == len(set(ids))
    for target in re.findall(r'(?:href="|url\()#([^")]+)', svg):
        assert target in ids
    assert inline_svg(plot, "plot1") == svg


def test_plots_leave_the_callers_style_alone(inputs):
    before = dict(rcParams)
    plot = plot_prediction(inputs().prediction)
    assert png_bytes(plot).startswith(b"\x89PNG")
    inline_svg(plot, "p")
    assert dict(rcParams) == before
