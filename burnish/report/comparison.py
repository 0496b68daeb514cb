"""A table of methods: rows are methods, columns are tasks, cells are mean ± spread over seeds; Markdown and HTML."""

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
    "Success of the deterministic policy in the real simulator, in per cent: mean ± sample standard deviation over "
    "seeds. Within a task and a seed all methods have the same offline data and are measured from the same starts. "
    "Learning is the time of everything that a method needs after the data are recorded, as one run took it; a "
    "planner does its work during evaluation. Steps are those of one run, too. No run is left out."
)


@dataclass(frozen=True)
class Comparison:
    """What was asked for, and the results as they were stored (`success` is None where a run failed)."""

    recipe: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    results: Sequence[Mapping[str, Any]]
    command: str = ""

    def of(self, method: str, task: str) -> list[Mapping[str, Any]]:
        """The results of one cell, in the order of the seeds."""
        chosen = [row for row in self.results if (row["method"], row["task"]) == (method, task)]
        return sorted(chosen, key=lambda row: row["seed"])


def table_rows(comparison: Comparison) -> list[list[str]]:
    """One row a method: its success on every task and on all of them, its time, and its steps."""
    c, rows = comparison, []
    for method in c.methods:
        cells = [c.of(method, task) for task in c.tasks]
        everything = [row for cell in cells for row in cell if row["success"] is not None]
        means = [_mean_over_tasks(c, cells, seed) for seed in c.seeds]
        whole = [value for value in means if value is not None]
        overall = cell_text(whole, len(c.seeds) - len(whole))
        texts = [cell_text(_rates(cell), len(c.seeds) - len(_rates(cell))) for cell in cells]
        rows.append([method, *texts, overall, *_costs(everything)])
    return rows


def cell_text(rates: Sequence[float], missing: int = 0) -> str:
    """Rates in [0, 1] as "63 ± 12"; without a spread where there is one seed, and with what is missing."""
    text = f"{100 * mean(rates):.0f}" if rates else "–"
    if len(rates) > 1:
        text += f" ± {100 * stdev(rates):.0f}"
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
_RUN_HEADER = ("task", "seed", "method", "success", "95 % interval", *_HEADINGS)


def _header(comparison: Comparison) -> list[str]:
    return ["method", *comparison.tasks, "mean", *_HEADINGS]


def _rates(results: Sequence[Mapping[str, Any]]) -> list[float]:
    return [row["success"]["rate"] for row in results if row["success"] is not None]


def _mean_over_tasks(comparison: Comparison, cells: Sequence[Sequence[Mapping[str, Any]]], seed: int) -> float | None:
    """The mean of one seed's rates; None where a task is missing, because the others say nothing about it."""
    rates = [rate for cell in cells for rate in _rates([row for row in cell if row["seed"] == seed])]
    return mean(rates) if len(rates) == len(comparison.tasks) else None


def _costs(results: Sequence[Mapping[str, Any]]) -> list[str]:
    if not results:
        return ["–"] * len(_HEADINGS)
    times = [mean(row["seconds"][part] for row in results) for part in ("learn", "evaluate")]
    steps = [mean(row[kind] for row in results) for kind in ("imagined_steps", "real_steps")]
    return [*(f"{time:.1f}" if time < 10 else count(time) for time in times), *map(count, steps)]


def _runs(comparison: Comparison) -> list[list[str]]:
    c, rows = comparison, []
    for task in c.tasks:
        for seed in c.seeds:
            for method in c.methods:
                found = [row for row in c.of(method, task) if row["seed"] == seed]
                rows.append([task, str(seed), method, *_run(found[0] if found else None)])
    return rows


def _run(row: Mapping[str, Any] | None) -> list[str]:
    if row is None or row["success"] is None:
        reason = row["error"] if row is not None and row.get("error") else "did not end"
        return [f"failed: {reason}", *["–"] * (1 + len(_HEADINGS))]
    success = row["success"]
    low, high = success["ci95"]
    interval = f"{percent(low, 0)} to {percent(high, 0)}"
    return [f"{success['successes']} of {success['episodes']}", interval, *_costs([row])]


def _published(comparison: Comparison) -> tuple[list[str], list[list[str]]] | None:
    stems = [task.rpartition("-v")[0] for task in comparison.tasks]
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
