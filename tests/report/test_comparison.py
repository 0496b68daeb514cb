"""The table of methods: its numbers by hand, failures that stay visible, and a page that needs nothing else."""

import re

import pytest

from burnish.report.comparison import PUBLISHED, PUBLISHED_TASKS, Comparison, cell_text, render_html, render_markdown
from burnish.report.comparison import table_rows as rows_of


def result(method, task, seed, successes, **changes):
    success = None if successes is None else {"successes": successes, "episodes": 10, "rate": successes / 10}
    if success:
        success["ci95"] = [0.1, 0.9]
    row = {"method": method, "column": task, "task": task, "seed": seed, "success": success}
    row |= {"seconds": {"learn": 30.0, "evaluate": 2.5}, "imagined_steps": 4000 * (seed + 1), "real_steps": 1000}
    return row | changes


def comparison(results, tasks=("hammer-v3", "soccer-v3"), methods=("bc", "iql"), seeds=(0, 1)):
    return Comparison("world4rl", tasks, seeds, methods, results, "burnish compare")


def test_rows_by_hand():
    """bc: hammer 40 and 60 %, soccer 20 and 20 %; the means of the seeds are 30 and 40 %."""
    results = [result("bc", "hammer-v3", 1, 6), result("bc", "hammer-v3", 0, 4)]
    results += [result("bc", "soccer-v3", seed, 2) for seed in (0, 1)]
    rows = rows_of(comparison(results))
    assert rows[0] == ["bc", "50 ± 14", "20 ± 0", "35 ± 7", "30", "2.5", "6\u202f000", "1\u202f000"]
    assert rows[1] == ["iql", *["– (2 missing)"] * 3, "–", "–", "–", "–"]


@pytest.mark.parametrize(
    ("rates", "missing", "text"),
    [
        ([62.5], 0, "62"),
        ([50, 70], 0, "60 ± 14"),
        ([50.0], 2, "50 (2 missing)"),
        ([], 3, "– (3 missing)"),
        ([0.0, 0.0, 0.0], 0, "0 ± 0"),
    ],
)
def test_cells(rates, missing, text):
    assert cell_text(rates, missing) == text


def test_a_seed_without_all_tasks_is_not_part_of_the_mean():
    """Seed 1 has the easier task only; its rate would lift the mean."""
    results = [result("bc", "hammer-v3", 0, 4), result("bc", "soccer-v3", 0, 2), result("bc", "hammer-v3", 1, 10)]
    assert rows_of(comparison(results, methods=("bc",)))[0][1:4] == ["70 ± 42", "20 (1 missing)", "30 (1 missing)"]


def returned(method, data, seed, level, task="gym:Hopper-v5"):
    row = result(method, data, seed, None)
    return row | {"task": task} | {"return": {"mean": level, "ci95": [level - 5.25, level + 5.25], "episodes": 10}}


def test_returns_of_one_task_have_a_mean():
    """medium 100 and 120, expert 300 and 310; the means of the seeds are 200 and 215."""
    results = [returned("bc", data, seed, level + 10 * seed * (2 if level == 100 else 1))
               for data, level in (("medium", 100), ("expert", 300)) for seed in (0, 1)]  # fmt: skip
    shown = comparison(results, tasks=("medium", "expert"), methods=("bc",))
    assert rows_of(shown)[0][:4] == ["bc", "110 ± 14", "305 ± 7", "208 ± 11"]
    assert "| medium | 1 | bc | 120.0 in 10 | 114.8 to 125.2 |" in render_markdown(shown)


def test_returns_of_several_tasks_have_none():
    results = [returned("bc", "a", 0, 100.0), returned("bc", "b", 0, 3000.0, task="gym:Ant-v5")]
    shown = comparison(results, tasks=("a", "b"), methods=("bc",), seeds=(0,))
    assert rows_of(shown)[0][:4] == ["bc", "100", "3000", "30"], "learning seconds follow"
    assert "| mean |" not in render_markdown(shown)


def test_failed_runs_are_shown():
    failed = result("iql", "hammer-v3", 0, None, error="the training loss is nan | lower it")
    for text in (render_markdown(comparison([failed])), render_html(comparison([failed]))):
        assert "failed: the training loss is nan" in text
        assert "failed: did not end" in text, "and those of which nothing is known"
    lines = [line for line in render_markdown(comparison([failed])).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines[: 2 + 2]}) == 1, "a bar in a cell is escaped"


def test_the_published_rows_have_the_same_tasks():
    """Table II: on soccer and hammer World4RL has 31 ± 4 and 91 ± 4; the means of the paper for all six."""
    text = render_markdown(comparison([], tasks=("soccer-v3", "hammer-v3", "drawer-open-v3")))
    assert "| World4RL | 31 ± 4 | 91 ± 4 | 61.0 |" in text and "soccer-v2 | hammer-v2 | mean" in text
    means = {name: sum(centre for centre, _ in row) / len(PUBLISHED_TASKS) for name, row in PUBLISHED.items()}
    expected = {"BC": 51.5, "Diffusion Policy": 45.0, "TD3+BC": 57.7, "IQL": 42.0, "IRASim": 57.0}
    expected |= {"DiWA": 59.8, "TD-MPC2": 60.0, "World4RL": 67.5}
    assert means == pytest.approx(expected, abs=0.06)
    assert "Published" not in render_markdown(comparison([], tasks=("drawer-open-v3",)))


def test_the_page_is_whole_and_harmless():
    page = render_html(comparison([result("bc", "hammer-v3", 0, 4)], tasks=("hammer-v3", "<b>&"), methods=("bc",)))
    assert "<b>&<" not in page and "&lt;b&gt;&amp;" in page
    assert not re.findall(r"""(?:src|href)\s*=|<script|url\(""", page)
    assert page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>")
