"""A section of the report as plain data: words, plots as numbers, tables and videos.

Stages make sections of what they measured and leave them in their folder (`save_sections`); the report collects them
and knows no stage by name. A sections.json that is read back is trusted no more than any other file.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from burnish.config import from_dict
from burnish.errors import InputError
from burnish.storage import read_json, write_bytes_atomic

SECTIONS_FILE = "sections.json"
MAX_BYTES = 16 * 2**20
_POINTS = 300

Colour = Literal["blue", "orange", "green", "purple", "grey"]
Kind = Literal["line", "scatter", "bars", "interval", "heat"]


@dataclass(frozen=True)
class Series:
    """Points that share a name and a colour.

    Attributes:
        label: its name in the legend; empty for none.
        x: positions; in bars and intervals the row, 0 at the top; in a heat map the column.
        y: as many values; None leaves a gap.
        low, high: bounds of each value, or empty: the band of a line, the whiskers of single points.
        text: what stands beside each point, or empty.
        size: area of each point, or empty.
        style: how a line is drawn; `points` are markers alone.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    text: tuple[str, ...] = ()
    size: tuple[float, ...] = ()
    colour: Colour = "blue"
    style: Literal["solid", "dashed", "points"] = "solid"

    def __post_init__(self) -> None:
        for name in ("y", "low", "high", "text", "size"):
            found = len(getattr(self, name))
            if found != len(self.x) and (found or name == "y"):
                raise InputError(f"series {self.label!r}: found {found} of {name}, expected {len(self.x)} as of x")
        for name in ("x", "y", "low", "high", "size"):
            if not all(value is None or math.isfinite(value) for value in getattr(self, name)):
                raise InputError(f"series {self.label!r}: found a number in {name} that is not finite")
        if len(self.low) != len(self.high):
            raise InputError(f"series {self.label!r}: expected both bounds, low and high, or neither")


@dataclass(frozen=True)
class Axis:
    """One axis: its label with the unit, how numbers are written (`wide`: logarithms where they span far), ends."""

    label: str = ""
    scale: Literal["plain", "share", "count", "wide"] = "plain"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Mark:
    """A line across a plot, at a value of x or of y; the diagonal has none."""

    value: float
    label: str = ""
    on: Literal["x", "y", "diagonal"] = "x"


@dataclass(frozen=True)
class Plot:
    """A plot as numbers, with a caption.

    Bars and intervals lie: their rows have `names`, and their values run along the axis `y`.
    A heat map's series are its rows, `names` its columns.
    """

    kind: Kind
    title: str
    series: tuple[Series, ...]
    x: Axis = Axis()
    y: Axis = Axis()
    caption: str = ""
    marks: tuple[Mark, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind in ("bars", "interval", "heat"):
            rows = {value for series in self.series for value in series.x}
            if not rows <= set(range(len(self.names))):
                raise InputError(f"plot {self.title!r}: found {len(self.names)} names, expected one for each row")


@dataclass(frozen=True)
class Table:
    """A table of texts; all columns but the first `texts` are numbers. A table of words only stacks on a phone."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    texts: int = 1
    note: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.header):
                raise InputError(
                    f"table {self.title!r}: found {len(row)} cells in row {number}, expected {len(self.header)}"
                )


@dataclass(frozen=True)
class Video:
    """A video and its still picture: files below the stage's folder."""

    file: str
    title: str
    caption: str = ""
    poster: str = ""

    def __post_init__(self) -> None:
        for name in filter(None, (self.file, self.poster)):
            # No way out of the folder, and nothing hidden.
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*", name):
                raise InputError(f"video: found file {name!r}, expected a plain relative path")


@dataclass(frozen=True)
class Section:
    """A part of the page. Sections of one key become one: words, plots, tables and videos are joined.

    Attributes:
        key: lower case with hyphens; the section's anchor.
        order: where it stands, smallest first.
        words: short paragraphs.
        warnings: what must not be overlooked.
        missing: what could not be measured, and why.
    """

    key: str
    title: str
    order: int = 60
    words: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    videos: tuple[Video, ...] = ()
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,60}", self.key):
            raise InputError(f"section: found key {self.key!r}, expected lower-case letters, digits and hyphens")


@dataclass(frozen=True)
class _File:
    sections: tuple[Section, ...]


def save_sections(folder: str | Path, sections: Iterable[Section]) -> None:
    """Leave sections in a stage's folder for the report."""
    plain = asdict(_File(tuple(sections)))
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_bytes_atomic(Path(folder) / SECTIONS_FILE, text.encode())


def read_sections(folder: str | Path) -> list[Section]:
    """Read what `save_sections` left; none where there is no such file.

    Raises:
        InputError: the file is damaged, or its sections are none.
    """
    path = Path(folder) / SECTIONS_FILE
    if not path.exists():
        return []
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: found {path.stat().st_size} bytes, expected at most {MAX_BYTES}")
    try:
        return list(from_dict(_File, read_json(path), str(path)).sections)
    except InputError as error:
        # A dataclass's own checks do not know the file.
        raise error if str(error).startswith(str(path)) else InputError(f"{path}: {error}") from None


def merged(sections: Iterable[Section]) -> list[Section]:
    """One section for each key, in their order; later plots of one title add series, later tables replace."""
    found: dict[str, Section] = {}
    for section in sections:
        found[section.key] = _joined(found[section.key], section) if section.key in found else section
    return sorted(found.values(), key=lambda section: section.order)


def _joined(first: Section, second: Section) -> Section:
    plots = {(plot.kind, plot.title): plot for plot in first.plots}
    for plot in second.plots:
        old = plots.get((plot.kind, plot.title))
        if old is not None:
            caption = f"{old.caption} {plot.caption}".strip()
            plot = replace(old, series=old.series + plot.series, marks=old.marks + plot.marks, caption=caption)
        plots[plot.kind, plot.title] = plot
    replaced = {table.title for table in second.tables if table.title}
    tables = tuple(table for table in first.tables if table.title not in replaced) + second.tables
    more = {name: getattr(first, name) + getattr(second, name) for name in ("words", "warnings", "videos", "missing")}
    return replace(first, order=min(first.order, second.order), plots=tuple(plots.values()), tables=tables, **more)


def curve(
    rows: Sequence[Mapping[str, Any]], x: str, y: str, label: str, colour: Colour = "blue", **more: Any
) -> Series | None:
    """The series of column `y` over column `x`, thinned to a few hundred points; None where no row has both."""
    pairs = [(row[x], row[y]) for row in rows if _is_number(row.get(x)) and _is_number(row.get(y))]
    if not pairs:
        return None
    positions, values = (part.tolist() for part in block_means(*np.array(pairs, dtype=np.float64).T))
    return Series(label, tuple(positions), tuple(values), colour=colour, **more)


def block_means(x: np.ndarray, y: np.ndarray, limit: int = _POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most `limit` points: means over consecutive blocks, so that a long curve stays small and readable."""
    if len(x) <= limit:
        return x, y
    edges = np.linspace(0, len(x), limit + 1).astype(int)
    counts = np.diff(edges)
    return np.add.reduceat(x, edges[:-1]) / counts, np.add.reduceat(y, edges[:-1]) / counts


def numbers(values: Iterable[Any]) -> tuple[Any, ...]:
    """Plain numbers; None for what is missing or not finite."""
    return tuple(float(value) if _is_number(value) else None for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
