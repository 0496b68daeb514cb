"""A world model that learns from more frames than should be in memory: its speed, and the memory that it takes.

    python benchmarks/larger_than_memory.py [--frames 200000 20000000 --steps 300]

Makes data sets of 64 numbers a frame (56 of state, 8 of action) in a temporary folder, as LeRobot's Parquet files, and
for each, in a process of its own: reads them as the stages of a run do, with a cache in the folder; splits them; fits
the transition space; and trains World4RL's default world model on windows drawn uniformly from all training frames.
Speed is counted by CPU time, which other programs disturb less, and by the clock, after some steps that do not count.
Memory is the largest resident set of the whole process, mapped pages included.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.generated_data import write_v3
from burnish.data import Windows, read_dataset
from burnish.recipes.stages.transitions import transition_space
from burnish.training import TrainingConfig, fit
from burnish.world_models import DiffusionConfig, DiffusionWorldModel, HistoryConfig

STATE, ACTION, EPISODE = 56, 8, 500
WARM = 50


def train(data: Path, scratch: Path, steps: int) -> dict[str, float]:
    """Seconds of reading, steps per second of CPU and of the clock, the last loss, and bytes of memory."""
    torch.manual_seed(0)
    clock, cpu = time.perf_counter(), time.process_time()
    training, _ = read_dataset(data, cache=data / ".cache/burnish").split(0.1, seed=0)
    read = {"read_clock": time.perf_counter() - clock, "read_cpu": time.process_time() - cpu}
    opened = _resident()
    history, model = HistoryConfig(), DiffusionConfig()
    world = DiffusionWorldModel(transition_space(history, training, None), model)
    windows = Windows(training, history.frames, model.rollout_steps)
    fitted = _resident()
    times: dict[int, tuple[float, float]] = {}

    def note(done: int, _: dict[str, float]) -> None:
        times[done] = time.process_time(), time.perf_counter()

    config = TrainingConfig(steps=WARM + steps, batch_size=256, learning_rate=2e-3, log_every=WARM)
    fit(world, windows, config, scratch, 0, on_step=note)
    (cpu, clock), (cpu_end, clock_end) = times[WARM], times[WARM + steps]
    return read | {
        "frames": training.num_frames,
        "cpu": steps / (cpu_end - cpu),
        "clock": steps / (clock_end - clock),
        "opened": opened,
        "fitted": fitted,
        "peak": _resident(),
    }


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[200_000, 20_000_000])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--train", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        data, scratch, steps = options.train
        print(json.dumps(train(Path(data), Path(scratch), steps)))
        return
    print(
        "| frames | opened in (clock, CPU) | again | steps per CPU-second | by the clock | resident at most: "
        "opened first | opened again | in all |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for frames in options.frames:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write_v3(root / "data", frames // EPISODE, EPISODE, STATE, ACTION)
            found = []
            for number in range(2):
                arguments = json.dumps([str(root / "data"), str(root / f"scratch-{number}"), options.steps])
                command = [sys.executable, "-m", "benchmarks.larger_than_memory", "--train", arguments]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
                found.append(json.loads(output.splitlines()[-1]))
        first, again = found
        print(
            f"| {frames:,} | {first['read_clock']:.1f} s, {first['read_cpu']:.1f} s | {again['read_clock']:.1f} s, "
            f"{again['read_cpu']:.1f} s | {first['cpu']:.1f}, {again['cpu']:.1f} | {first['clock']:.1f}, "
            f"{again['clock']:.1f} | {first['opened'] / 1e9:.2f} GB | {again['opened'] / 1e9:.2f} GB | "
            f"{max(first['peak'], again['peak']) / 1e9:.2f} GB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
