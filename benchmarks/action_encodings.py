"""World4RL's Table IV: how well a world model predicts, open-loop, with each encoding of the actions.

    python benchmarks/action_encodings.py RUN/dataset [--encodings two_hot linear …] [--seeds 3] [--steps 3000]
    python benchmarks/action_encodings.py RUN/dataset --model pixels [--network diamond] [--device cuda]

DATASET is the folder of a LeRobotDataset v3.0, such as a run's; `--model pixels` wants one with pictures. For every
encoding and seed one diffusion world model learns from the same training episodes; it then predicts `--horizon` frames
from frames of held-out episodes with their recorded actions, for episodes of the policy and of random motion apart,
since an encoding may help where the data is dense and hurt beyond it.

On states, errors are root mean squares over the state's moving dimensions in standard deviations of the data, medians
over the windows: lower is better. On pixels the table has the PSNR in dB over those pixels that moved since the
present frame, means over the windows: higher is better. Numbers are mean ± standard deviation over the seeds (of
training and sampling: the episodes are the same). The last row holds the present frame. Prints the table, and writes
it to `--out`. With `--keep DIR` finished runs are kept there and not run again: commands with other encodings may work
beside each other, and the last one renders them all. A folder holds runs of one data set and one size only.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from burnish.data import IMAGES, Dataset, Windows, is_image_key, read_dataset
from burnish.evaluation.fidelity import HOLD, MODEL, picture_fidelity
from burnish.evaluation.prediction import open_loop
from burnish.networks import UNET_PRESETS
from burnish.networks.action_encoding import ActionEncodingName
from burnish.recipes.how import chosen_device
from burnish.storage import read_json, write_json
from burnish.training import TrainingConfig, fit
from burnish.world_models import (
    DiffusionConfig,
    DiffusionWorldModel,
    HistoryConfig,
    ObservationHistory,
    PixelDiffusion,
    PixelDiffusionConfig,
    PixelHistory,
    PixelHistoryConfig,
    SpeedConfig,
    TransitionSpace,
    learned_dimensions,
    position_differences,
)

SOURCES = ("policy", "random")


@dataclass(frozen=True)
class Curves:
    """A number a predicted frame: of the model, and of a prediction that holds the present frame."""

    model: list[float]
    hold: list[float]


class States:
    """The world model of state vectors."""

    better = "error in standard deviations of the data, lower is better"

    def __init__(self, args: argparse.Namespace) -> None:
        batch, rate = args.batch or 256, args.learning_rate or 2e-3
        self.training = TrainingConfig(args.steps, batch, rate, log_every=args.steps)

    def data(self, folder: Path) -> Dataset:
        """Without pictures."""
        return read_dataset(folder, cameras=())

    def build(self, encoding: ActionEncodingName, training: Dataset) -> tuple[DiffusionWorldModel, Windows]:
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

    def test(self, model: DiffusionWorldModel, held_out: Dataset, horizon: int, seed: int) -> Curves:
        """Medians over windows."""
        found = open_loop(model, held_out, horizon, seed)
        return Curves(*(error.median(0).values.tolist() for error in (found.model_error, found.hold_error)))


class Pixels:
    """The world model of pictures."""

    better = "PSNR in dB over the pixels that moved, higher is better"

    def __init__(self, args: argparse.Namespace) -> None:
        self.network, self.device, self.windows = args.network, chosen_device(args.device), args.windows
        batch, rate = args.batch or 32, args.learning_rate or 2e-4
        self.training = TrainingConfig(
            args.steps, batch, rate, weight_decay=1e-2, ema_decay=0.999, log_every=args.steps, checkpoint_seconds=300.0
        )

    def data(self, folder: Path) -> Dataset:
        """With pictures, on the device."""
        return read_dataset(folder).to(self.device)

    def build(self, encoding: ActionEncodingName, training: Dataset) -> tuple[PixelDiffusion, Windows]:
        """An untrained world model of the data set's cameras, and what it learns from."""
        keys = [key for key in training.observations if is_image_key(key)]
        size = training.observations[keys[0]].shape[1]
        cameras = tuple(key.removeprefix(IMAGES) for key in keys)
        history = PixelHistoryConfig(cameras, size, action_encoding=encoding)
        speed = SpeedConfig(precision="bfloat16")
        config = PixelDiffusionConfig(preset=self.network, speed=speed)
        model = PixelDiffusion(PixelHistory(training.action_dim, history), config).fit(training).to(self.device)
        return model, Windows(training, history=history.frames, horizon=config.rollout_steps)

    def test(self, model: PixelDiffusion, held_out: Dataset, horizon: int, seed: int) -> Curves:
        """Means over windows in which something moves."""
        found = picture_fidelity(model, held_out, horizon, seed, limit=self.windows)
        moving = [fidelity.errors["psnr_moving"] for fidelity in found.sources.values()]
        return Curves(*(torch.cat([m[who] for m in moving]).nanmean(0).tolist() for who in (MODEL, HOLD)))


