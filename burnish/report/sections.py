"""Pieces of the page that are no plots: facts, tables, videos, and what a run leaves untested."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from burnish.report.verdict import refused_by_gate
from burnish.report.wording import count, percent, seconds, signed

# Base64 of all videos of a page, in bytes; keeps the page below about 8 MB.
MAX_VIDEO_BYTES = 7_000_000


def prose(text: str) -> str:
    """Escaped text in which a number stays on one line with its percent sign or its φ."""
    return escape(text).replace(" %", "\u00a0%").replace("φ = ", "φ\u00a0=\u00a0")


def facts(report: Mapping[str, Any]) -> str:
    """The run's main numbers, as a row of tiles."""
    tiles: list[tuple[str, str]] = []
    refused = refused_by_gate(report)
    if refused or (report["accepted"] and report.get("gate") is not None):
        tiles.append(("trust gate", _decision(report["gate"])))
    if report["success"] is not None:
        names = {"refined": "refined, not used"} if refused else {}
        for policy, counted in report["success"].items():
            tiles.append((f"{names.get(policy, policy)} (real)", percent(counted["rate"])))
    else:
        tiles += [(f"{policy} (imagined)", percent(rate)) for policy, rate in report["imagined_success"].items()]
    if report.get("paired_difference"):
        tiles.append(("difference in points", signed(report["paired_difference"]["difference"])))
    # A policy that is not handed out removes none.
    if report.get("failures_removed") is not None and not refused:
        tiles.append(("failures removed", percent(report["failures_removed"], 0).replace("-", "−")))
    tiles.append(("simulator steps in refinement", count(report["simulator_steps"]["refinement"])))
    tiles.append(("imagined steps", count(report["imagined_steps"])))
    tiles.append(("time for refinement", seconds(report["seconds"]["refine"])))
    return tiles_row(tiles)


def tiles_row(tiles: Sequence[tuple[str, str]]) -> str:
    """(name, value) pairs as a row of tiles."""
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{prose(value)}</dd></div>" for name, value in tiles)
    return f'<dl class="facts">{cells}</dl>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """An HTML table; every column but the first `texts` is aligned as numbers."""
    lines = [_row("th", header, texts), *(_row("td", row, texts) for row in rows)]
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; a bar or a line break in a cell does not break it."""
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (header, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]


def video_figures(videos: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A `<figure>` for each video, embedded; those past the page's size limit are named instead."""
    embedded = 0
    for video in videos:
        data = base64.b64encode(video["mp4"]).decode("ascii")
        title, caption = escape(video["title"]), escape(video.get("caption", ""))
        if embedded + len(data) > MAX_VIDEO_BYTES:
            place = f" It lies in {escape(str(video['path']))}." if video.get("path") else ""
            player = f'<p class="missing">Left out to keep this page small.{place}</p>'
        else:
            embedded += len(data)
            player = (
                f'<video controls loop muted playsinline preload="metadata" aria-label="{title}: {caption}" '
                f'src="data:video/mp4;base64,{data}"></video>'
            )
        yield f"<figure><h3>{title}</h3>{player}<figcaption>{caption}</figcaption></figure>"


def picture_sentences(fidelity: Mapping[str, Any] | None, failures: Mapping[str, Any] | None) -> list[str]:
    """Whether imagined pictures follow the actions, and whether imagined failures stay failures."""
    sentences = []
    own = (fidelity or {}).get("action_following", {}).get("own_future", {})
    if own.get("rate") is not None:
        sentences.append(
            f"In {percent(own['rate'], 0)} of {own['windows']} held-out windows the recorded actions bring imagination "
            "nearer to what happened than another window's actions do (50 %: it does not follow them)."
        )
    for name, word in (("failures_kept", "failed"), ("successes_kept", "succeeded")):
        told = (failures or {}).get(name, {}).get("imagined", {})
        if told.get("rate") is not None:
            sentences.append(
                f"Of {told['episodes']} held-out episodes that {word}, {told['kept']} {word} in imagination, too, "
                "under the same actions and by the classifier."
            )
    return sentences


def untested_sentences(report: Mapping[str, Any]) -> list[str]:
    """What no run of this kind can show, and what this one left out."""
    sentences = []
    gate = report.get("gate")
    judged = gate is not None and "estimate" in gate
    if report["success"] is None and judged:
        sentences.append(
            "Neither policy was run in a simulator or on a robot, so every success rate of the refined one on this "
            "page is imagined, or expected from what was imagined, by models that were trained on the same data."
        )
    elif report["success"] is None:
        sentences.append(
            "Neither policy was run in a simulator or on a robot, so every success rate on this page is imagined, "
            "by models that were trained on the same data."
        )
    else:
        episodes = report["success"]["refined"]["episodes"]
        sentences.append(
            f"Both policies were run for {episodes} episodes in the simulator of one task, from start states of the "
            "kind in which the data were collected; other tasks, other starts, disturbances and a physical robot "
            "were not tried."
        )
        sentences.append("The intervals cover the luck of the evaluation episodes.")
    if judged:
        sentences.append(
            "The trust gate's held-out worlds all learned from the same data: what these never show (another object, a "
            "new way of failing, contacts that nobody tried), none of the worlds knows, so that they can be wrong "
            "together. Its starts are recorded ones. Its successes are what classifiers call one, which learned from "
            "the labels in these data. Its back-test shows how well imagination knows what was recorded, not what the "
            "refined policy does differently."
        )
    elif "gate" in report:
        sentences.append("The refined policy was not judged in held-out worlds, so that no trust gate vouches for it.")
    sentences.append(
        f"This is one run with one seed ({report['seed']}): how much the outcome varies with the data and with "
        "training is not shown here."
    )
    return sentences


def _decision(gate: Mapping[str, Any]) -> str:
    return "accepted" if gate["accepted"] else "rejected" if "estimate" in gate else "could not judge"


def _row(tag: str, cells: Sequence[str], texts: int) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    kinds = ("" if column < texts else ' class="number"' for column in range(len(cells)))
    marked = "".join(f"<{tag}{scope}{kind}>{prose(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
    return f"<tr>{marked}</tr>"
