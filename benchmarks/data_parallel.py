"""What a second process brings to the training of a world model, and of what a step then consists.

    python benchmarks/data_parallel.py --run runs/demo --steps 40 --repeats 2

Trains the run's world model, and one of twice the width on four times the rows, by one process and by two
(gloo, one thread each), in turns. By the clock, two processes are the faster the fewer others want the cores; the
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
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
SIZES = {"as in the demo": (256, 3, 256), "larger": (512, 3, 1024)}
"""Width, depth and rows of a batch."""


def train(folder: Path, processes: int, size: str, steps: int) -> dict[str, float] | None:
    """In each process: milliseconds of a step; None but in the first."""
    import torch
    from torch import distributed

    from burnish.components import load
    from burnish.data import Windows, read_dataset
    from burnish.recipes.runs import reopen
    from burnish.training import TrainingConfig, fit, join
    from burnish.world_models import DiffusionWorldModel

    torch.set_num_threads(1)
    group = join(processes, "cpu")
    width, depth, rows = SIZES[size]
    config, dataset = reopen(folder).config, read_dataset(folder / "dataset", cameras=())
    space = load(folder / "world_model", DiffusionWorldModel).space
    torch.manual_seed(0)
    model = DiffusionWorldModel(space, replace(config.world_model, width=width, depth=depth)).train()
    windows = Windows(dataset, history=config.history.frames, horizon=config.world_model.rollout_steps)
    settings = TrainingConfig(steps=steps, batch_size=rows, learning_rate=1e-4, log_every=10**6)
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
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        one = train(args.run, int(args.child[0]), args.child[1], args.steps)
        if one is not None:
            print(json.dumps(one), flush=True)
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
    (RESULTS / "data_parallel.md").write_text(title + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