def predictions(
    kind: States | Pixels,
    encoding: ActionEncodingName,
    training: Dataset,
    tests: dict[str, Dataset],
    horizon: int,
    seed: int,
) -> dict[str, Curves]:
    """Train one model and test it on every kind of held-out episode."""
    torch.manual_seed(seed)
    model, windows = kind.build(encoding, training)
    with tempfile.TemporaryDirectory() as work:
        fit(model, windows, kind.training, Path(work), seed)
    return {source: kind.test(model, held_out, horizon, seed) for source, held_out in tests.items()}  # type: ignore[arg-type]


def kept_run(path: Path, settings: dict[str, Any]) -> dict[str, Curves]:
    """A finished run; raises SystemExit where it was made with other settings."""
    kept = read_json(path)
    if kept.get("settings") != settings:
        raise SystemExit(f"{path}: found a run with {kept.get('settings')}, expected {settings}; use another --keep")
    return {source: Curves(**curves) for source, curves in kept["curves"].items()}


def kinds(held_out: Dataset) -> dict[str, Dataset]:
    """The held-out episodes by who acted; all of them together where the data does not say."""
    present = [source for source in SOURCES if source in held_out.sources]
    return {source: held_out.with_sources([source]) for source in present} or {"all": held_out}


def cell(values: Sequence[float]) -> str:
    """Mean ± standard deviation over the seeds."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def table(found: dict[str, list[dict[str, Curves]]], horizon: int) -> list[str]:
    """One row an encoding; for every kind of episodes the number of the first and of the last predicted frame."""
    names = list(next(iter(found.values()))[0])
    steps = sorted({1, horizon})
    heads = [f"{name}, {step} step{'s' * (step > 1)}" for name in names for step in steps]
    lines = ["| encoding | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for encoding, runs in found.items():
        cells = [cell([run[name].model[step - 1] for run in runs]) for name in names for step in steps]
        lines.append(f"| {encoding} | " + " | ".join(cells) + " |")
    first = next(iter(found.values()))[0]
    held = [f"{first[name].hold[step - 1]:.3f}" for name in names for step in steps]
    return [*lines, "| (nothing moves) | " + " | ".join(held) + " |"]


def main() -> None:
    """Train, test, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = get_args(ActionEncodingName)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", choices=["states", "pixels"], default="states")
    parser.add_argument("--encodings", nargs="+", choices=names, default=list(names))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, help="default 256 on states, 32 on pixels")
    parser.add_argument("--learning-rate", type=float, help="default 2e-3 on states, 2e-4 on pixels")
    parser.add_argument("--network", choices=list(UNET_PRESETS), default="diamond", help="of pixels")
    parser.add_argument("--windows", type=int, default=200, help="held-out windows of each kind, of pixels")
    parser.add_argument("--device", default="cpu", help="of pixels")
    parser.add_argument("--horizon", type=int, default=10)
    parser.add_argument("--held-out", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder of finished runs")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    kind = States(args) if args.model == "states" else Pixels(args)
    training, held_out = kind.data(args.dataset).split(args.held_out, seed=0)
    tests = kinds(held_out)
    started = time.monotonic()
    read = ("model", "network", "steps", "batch", "learning_rate", "windows", "horizon", "held_out")
    settings = {name: getattr(args, name) for name in read} | {"frames": training.num_frames}
    found: dict[str, list[dict[str, Curves]]] = {}
    for encoding in args.encodings:
        for seed in range(args.seeds):
            kept = args.keep / f"{encoding}_{seed}.json" if args.keep else None
            if kept and kept.exists():
                run = kept_run(kept, settings)
            else:
                run = predictions(kind, encoding, training, tests, args.horizon, seed)
                if kept:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    curves = {source: asdict(curves) for source, curves in run.items()}
                    write_json(kept, {"settings": settings, "curves": curves})
            found.setdefault(encoding, []).append(run)
            print(f"{encoding}, seed {seed}: {time.monotonic() - started:.0f} s", flush=True)
    counts = ", ".join(f"{data.num_episodes} {name}" for name, data in tests.items())
    network = f", U-Net `{args.network}`" if args.model == "pixels" else ""
    lines = [
        f"{training.num_episodes} training episodes ({training.num_frames:,} frames); held-out episodes: {counts}. "
        f"{args.model}{network}, {args.steps} training steps of {kind.training.batch_size} windows, {args.seeds} "
        f"seeds; {kind.better}.",
        "",
        *table(found, args.horizon),
    ]
    print("\n".join(lines))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text("# Action encodings\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
