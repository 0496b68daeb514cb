"""Finished small runs, each done once and shared by all tests of this folder; to be changed only as a copy."""

import shutil
import signal

import pytest
import torch

from burnish.cli import main
from tests.recipes.small_runs import command


@pytest.fixture(autouse=True, scope="session")
def restored():
    """A command sets the threads and a signal handler of its process, which here is the tests'."""
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    yield
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="session")
def runs(restored, tmp_path_factory):
    """The run folder of a small run of this name that nothing interrupted; not to be changed."""
    done = {}

    def folder(name):
        if name not in done:
            out = tmp_path_factory.mktemp(name) / "run"
            assert main(command(out, name=name)) == 0
            done[name] = out
        return done[name]

    return folder


@pytest.fixture(scope="session")
def finished(runs):
    """World4RL's on states."""
    return runs("world4rl")


@pytest.fixture
def copy(finished, tmp_path):
    """The same run folder, to be changed."""
    return shutil.copytree(finished, tmp_path / "copy")
