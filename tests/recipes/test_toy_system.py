"""A new recipe needs one file and no edit elsewhere: run, killed, resumed, gated, evaluated, reported."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import toy_system  # noqa: F401  (its families are registered by being defined)
from small_runs import wait_for, write_point_data

from burnish.components import load
from burnish.policies import Agent

HERE = Path(__file__).parent


def start(data: Path, out: Path) -> subprocess.Popen[str]:
    command = ["run", "toy_system:RECIPE", "--dataset", str(data), "--task", "toy_env:make", "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, "-m", "burnish", *command, "--threads", "1"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    folder = tmp_path_factory.mktemp("toy")
    data = write_point_data(folder / "data", episodes=24, strays=8)
    process = start(data, folder / "run")
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output
    return data, folder / "run", output


def test_it_is_gated_evaluated_and_reported(finished):
    _, run, _ = finished
    report = json.loads((run / "report.json").read_text())
    assert report["recipe"] == "toy_system:RECIPE"
    assert report["simulator_steps"]["refinement"] == 0
    for policy in ("pretrained", "refined"):
        assert report["success"][policy]["episodes"] == 10
    assert report["gate"] is not None and report["gate"]["reasons"]
    assert (run / "gate/world_1/world_model/model.safetensors").exists()
    assert "<html" in (run / "report.html").read_text()
    assert load(run / "accepted", Agent).task == "center"


def test_the_same_command_again_does_nothing(finished):
    data, run, _ = finished
    process = start(data, run)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0 and "started" not in output, output


def test_killed_it_resumes_to_the_same_bits(finished, tmp_path):
    data, run, _ = finished
    process = start(data, tmp_path / "run")
    wait_for(process, lambda: (tmp_path / "run/.partial/refined/resume.safetensors").exists())
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    process = start(data, tmp_path / "run")
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0 and "refined (stage" in output, output
    for name in ("refined", "accepted"):
        assert (tmp_path / "run" / name / "model.safetensors").read_bytes() == (
            run / name / "model.safetensors"
        ).read_bytes()
