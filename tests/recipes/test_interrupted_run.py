"""Killed or interrupted in the middle of a stage, the same command goes on and ends with the same bits."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from burnish.pipeline import ordered
from burnish.pipeline.stages import partial_folder
from burnish.recipes.runs import reopen
from tests.recipes.small_runs import children, command, finish, redone, stage_files, start, wait_for, weights

RESUME = "resume.safetensors"
# Where each run is killed, and what shows that the stage is in the middle of its work.
KILLED = {
    "world4rl": {"demonstrations": "", "refined": RESUME, "gate/world_1/world_model": RESUME},
    "pixels": {"autoencoder": RESUME},
    "frames": {"world_model": RESUME},
    "diwa": {"world_model": RESUME, "refined": RESUME},
}


# Nothing in the others resumes in another way, and each takes a minute or more.
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "world4rl")) for n in KILLED])
def test_kill_9_changes_no_bits(name, runs, tmp_path):
    finished, out = runs(name), tmp_path / "run"
    order = [each.name for each in ordered([reopen(finished).plan.report])]
    for stage, sign in KILLED[name].items():
        process = start(command(out, name=name))
        partial = partial_folder(out, stage)
        try:
            wait_for(process, (partial / sign).exists)
            if not sign:
                time.sleep(0.5)
            workers = children(process.pid)
        finally:
            process.kill()
        code, output = finish(process)
        assert code == -signal.SIGKILL, f"{stage} was over too early: {output}"
        assert set(stage_files(out)) == set(order[: order.index(stage)])
        assert (partial / sign).exists()
        _assert_all_end(workers)
    code, output = finish(start(command(out, name=name)))
    assert code == 0, output
    assert not (out / ".partial").exists()
    assert weights(out) == weights(finished)
    left = [path for path in (finished / "refined").rglob("*.*") if path.suffix in (".jsonl", ".safetensors")]
    assert len(left) >= 4, "metrics, the policy, and at least two iterates"
    for path in [*left, finished / "world_model/metrics.jsonl", finished / "evaluation/outcomes.json"]:
        assert (out / path.relative_to(finished)).read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize(("stage", "sign"), [("demonstrations", ""), ("world_model", RESUME)])
def test_ctrl_c_keeps_finished_stages(stage, sign, copy):
    order = [each.name for each in ordered([reopen(copy).plan.report])]
    later = order[order.index(stage) :]
    for name in later:
        shutil.rmtree(copy / name)
    before = stage_files(copy)
    process = start(command(copy))
    try:
        wait_for(process, (copy / ".partial" / stage / sign).exists)
        if not sign:
            time.sleep(0.5)
    finally:
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers too
    code, output = finish(process)
    assert code == 1, output
    assert output.splitlines()[-1] == "burnish: error: interrupted; run the same command again to resume"
    assert "Traceback" not in output
    assert redone(before, stage_files(copy)) == set()
    assert set(stage_files(copy)) == set(order) - set(later)


def _assert_all_end(processes: list[int]) -> None:
    """Worker processes must not outlive a killed run for long."""
    limit = time.monotonic() + 20
    while left := [pid for pid in processes if _is_running(pid)]:
        assert time.monotonic() < limit, f"still running: {left}"
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
