"""One small finished run and one studio that shows it, shared by all tests of this folder on one worker."""

import shutil
import signal

import pytest
import torch

from burnish.cli import main
from tests.recipes.small_runs import command
from tests.studio.studios import serving


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """The folder of a small run of World4RL on states; not to be changed."""
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    out = tmp_path_factory.mktemp("studio") / "runs" / "small"
    assert main(command(out, "--config.gate.worlds=0", "--config.collect.policy-episodes=3")) == 0
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, handler)
    return out


@pytest.fixture(scope="session")
def studio(small_run, tmp_path_factory):
    """A studio of that run's parent folder, in which a hostile run folder lies as well."""
    runs = tmp_path_factory.mktemp("shown")
    shutil.copytree(small_run, runs / "small")
    hostile(runs, small_run)
    with serving(tmp_path_factory.mktemp("saved"), str(runs)) as served:
        yield served


def hostile(runs, small_run):
    """What somebody may have put there: names with HTML, links out of it, NaN, truncated weights, code to call."""
    name = "<img src=x onerror=alert(1)>"
    broken = shutil.copytree(small_run, runs / name)
    weights = broken / "world_model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    (broken / "report.json").write_text('{"schema": NaN}')
    (broken / "report.html").unlink()
    (broken / "report.html").symlink_to("/etc/passwd")
    scripted = shutil.copytree(small_run, runs / "scripted")
    (scripted / "report.html").write_text("<script>fetch('/api/runs')</script>")
    calling = shutil.copytree(small_run, runs / "calling")
    recipe = (calling / "recipe.yaml").read_text()
    (calling / "recipe.yaml").write_text(
        recipe.replace("simulator: drawer-open-v3", "simulator: tests.studio.trap:make")
    )
    outside = runs.parent / f"{runs.name}-outside"
    shutil.copytree(small_run, outside)
    (runs / "linked").symlink_to(outside)
    (runs / "empty").mkdir()
    (runs / "empty" / "recipe.yaml").write_text("!!python/object/apply:os.system ['false']")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Tell fixtures whether their test failed."""
    report = (yield).get_result()
    item.failed = getattr(item, "failed", False) or report.failed
