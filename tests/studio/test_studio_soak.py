"""Driving for long: memory stays where it is once the steps that are kept are all there."""

import os
import time
from pathlib import Path

import pytest

from tests.studio.studios import send, serving, until

SECONDS = float(os.environ.get("STUDIO_SOAK_SECONDS", "600"))
KEPT = 5000
ALLOWED = 16 * 2**20
"""Bytes by which the process may grow in the second half: what an allocator holds back comes and goes."""


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS + 600)  # the warm-up is counted in steps, so it takes what the machine needs
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_is_flat(small_run, tmp_path):
    with serving(tmp_path, str(small_run)) as served, served.socket() as socket:
        (row,) = served.ask("/api/runs")["runs"]
        send(socket, "open", run=row["id"])
        send(socket, "begin", frame=0, drivers=["refined", "pretrained"])
        send(socket, "speed", factor=10)
        send(socket, "play", on=True)
        seen = [until(socket, lambda each: each["type"] == "frame" and each["step"] > 1.2 * KEPT)["step"]]
        memory, began = [resident(served.pid)], time.monotonic()
        for half in (1, 2):
            limit = began + half * SECONDS / 2
            frame = until(socket, lambda each, limit=limit: each["type"] == "frame" and time.monotonic() > limit)
            seen.append(frame["step"])
            memory.append(resident(served.pid))
        assert seen[0] < seen[1] < seen[2] and frame["earliest"] >= seen[2] - KEPT - 1
        assert memory[2] - memory[1] < ALLOWED, [round(each / 2**20) for each in memory]
