"""Killed or interrupted in the middle of a stage, the same command goes on and ends with the same weights."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from burnish.storage import load_state
from tests.recipes.small_runs import STAGES, children, command, finish, redone, stage_files, start, wait_for

# What shows that a stage is in the middle of its work.
SIGNS = {
    "demonstrations": "",
    "policy": "resume.safetensors",
    "world_model": "resume.safetensors",
    "refined": "resume.safetensors",
}


def test_kill_9_in_any_stage_changes_no_weights(finished, tmp_path):
    out = tmp_path / "run"
    for stage, sign in SIGNS.items():
        process = start(command(out))
        try:
            wait_for(process, (out / ".partial" / stage / sign).exists)
            if not sign:
                time.sleep(0.5)
            workers = children(process.pid)
        finally:
            process.kill()
        code, output = finish(process)
        assert code == -signal.SIGKILL, f"{stage} was over too early: {output}"
        done = STAGES[: STAGES.index(stage)]
        assert tuple(stage_files(out)) == done
        assert (out / ".partial" / stage / sign).exists()
        _assert_all_end(workers)
    assert load_state(out / ".partial/refined/resume.safetensors")["iteration"] < 9

    code, output = finish(start(command(out)))
    assert code == 0, output
    assert not (out / ".partial").exists()
    for name in ("policy", "world_model", "ensemble", "classifier", "refined"):
        assert _same(out / name / "model.safetensors", finished / name / "model.safetensors"), name
    iterates = sorted(path.name for path in (finished / "refined/iterates").iterdir())
    assert iterates == ["0000.safetensors", "0004.safetensors", "0008.safetensors"]
    for name in (*iterates, "../metrics.jsonl"):
        assert _same(out / "refined/iterates" / name, finished / "refined/iterates" / name), name
    for name in ("metrics.jsonl", "config.json"):
        assert _same(out / "world_model" / name, finished / "world_model" / name), name
    assert _same(out / "evaluation/success.json", finished / "evaluation/success.json")


@pytest.mark.parametrize("stage", ["demonstrations", "world_model"])
def test_ctrl_c_keeps_finished_stages(stage, copy):
    later = STAGES[STAGES.index(stage) :]
    for name in later:
        shutil.rmtree(copy / name)
    before = stage_files(copy)
    process = start(command(copy))
    try:
        wait_for(process, (copy / ".partial" / stage / SIGNS[stage]).exists)
        if not SIGNS[stage]:
            time.sleep(0.5)
    finally:
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers too
    code, output = finish(process)
    assert code == 1, output
    assert output.splitlines()[-1] == "burnish: error: interrupted; run the same command again to resume"
    assert "Traceback" not in output
    assert redone(before, stage_files(copy)) == set()
    assert set(stage_files(copy)) == set(STAGES) - set(later)


def _same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


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
