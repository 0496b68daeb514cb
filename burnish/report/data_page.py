"""The page of `burnish data inspect`: what a data set is, what is wrong with it, and how it looks."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from burnish.data.dataset import Dataset
from burnish.data.episodes import STATE
from burnish.data.inspection import Inspection
from burnish.data.prospects import Finding
from burnish.data.signals import names_of
from burnish.report.html import render_sections
from burnish.report.page import tiles_row
from burnish.report.section import Axis, Colour, Plot, Section, Series, Table
from burnish.report.wording import count, number

_SHOWN = 12
"""Dimensions that are drawn; the table has all."""
_EPISODES = 3
_COLOURS: tuple[Colour, ...] = ("blue", "orange", "green")


def data_page(found: Inspection) -> str:
    """The page, with everything inside."""
    title = f"Data set {found.path.name}"
    errors = sum(each.level == "error" for each in found.findings)
    warnings = sum(each.level == "warning" for each in found.findings)
    verdict = "No run can come of it yet" if errors else "Usable, with warnings" if warnings else "Usable"
    head = [
        f'<h1 class="verdict {"bad" if errors else "good"}">{html.escape(title)}: {verdict}</h1>',
        f'<p class="muted">{html.escape(str(found.path))} · {html.escape(found.title)}</p>',
        tiles_row(_tiles(found)),
    ]
    return render_sections(title, "\n".join(head), [findings_section(found.findings), *_sections(found)])


def findings_section(findings: Sequence[Finding], key: str = "findings") -> Section:
    """The findings as a section of a page; the section of a run's report has another key."""
    rows = tuple((each.level, each.text) for each in findings)
    title = "What these data can and cannot support"
    if not rows:
        return Section(key, title, 28, ("Nothing stands out.",))
    return Section(key, title, 28, tables=(Table(("", "What was found"), rows, texts=2),))


def _tiles(found: Inspection) -> list[tuple[str, str]]:
    data = found.dataset
    tiles = [("episodes", count(data.num_episodes)), ("frames", count(data.num_frames))]
    tiles += [("frames a second", f"{data.info.fps:g}"), ("state", count(len(names_of(data))))]
    tiles.append(("action", count(data.action_dim)))
    if data.has_success:
        tiles.append(("successful episodes", count(int(data.episode_success.sum()))))
    if data.has_reward:
        tiles.append(("mean return", number(float(data.episode_return.mean()))))
    return tiles


def _sections(found: Inspection) -> list[Section]:
    facts, data = found.to_json(), found.dataset
    who = [(name, count(each["episodes"]), count(each["successes"])) for name, each in facts["sources"].items()]
    tasks = [(name, count(episodes)) for name, episodes in facts["tasks"].items()]
    tables = (
        Table(("Source", "episodes", "successes"), tuple(who), "Who acted"),
        Table(("Task", "episodes"), tuple(tasks), "Tasks"),
        Table(("Cameras, columns", ""), tuple((name, "") for name in (*found.cameras, *found.columns)), "In the files"),
    )
    names = [each["name"] for each in facts["action"]]
    sections = [Section("episodes", "Episodes", 30, plots=(_lengths(data),), tables=tables)]
    if STATE in data.observations:
        states = data.observations[STATE].numpy()
        sections.append(_dimensions("State", facts["state"], states, names_of(data), data))
    return [*sections, _dimensions("Action", facts["action"], data.actions.numpy(), names, data)]


def _lengths(data: Dataset) -> Plot:
    lengths = data.lengths.numpy()
    success = data.episode_success.numpy()
    kinds: tuple[tuple[str, np.ndarray, Colour], ...] = (
        ("success", success, "green"),
        ("no success", ~success, "orange"),
    )
    series = [
        Series(
            label,
            tuple(map(float, np.flatnonzero(which))),
            tuple(map(float, lengths[which])),
            colour=colour,
            style="points",
        )
        for label, which, colour in kinds
        if which.any()
    ]
    return Plot("line", "Frames of each episode", tuple(series), Axis("episode"), Axis("frames", "plain", 0))


def _dimensions(
    what: str, facts: list[dict[str, Any]], values: np.ndarray, names: Sequence[str], data: Dataset
) -> Section:
    header = ("Dimension", "kind", "min", "1 %", "99 %", "max", "std")
    rows = tuple(
        (each["name"], each["kind"], *(number(each[key]) for key in ("min", "q01", "q99", "max", "std")))
        for each in facts
    )
    plots = tuple(_curves(str(name), values[:, index], data) for index, name in enumerate(names[:_SHOWN]))
    more = (f"{len(names) - _SHOWN} more dimensions are in the table.",) if len(names) > _SHOWN else ()
    return Section(what.lower(), what, 40, more, plots=plots, tables=(Table(header, rows, f"{what}: all", texts=2),))


def _curves(name: str, values: np.ndarray, data: Dataset) -> Plot:
    """One dimension over the time of the first episodes."""
    series = []
    for episode in range(min(_EPISODES, data.num_episodes)):
        start, length = int(data.starts[episode]), int(data.lengths[episode])
        every = max(1, length // 200)
        frames = np.arange(0, length, every)
        times = tuple((frames / data.info.fps).tolist())
        shown = tuple(values[start + frames].astype(float).tolist())
        series.append(Series(f"episode {episode}", times, shown, colour=_COLOURS[episode]))
    return Plot("line", name, tuple(series), Axis("seconds"), Axis())
