"""A whole run on Meta-World: what it leaves, what it does again, and that it starts from the user's data as well."""

import json
import re
import subprocess
import sys
import time

from burnish.cli import main
from burnish.data import read_dataset
from burnish.pipeline.manifest import hash_files
from burnish.policies import load_agent
from burnish.recipes.runs import STAGES as COMMANDS_FOR_STAGES
from burnish.report.contract import CONTRACT_KEYS, validate_report
from burnish.storage import load_tensors
from tests.recipes.small_runs import (
    STAGES,
    TASK,
    command,
    own_data_command,
    redone,
    stage_files,
    write_point_data,
)

DOCUMENTED_EXTRAS = {"paired_difference", "return_difference", "failures_removed", "stages", "threads"}


def test_the_report_holds_the_contract(finished):
    report = json.loads((finished / "report.json").read_text())
    validate_report(report)
    assert set(report) == CONTRACT_KEYS | DOCUMENTED_EXTRAS
    assert (report["recipe"], report["task"], report["seed"]) == ("world4rl", TASK, 0)
    assert report["success"]["pretrained"]["episodes"] == report["success"]["refined"]["episodes"] == 4
    steps = report["simulator_steps"]
    assert steps["refinement"] == 0
    assert steps["collection"] > 0
    assert steps["evaluation"] > 0
    assert report["imagined_steps"] == 8 * 16 * 32
    assert report["chosen_iteration"] == 8
    assert report["accepted"] is report["gate"]["accepted"]
    assert all(seconds > 0 for seconds in report["seconds"].values())


def test_every_result_is_there_and_opens(finished):
    assert set(stage_files(finished)) == set(STAGES)
    dataset = read_dataset(finished / "dataset")
    assert [dataset.sources.count(source) for source in ("expert", "random", "policy")] == [3, 2, 6]
    assert dataset.info.simulator == "metaworld"
    assert load_tensors(finished / "world_model/model.safetensors")[0]
    assert load_agent(finished / "refined", TASK).policy.action_dim == 4
    assert not (finished / ".partial").exists()
    assert not [path for path in finished.rglob("*") if path.suffix in (".pt", ".pth", ".pkl", ".pickle")]


def test_refinement_moved_the_policy(finished):
    before, after = (load_tensors(finished / name / "model.safetensors")[0] for name in ("policy", "refined"))
    assert any(not before[name].equal(after[name]) for name in before if name.startswith("policy."))
    assert all(before[name].equal(after[name]) for name in before if name.startswith("observer."))


def test_the_page_needs_nothing_else(finished):
    page = (finished / "report.html").read_text()
    loaded = re.findall(r"""(?:src|href|poster)\s*=\s*["']([^"']+)""", page) + re.findall(r"url\(([^)]+)\)", page)
    assert [link[:60] for link in loaded if not link.startswith(("data:", "#")) and link != "report.json"] == []
    assert TASK in page
    assert "No video was asked for" in page


def test_the_same_command_again_does_nothing(finished, capfd):
    before = stage_files(finished)
    started = time.monotonic()
    assert main(command(finished)) == 0
    assert time.monotonic() - started < 20
    assert redone(before, stage_files(finished)) == set()
    output = "".join(capfd.readouterr())
    assert "started" not in output
    assert output.count("up to date") == len(STAGES)


def test_a_changed_setting_of_ppo_redoes_what_depends_on_it(copy):
    before = stage_files(copy)
    assert main(command(copy, "--config.ppo.clip", "0.1")) == 0
    assert redone(before, stage_files(copy)) == {"refined", "accepted", "evaluation", "report"}
    assert "clip: 0.1" in (copy / "recipe.yaml").read_text()


def test_every_command_for_a_stage_skips_a_finished_one(copy, capfd):
    before = stage_files(copy)
    for name in COMMANDS_FOR_STAGES:
        assert main([name, str(copy), "--threads", "1"]) == 0
        output = "".join(capfd.readouterr())
        assert "up to date" in output
        assert "started" not in output
    assert redone(before, stage_files(copy)) == set()


WITHOUT_SIMULATOR = """
import sys
from burnish.cli import main

code = main(sys.argv[1:])
names = ("metaworld", "mujoco", "burnish.simulators.base", "burnish.recipes.recording")
found = [name for name in sys.modules if name in names or name.startswith(tuple(f"{n}." for n in names))]
assert not found, found
sys.exit(code)
"""


def test_a_run_on_own_data_imports_no_simulator(tmp_path):
    data, out = write_point_data(tmp_path / "data"), tmp_path / "run"
    content = hash_files(data)
    arguments = own_data_command(data, out)
    done = subprocess.run([sys.executable, "-c", WITHOUT_SIMULATOR, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((out / "report.json").read_text())
    validate_report(report)
    assert report["task"] == "center"
    assert (out / "accepted/gate.json").exists() and len(list((out / "held_out_worlds").glob("world_*"))) == 2
    assert report["success"] is None
    assert "no simulator" in report["skipped"]["evaluation"]
    assert report["simulator_steps"] == {"collection": 0, "refinement": 0, "evaluation": 0}
    assert report["imagined_steps"] > 0
    assert "no simulator" in done.stdout
    assert hash_files(data) == content
    assert read_dataset(out / "dataset").num_episodes == 14
    # Again: done.  And what changes in the data set is noticed.
    before = stage_files(out)
    assert main(arguments) == 0
    assert redone(before, stage_files(out)) == set()
