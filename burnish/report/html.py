"""`report.html`: one page of a verdict and a list of sections, readable offline, nothing from elsewhere, no script."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from burnish.report.contract import POLICIES, validate_report
from burnish.report.page import figure, prose, table, tiles_row, whole_page
from burnish.report.section import Plot, Section, Table, Video
from burnish.report.sections_policies import limit_words
from burnish.report.verdict import can_decide, difference, measured_by, refused_by_gate, verdict
from burnish.report.wording import count, percent, seconds

# Base64 of all videos of a page, in bytes; keeps the page below about 8 MB.
MAX_VIDEO_BYTES = 7_000_000
LONG_TABLE = 8  # rows; longer ones are folded


def render_html(
    report: Mapping[str, Any],
    sections: Sequence[Section],
    configuration: str = "",
    files: Mapping[str, bytes] | None = None,
) -> str:
    """The whole page.

    Args:
        report: report.json's content.
        sections: in their order, one for each key (`section.merged`).
        configuration: the resolved recipe, as text (YAML).
        files: the content of the videos and posters by their names in the sections.

    Raises:
        InputError: `report` breaks the contract of report.json.
    """
    validate_report(report)
    found = verdict(report)
    page = _Page(files or {})
    contents = "".join(f'<a href="#{one.key}">{prose(one.title)}</a>' for one in sections)
    parts = [
        f'<h1 class="verdict {found.tone}">{prose(found.headline)}</h1>',
        f'<p class="finding">{prose(found.sentence)}</p>',
        _subtitle(report),
        _facts(report),
        f'<nav aria-label="Contents">{contents}<a href="#configuration">Configuration</a></nav>',
        *map(page.section, sections),
        _configuration(report, configuration),
    ]
    return whole_page(f"{report['task']}: Burnish report", "\n".join(parts), "img-src data:; media-src data:")


def render_sections(title: str, head: str, sections: Sequence[Section]) -> str:
    """A page that is not a run's: `head`, which must be escaped, and sections."""
    page = _Page({})
    return whole_page(title, "\n".join([head, *map(page.section, sections)]), "img-src data:")


