"""Speed of the S5 cell against the GRU: seconds of one training step by sequence length, and of imagination.

    python benchmarks/s5_speed.py [--device cpu] [--threads 2] [--seconds 2]

Three tables, forward and backward on random data of Meta-World's sizes: the recurrence alone (S5 against the loop over
`GRUCell` that a posterior on h asks for, and against the fused `nn.GRU` that it cannot use), the world model's whole
loss with either cell, and the ways to scan. Frames of a batch are constant over the lengths, or sequences are. Writes
benchmarks/results/s5_speed.md.
"""

import argparse
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.rssm_throughput import ACTION_DIM, STATE_DIM, random_data
from burnish.data import Streams
from burnish.networks import S5, S5Config
from burnish.networks.scan import from_chunks, linear_scan, to_chunks
from burnish.world_models import RSSM, RSSM_PRESETS

RESULTS = Path(__file__).parent / "results"
LENGTHS = (16, 32, 64, 256, 1024)
WIDTH = RSSM_PRESETS["small"].deterministic


def seconds_each(function: Callable[[], object], device: str, budget: float) -> float:
    """Least seconds of one call, over at least two calls and about `budget` seconds: what others do on the machine
    only adds."""
    function()
    times: list[float] = []
    while len(times) < 2 or sum(times) < budget:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def recurrences(sequences: int, frames: int, device: str, budget: float) -> dict[str, float]:
    """Forward and backward of the recurrence alone."""
    torch.manual_seed(0)
    s5, cell = S5(WIDTH, WIDTH, S5Config()).to(device), nn.GRUCell(WIDTH, WIDTH).to(device)
    fused = nn.GRU(WIDTH, WIDTH, batch_first=True).to(device)
    inputs = torch.randn(sequences, frames, WIDTH, device=device)
    reset = torch.rand(sequences, frames, device=device) < 0.01
    keep = (~reset).to(inputs.dtype).unsqueeze(-1)

    def by_cell() -> Tensor:
        h, hs = inputs.new_zeros(sequences, WIDTH), []
        for t in range(frames):
            h = cell(inputs[:, t], h * keep[:, t])
            hs.append(h)
        return torch.stack(hs, 1)

    ways = {
        "S5": lambda: s5.scan(inputs, reset, inputs.new_zeros(sequences, s5.memory))[0],
        "GRUCell": by_cell,
        "nn.GRU": lambda: fused(inputs)[0],
    }
    return {
        name: seconds_each(lambda w=way: w().square().mean().backward(), device, budget) for name, way in ways.items()
    }


