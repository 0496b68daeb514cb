import errno
import os
import signal
import time
import weakref

import pytest

from burnish.errors import InputError, RunError
from burnish.exit_codes import run_command


@pytest.fixture(autouse=True)
def keep_signal_handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def raising(error):
    def function():
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("task 'x' is unknown"), 2, "task 'x' is unknown"),
        (RunError("loss is\nnot finite"), 1, "loss is not finite"),
        (KeyboardInterrupt(), 1, "interrupted; run the same command again to resume"),
        (OSError(errno.ENOSPC, "No space", "/x/y"), 1, "/x/y: the disk is full; free some space and run the"),
        (OSError(errno.EROFS, "Read-only", "/x"), 1, "/x: the file system is read-only; choose a folder"),
    ],
)
def test_errors_for_the_user_are_one_line(capsys, error, code, line):
    assert run_command(raising(error)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"burnish: error: {line}") and captured.err.count("\n") == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), FileNotFoundError(errno.ENOENT, "none", "x")])
def test_bugs_show_their_traceback(capsys, error):
    assert run_command(raising(error)) == 1
    assert f"Traceback (most recent call last):\n  File {__file__!r}"[:30] in capsys.readouterr().err


def test_success(capsys):
    assert run_command(lambda: print("fine")) == 0
    assert capsys.readouterr().err == ""


def test_a_termination_request_is_an_interruption(capsys):
    assert run_command(lambda: os.kill(os.getpid(), signal.SIGTERM)) == 1
    assert "interrupted" in capsys.readouterr().err


def test_an_interruption_that_python_swallows_comes_again(capsys):
    """In a weak reference's callback an exception is printed and forgotten; the run would go on."""

    class Thing:
        pass

    def callback(_):
        raise KeyboardInterrupt

    def run():
        thing = Thing()
        watched = weakref.ref(thing, callback)
        del thing
        time.sleep(10)
        return watched

    begun = time.monotonic()
    assert run_command(run) == 1 and time.monotonic() - begun < 9
    printed = capsys.readouterr().err
    assert printed == "burnish: error: interrupted; run the same command again to resume\n"