class _Page:
    """What the page has used up so far: ids of plots, and room for videos."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files, self.plots, self.embedded = files, 0, 0

    def section(self, section: Section) -> str:
        """A section with everything in it."""
        parts = [f"<p><strong>{prose(text)}</strong></p>" for text in section.warnings]
        parts += [f"<p>{prose(text)}</p>" for text in section.words]
        wide = [table for table in section.tables if table.texts >= len(table.header)]
        parts += [self._table(table) for table in wide]
        parts.append(_grid(self._plot(plot) for plot in section.plots))
        narrow = [table for table in section.tables if table not in wide]
        parts.append(_grid((self._table(table) for table in narrow if len(table.rows) <= LONG_TABLE), "tables"))
        parts += [self._folded(table) for table in narrow if len(table.rows) > LONG_TABLE]
        parts.append(_grid(self._video(video) for video in section.videos))
        parts += [f'<p class="missing">{prose(text)}</p>' for text in section.missing]
        return _section(section.key, section.title, "".join(parts))

    def _plot(self, plot: Plot) -> str:
        from burnish.report.plots import svg  # Matplotlib takes a second

        self.plots += 1
        return figure(plot.title, svg(plot, f"plot{self.plots}"), plot.caption)

    def _table(self, found: Table) -> str:
        heading = f"<h3>{prose(found.title)}</h3>" if found.title else ""
        note = f'<p class="note">{prose(found.note)}</p>' if found.note else ""
        return f"<div>{heading}{table(found.header, found.rows, found.texts)}{note}</div>"

    def _folded(self, found: Table) -> str:
        return (
            f"<details><summary>{prose(found.title)}</summary>{table(found.header, found.rows, found.texts)}</details>"
        )

    def _video(self, video: Video) -> str:
        content = self.files.get(video.file, b"")
        data = base64.b64encode(content).decode("ascii")
        link = f'<a href="{escape(video.file)}">{escape(video.file)}</a>'
        if not content:
            player = '<p class="missing">This video is missing.</p>'
        elif self.embedded + len(data) > MAX_VIDEO_BYTES:
            player = f'<p class="missing">Left out to keep this page small. It lies in {link}.</p>'
        else:
            self.embedded += len(data)
            still = self.files.get(video.poster, b"")
            poster = f' poster="data:image/jpeg;base64,{base64.b64encode(still).decode("ascii")}"' if still else ""
            label = escape(f"{video.title}: {video.caption}")
            player = (
                f'<video controls loop muted playsinline preload="metadata" aria-label="{label}"{poster} '
                f'src="data:video/mp4;base64,{data}"></video>'
            )
        return figure(video.title, player, video.caption)


def _subtitle(report: Mapping[str, Any]) -> str:
    parts = [
        f"Task {report['task']}",
        f"recipe {report['recipe']}",
        f"seed {report['seed']}",
        f"device {report['device']}",
        f"Burnish {report['versions']['burnish']}",
    ]
    return (
        f'<p class="muted">{escape(" · ".join(parts))} · <a href="report.json">report.json</a><br>'
        "<code>burnish studio .</code>, typed in this folder, lets you drive inside the world model, and plays these "
        "episodes again.</p>"
    )


def _facts(report: Mapping[str, Any]) -> str:
    """The run's main numbers, as tiles."""
    tiles: list[tuple[str, str]] = []
    refused, gate, measure = refused_by_gate(report), report["gate"], measured_by(report)
    if gate is not None:
        tiles.append(("trust gate", _decision(report)))
    levels, key = report[measure.name], "rate" if measure.name == "success" else "mean"
    unit = "success" if measure.name == "success" else "return"
    filtered = report["policies"].get("filtered", {}).get(measure.name)
    if filtered is not None:
        tiles.append((f"filtered cloning ({unit})", measure.value(filtered[key])))
    for policy in POLICIES:
        name = f"{policy}, not used" if refused and policy == "refined" else policy
        if levels is not None:
            tiles.append((f"{name} ({unit})", measure.value(levels[policy][key])))
        elif report[f"imagined_{measure.name}"] is not None:
            tiles.append((f"{name} (imagined {unit})", measure.value(report[f"imagined_{measure.name}"][policy])))
    found = difference(report, measure)
    if found is not None:
        tiles.append(("difference", measure.change(found["difference"])))
    # A policy that is not handed out removes none.
    if report.get("failures_removed") is not None and not refused:
        tiles.append(("failures removed", percent(report["failures_removed"], 0).replace("-", "−")))
    if report["limit"] is not None:
        tiles.append(("time limit", limit_words(report["limit"]).removeprefix("after ").split(" of ")[0]))
    steps = report["simulator_steps"]
    tiles.append(("simulator steps, data | refinement", f"{count(steps['collection'])} | {count(steps['refinement'])}"))
    tiles.append(("imagined steps", count(report["imagined_steps"])))
    spent = report["seconds"]
    tiles.append(("time in all", seconds(report.get("clock_seconds", sum(spent.values())))))
    tiles.append(("of it refinement", seconds(spent.get("refinement", 0))))
    return tiles_row(tiles)


def _decision(report: Mapping[str, Any]) -> str:
    gate = report["gate"]
    if gate["accepted"]:
        return "accepted"
    return "rejected" if can_decide(gate) else "could not decide"


def _configuration(report: Mapping[str, Any], configuration: str) -> str:
    versions = table(["Part", "version"], [[name, text] for name, text in report["versions"].items()])
    text = f"<pre>{escape(configuration)}</pre>" if configuration else '<p class="missing">It was not recorded.</p>'
    content = (
        f"<details><summary>Resolved configuration</summary>{text}</details>"
        f"<details><summary>Versions</summary>{versions}</details>"
    )
    return _section("configuration", "Configuration and versions", content)


def _section(key: str, title: str, content: str) -> str:
    return f'<section id="{key}">\n<h2>{prose(title)}</h2>\n{content}\n</section>'


def _grid(cells: Any, kind: str = "") -> str:
    content = "".join(cells)
    return f'<div class="grid{f" {kind}" if kind else ""}">{content}</div>' if content else ""
