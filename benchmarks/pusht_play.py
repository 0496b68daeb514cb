"""Graded play of Push-T as a data set, for `benchmarks.coupled`: a script that plans, with ever more noise.

    python -m benchmarks.pusht_play --out runs/pusht/play --seed 0

The clean and the least noisy episodes that succeed are the expert's, all others play. Nothing of it is filtered.
"""

import argparse
from pathlib import Path

from benchmarks.pusht_env import TASK, PlanningActor
from burnish.data import DatasetInfo, write_dataset
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import RandomActor
from burnish.simulators.parallel import WorkerPool
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import resolve, suite_of

NOISES = (0.15, 0.3, 0.6)


def main() -> None:
    """Record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--demonstrations", type=int, default=100, help="without noise")
    parser.add_argument("--play", type=int, default=80, help="episodes of each noise")
    parser.add_argument("--random", type=int, default=30)
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()
    first = 100_000 * (args.seed + 1)
    jobs = [CollectJob("expert", PlanningActor, range(first, first + args.demonstrations))]
    for number, noise in enumerate(NOISES, 1):
        seeds = range(first + 10_000 * number, first + 10_000 * number + args.play)
        jobs.append(CollectJob("noisy_expert", PlanningActor, seeds, {"noise": noise}))
    jobs.append(CollectJob("random", RandomActor, range(first + 50_000, first + 50_000 + args.random)))
    settings = resolve(TASK, SimulatorConfig())
    with WorkerPool(args.workers) as pool:
        episodes = collect(TASK, jobs, settings, frames_after_success=0, workers=pool)
    names = suite_of(TASK).describe(TASK, settings).state_names
    write_dataset(
        args.out, episodes, DatasetInfo(fps=5, simulator="gym", max_steps=settings.max_steps, state_names=names)
    )
    for source in dict.fromkeys(each.source for each in episodes):
        own = [each for each in episodes if each.source == source]
        told = f"{sum(each.succeeded for each in own)} of {len(own)} succeed, {sum(map(len, own)):,} frames"
        print(f"{source}: {told}", flush=True)


if __name__ == "__main__":
    main()
