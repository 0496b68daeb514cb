"""What a recurrent world model remembers of velocities that it does not see: S5 against the GRU at equal updates.

    python -m benchmarks.s5_world_models --out runs/s5wm [--task pendulum] [--seed 1] [--steps 400]

Trains world models alone on the data of `benchmarks.s5wm` and measures them on the episodes that they have not seen:
the error of imagined steps under recorded actions on the dimensions that they see, and how well a linear probe reads
the hidden velocities from the features. Processor seconds are of the training. Writes
benchmarks/results/s5_world_models.md.
"""

import argparse
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.s5wm import TASKS, VARIANTS, record
from burnish.components import frozen
from burnish.data import STATE, Dataset, Streams, read_dataset
from burnish.imagination import Models, recorded, rollout
from burnish.networks import S5Config
from burnish.recipes.stages.latent import shuffled
from burnish.training import TrainingConfig, fit
from burnish.world_models import RSSM, RSSM_PRESETS

RESULTS = Path(__file__).parent / "results"
HORIZONS = (1, 5, 15, 30)
LENGTH, BATCH = 64, 16


def trained(data: Dataset, variant: str, hidden: Sequence[str], steps: int) -> tuple[RSSM, float]:
    """A world model, and the processor seconds of its training."""
    cell, how = VARIANTS[variant]
    config = replace(RSSM_PRESETS["tiny"], cell=cell, s5=S5Config(modes=32), **{how: tuple(hidden)})
    torch.manual_seed(0)
    model = RSSM(data.observation_dim, data.action_dim, config, (), data.info.state_names).fit(data)
    training = TrainingConfig(
        steps=steps, batch_size=BATCH, learning_rate=2e-3, ema_decay=None, gradient_clip=100.0, checkpoint_seconds=1e9
    )
    with tempfile.TemporaryDirectory() as folder:
        before = time.process_time()
        fit(model, Streams(shuffled(data, 0), LENGTH), training, Path(folder), seed=0)
        return frozen(model), time.process_time() - before


@torch.no_grad()
def errors(model: RSSM, data: Dataset) -> list[float]:
    """Root mean square over the seen dimensions, in standard deviations, after as many imagined steps as `HORIZONS`."""
    last = (data.starts + data.lengths - 1)[data.episode_of_frame]
    frames = torch.arange(data.num_frames)
    present = frames[frames + max(HORIZONS) <= last]
    generator = torch.Generator().manual_seed(0)
    present = present[torch.randperm(len(present), generator=generator)[:1000]]
    state, found = model.recorded(data).rows(present), []
    for now in rollout(Models(model), state, recorded(data, present), max(HORIZONS), generator):
        if now.step + 1 in HORIZONS:
            seen = model.decode(now.following)[STATE], data.observations[STATE][present + now.step + 1]
            away = (seen[0] - seen[1])[:, model.kept] / model.normaliser.std[model.kept]
            found.append(float(away.square().mean().sqrt()))
    return found


@torch.no_grad()
def probe(model: RSSM, data: Dataset, held_out: Dataset, hidden: Sequence[str]) -> float:
    """The share of the hidden dimensions' variance that a ridge regression on features explains, held out."""
    assert data.info.state_names is not None
    columns = [data.info.state_names.index(name) for name in hidden]

    def pairs(of: Dataset) -> tuple[Tensor, Tensor]:
        features = model.features(model.recorded(of)).double()
        ones = torch.ones(len(features), 1, dtype=torch.float64)
        return torch.cat([features, ones], 1), of.observations[STATE][:, columns].double()

    (x, y), (x_held, y_held) = pairs(data), pairs(held_out)
    weights = torch.linalg.solve(x.T @ x + torch.eye(x.shape[1], dtype=torch.float64), x.T @ y)
    left = (x_held @ weights - y_held).square().mean(0) / y_held.var(0, correction=0)
    return float(1 - left.mean())


def main() -> None:
    """Train, measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--task", choices=TASKS, default="pendulum")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder, task = args.out / f"{args.task}-{args.seed}", TASKS[args.task]
    if not folder.exists():
        record(folder, task, args.seed)
    data, held_out = read_dataset(folder).split(0.1, seed=0)
    rows = []
    for variant in args.variants:
        model, seconds = trained(data, variant, task.hidden, args.steps)
        found = [f"{value:.3f}" for value in errors(model, held_out)]
        told = f"{probe(model, data, held_out, task.hidden):.3f}"
        rows.append(f"| {' | '.join([variant, *found, told, f'{seconds:.0f}'])} |")
        print(rows[-1], flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = [
        "# What world models remember of velocities that they do not see",
        "",
        f"`python -m benchmarks.s5_world_models --out {args.out} --task {args.task} --seed {args.seed} --steps "
        f"{args.steps}`, commit {commit}, {platform.machine()}, one thread. {task.name}: {data.num_frames} frames, "
        f"{args.steps} updates of {BATCH} sequences of {LENGTH} frames; one seed.",
        "",
        f"| cell | {' | '.join(f'error, {h} steps' for h in HORIZONS)} | velocity, probe's r² | processor s |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "s5_world_models.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
