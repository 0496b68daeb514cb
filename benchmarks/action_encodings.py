"""World4RL's Table IV on states: how well a world model predicts, open-loop, with each encoding of the actions.

    python benchmarks/action_encodings.py RUN/dataset [--encodings two_hot linear …] [--seeds 3] [--steps 3000]

DATASET is the folder of a LeRobotDataset v3.0, such as a run's.  For every encoding and seed one diffusion world model
learns from the same training episodes; it then predicts `--horizon` frames from frames of held-out episodes with their
recorded actions, for episodes of the policy and of random motion apart, since an encoding may help where the data is
dense and hurt beyond it.  Errors are root mean squares over the state's moving dimensions in standard deviations of the
data, medians over the windows; the table has their mean ± standard deviation over the seeds (of training and sampling:
the episodes are the same).  Prints the table, and writes it to `--out`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch

from burnish.data import Dataset, Windows, read_dataset
from burnish.evaluation.prediction import OpenLoop, open_loop
from burnish.networks.action_encoding import ActionEncodingName
from burnish.training import TrainingConfig, fit
from burnish.world_models import (
    DiffusionConfig,
    DiffusionWorldModel,
    HistoryConfig,
    ObservationHistory,
    TransitionSpace,
    learned_dimensions,
    position_differences,
)

SOURCES = ("policy", "random")


def build(encoding: ActionEncodingName, training: Dataset) -> tuple[DiffusionWorldModel, Windows]:
    """An untrained world model that reads actions in this encoding, and what it learns from."""
    history, config = HistoryConfig(action_encoding=encoding), DiffusionConfig()
    observer = ObservationHistory(training.observation_dim, training.action_dim, history).fit(training)
    space = TransitionSpace(
        training.observation_dim,
        training.action_dim,
        learned_dimensions(training),
        history,
        position_differences(training),
    )
    space.normaliser.load_state_dict(observer.normaliser.state_dict())
    model = DiffusionWorldModel(space.fit(training), config)
    return model, Windows(training, history=history.frames, horizon=config.rollout_steps)


def predictions(
    encoding: ActionEncodingName, training: Dataset, tests: dict[str, Dataset], steps: int, horizon: int, seed: int
) -> dict[str, OpenLoop]:
    """Train one model and test it on every kind of held-out episode."""
    torch.manual_seed(seed)
    model, windows = build(encoding, training)
    config = TrainingConfig(steps=steps, batch_size=256, learning_rate=2e-3, log_every=steps)
    with tempfile.TemporaryDirectory() as work:
        fit(model, windows, config, Path(work), seed)
    return {source: open_loop(model, held_out, horizon, seed) for source, held_out in tests.items()}


def kinds(held_out: Dataset) -> dict[str, Dataset]:
    """The held-out episodes by who acted; all of them together where the data does not say."""
    present = [source for source in SOURCES if source in held_out.sources]
    return {source: held_out.with_sources([source]) for source in present} or {"all": held_out}


def cell(values: Sequence[float]) -> str:
    """Mean ± standard deviation over the seeds."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def table(found: dict[str, list[dict[str, OpenLoop]]], horizon: int) -> list[str]:
    """One row an encoding; for every kind of episodes the error of the first and of the last predicted frame."""
    names = list(next(iter(found.values()))[0])
    steps = sorted({1, horizon})
    heads = [f"{name}, {step} step{'s' * (step > 1)}" for name in names for step in steps]
    lines = ["| encoding | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for encoding, runs in found.items():
        errors = [
            [float(run[name].model_error[:, step - 1].median()) for run in runs] for name in names for step in steps
        ]
        lines.append(f"| {encoding} | " + " | ".join(map(cell, errors)) + " |")
    first = next(iter(found.values()))[0]
    held = [float(first[name].hold_error[:, step - 1].median()) for name in names for step in steps]
    return [*lines, "| (nothing moves) | " + " | ".join(f"{value:.3f}" for value in held) + " |"]


def main() -> None:
    """Train, test, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument(
        "--encodings", nargs="+", choices=get_args(ActionEncodingName), default=list(get_args(ActionEncodingName))
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--horizon", type=int, default=10)
    parser.add_argument("--held-out", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    training, held_out = read_dataset(args.dataset).split(args.held_out, seed=0)
    tests = kinds(held_out)
    started = time.monotonic()
    found: dict[str, list[dict[str, OpenLoop]]] = {}
    for encoding in args.encodings:
        for seed in range(args.seeds):
            run = predictions(encoding, training, tests, args.steps, args.horizon, seed)
            found.setdefault(encoding, []).append(run)
            print(f"{encoding}, seed {seed}: {time.monotonic() - started:.0f} s", flush=True)
    counts = ", ".join(f"{data.num_episodes} {name}" for name, data in tests.items())
    lines = [
        f"{training.num_episodes} training episodes ({training.num_frames:,} frames); held-out episodes: {counts}. "
        f"{args.steps} training steps, {args.seeds} seeds; error in standard deviations of the data.",
        "",
        *table(found, args.horizon),
    ]
    print("\n".join(lines))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text("# Action encodings\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
