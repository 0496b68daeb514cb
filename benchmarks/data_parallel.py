"""What a second process brings to the training of a world model, and of what a step then consists.

    python benchmarks/data_parallel.py --run runs/demo --steps 40 --repeats 2

Trains the run's world model, and one of twice the width on four times the rows, by one process and by two
(gloo, one thread each), in turns; and counts what each part of a step costs on a whole batch and on half of it
(`--parts`: that alone). By the clock, two processes are the faster the fewer others want the cores; the
processor time of all processes together hardly depends on others, and says what the division itself costs. Writes
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

RESULTS = Path(__file__).parent / "results"
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
    division = parts_table(args.run)
    if args.parts:
        return
    lines = [
        "| world model | weights | rows | processes | ms a step | processor ms a step, all processes | of which the "
        "exchange of gradients | load |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for size in SIZES:
        for _ in range(args.repeats):
            for processes in (1, 2):
                command = [sys.executable, __file__, "--run", str(args.run.resolve()), "--steps", str(args.steps)]
                command += ["--child", str(processes), size]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(done.stderr[-2000:])
                one = json.loads(done.stdout.splitlines()[-1])
                found.setdefault((size, processes), []).append(one)
                numbers = f"{one['wall']:.1f} | {one['cpu']:.1f} | {one['exchange']:.2f} | {os.getloadavg()[0]:.1f}"
                lines.append(f"| {size} | {one['weights']:.0f} | {SIZES[size][2]} | {processes} | {numbers} |")
                print(lines[-1], flush=True)
        best = {
            processes: {name: min(one[name] for one in found[size, processes]) for name in ("wall", "cpu")}
            for processes in (1, 2)
        }
        clock, work = best[1]["wall"] / (2 * best[2]["wall"]), best[1]["cpu"] / best[2]["cpu"]
        lines.append(f"| **{size}** | | | scaling: by the clock {clock:.2f}, by processor time {work:.2f} | | | | |")
        print(lines[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    title = "# Training by two processes\n\n`python benchmarks/data_parallel.py …`\n\n"
    (RESULTS / "data_parallel.md").write_text(title + "\n".join([*lines, "", *division]) + "\n")


if __name__ == "__main__":
    main()
