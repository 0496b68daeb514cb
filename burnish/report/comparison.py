"""A table of methods: rows are methods, columns tasks or data sets, cells mean ± spread over seeds, as MD and HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import mean, stdev
from typing import Any

from burnish.report.page import markdown_table, prose, table, whole_page
from burnish.report.wording import count, percent

# World4RL (arXiv 2509.19080 v2), Table II: success in per cent, mean and spread over three seeds.
PUBLISHED_TASKS = ("coffee-pull", "soccer", "hammer", "door-lock", "lever-pull", "handle-pull")
PUBLISHED = {
    "BC": ((47, 7), (18, 2), (79, 5), (74, 5), (31, 5), (60, 6)),
    "Diffusion Policy": ((34, 7), (19, 4), (15, 6), (86, 8), (49, 8), (67, 11)),
    "TD3+BC": ((57, 13), (22, 8), (89, 4), (82, 6), (39, 11), (57, 6)),
    "IQL": ((47, 9), (14, 7), (73, 10), (69, 11), (24, 3), (25, 6)),
    "IRASim": ((55, 6), (28, 5), (82, 5), (78, 5), (33, 5), (66, 6)),
    "DiWA": ((49, 10), (21, 6), (83, 7), (88, 7), (50, 9), (68, 7)),
    "TD-MPC2": ((60, 7), (24, 5), (85, 5), (85, 4), (39, 6), (67, 5)),
    "World4RL": ((68, 5), (31, 4), (91, 4), (92, 5), (52, 8), (71, 4)),
}
_HEADINGS = ("learning, s", "evaluation, s", "imagined steps", "real steps of the data")
_NOTE = (
    "The deterministic policy in the real simulator: success in per cent, or the mean return where that is what the "
    "data are about; mean ± sample standard deviation over seeds. Within a column and a seed all methods have the same "
    "offline data and are measured from the same starts. "
    "Learning is the time of everything that a method needs after the data are recorded, as one run took it; a "
    "planner does its work during evaluation. Steps are those of one run, too. No run is left out."
)


@dataclass(frozen=True)
class Comparison:
    """What was asked for, and the results as they were stored: `success` or `return` has what was measured."""

    recipe: str
    columns: tuple[str, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    results: Sequence[Mapping[str, Any]]
    command: str = ""

    def of(self, method: str, column: str) -> list[Mapping[str, Any]]:
        """The results of one cell, in the order of the seeds."""
        chosen = [row for row in self.results if (row["method"], row["column"]) == (method, column)]
        return sorted(chosen, key=lambda row: row["seed"])

    @property
    def alike(self) -> bool:
        """Whether a mean over the columns says anything: success everywhere, or returns of one task."""
        done = [row for row in self.results if _level(row) is not None]
        return len({row["task"] if row.get("return") else None for row in done}) < 2

    @property
    def digits(self) -> int:
        """After the point: small returns have one."""
        levels = [row["return"]["mean"] for row in self.results if row.get("return")]
        return int(any(levels) and max(map(abs, levels)) < 100)


def table_rows(comparison: Comparison) -> list[list[str]]:
    """One row a method: how good it is in every column and in all of them, its time, and its steps."""
    c, rows = comparison, []
    for method in c.methods:
        cells = [c.of(method, column) for column in c.columns]
        everything = [row for cell in cells for row in cell if _level(row) is not None]
        texts = [cell_text(_levels(cell), len(c.seeds) - len(_levels(cell)), c.digits) for cell in cells]
        rows.append([method, *texts, *([_overall(c, cells)] if c.alike else []), *_costs(everything)])
    return rows


def cell_text(levels: Sequence[float], missing: int = 0, digits: int = 0) -> str:
    """Levels as "63 ± 12"; without a spread where there is one seed, and with what is missing."""
    text = f"{mean(levels):.{digits}f}" if levels else "–"
    if len(levels) > 1:
        text += f" ± {stdev(levels):.{digits}f}"
    return f"{text} ({missing} missing)" if missing else text


def render_markdown(comparison: Comparison) -> str:
    """The table, every run behind it, and what the paper has on these tasks."""
    c = comparison
    lines = [f"# Methods on the data of {c.recipe}", ""]
    lines += [f"`{c.command}`", ""] if c.command else []
    lines += [_NOTE, "", *markdown_table(_header(c), table_rows(c)), "", "## Every run", ""]
    lines += markdown_table(_RUN_HEADER, _runs(c))
    published = _published(c)
    if published:
        lines += ["", "## Published", "", _PUBLISHED_NOTE, "", *markdown_table(*published)]
    return "\n".join(lines) + "\n"


def render_html(comparison: Comparison) -> str:
    """The same as one self-contained page without a script."""
    c = comparison
    parts = [f"<h1>Methods on the data of {escape(c.recipe)}</h1>", f"<p>{prose(_NOTE)}</p>"]
    parts += [table(_header(c), table_rows(c)), "<section><h2>Every run</h2>", table(_RUN_HEADER, _runs(c))]
    parts.append("</section>")
    published = _published(c)
    if published:
        parts += [f"<section><h2>Published</h2><p>{prose(_PUBLISHED_NOTE)}</p>", table(*published), "</section>"]
    if c.command:
        parts.append(f"<section><h2>Command</h2><pre>{escape(c.command)}</pre></section>")
    body = "\n".join(parts)
    return whole_page(f"{c.recipe}: Burnish comparison", body)


_PUBLISHED_NOTE = (
    "World4RL (arXiv 2509.19080, Table II), mean ± spread over three seeds. Other data, version 2 of the tasks, and "
    "baselines of the authors' own; to be read beside the table above, not against it."
)
_RUN_HEADER = ("data", "seed", "method", "success or return", "95 % interval", *_HEADINGS)


def _header(comparison: Comparison) -> list[str]:
    return ["method", *comparison.columns, *(["mean"] if comparison.alike else []), *_HEADINGS]


def _level(row: Mapping[str, Any]) -> float | None:
    """Success in per cent, or the mean return; None where a run failed."""
    if row.get("return"):
        return row["return"]["mean"]
    return 100 * row["success"]["rate"] if row["success"] else None


def _levels(results: Sequence[Mapping[str, Any]]) -> list[float]:
    return [level for level in map(_level, results) if level is not None]


def _overall(comparison: Comparison, cells: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """The mean over columns, of the seeds that have them all: a missing one says nothing about the others."""
    seeds = [[level for cell in cells for level in _levels(_of_seed(cell, seed))] for seed in comparison.seeds]
    whole = [mean(levels) for levels in seeds if len(levels) == len(comparison.columns)]
    return cell_text(whole, len(seeds) - len(whole), comparison.digits)


def _of_seed(results: Sequence[Mapping[str, Any]], seed: int) -> list[Mapping[str, Any]]:
    return [row for row in results if row["seed"] == seed]


def _costs(results: Sequence[Mapping[str, Any]]) -> list[str]:
    if not results:
        return ["–"] * len(_HEADINGS)
    times = [mean(row["seconds"][part] for row in results) for part in ("learn", "evaluate")]
    steps = [mean(row[kind] for row in results) for kind in ("imagined_steps", "real_steps")]
    return [*(f"{time:.1f}" if time < 10 else count(time) for time in times), *map(count, steps)]


def _runs(comparison: Comparison) -> list[list[str]]:
    c, rows = comparison, []
    for column in c.columns:
        for seed in c.seeds:
            for method in c.methods:
                found = _of_seed(c.of(method, column), seed)
                rows.append([column, str(seed), method, *_run(found[0] if found else None)])
    return rows


def _run(row: Mapping[str, Any] | None) -> list[str]:
    if row is None or _level(row) is None:
        reason = row["error"] if row is not None and row.get("error") else "did not end"
        return [f"failed: {reason}", *["–"] * (1 + len(_HEADINGS))]
    if row.get("return"):
        (low, high), returned = row["return"]["ci95"], row["return"]
        return [f"{returned['mean']:.1f} in {returned['episodes']}", f"{low:.1f} to {high:.1f}", *_costs([row])]
    success = row["success"]
    low, high = success["ci95"]
    interval = f"{percent(low, 0)} to {percent(high, 0)}"
    return [f"{success['successes']} of {success['episodes']}", interval, *_costs([row])]


def _published(comparison: Comparison) -> tuple[list[str], list[list[str]]] | None:
    stems = [column.rpartition("-v")[0] for column in comparison.columns]
    known = [stem for stem in stems if stem in PUBLISHED_TASKS]
    if not known:
        return None
    rows = []
    for method, numbers in PUBLISHED.items():
        chosen = [numbers[PUBLISHED_TASKS.index(stem)] for stem in known]
        rows.append(
            [method, *(f"{centre} ± {spread}" for centre, spread in chosen), f"{mean(n for n, _ in chosen):.1f}"]
        )
    return ["method", *(f"{stem}-v2" for stem in known), "mean"], rows
