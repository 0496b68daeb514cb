"""`burnish sweep`: which runs there are, how they stand, their table, and a real one."""

import json

import pytest

from burnish.cli import main
from burnish.config import to_dict
from burnish.errors import InputError
from burnish.pipeline import ExecutorConfig
from burnish.pipeline.manifest import versions
from burnish.pipeline.worker import Asked
from burnish.recipes.sweeping import NewSweep, Row, do_cell, planned, read_sweep, status, table
from burnish.report.sweep import render_markdown
from tests.recipes.small_runs import WORLD4RL, flags

TASKS = ("drawer-open-v3", "door-lock-v3")


def plan(out, rest=("--preset", "tiny"), **settings):
    return planned("world4rl", NewSweep(**{"tasks": TASKS, "seeds": (0, 1), "out": out, **settings}), rest, "burnish …")


def test_runs_are_all_with_all(tmp_path):
    found = plan(tmp_path, set=("config.worlds=1,2", "config.ppo.clip=0.1")).cells
    assert [(cell.settings, cell.seed, cell.task) for cell in found] == [
        (f"worlds={worlds} ppo.clip=0.1", seed, task) for worlds in (1, 2) for seed in (0, 1) for task in TASKS
    ]
    assert len({cell.name for cell in found}) == 8
    words = " ".join(found[-1].arguments)
    assert words.startswith("run world4rl --preset tiny --config.worlds 2 --config.ppo.clip 0.1 --task door-lock-v3")
    assert words.endswith("--threads 1")


@pytest.mark.parametrize(
    ("settings", "rest", "message"),
    [
        ({"tasks": ()}, (), "needs at least one task"),
        ({"seeds": (0, 0)}, (), "a seed was named twice: 0 0"),
        ({"set": ("config.worlds",)}, (), r"--set: found 'config.worlds', expected config.NAME=VALUE,VALUE"),
        ({"set": ("config.ppo.gamma=2",)}, (), r"config.ppo.gamma is 2.* expected .*0 to 1"),
        ({"tasks": ("drawer-opne-v3",)}, (), "drawer-open-v3"),
        ({}, ("--config.ppo.clipp", "1"), r"unknown option '--config.ppo.clipp'"),
    ],
)
def test_a_run_that_would_be_refused_is_so_before_any_begins(tmp_path, settings, rest, message):
    with pytest.raises(InputError, match=message):
        plan(tmp_path / "out", rest, **settings)
    assert not (tmp_path / "out").exists()


def report(seed, cloned, filtered, refined, accepted=True):
    """As much of a report.json as the table reads."""
    rates = {"pretrained": cloned, "filtered": filtered, "refined": refined}
    return {
        "policies": {name: {"success": {"rate": rate}} for name, rate in rates.items()},
        "success": {name: {"rate": rates[name]} for name in ("pretrained", "refined")},
        "gate": {"accepted": accepted, "handed_out": "refined" if accepted else "pretrained"},
        "seconds": {"training": 100.0, "gate": 50.0},
        "clock_seconds": 90.0,
    }


def test_the_table_by_hand():
    """Means 50, 60, 80 %; Student's t for two seeds is 12.7: 80 ± 12.7 · 14.1/√2, which is everything."""
    row = Row("drawer-open-v3", "", {0: report(0, 0.4, 0.6, 0.9), 1: report(1, 0.6, 0.6, 0.7, accepted=False)}, [2])
    line = render_markdown("world4rl", "burnish sweep", [row]).splitlines()[6]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:3] == ["drawer-open-v3", "–", "2, 1 not done"]
    assert cells[4] == "60 % (60 to 60)" and cells[5].startswith("80 % (0 to 100)")
    # The gate handed out 90 % and 60 %.
    assert cells[6].startswith("75 %") and cells[7:] == ["1 of 2", "1 min 30 s"]


def test_nothing_is_known_of_what_has_not_begun(tmp_path, capsys):
    made = plan(tmp_path, tasks=TASKS[:1], seeds=(0,))
    (tmp_path / "sweep.json").write_text(json.dumps(to_dict(made)))
    assert read_sweep(tmp_path) == made
    assert status(tmp_path) == ["drawer-open-v3-0: waiting"]
    assert "| drawer-open-v3 | – | 0, 1 not done |" in table(tmp_path, made)
    partial = tmp_path / "drawer-open-v3-0" / ".partial"
    partial.mkdir(parents=True)
    (partial / "world_model.json").write_text(json.dumps({"share": 0.25}))
    assert status(tmp_path)[0].startswith("drawer-open-v3-0: under way, world_model 25%")
    assert main(["sweep", "status", str(tmp_path / "nowhere")]) == 2
    assert "not a sweep's folder (sweep.json is missing)" in capsys.readouterr().err


def test_a_worker_that_differs_begins_no_run(tmp_path):
    cell = plan(tmp_path).cells[0]
    with pytest.raises(InputError, match=r"has other versions .*: torch .*, expected 1.0"):
        do_cell(cell, str(tmp_path), Asked(ExecutorConfig(), (), (), {**versions(), "torch": "1.0"}))
    with pytest.raises(InputError, match="must lie on a file system that all share"):
        do_cell(cell, str(tmp_path / "elsewhere"), Asked.by_this_process(ExecutorConfig()))
    assert not (tmp_path / "logs").exists() and not (tmp_path / cell.name).exists()


@pytest.mark.slow
def test_a_real_sweep_goes_on_where_it_was_cancelled(tmp_path, capfd):
    command = ["sweep", "world4rl", "--tasks", TASKS[0], "--seeds", "0", "--set", "config.refine.iterations=4,-1"]
    small = ["--preset", "tiny", *flags(WORLD4RL), "--config.gate.worlds=0", "--out", str(tmp_path)]
    assert main([*command, *small]) == 2, "minus one iteration is refused before anything begins"
    assert not (tmp_path / "sweep.json").exists()
    command[-1] = "config.refine.iterations=4,8"
    assert main([*command, *small]) == 0
    text = (tmp_path / "sweep.md").read_text()
    assert "refine.iterations=4 | 1 |" in text and "refine.iterations=8 | 1 |" in text
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/report.json")}
    assert len(before) == 2
    capfd.readouterr()
    assert main([*command, *small]) == 0
    assert "2 of 2 runs are done" in capfd.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/report.json")}
    assert all(": done, " in line for line in status(tmp_path))