def losses(sequences: int, frames: int, device: str, budget: float) -> dict[str, float]:
    """Forward and backward of the world model's loss with either cell."""
    data = random_data(max(5000, 100 * -(-frames // 100)), device)
    found = {}
    for cell in ("s5", "gru"):
        torch.manual_seed(0)
        config = replace(RSSM_PRESETS["small"], cell=cell)
        model = RSSM(STATE_DIM, ACTION_DIM, config).to(device).fit(data)
        streams, generator = Streams(data, frames), torch.Generator(device=device).manual_seed(0)
        found[cell] = seconds_each(
            lambda m=model, s=streams, g=generator: m.loss(s.sample(sequences, g))[0].backward(), device, budget
        )
    return found


def imagination(envs: int, device: str, budget: float) -> dict[str, float]:
    """One imagined step of many environments."""
    found = {}
    for cell in ("s5", "gru"):
        model = RSSM(STATE_DIM, ACTION_DIM, replace(RSSM_PRESETS["small"], cell=cell)).to(device).eval()
        state, action = model.initial(envs), torch.rand(envs, ACTION_DIM, device=device)
        with torch.no_grad():
            found[cell] = seconds_each(lambda m=model, s=state, a=action: m.imagine(s, a), device, budget)
    return found


def by_doubling(decay: Tensor, inputs: Tensor, keep: Tensor, initial: Tensor) -> Tensor:
    """The scan of (B, T, P), (B, T), (B, P) in log₂ T steps over all frames (Hillis & Steele 1986), each of which
    combines pairs that lie twice as far apart: (a₁, b₁), then (a₂, b₂), is (a₂ a₁, a₂ b₁ + b₂)."""
    factor = keep.unsqueeze(-1) * decay
    x = torch.cat([inputs[:, :1] + factor[:, :1] * initial.unsqueeze(1), inputs[:, 1:]], 1)
    distance, frames = 1, inputs.shape[1]
    while distance < frames:
        x = torch.cat([x[:, :distance], torch.addcmul(x[:, distance:], factor[:, distance:], x[:, :-distance])], 1)
        both = factor[:, distance:] * factor[:, :-distance]
        factor = torch.cat([torch.zeros_like(factor[:, :distance]), both], 1)
        distance *= 2
    return x


def step_by_step(decay: Tensor, inputs: Tensor, keep: Tensor, initial: Tensor) -> Tensor:
    """The recurrence of (B, T, P), (B, T), (B, P) as it is written."""
    x, states = initial, []
    for t in range(inputs.shape[1]):
        x = torch.addcmul(inputs[:, t], keep[:, t, None] * decay, x)
        states.append(x)
    return torch.stack(states, 1)


def scans(sequences: int, frames: int, device: str, budget: float) -> dict[str, float]:
    """Forward and backward of the ways to scan, of which the package uses the first."""
    modes = S5Config().modes
    torch.manual_seed(0)
    decay = torch.polar(torch.rand(modes) * 0.1 + 0.9, torch.rand(modes)).to(device).requires_grad_()
    inputs = torch.randn(sequences, frames, modes, dtype=torch.complex64, device=device).requires_grad_()
    keep = (torch.rand(sequences, frames, device=device) > 0.01).float()
    start = torch.zeros(sequences, modes, dtype=torch.complex64, device=device)
    ways = {
        "in chunks": lambda: from_chunks(linear_scan(decay, to_chunks(inputs), to_chunks(keep), start), frames),
        "by doubling": lambda: by_doubling(decay, inputs, keep, start),
        "step by step": lambda: step_by_step(decay, inputs, keep, start),
    }
    return {name: seconds_each(lambda w=way: w().abs().sum().backward(), device, budget) for name, way in ways.items()}


def table(title: str, rows: list[tuple[int, int, dict[str, float]]], against: str | None) -> list[str]:
    """Milliseconds; and how many times as fast as `against` the first column is."""
    names = list(rows[0][2])
    ratio = [] if against is None else [f"{against} / {names[0]}"]
    lines = ["", f"## {title}", "", f"| sequences × frames | {' | '.join([*names, *ratio])} |"]
    lines.append("|---" * (1 + len(names) + len(ratio)) + "|")
    for sequences, frames, found in rows:
        cells = [f"{1000 * value:,.1f} ms" for value in found.values()]
        cells += [] if against is None else [f"{found[against] / found[names[0]]:.1f}×"]
        lines.append(f"| {sequences} × {frames} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--frames", type=int, default=4096, help="of a batch, where those are constant")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    few = [(args.sequences, length) for length in LENGTHS]
    same = [(args.frames // length, length) for length in LENGTHS]
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"{platform.machine()}, {args.threads} threads"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = [
        "# S5 against the GRU: speed",
        "",
        f"`python -m benchmarks.s5_speed --device {args.device} --threads {args.threads}`, commit {commit}, torch "
        f"{torch.__version__}, {where}. Width {WIDTH}, {S5Config().layers} layers of {S5Config().modes} complex modes; "
        "forward and backward, the least of several.",
    ]
    parts = (
        ("The world model's loss, sequences constant", losses, few, "gru"),
        ("The world model's loss, frames constant", losses, same, "gru"),
        ("The recurrence alone", recurrences, few, "GRUCell"),
        ("Ways to scan", scans, few, None),
    )
    for title, measure, sizes, against in parts:
        rows = []
        for sequences, frames in sizes:
            rows.append((sequences, frames, measure(sequences, frames, args.device, args.seconds)))
            print(title, *rows[-1], flush=True)
        lines += table(title, rows, against)
    steps = imagination(256, args.device, args.seconds)
    print(steps)
    lines += ["", "One imagined step of 256 environments: " + _words(steps) + "."]
    RESULTS.mkdir(exist_ok=True)
    suffix = "" if args.device == "cpu" else f"_{args.device}"
    (RESULTS / f"s5_speed{suffix}.md").write_text("\n".join(lines) + "\n")


def _words(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {1000 * value:.2f} ms" for name, value in found.items())


if __name__ == "__main__":
    main()
