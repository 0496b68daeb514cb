"""`report.html`: one self-contained page, readable offline, with nothing from elsewhere and no script."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from burnish.report.contract import validate_report
from burnish.report.diagnostics import (
    plot_coverage,
    plot_disagreement,
    plot_precision_recall,
    plot_prediction,
    plot_rank_correlation,
    plot_reliability,
)
from burnish.report.figures import Plot
from burnish.report.files import write_atomically
from burnish.report.gate import gate_tables, gate_words, judged
from burnish.report.gate_plots import plot_estimate, plot_worlds
from burnish.report.inputs import ReportInputs
from burnish.report.page import plot_figure, whole_page
from burnish.report.plots import (
    plot_difference,
    plot_outcomes,
    plot_pictures,
    plot_refinement,
    plot_success,
    plot_training,
    plot_validation,
)
from burnish.report.sections import facts, picture_sentences, prose, table, untested_sentences, video_figures
from burnish.report.verdict import refused_by_gate, verdict
from burnish.report.wording import count, percent, seconds


def write_html(inputs: ReportInputs, path: Path) -> None:
    """Render `inputs` and write the page to `path` in one step (temporary name, then rename)."""
    write_atomically(path, render_html(inputs).encode())


def render_html(inputs: ReportInputs) -> str:
    """The whole page; raises InputError where `inputs.report` breaks the contract of `report.json`."""
    validate_report(inputs.report)
    report = inputs.report
    found = verdict(report)
    names = _Names()
    body = "\n".join(
        [
            f'<h1 class="verdict {found.tone}">{prose(found.sentence)}</h1>',
            _subtitle(report),
            facts(report),
            _outcome(report, names),
            _gate(inputs, names),
            _work_done(inputs),
            _refinement(inputs, names),
            _videos(inputs),
            _classifier(inputs, names),
            _world_model(inputs, names),
            _training(inputs, names),
            _untested(inputs),
            _configuration(inputs),
        ]
    )
    return whole_page(f"{report['task']}: Burnish report", body, "img-src data:; media-src data:")


class _Names:
    """Hands out a fresh id prefix for every plot of a page."""

    def __init__(self) -> None:
        self.used = 0

    def next(self) -> str:
        self.used += 1
        return f"plot{self.used}"


def _subtitle(report: Mapping[str, Any]) -> str:
    parts = [
        f"Recipe {report['recipe']}",
        f"task {report['task']}",
        f"seed {report['seed']}",
        f"device {report['device']}",
        f"Burnish {report['versions']['burnish']}",
    ]
    return f'<p class="muted">{escape(" · ".join(parts))}</p>'


def _outcome(report: Mapping[str, Any], names: _Names) -> str:
    title = "Before and after, in the real simulator"
    if report["success"] is None:
        reason = report["skipped"]["evaluation"].rstrip(". ")
        return _section(title, _missing(f"Evaluation in a simulator was skipped: {reason}."))
    plots = [plot_success(report["success"])]
    if report.get("paired_difference") is not None:
        plots.append(plot_difference(report["paired_difference"]))
    note = ""
    if refused_by_gate(report):
        note = (
            "<p>“Refined” is the policy that the trust gate did not accept; the run hands out the pretrained one.</p>"
        )
    elif not report["accepted"]:
        note = "<p>“Refined” is the pretrained policy here: no refined one was accepted.</p>"
    return _section(title, note + _grid(plots, names))


def _gate(inputs: ReportInputs, names: _Names) -> str:
    title, gate = "The trust gate", inputs.gate
    if gate is None:
        return _section(title, _missing(inputs.missing.get("gate", "No trust gate judged the refined policy.")))
    words = gate_words(gate, inputs.report)
    if not judged(gate):
        return _section(title, words)
    plots = [plot_worlds(gate), plot_estimate(gate, inputs.report.get("paired_difference"))]
    return _section(title, words + _grid(plots, names) + gate_tables(gate))


def _work_done(inputs: ReportInputs) -> str:
    report = inputs.report
    if inputs.data:
        rows = [
            [row["source"], count(row["episodes"]), count(row["successes"]), count(row["frames"])]
            for row in inputs.data
        ]
        totals = [sum(row[key] for row in inputs.data) for key in ("episodes", "successes", "frames")]
        if len(rows) > 1:
            rows.append(["total", *map(count, totals)])
        data = table(["Source", "episodes", "successes", "frames"], rows)
    else:
        data = _missing(inputs.missing.get("data", "The data were not counted."))
    time = [[name.replace("_", " "), seconds(value)] for name, value in report["seconds"].items()]
    time.append(["total", seconds(sum(report["seconds"].values()))])
    steps = [[name, count(value)] for name, value in report["simulator_steps"].items()]
    tables = [
        f"<div><h3>Episodes</h3>{data}</div>",
        f"<div><h3>Time per stage</h3>{table(['Stage', 'time'], time)}</div>",
        f"<div><h3>Steps of the real simulator</h3>{table(['Used for', 'steps'], steps)}"
        f"<p class='muted'>Imagined steps: {count(report['imagined_steps'])}, at "
        f"{count(report['imagined_steps_per_second'])} per second.</p></div>",
    ]
    return _section("What was done", f'<div class="grid tables">{"".join(tables)}</div>')


def _refinement(inputs: ReportInputs, names: _Names) -> str:
    rows = inputs.refinement
    title = "Refinement in imagination"
    if not rows:
        return _section(title, _missing(inputs.missing.get("refinement", "Refinement left no metrics.")))
    chosen = next((row for row in rows if row.get("iteration") == inputs.chosen_iteration), None)
    real = inputs.report["success"]
    plots = plot_refinement(rows, chosen if inputs.chosen_iteration is not None else None, real)
    imagined = inputs.report["imagined_success"]
    if inputs.chosen_iteration is None:
        choice = "No iterate was accepted."
    else:
        refused = ", which the trust gate did not accept" if refused_by_gate(inputs.report) else ""
        choice = f"The chosen iterate is number {inputs.chosen_iteration}{refused}."
    introduction = (
        f"The iterate is chosen by pessimistic success in imagination, never by real success: "
        f"{percent(imagined['pretrained'])} for the pretrained policy, {percent(imagined['refined'])} for the refined "
        f"one. {choice}"
    )
    if inputs.refinement_stopped is not None:
        introduction += f" Refinement stopped: {inputs.refinement_stopped}."
    if real is not None:
        introduction += " Real success is drawn for comparison only; it was measured after the choice."
    return _section(title, f"<p>{prose(introduction)}</p>{_grid(plots, names)}")


def _classifier(inputs: ReportInputs, names: _Names) -> str:
    title = "Success classifier"
    if inputs.calibration is None:
        return _section(title, _missing(inputs.missing.get("calibration", "No calibration was recorded.")))
    plots = [plot_reliability(inputs.calibration), plot_precision_recall(inputs.calibration)]
    drawn = [plot for plot in plots if plot is not None]
    if not drawn:
        return _section(title, _missing("The calibration holds neither bins nor a curve."))
    return _section(title, _grid(drawn, names))


def _world_model(inputs: ReportInputs, names: _Names) -> str:
    plots, notes = [], []
    if inputs.prediction is not None:
        plots.append(plot_prediction(inputs.prediction))
    else:
        notes.append(inputs.missing.get("prediction", "Open-loop prediction error was not measured."))
    disagreement = plot_disagreement(inputs.disagreement) if inputs.disagreement is not None else None
    if disagreement is not None:
        plots.append(disagreement)
    else:
        notes.append(inputs.missing.get("disagreement", "The ensemble's disagreement was not measured."))
    if inputs.uncertainty is not None:
        plots += [plot_coverage(inputs.uncertainty), plot_rank_correlation(inputs.uncertainty)]
    elif disagreement is not None:
        notes.append(inputs.missing.get("uncertainty", "Whether disagreement is calibrated was not measured."))
    if inputs.fidelity is not None:
        plots += plot_pictures(inputs.fidelity)
    told = " ".join(picture_sentences(inputs.fidelity, inputs.failure_fidelity))
    warning = (inputs.uncertainty or {}).get("warning")
    content = f"<p><strong>{prose(warning)}</strong></p>" if warning else ""
    content += (_grid(plots, names) if plots else "") + (f"<p>{prose(told)}</p>" if told else "")
    return _section("World model and its doubts", content + "".join(map(_missing, notes)))


def _training(inputs: ReportInputs, names: _Names) -> str:
    plots = [
        plot(name, rows)
        for name, rows in (inputs.training or {}).items()
        for plot in (plot_training, plot_validation, plot_outcomes)
    ]
    drawn = [plot for plot in plots if plot is not None]
    if not drawn:
        return _section("Training losses", _missing(inputs.missing.get("training", "No losses were recorded.")))
    return _section("Training losses", _grid(drawn, names))


def _videos(inputs: ReportInputs) -> str:
    if not inputs.videos:
        return _section("Videos", _missing(inputs.missing.get("videos", "No video was recorded.")))
    return _section("Videos", f'<div class="grid">{"".join(video_figures(inputs.videos))}</div>')


def _untested(inputs: ReportInputs) -> str:
    sentences = [*untested_sentences(inputs.report), *inputs.untested]
    return _section("What was not tested", f"<p>{prose(' '.join(sentences))}</p>")


def _configuration(inputs: ReportInputs) -> str:
    versions = table(["Part", "version"], [[name, text] for name, text in inputs.report["versions"].items()])
    if inputs.configuration:
        text = f"<pre>{escape(inputs.configuration)}</pre>"
    else:
        text = _missing(inputs.missing.get("configuration", "The configuration was not recorded."))
    content = (
        f"<details><summary>Resolved configuration</summary>{text}</details>"
        f"<details><summary>Versions</summary>{versions}</details>"
    )
    return _section("Configuration and versions", content)


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>"


def _missing(reason: str) -> str:
    return f'<p class="missing">{prose(reason)}</p>'


def _grid(plots: Sequence[Plot], names: _Names) -> str:
    return f'<div class="grid">{"".join(plot_figure(plot, names.next()) for plot in plots)}</div>'
