"""A whole run on a Ray cluster: a worker is killed, then twice the command; it ends as it does on one machine."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from burnish.cli import main
from burnish.pipeline.stages import lock_path, partial_folder
from tests.recipes.small_runs import (
    children,
    finish,
    flags,
    own_data_command,
    stage_files,
    start,
    wait_for,
    weights,
    write_point_data,
)

TASK = "tests.recipes.toy_env:make"
SHORT = {
    "pretraining.steps": 40,
    "world-model-training.steps": 200,
    "world-model-training.log-every": 5,
    "refine.iterations": 6,
    "refine.evaluate-every": 2,
    "imagination.num-envs": 16,
    "evaluation.episodes": 12,
    "evaluation.curve-points": 0,
    "gate.worlds": 2,
}
RESUME = "resume.safetensors"


def command(data, out, *more):
    arguments = own_data_command(data, out, "--task", TASK, *flags(SHORT), "--config.refine.no-preflight", *more)
    if "--executor" in more:
        place = arguments.index("--threads")
        del arguments[place : place + 2]  # each stage has its --cpus
    return arguments


def holder(lock):
    """The process that holds a lock, None where none does."""
    if not lock.exists():
        return None
    held = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" not in line]  # which waits
    return next((int(words[4]) for words in held if words[5].endswith(f":{lock.stat().st_ino}")), None)


def first_steps(stage):
    """With which step each attempt at a training began, as its log says."""
    files = sorted((stage / "tensorboard").iterdir())  # their names begin with the time
    found = [[event.step for event in EventFileLoader(str(f)).Load() if event.HasField("session_log")] for f in files]
    return [step for (step,) in found]


def lines(path):
    return path.read_text().count("\n") if path.exists() else 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_on_ray_ends_with_the_bits_of_this_machine(tmp_path, cluster):
    cluster.add_node(num_cpus=1)
    data, here, there = write_point_data(tmp_path / "data", strays=4), tmp_path / "here", tmp_path / "there"
    assert main(command(data, here)) == 0
    on_ray = command(data, there, "--executor", "ray", "--jobs", "2")
    world = partial_folder(there, "world_model")

    driver = start(on_ray)
    try:
        wait_for(driver, lambda: lines(world / "metrics.jsonl") > 4)
        worker = holder(lock_path(world))
        assert worker is not None and worker not in (driver.pid, *children(driver.pid)), "a process of the cluster"
        os.kill(worker, signal.SIGKILL)
        wait_for(driver, lambda: holder(lock_path(world)) not in (None, worker))
        wait_for(driver, (partial_folder(there, "refined") / RESUME).exists)
    finally:
        driver.kill()
    code, output = finish(driver)
    assert code == -signal.SIGKILL and "world_model: finished" in output, output
    first, again = first_steps(there / "world_model")
    assert first == 1 < again, "the second worker went on where the first one was killed"
    kept = stage_files(there)
    assert "world_model" in kept and "refined" not in kept

    pieces = partial_folder(there, "evaluation") / "pieces"
    driver = start(on_ray)
    try:
        wait_for(driver, lambda: any(pieces.glob("*.safetensors")))
    finally:
        driver.kill()
    code, output = finish(driver)
    assert code == -signal.SIGKILL, output
    played = {path.name: {path.stat().st_mtime_ns} for path in pieces.glob("*.safetensors")}
    seen = {name: set() for name in played}

    def over():
        for name, times in seen.items():
            with contextlib.suppress(FileNotFoundError):
                times.add((pieces / name).stat().st_mtime_ns)
        return not pieces.parent.exists()

    driver = start(on_ray)
    try:
        wait_for(driver, over)
    finally:
        code, output = finish(driver)
    assert code == 0, output
    assert seen == played, "what was played is not played again"
    assert not (there / ".partial").exists()
    stages = stage_files(there)
    assert stages.keys() == stage_files(here).keys() and len(stages) == 20
    assert {name: stages[name] for name in kept} == kept, "no finished stage was done again"
    assert weights(there) == weights(here) and len(weights(here)) > 5
    for name in ("evaluation/outcomes.json", "refined/metrics.jsonl", "world_model/metrics.jsonl"):
        assert (there / name).read_bytes() == (here / name).read_bytes(), name
    steps = [json.loads((folder / "report.json").read_text())["simulator_steps"] for folder in (here, there)]
    assert steps[0] == steps[1], "what was played on the cluster is counted, and once"
