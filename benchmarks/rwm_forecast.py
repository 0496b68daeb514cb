"""RWM's ensemble on own offline sets: error over horizons, and whether the members' spread tells of it.

    python benchmarks/rwm_forecast.py --sets runs/offline-sets/HalfCheetah-v5/medium --seeds 0 1 --out runs/rwm-forecast

Each arm is the same network with the same number of updates on the same windows: `samples` goes on from its own samples
(dual-autoregressive, RWM), `data` from recorded frames (teacher forcing); `nll` and `own` change the likelihood and
give each member a trunk of its own. On held-out episodes, from states that have seen at least `history` frames, under
the recorded actions:

- error: mean |prediction - truth| over mean |truth|, in standard deviations of the data; held-last beside it;
- coverage: share of (window, dimension) whose truth lies within factor · standard deviation of the members' own
  trajectories; the factor of each horizon is fitted to 68.27 % on one half of the episodes and counted on the other;
- rank correlation (Spearman) of that spread and the error, both root mean squares over dimensions.

With `--others` the held-out episodes are joined by those of other sets, whose policies the ensemble has not seen: what
a refined policy does to it.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.components import load, save
from burnish.data import STATE, Dataset, Windows, read_dataset
from burnish.evaluation.correlation import spearman
from burnish.imagination import recorded
from burnish.training import TrainingConfig, fit
from burnish.world_models import Forecasts, GRUEnsemble, GRUEnsembleConfig

ARMS: dict[str, dict[str, Any]] = {
    "samples": {},
    "data": {"feedback": "data"},
    "nll": {"likelihood": "nll", "bound_weight": 0.01},
    "own": {"trunk": "own"},
    "own-nll": {"trunk": "own", "likelihood": "nll", "bound_weight": 0.01},
    "data-nll": {"feedback": "data", "likelihood": "nll", "bound_weight": 0.01},
}
SHOWN = (1, 2, 5, 8, 10, 20, 50, 100, 150, 200)
ONE_SIGMA = 0.6827


def trained(folder: Path, data: Dataset, config: GRUEnsembleConfig, training: TrainingConfig, seed: int) -> GRUEnsemble:
    """The ensemble of an arm, from its folder where it is there."""
    if (folder / "model" / "config.json").exists():
        return load(folder / "model", GRUEnsemble)
    torch.manual_seed(seed)
    world = GRUEnsemble(data.observation_dim, data.action_dim, config).fit(data)
    begun = time.process_time()
    fit(world, Forecasts(data, config, seed), training, folder, seed)
    print(f"{folder}: {time.process_time() - begun:.0f} s of one core", flush=True)
    save(folder / "model", world)
    return world


def longest(data: Dataset, history: int, wanted: int, windows: int = 64) -> int:
    """The horizon, at most the wanted one, that leaves so many windows after a full history."""
    rest = torch.cat([torch.arange(max(0, int(length) - history)) for length in data.lengths])
    return wanted if int((rest >= wanted).sum()) >= windows else int(rest.sort(descending=True).values[windows - 1])


@torch.no_grad()
def trajectories(
    world: GRUEnsemble, data: Dataset, history: int, horizon: int, limit: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(E, N, T, D) of each member along its own trajectory, the truth (N, T, D), the first frame, and the episode."""
    present = Windows(data, history=history, horizon=horizon).present_frames
    first = data.starts[data.episode_of_frame[present]]
    present = present[present - first >= history]
    present = present[:: 1 + len(present) // limit]
    state, act = world.recorded(data).rows(present), recorded(data, present)
    members = torch.arange(world.members).repeat_interleave(len(present))
    state = state.rows(torch.arange(len(present)).repeat(world.members))
    frames = []
    for step in range(horizon):
        _, state = world.predict_member(state, act(None, step).repeat(world.members, 1), members)
        frames.append(state.observation.unflatten(0, (world.members, -1)))
    truth = world.normaliser.normalise(data.observations[STATE])
    following = truth[present[:, None] + 1 + torch.arange(horizon)]
    return torch.stack(frames, 2), following, truth[present], data.episode_of_frame[present]


def measured(world: GRUEnsemble, data: Dataset, history: int, horizon: int, limit: int) -> dict[str, Any]:
    """Errors, coverage and rank correlation by horizon."""
    found, truth, first, episode = trajectories(world, data, history, horizon, limit)
    moving = (truth.flatten(0, 1).std(0) > 1e-4).nonzero().flatten()
    found, truth, first = found[..., moving], truth[..., moving], first[:, moving]
    size = truth.abs().mean((0, 2))
    own = (found - truth).abs().mean((0, 1, 3)) / size
    mean, spread = found.mean(0), found.std(0).clamp(min=1e-9)
    error = (mean - truth).abs()
    hold = (first[:, None] - truth).abs().mean((0, 2)) / size
    half = episode % 2 == 0
    ratio = error / spread
    factor = torch.quantile(ratio[half].transpose(0, 1).flatten(1), ONE_SIGMA, dim=1)
    raw, covered = ((ratio[~half] <= f).float().mean((0, 2)) for f in (torch.ones(()), factor[:, None]))
    rms_error, rms_spread = error.square().mean(-1).sqrt(), spread.square().mean(-1).sqrt()
    shown = [h for h in SHOWN if h <= horizon]
    at = torch.tensor(shown) - 1
    return {
        "horizon": shown,
        "windows": len(truth),
        "episodes": len(episode.unique()),
        "member_error": own[at].tolist(),
        "mean_error": ((error.mean((0, 2))) / size)[at].tolist(),
        "hold_last": hold[at].tolist(),
        "coverage_raw": raw[at].tolist(),
        "coverage": covered[at].tolist(),
        "coverage_range": [float(covered.min()), float(covered.max())],
        "factor": factor[at].tolist(),
        "rank_correlation": [spearman(rms_spread[:, h], rms_error[:, h]) for h in at],
        "rank_correlation_all": spearman(rms_spread.flatten(), rms_error.flatten()),
        "largest": float(found.abs().max()),
    }


def main() -> None:
    """Train what is not there yet, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["samples", "data"])
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--forecast", type=int, default=8)
    parser.add_argument("--horizon", type=int, default=200)
    parser.add_argument(
        "--others", nargs="*", type=Path, default=[], help="sets that are held out, too: other policies'"
    )
    parser.add_argument("--windows", type=int, default=400)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    # Without limits of imagination: what explodes is to be seen.
    base = GRUEnsembleConfig(hidden=args.hidden, head=(args.hidden,), forecast=args.forecast, slack=None)
    training = TrainingConfig(args.steps, args.batch, 1e-3, weight_decay=1e-5, ema_decay=None)
    for path in args.sets:
        learned, held_out = read_dataset(path).split(0.2, seed=0)
        if args.others:
            others = [episode for each in args.others for episode in read_dataset(each).to_episodes()]
            held_out = Dataset.from_episodes([*held_out.to_episodes(), *others], held_out.info)
        reach = longest(held_out, base.history, args.horizon)
        for seed in args.seeds:
            for arm in args.arms:
                name = f"{path.parent.name}-{path.name}-{arm}-n{args.forecast}-{seed}"
                world = trained(args.out / name, learned, replace(base, **ARMS[arm]), training, seed).eval()
                row = {"set": f"{path.parent.name}/{path.name}", "arm": arm, "seed": seed, "forecast": args.forecast}
                row |= measured(world, held_out, base.history, reach, args.windows)
                row |= {"others": [f"{each.parent.name}/{each.name}" for each in args.others]}
                (args.out / f"{name}{'-others' if args.others else ''}.json").write_text(json.dumps(row))
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
