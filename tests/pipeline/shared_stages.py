"""Started as a script: two processes do a nested stage together, and stop in its middle where they are told to."""

import sys
from pathlib import Path

import torch
from torch import nn

from burnish.pipeline import Run, SharedRun
from burnish.storage import save_tensors
from burnish.training import TrainingConfig, fit, join
from tests.pipeline.fakes import Body

CONFIG = TrainingConfig(steps=12, batch_size=16, log_every=1, checkpoint_seconds=0.0)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def loss(self, batch):
        return (self.layer(batch) - batch.sum(1, keepdim=True)).square().mean(), {}


class Noise:
    def sample(self, batch_size, generator):
        return torch.rand(batch_size, 2, generator=generator)


def body(stop):
    def on_step(step, metrics):
        if step == stop:
            raise SystemExit(7)

    def work(context):
        torch.manual_seed(0)
        model = Model()
        fit(model, Noise(), CONFIG, context.folder, seed=5, on_step=on_step)
        save_tensors(context.folder / "model.safetensors", model.state_dict())

    return work


def main(folder, stop):
    processes = join(2)
    run = Run.create(folder, "toy", None, 0, {}) if processes.first else None
    shared = SharedRun(run, folder, processes)
    shared.stage("gate/model", {}, [], body(stop), alone=False)
    # What only the first process does exchanges nothing with the others.
    shared.stage("gate/after", {}, [], Body(), alone=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
