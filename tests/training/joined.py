"""What test_multi_process.py has done by two processes, and by itself alone: python joined.py TASK FOLDER PROCESSES."""

import math
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import torch

from burnish.data import Streams, Windows
from burnish.errors import RunError
from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rewards import (
    BalancedFrames,
    ClassifierConfig,
    ContrastiveClassifier,
    ContrastiveConfig,
    SuccessClassifier,
)
from burnish.storage import save_state
from burnish.training import TrainingConfig, current, fit, join
from burnish.world_models import (
    RSSM,
    RSSM_PRESETS,
    DiffusionConfig,
    DiffusionWorldModel,
    DisagreementEnsemble,
    EnsembleConfig,
)
from tests.world_models.linear_system import fitted_space, linear_system

STEPS = 20
GATHERED = {"world_model": 16, "ensemble": 32, "recurrent": 16}
"""Training whose processes gather their own rows alone, and the rows of a whole batch."""


class Pairs:
    """Features and the actions that a linear rule wants; noise comes from the loop's generator."""

    def sample(self, batch_size, generator):
        features = torch.randn(batch_size, 3, generator=generator)
        actions = features[:, None, :2] - 0.5 * features[:, None, 1:]
        return features, actions + 0.1 * torch.randn(actions.shape, generator=generator)


def labelled_frames(members):
    features = torch.randn(400, 3, generator=torch.Generator().manual_seed(1))
    return BalancedFrames([(1.0, features, features.sum(1) > 1)], 0.4, members)


def cases():
    """(model, sampler) by name: every kind of batch, losses of every kind, the world model among them."""
    torch.manual_seed(0)
    data = linear_system(8)
    space = fitted_space(data)
    ensemble = DisagreementEnsemble(space, EnsembleConfig(members=2, hidden=(8,)))
    diffusion = DiffusionConfig(width=16, depth=1, context_noise=0.0, rollout_steps=2)
    return {
        "policy": (GaussianPolicy(3, 2, GaussianPolicyConfig(hidden=(8,))), Pairs()),
        "classifier": (SuccessClassifier(3, ClassifierConfig(members=3, hidden=(8,))), labelled_frames(3)),
        "contrastive": (ContrastiveClassifier(3, ContrastiveConfig(hidden=8, embedding=4)), labelled_frames(1)),
        "ensemble": (ensemble, ensemble.bootstrap(data, seed=0)),
        "world_model": (DiffusionWorldModel(space, diffusion), Windows(data, history=3, horizon=2)),
    }


@contextmanager
def noise_of_rows():
    """Noise that depends on the row alone, so that it is the same whichever process has the row."""
    drawn = torch.randn_like
    torch.randn_like = lambda tensor: math.sqrt(2) * torch.sin(100 * tensor + 1)
    try:
        yield
    finally:
        torch.randn_like = drawn


def trained(folder):
    """Gradients of the first step, and weights and metrics after some, of every case."""
    found = {}
    with noise_of_rows():
        for name, (model, sampler) in cases().items():
            once = TrainingConfig(steps=1, batch_size=16, gradient_clip=1e9, ema_decay=None)
            fit(model, sampler, once, folder / name / "once", seed=5)
            gradients = {key: p.grad.clone() for key, p in model.named_parameters()}
            model, sampler = cases()[name]
            often = TrainingConfig(steps=STEPS, batch_size=16, log_every=10, ema_decay=0.9)
            metrics = fit(model, sampler, often, folder / name / "often", seed=5)
            found[name] = {"gradients": gradients, "weights": dict(model.state_dict()), "metrics": metrics}
    return found


def recurrent():
    """A recurrent world model, which draws random numbers in its loss and carries its state from batch to batch."""
    data = linear_system(6)
    torch.manual_seed(0)
    return RSSM(data.observation_dim, data.action_dim, RSSM_PRESETS["tiny"]).fit(data), Streams(data, 5)


class Stop(Exception):
    pass


