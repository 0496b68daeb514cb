"""Tiny stages, and processes that are killed: what the tests of run folders have in common."""

import contextlib
import os
import signal
import time
import traceback
from dataclasses import dataclass

from burnish.pipeline import Run


@dataclass(frozen=True)
class Settings:
    start: int = 1
    steps: int = 12


def create(folder, config=None, seed=0, task="push-v3", recipe="world4rl", **options):
    return Run.create(folder, recipe, task, seed, config or Settings(), **options)


class Body:
    """Writes one file, and counts its calls."""

    def __init__(self, text="text", outputs=None):
        self.calls = 0
        self.text = text
        self.outputs = outputs

    def __call__(self, context):
        self.calls += 1
        text = self.text + "".join((path / "out.txt").read_text() for path in context.inputs.values())
        (context.folder / "out.txt").write_text(text)
        return self.outputs


def snapshot(folder, but=()):
    """Every file, folder and link below `folder`, with content and time; without the paths that begin with `but`."""
    found = {}
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(parent, name)
            if any(path.startswith(str(prefix)) for prefix in but):
                continue
            status = os.lstat(path)
            content = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    content = file.read()
            found[path] = (status.st_mode, None if os.path.isdir(path) else status.st_mtime_ns, content)
    return found


class forked:
    """A child process that runs a function; killed at the end."""

    def __init__(self, function):
        self.function = function

    def __enter__(self):
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                # Its own group, so that its orphans can be found and ended.
                os.setpgid(0, 0)
                self.function()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        return self.pid

    def __exit__(self, *exception):
        for end in (lambda: os.killpg(self.pid, signal.SIGKILL), lambda: os.waitpid(self.pid, 0)):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                end()


def run_forked(function):
    with forked(function) as pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_for(path, seconds=10.0):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.01)
