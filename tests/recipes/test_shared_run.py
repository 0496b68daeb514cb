"""A run whose stages two processes do together: one run folder, one report, and nothing left behind."""

import os
import signal

import pytest

from tests.recipes.small_runs import own_data_command, stage_files, wait_for, write_point_data
from tests.training import launching

SHORT = [
    *("--config.pretraining.steps", "40"),
    *("--config.world-model-training.steps", "40"),
    *("--config.refine.iterations", "4"),
    *("--config.imagination.num-envs", "16"),
    "--config.refine.no-preflight",  # a policy of forty steps earns nothing
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_point_data(tmp_path_factory.mktemp("data") / "point")


def run(*arguments: str) -> tuple[int, str]:
    return launching.finish(launching.start("-m", "burnish", *arguments))


def test_two_processes_do_a_run(data, tmp_path):
    """After a kill in the middle, too; a single process then finds everything done."""
    shared = tmp_path / "shared"
    long = [*SHORT, "--config.world-model-training.steps", "100000"]
    killed = launching.start("-m", "burnish", *own_data_command(data, shared, *long, "--processes", "2"))
    wait_for(killed, lambda: (shared / ".partial" / "world_model" / "resume.safetensors").exists())
    os.kill(killed.pid, signal.SIGKILL)
    code, output = launching.finish(killed)  # the output ends when the last process has ended
    assert code == -signal.SIGKILL
    assert "process 2 of 2 lost touch with another one, which has ended" in output

    # A finished stage is not done again by the one, while the other one waits for help with it.
    killed = launching.start("-m", "burnish", *own_data_command(data, shared, *SHORT, "--processes", "2"))
    wait_for(killed, lambda: (shared / ".partial" / "gate-world_0-ensemble").exists())
    os.kill(killed.pid, signal.SIGKILL)
    code, output = launching.finish(killed)
    assert code == -signal.SIGKILL and output.count("[burnish] refined: finished") == 1, output
    assert (shared / "gate/world_0/world_model/stage.json").exists() and not (shared / "accepted").exists()

    code, output = run(*own_data_command(data, shared, *SHORT, "--processes", "2"))
    assert code == 0, output
    assert output.count("report.html") == output.count("[burnish] accepted: finished") == 1, "only the first one speaks"
    assert "policy: up to date" in output
    stages = stage_files(shared)
    assert len(stages) == 20 and {stage["outputs"]["processes"] for stage in stages.values()} == {2}
    assert stages["refined"]["outputs"]["imagined_steps"] == 4 * 16 * 16 and not (shared / ".partial").exists()
    assert (shared / "accepted" / "gate.json").exists()

    code, output = run(*own_data_command(data, shared, *SHORT))
    assert code == 0 and output.count("up to date") == 20, output


def test_what_cannot_be_shared_evenly_is_refused(data, tmp_path):
    code, output = run(*own_data_command(data, tmp_path / "run", *SHORT, "--processes", "3"))
    assert code == 2
    assert "policy: batch_size is 64, expected a multiple of 3, the number of processes" in output