def train_recurrent(folder, stop=None):
    """Weights, and where the streams are, after 6 steps; or nothing, after a stop in the middle of one."""
    model, streams = recurrent()
    config = TrainingConfig(steps=6, batch_size=8, checkpoint_seconds=0.0, log_every=1)
    taken = []
    draw = streams.draw

    def counted(batch_size, generator):
        taken.append(1)
        if len(taken) == stop:
            raise Stop
        return draw(batch_size, generator)

    streams.draw = counted
    try:
        fit(model, streams, config, folder, seed=3)
    except Stop:
        return {}
    return {"weights": dict(model.state_dict()), "streams": streams.state_dict()}


def noise(folder):
    """What the loss of each process draws, and the rows that it gets."""
    drawn, rows = [], []

    class Noisy(GaussianPolicy):
        def loss(self, batch):
            drawn.append(torch.randn(4))
            rows.append(batch[0].clone())
            return super().loss(batch)

    model = Noisy(3, 2, GaussianPolicyConfig(hidden=(8,)))
    fit(model, Pairs(), TrainingConfig(steps=2, batch_size=16), folder, seed=5)
    return {"noise": torch.stack(drawn), "rows": torch.stack(rows)}


def validated(folder):
    """Stopped by errors 3, 1, 2, 2 after 4 of 6 steps, with the weights of the second; who was asked, how often."""
    model, sampler = cases()["policy"]
    errors, seen = [3.0, 1.0, 2.0, 2.0, 0.0, 0.0], []

    def validate():
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"error": errors[len(seen) - 1]}

    config = TrainingConfig(steps=6, batch_size=16, validate_every=1, patience=2)
    fit(model, sampler, config, folder, seed=5, validate=validate)
    return {"weights": dict(model.state_dict()), "asked": len(seen), "best": seen[1:2]}


class Whole:
    """Hides that rows can be gathered alone: each process gathers all of them, and keeps its own."""

    def __init__(self, sampler):
        self.sampler = sampler

    def sample(self, batch_size, generator):
        return self.sampler.sample(batch_size, generator)


def divided(folder):
    """Weights, and how many rows each step gathered, where processes gather their own rows and where all."""
    found = {}
    for name in GATHERED:
        for way in ("own", "whole"):
            model, sampler = recurrent() if name == "recurrent" else cases()[name]
            gather, rows = sampler.gather, []

            def counted(drawn, gather=gather, rows=rows):
                rows.append(len(drawn))
                return gather(drawn)

            sampler.gather = counted
            given = sampler if way == "own" else Whole(sampler)
            fit(model, given, TrainingConfig(steps=5, batch_size=16), folder / name / way, seed=5)
            found[f"{name}_{way}"] = {"weights": dict(model.state_dict()), "rows": rows}
    return found


def train(folder):
    """All that has to agree with one process."""
    processes = current()
    own = folder / f"folder{processes.rank}"  # only the first one's is to be written to
    found = {"trained": trained(own / "trained"), "noise": noise(own / "noise")}
    found["divided"] = divided(own / "divided")
    found["validated"] = validated(own / "validated")
    found["whole"] = train_recurrent(own / "whole")
    train_recurrent(own / "cut", stop=4)
    train_recurrent(own / "fewer", stop=4)
    found["resumed"] = train_recurrent(own / "cut")
    found["more"] = train_recurrent(folder / "more" if processes.first else own / "more")
    return found


class Breaks(Pairs):
    """Fails at the third step of process `rank`."""

    def __init__(self, rank):
        self.rank, self.steps = rank, 0

    def sample(self, batch_size, generator):
        self.steps += 1
        if self.steps == 3 and current().rank == self.rank:
            raise RunError(f"process {self.rank} breaks")
        return super().sample(batch_size, generator)


def breaks(folder, rank):
    """A training in which one process fails."""
    model, _ = cases()["policy"]
    with current().explained():
        fit(model, Breaks(rank), TrainingConfig(steps=1000, batch_size=16), folder / str(current().rank), seed=0)


def main(task, folder, count):
    torch.set_num_threads(1)
    processes = join(int(count))
    assert processes.count == int(count)
    torch.set_num_threads(1)
    if task == "train":
        save_state(folder / f"{processes.rank}.safetensors", train(folder))
    else:
        breaks(folder, int(task.removeprefix("break")))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
