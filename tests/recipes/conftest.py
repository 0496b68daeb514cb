"""One finished run, shared by all tests of this folder; those that change something work on a copy."""

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
def finished(restored, tmp_path_factory):
    """The run folder of a small run that nothing interrupted; not to be changed."""
    out = tmp_path_factory.mktemp("small") / "run"
    assert main(command(out)) == 0
    return out


@pytest.fixture
def copy(finished, tmp_path):
    """The same run folder, to be changed."""
    return shutil.copytree(finished, tmp_path / "copy")
