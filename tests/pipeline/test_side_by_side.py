"""Commands side by side: their exit codes, how many at once, and that none outlives whoever started it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from burnish.errors import RunError
from burnish.pipeline.side_by_side import Job, run_side_by_side


def job(log, program):
    return Job((sys.executable, "-c", program), log)


def test_exit_codes_come_in_order_and_words_go_to_the_log(tmp_path):
    seen = []
    jobs = [
        job(tmp_path / "slow.log", "import time; time.sleep(0.3); print('slow')"),
        job(tmp_path / "bad.log", "import sys; sys.exit('no')"),
        job(tmp_path / "killed.log", "import os; os.kill(os.getpid(), 9)"),
    ]
    assert run_side_by_side(jobs, 3, lambda number, code: seen.append((number, code))) == [0, 1, -9]
    assert sorted(seen) == [(0, 0), (1, 1), (2, -9)] and seen[-1] == (0, 0), "told as soon as each has ended"
    assert (tmp_path / "slow.log").read_text() == "slow\n" and (tmp_path / "bad.log").read_text() == "no\n"
    run_side_by_side(jobs[:1], 1)
    assert (tmp_path / "slow.log").read_text() == "slow\nslow\n"


def test_no_more_at_once_than_workers(tmp_path):
    program = "import os,sys,time; open(sys.argv[1],'x').close(); time.sleep(0.2); os.remove(sys.argv[1])"
    most = 0
    jobs = [Job((sys.executable, "-c", program, str(tmp_path / f"at-work-{n}")), tmp_path / "log") for n in range(4)]

    def count(number, code):
        nonlocal most
        most = max(most, len(list(tmp_path.glob("at-work-*"))))
        assert code == 0

    run_side_by_side(jobs, 2, count)
    assert most <= 2


def test_nothing_to_do():
    assert run_side_by_side([], 2) == []


def test_an_interruption_ends_the_commands(tmp_path):
    note = tmp_path / "pid"
    program = f"import os,time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    def interrupt(number, code):
        while not note.exists() or not note.read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([job(tmp_path / "a", ""), job(tmp_path / "b", program)], 2, interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_their_input_ends_with_a_killed_parent(tmp_path):
    note = tmp_path / "note"
    inner = f"import os; open({str(tmp_path / 'begun')!r}, 'x'); os.read(0, 1); open({str(note)!r}, 'x')"
    outer = (
        "from pathlib import Path; from burnish.pipeline.side_by_side import Job, run_side_by_side; "
        f"run_side_by_side([Job(({sys.executable!r}, '-c', {inner!r}), Path({str(tmp_path / 'log')!r}))], 1)"
    )
    parent = subprocess.Popen([sys.executable, "-c", outer])
    for path, then in ((tmp_path / "begun", lambda: parent.send_signal(signal.SIGKILL)), (note, parent.wait)):
        limit = time.monotonic() + 30
        while not path.exists():
            assert time.monotonic() < limit
            time.sleep(0.02)
        then()


def test_a_command_that_is_not_there(tmp_path):
    with pytest.raises(RunError):
        run_side_by_side([Job((str(tmp_path / "nothing"),), tmp_path / "log")], 1)
