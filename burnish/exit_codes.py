"""From exceptions to what a shell sees: 0 done, 1 the run failed, 2 the command or its input is wrong."""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from burnish.errors import BurnishError

_AGAIN_SECONDS = 0.05


def run_command(function: Callable[[], Any]) -> int:
    """Call `function` and return the process's exit code, its own number if it returns one.

    Errors meant for the user become one line on stderr.

    A termination request (SIGTERM) is treated like Ctrl-C, so that a running stage can note where it stopped.
    """
    try:
        with _interrupts():
            code = function()
    except BurnishError as error:
        return _say(" ".join(str(error).split()), error.exit_code)
    except KeyboardInterrupt:
        return _say("interrupted; run the same command again to resume", 1)
    except BrokenPipeError:
        # The reader of our output went away (`burnish recipes | head`): nothing to tell, nobody to tell it to.
        sys.stdout = None
        return 1
    except Exception as error:
        # Imported only now, with PyTorch: a command that says no at once should not wait for it.
        from burnish.storage import explain_os_error, is_environment_error

        if isinstance(error, OSError) and is_environment_error(error):
            return _say(explain_os_error(error), 1)
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            traceback.print_exc()
            return _say("out of memory; use a smaller batch or fewer environments and run again to resume", 1)
        traceback.print_exc()
        return _say("this is a bug in Burnish; finished stages are kept", 1)
    return code if isinstance(code, int) else 0


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Ctrl-C comes after the block. Processes that are started in it never get one: the terminal sends it to them, too,
    and until they could ignore it by themselves they would answer with a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _interrupts() -> Iterator[None]:
    """SIGTERM interrupts, and an interruption that Python swallows (in a destructor, say) comes again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    before = sys.unraisablehook

    def hook(swallowed: Any) -> None:
        if swallowed.exc_type is KeyboardInterrupt:
            # Later: here it would be swallowed once more.
            later = threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
            later.daemon = True
            later.start()
        else:
            before(swallowed)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _say(message: str, exit_code: int) -> int:
    print(f"burnish: error: {message}", file=sys.stderr, flush=True)
    return exit_code
