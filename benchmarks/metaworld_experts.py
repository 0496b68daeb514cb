"""Success of Meta-World's scripted experts when every action is held for 1, 2 or 3 control steps.

python benchmarks/metaworld_experts.py --workers 2
"""

import argparse
import datetime
import platform
import sys
import time
from pathlib import Path

import numpy as np

from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.counter import simulator_use
from burnish.simulators.experts import ExpertActor
from burnish.simulators.metaworld import CONTROL_STEP_LIMIT
from burnish.simulators.metaworld_tasks import metaworld_tasks
from burnish.simulators.parallel import WorkerPool
from burnish.simulators.settings import SimulatorConfig


def measure(task: str, action_repeat: int, episodes: int, pool: WorkerPool) -> tuple[int, list[int]]:
    """Successes and the env steps that each successful episode took."""
    jobs = [CollectJob("expert", ExpertActor, range(episodes), {"task": task})]
    settings = SimulatorConfig(action_repeat, CONTROL_STEP_LIMIT // action_repeat)
    played = collect(task, jobs, settings, workers=pool)
    steps = [len(episode) - 1 for episode in played if episode.success.any()]
    return len(steps), steps


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="*", default=None)
    parser.add_argument("--action-repeats", nargs="*", type=int, default=[1, 2, 3])
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/metaworld_experts.md"))
    options = parser.parse_args()
    tasks = options.tasks or metaworld_tasks()
    start = time.perf_counter()
    rows = []
    with WorkerPool(options.workers) as pool:
        for task in tasks:
            cells = [task]
            for repeat in options.action_repeats:
                successes, steps = measure(task, repeat, options.episodes, pool)
                lengths = f"{np.mean(steps):.0f} / {max(steps)}" if steps else "–"
                cells += [f"{successes}/{options.episodes}", lengths]
            rows.append("| " + " | ".join(cells) + " |")
            print(rows[-1], flush=True)
    seconds = time.perf_counter() - start
    columns = [name for r in options.action_repeats for name in (f"success, repeat {r}", f"env steps mean / max, {r}")]
    arguments = " ".join(sys.argv[1:])
    lines = [
        "# Scripted Meta-World experts under action repeat",
        "",
        f"`python benchmarks/metaworld_experts.py {arguments}`".replace(" `", "`"),
        "",
        f"{datetime.date.today()}, {platform.processor() or platform.machine()}, {options.workers} processes, "
        f"{seconds:.0f} s, {simulator_use().control_steps} control steps. Clean experts, seeds 0 to "
        f"{options.episodes - 1}, at most {CONTROL_STEP_LIMIT} control steps; steps over the successful episodes.",
        "",
        "| task | " + " | ".join(columns) + " |",
        "|" + "---|" * (1 + len(columns)),
        *rows,
    ]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
