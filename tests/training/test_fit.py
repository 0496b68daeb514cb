"""The supervised loop: it learns, and an interrupted run ends with the same bits as an uninterrupted one."""

import contextlib
import itertools
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from burnish.errors import RunError
from burnish.training import TrainingConfig, fit
from burnish.training.loop import schedule

STEPS = 12


class Model(nn.Module):
    """y = 3x - 1 through a hidden layer; dropout draws from the global generator, which a resume must restore too."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.3), nn.SiLU(), nn.Linear(8, 1))

    def loss(self, batch):
        x, y = batch
        error = (self.layers(x) - y).square().mean()
        return error, {"rmse": error.detach().sqrt()}


class Line:
    """All randomness of the data comes from the loop's generator."""

    def sample(self, batch_size, generator):
        x = torch.rand(batch_size, 2, generator=generator)
        return x, 3 * x[:, :1] - 1


class Interrupted(Exception):
    pass


def make(seed=0):
    torch.manual_seed(seed)
    return Model()


def config(**changes):
    values = {"steps": STEPS, "batch_size": 16, "learning_rate": 1e-2, "log_every": 1, "checkpoint_seconds": 0.0}
    return TrainingConfig(**(values | changes))


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def same(one, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def interrupt(folder, at, settings):
    """Train until step `at`, whose checkpoint is not written any more."""

    def on_step(step, metrics):
        if step == at:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(make(), Line(), settings, folder, seed=5, on_step=on_step)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.parametrize("at", [(1,), (7,), (STEPS,), (3, 4, 9)])
def test_resume_equals_uninterrupted(tmp_path, ema_decay, at):
    settings = config(ema_decay=ema_decay)
    expected = make()
    metrics = fit(expected, Line(), settings, tmp_path / "whole", seed=5)
    for step in at:
        interrupt(tmp_path / "parts", step, settings)
    resumed = make(seed=99)  # a resumed run does not depend on how the model was initialised this time …
    if at == (1,):
        resumed = make()  # … unless there was no checkpoint yet
    torch.rand(17)
    assert fit(resumed, Line(), settings, tmp_path / "parts", seed=5) == metrics
    assert same(expected, resumed)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert [row["step"] for row in rows(tmp_path / "parts")] == list(range(1, STEPS + 1))


class Pictures(nn.Module):
    """Its weights lie in memory with channels last, which files do not keep."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.to(memory_format=torch.channels_last)

    def loss(self, batch):
        return self.layer(batch).square().mean(), {}


class Noise:
    def sample(self, batch_size, generator):
        return torch.rand(batch_size, 3, 6, 6, generator=generator)


def test_a_resume_keeps_the_layout_in_memory(tmp_path):
    """A fused optimiser pairs numbers as they lie in memory: moments must lie there like their weights."""
    trained = []
    for name, stops in (("whole", (None,)), ("parts", (5, None))):
        for stop in stops:
            torch.manual_seed(0)
            model = Pictures()

            def on_step(step, metrics, stop=stop):
                if step == stop:
                    raise Interrupted

            with contextlib.suppress(Interrupted):
                fit(model, Noise(), config(), tmp_path / name, seed=1, on_step=on_step)
        trained.append(model.layer.weight.detach().clone())
    assert torch.equal(*trained)


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import torch
torch.set_num_threads(1)
from test_fit import Line, config, make
from burnish.training import fit

def on_step(step, metrics):
    if step == 7:
        os.kill(os.getpid(), signal.SIGKILL)

fit(make(), Line(), config(), Path(sys.argv[1]), seed=5, on_step=on_step)
"""


def test_resume_after_kill(tmp_path):
    """SIGKILL: nothing is flushed, no handler runs."""
    here = Path(__file__).parent
    arguments = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed"), str(here), str(here.parent.parent)]
    killed = subprocess.run(arguments, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [row["step"] for row in rows(tmp_path / "killed")] == list(range(1, 8))
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')  # a line that the kill cut short
    expected, resumed = make(), make()
    fit(expected, Line(), config(), tmp_path / "whole", seed=5)
    fit(resumed, Line(), config(), tmp_path / "killed", seed=5)
    assert same(expected, resumed)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


def test_the_seed_decides(tmp_path):
    models = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        models.append(make())
        fit(models[-1], Line(), config(), tmp_path / name, seed=seed)
    assert same(models[0], models[1]) and not same(models[0], models[2])


def test_a_finished_run_ends_the_same_again(tmp_path):
    """Called again on a folder that it finished, it repeats the last stretch only and gives the same weights."""
    first, second = make(), make(seed=3)
    fit(first, Line(), config(), tmp_path, seed=5)
    steps = []
    fit(second, Line(), config(), tmp_path, seed=5, on_step=lambda step, metrics: steps.append(step))
    assert same(first, second) and steps == [STEPS]


def test_it_learns(tmp_path):
    """Without dropout in evaluation mode, the line is found; the EMA is what is left in the model."""
    model = make()
    last = fit(model, Line(), config(steps=400, log_every=100, checkpoint_seconds=1e9), tmp_path, seed=0)
    assert not model.training
    assert not (tmp_path / "resume.safetensors").exists(), "no checkpoint was due"
    x, y = Line().sample(500, torch.Generator().manual_seed(9))
    assert (model.layers(x) - y).square().mean() < 0.05 * y.var()
    assert [row["step"] for row in rows(tmp_path)] == [100, 200, 300, 400]
    assert {"loss", "gradient_norm", "rmse"} <= set(last)
    assert rows(tmp_path)[-1] == {"step": 400, **last}
    assert list((tmp_path / "tensorboard").iterdir()), "TensorBoard gets the same numbers"


def test_the_last_step_is_always_logged(tmp_path):
    fit(make(), Line(), config(steps=7, log_every=5), tmp_path, seed=0)
    assert [row["step"] for row in rows(tmp_path)] == [5, 7]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_loss_ends_the_run(tmp_path, value):
    class Diverges(Model):
        def loss(self, batch):
            loss, metrics = super().loss(batch)
            return loss * value, metrics

    with pytest.raises(RunError, match=r"loss is (nan|inf) at step 3"):
        fit(Diverges(), Line(), config(log_every=3), tmp_path / "world_model", seed=0)


def test_gradients_are_clipped(tmp_path):
    """One SGD-like step: with a clip of zero the weights only decay."""
    model, before = make(), make()
    settings = config(steps=3, gradient_clip=0.0, weight_decay=0.0, ema_decay=None)
    fit(model, Line(), settings, tmp_path, seed=0)
    assert same(model, before)


def test_schedule_by_hand():
    """100 steps warm up over 2; the cosine is at one half in the middle of the remaining 98."""
    assert [schedule(step, 100) for step in (0, 1, 2)] == pytest.approx([0.5, 1.0, 1.0])
    assert schedule(51, 100) == pytest.approx(0.5)
    assert schedule(99, 100) == pytest.approx(0.5 * (1 + math.cos(math.pi * 97 / 98)))
    values = [schedule(step, 1000) for step in range(1000)]
    assert values[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert all(later < earlier for earlier, later in itertools.pairwise(values[20:]))
    assert all(0 < value <= 1 for value in values)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_tiny_schedules(steps):
    assert all(0 < schedule(step, steps) <= 1 for step in range(steps))
