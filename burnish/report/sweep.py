"""The table of a sweep: cloned, filtered and refined over seeds, and what the gate said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from burnish.evaluation.intervals import mean_interval
from burnish.report.page import markdown_table
from burnish.report.verdict import handed_out, measured_by
from burnish.report.wording import seconds

_POLICIES = ("pretrained", "filtered", "refined")


@dataclass
class Row:
    """One task with one choice of settings: the reports of its seeds, and the seeds that are not done."""

    task: str
    settings: str
    reports: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)


def render_markdown(recipe: str, command: str, rows: Sequence[Row]) -> str:
    """Success in per cent or mean returns, over seeds with Student's 95 % interval; `rows` in their order."""
    header = ("task", "settings", "seeds", "cloned", "filtered", "refined", "handed out", "accepted", "time a run")
    lines = markdown_table(header, [_cells(row) for row in rows])
    note = (
        "Means over seeds within the run's time limit, with Student's 95 % interval over seeds where there are "
        "several. “Filtered” is the cheap alternative: every recorded success, cloned. “Handed out” is what the trust "
        "gate lets pass."
    )
    return "\n".join([f"# Sweep of {recipe}", "", f"`{command}`", "", *lines, "", note]) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    seeds = f"{len(row.reports)}" + (f", {len(row.missing)} not done" if row.missing else "")
    reports = list(row.reports.values())
    if not reports:
        return (row.task, row.settings or "–", seeds, *["–"] * 6)
    policies = [_over_seeds([_level(report, name) for report in reports]) for name in _POLICIES]
    out = _over_seeds([_level(report, handed_out(report)) for report in reports])
    asked = [report for report in reports if report["gate"] is not None]
    accepted = f"{sum(report['gate']['accepted'] for report in asked)} of {len(asked)}" if asked else "no gate"
    took = mean(report.get("clock_seconds", sum(report["seconds"].values())) for report in reports)
    return (row.task, row.settings or "–", seeds, *policies, out, accepted, seconds(took))


def _level(report: Mapping[str, Any], policy: str) -> tuple[float, bool] | None:
    """A policy's success in per cent (True) or return (False); None where it was not measured."""
    measure = measured_by(report)
    found = report["policies"].get(policy, {}).get(measure.name)
    if found is None:
        return None
    success = measure.name == "success"
    return (100 * found["rate"] if success else found["mean"]), success


def _over_seeds(found: Sequence[tuple[float, bool] | None]) -> str:
    levels = [each for each in found if each is not None]
    if not levels:
        return "–"
    unit, digits = (" %", 0) if levels[0][1] else ("", 1)
    values = [value for value, _ in levels]
    if len(values) == 1:
        return f"{values[0]:.{digits}f}{unit}"
    centre, low, high = mean_interval(values)
    if levels[0][1]:
        low, high = max(low, 0.0), min(high, 100.0)
    return f"{centre:.{digits}f}{unit} ({low:.{digits}f} to {high:.{digits}f})"
