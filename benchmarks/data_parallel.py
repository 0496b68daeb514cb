"""What a second process brings to the training of a world model, and of what a step then consists.

    python benchmarks/data_parallel.py --run runs/demo --steps 40 --repeats 2

Trains the run's world model, and one of twice the width on four times the rows, in turns: by one process, by two that
share the work (gloo, one thread each), and by two that know nothing of each other, each with all of the work. The
last is what the machine allows: where two programs slow each other down, sharing cannot be faster than that. And it
counts what each part of a step costs on a whole batch and on half of it (`--parts`: that alone). Prints tables for
`benchmarks/results/data_parallel.md`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

SIZES = {"as in the demo": (256, 3, 256), "larger": (512, 3, 1024)}
"""Width, depth and rows of a batch."""
PARTS = ("draw", "gather", "loss", "backward", "optimiser", "moving average")


def made(folder: Path, size: str) -> tuple[Any, Any]:
    """The world model, and the windows that it learns from."""
    import torch

    from burnish.components import load
    from burnish.data import Windows, read_dataset
    from burnish.recipes.runs import reopen
    from burnish.world_models import DiffusionWorldModel

    width, depth, _ = SIZES[size]
    config, dataset = reopen(folder).config, read_dataset(folder / "dataset", cameras=())
    space = load(folder / "world_model", DiffusionWorldModel).space
    torch.manual_seed(0)
    model = DiffusionWorldModel(space, replace(config.world_model, width=width, depth=depth)).train()
    return model, Windows(dataset, history=config.history.frames, horizon=config.world_model.rollout_steps)


def parts(folder: Path, size: str, times: int = 20) -> dict[str, tuple[float, float]]:
    """Processor milliseconds of each part of a step, on a whole batch and on half of it; medians."""
    import torch

    from burnish.training.ema import ExponentialMovingAverage

    torch.set_num_threads(1)
    model, windows = made(folder, size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    average, generator = ExponentialMovingAverage(model, 0.995), torch.Generator().manual_seed(0)
    rows = SIZES[size][2]
    found: dict[str, list[list[float]]] = {}
    for _ in range(times):
        for half in (False, True):
            clocks = [time.process_time()]
            drawn = windows.draw(rows, generator)
            clocks.append(time.process_time())
            batch = windows.gather(drawn[: rows // 2] if half else drawn)
            clocks.append(time.process_time())
            loss = model.loss(batch)[0]
            clocks.append(time.process_time())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            clocks.append(time.process_time())
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            clocks.append(time.process_time())
            average.update()
            clocks.append(time.process_time())
            for name, (begin, end) in zip(PARTS, pairwise(clocks), strict=True):
                found.setdefault(name, [[], []])[half].append(1e3 * (end - begin))
    return {name: (median(whole), median(half)) for name, (whole, half) in found.items()}


def parts_table(folder: Path) -> list[str]:
    """What of a step two processes divide, and what each does for itself."""
    lines = ["| world model | part of a step | whole batch, ms | half, ms |", "|---|---|---|---|"]
    for size in SIZES:
        found = parts(folder, size)
        lines += [f"| {size} | {name} | {whole:.2f} | {half:.2f} |" for name, (whole, half) in found.items()]
        whole, half = (sum(each[k] for each in found.values()) for k in (0, 1))
        before = half + found["gather"][0] - found["gather"][1]
        scaling = f"{whole / (2 * half):.2f}, {whole / (2 * before):.2f} if each gathered all rows"
        lines.append(f"| **{size}** | all; scaling without any exchange {scaling} | {whole:.2f} | {half:.2f} |")
    print("\n".join(lines), flush=True)
    return lines


def train(folder: Path, processes: int, size: str, steps: int) -> dict[str, float] | None:
    """In each process: milliseconds of a step; None but in the first."""
    import torch
    from torch import distributed

    from burnish.training import TrainingConfig, fit, join

    torch.set_num_threads(1)
    group = join(processes, "cpu")
    model, windows = made(folder, size)
    settings = TrainingConfig(steps=steps, batch_size=SIZES[size][2], learning_rate=1e-4, log_every=10**6)
    clocks = []
    with tempfile.TemporaryDirectory() as scratch:
        # What a training costs before its first step is in both, and in no difference.
        for name, count in (("warm", 2), ("few", 3), ("many", 3 + steps)):
            began = time.perf_counter(), time.process_time()
            fit(model, windows, replace(settings, steps=count), Path(scratch, name), 0)
            clocks.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    wall, cpu = (many - few for few, many in zip(*clocks[1:], strict=True))
    times = group.gather(torch.tensor([[1e3 * wall / steps, 1e3 * cpu / steps]]))
    weights = sum(parameter.numel() for parameter in model.network.parameters())
    found = {"wall": float(times[0, 0]), "cpu": float(times[:, 1].sum()), "weights": float(weights), "exchange": 0.0}
    if processes > 1:
        gradient = torch.zeros(weights)
        distributed.all_reduce(gradient)
        cpu = time.process_time()
        for _ in range(20):
            distributed.all_reduce(gradient)
        spent = group.gather(torch.tensor([1e3 * (time.process_time() - cpu) / 20]))
        found["exchange"] = float(spent.sum())
    return found if group.first else None


def together(folder: Path, steps: int, size: str, ways: tuple[int, int]) -> dict[str, float]:
    """So many trainings side by side, of so many processes each: the mean of what they found."""
    trainings, processes = ways
    command = [sys.executable, __file__, "--run", str(folder.resolve()), "--steps", str(steps)]
    command += ["--child", str(processes), size]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(trainings)]
    answers = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        sys.exit("a training failed: see above")
    found = [json.loads(answer.splitlines()[-1]) for answer in answers]
    return {name: sum(one[name] for one in found) / trainings for name in found[0]}


def scaling_table(folder: Path, steps: int, repeats: int) -> None:
    """By one process, by two that share the work, and by two alone with all of it."""
    columns = "world model | weights | rows | trainings × processes | ms a step | processor ms a step, all processes"
    print(f"| {columns} | of which the exchange of gradients | load |\n|---|---|---|---|---|---|---|---|")
    for size in SIZES:
        found: dict[tuple[int, int], list[dict[str, float]]] = {}
        for ways in repeats * ((1, 1), (1, 2), (2, 1)):
            one = together(folder, steps, size, ways)
            found.setdefault(ways, []).append(one)
            numbers = f"{one['wall']:.1f} | {one['cpu']:.1f} | {one['exchange']:.2f} | {os.getloadavg()[0]:.1f}"
            row = f"| {size} | {one['weights']:.0f} | {SIZES[size][2]} | {ways[0]} × {ways[1]} | {numbers} |"
            print(row, flush=True)
        wall = {ways: median(one["wall"] for one in each) for ways, each in found.items()}
        shared, machine = wall[1, 1] / (2 * wall[1, 2]), wall[1, 1] / wall[2, 1]
        note = (
            f"shared {shared:.2f}; what the machine allows {machine:.2f}; the one of the other {shared / machine:.2f}"
        )
        print(f"| **{size}** | | | by the clock, medians: {note} | | | | |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        one = train(args.run, int(args.child[0]), args.child[1], args.steps)
        if one is not None:
            print(json.dumps(one), flush=True)
        return
    parts_table(args.run)
    if not args.parts:
        scaling_table(args.run, args.steps, args.repeats)


if __name__ == "__main__":
    main()
