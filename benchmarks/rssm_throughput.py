"""Speed of the recurrent world model by preset: training and imagination, and where imagination's time goes.

    python benchmarks/rssm_throughput.py [--device cpu] [--threads 2] [--seconds 3]

Measured on random data of Meta-World's sizes (21 values of state, 4 of action); the weights do not matter for speed.
Training is one batch of sequences (forward, backward, AdamW); imagination steps many environments at once, as
refinement does, with the decoder not being run. Writes benchmarks/results/rssm_throughput.md.
"""

import argparse
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode, Streams
from burnish.networks import RSSMCell
from burnish.world_models import RSSM, RSSM_PRESETS, RSSMConfig

RESULTS = Path(__file__).parent / "results"
STATE_DIM, ACTION_DIM = 21, 4
BATCHES = {"tiny": (48, 20), "small": (48, 20), "published": (50, 50)}
"""Sequences and frames of a training batch (published: DiWA's)."""


def random_data(frames: int, device: str) -> Dataset:
    """Episodes of 100 frames of noise."""
    rng = np.random.default_rng(0)
    episodes = [
        Episode(
            {STATE: rng.normal(size=(100, STATE_DIM)).astype(np.float32)},
            rng.uniform(-1, 1, (100, ACTION_DIM)).astype(np.float32),
            np.zeros(100, bool),
            "play",
            seed,
            "noise",
        )
        for seed in range(frames // 100)
    ]
    return Dataset.from_episodes(episodes, DatasetInfo(fps=10)).to(device)


def seconds_each(function: Callable[[], object], device: str, budget: float) -> float:
    """Median seconds of one call, over at least three calls and about `budget` seconds."""
    function()
    times: list[float] = []
    while len(times) < 3 or sum(times) < budget:
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def measure(name: str, config: RSSMConfig, device: str, envs: int, budget: float) -> dict[str, float]:
    """Rates and shares of one preset."""
    torch.manual_seed(0)
    sequences, length = BATCHES[name]
    data = random_data(5000, device)
    model = RSSM(STATE_DIM, ACTION_DIM, config).to(device).fit(data)
    streams, generator = Streams(data, length), torch.Generator(device=device).manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def train() -> None:
        loss, _ = model.loss(streams.sample(sequences, generator))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    training = seconds_each(train, device, budget)
    model.eval().requires_grad_(False)
    state = model.initial(envs)
    action = torch.rand(envs, ACTION_DIM, device=device) * 2 - 1
    imagining = seconds_each(lambda: model.imagine(state, action, generator), device, budget)
    advancing = seconds_each(lambda: model.advance(state, action), device, budget)
    cell = model.cell
    assert isinstance(cell, RSSMCell)
    gru_input = torch.zeros(envs, config.hidden, device=device)
    gru = seconds_each(lambda: cell.gru(gru_input, state.h), device, budget)
    decoding = seconds_each(lambda: model.decode(state), device, budget)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_frames": sequences * length / training,
        "imagined": envs / imagining,
        "gru": gru / imagining,
        "rest of h": (advancing - gru) / imagining,
        "prior and sample": (imagining - advancing) / imagining,
        "decoder": decoding / imagining,
    }


def main() -> None:
    """Measure every preset and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--envs", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--presets", nargs="+", default=list(RSSM_PRESETS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for name in args.presets:
        found = measure(name, RSSM_PRESETS[name], args.device, args.envs, args.seconds)
        rows.append((name, found))
        print(name, {key: round(value, 3) for key, value in found.items()}, flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"{args.threads} CPU threads"
    lines = [
        "# Recurrent world model: speed",
        "",
        f"`python benchmarks/rssm_throughput.py --device {args.device} --threads {args.threads}`,",
        f"commit {commit}, torch {torch.__version__}, {where}, {args.envs} imagined environments; state of {STATE_DIM} "
        f"values, action of {ACTION_DIM}.",
        "",
        "| preset | parameters | training, frames/s | imagined steps/s | GRU | rest of h | prior and sample"
        " | decoder, if it were run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {r['parameters']:,} | {r['train_frames']:,.0f} | {r['imagined']:,.0f} | {r['gru']:.0%} "
        f"| {r['rest of h']:.0%} | {r['prior and sample']:.0%} | +{r['decoder']:.0%} |"
        for name, r in rows
    ]
    RESULTS.mkdir(exist_ok=True)
    suffix = "" if args.device == "cpu" else f"_{args.device}"
    (RESULTS / f"rssm_throughput{suffix}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
