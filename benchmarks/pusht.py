"""PushT through `gym:`, the smallest form: recorded, refined and judged by its return; nothing anywhere is about it.

    python -m benchmarks.pusht

A clumsy pusher and random motion never succeed, so the reward of the environment is what is learned from. Tiny sizes:
it shows that the door is open, not a good policy. Needs `pip install gym-pusht`.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from burnish.data import DatasetInfo
from burnish.data.lerobot_writer import write_dataset
from burnish.simulators.base import Observation
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import RandomActor
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import resolve, suite_of
from burnish.simulators.vector import SimulatorVectorEnv

TASK = "gym:gym_pusht/PushT-v0"
GOAL = np.array([256.0, 256.0])
STEPS = 100


class Pusher:
    """Walk around the block to its far side, then push it toward the goal; never turns it."""

    def begin(self, env: SimulatorVectorEnv, seeds: Sequence[int]) -> None:
        """Start K episodes."""
        self._scale = env.envs[0].actions  # type: ignore[attr-defined]
        self._generators = [np.random.default_rng([seed, 1]) for seed in seeds]

    def act(self, observation: Observation) -> np.ndarray:
        """Where the agent shall go, float32 (K, 2) in [-1, 1]."""
        places = [
            self._scale.from_environment(_target(state[:2], state[2:4]) + generator.normal(0, 10, 2))
            for generator, state in zip(self._generators, observation["observation.state"], strict=True)
        ]
        return np.stack(places)


def _target(agent: np.ndarray, block: np.ndarray) -> np.ndarray:
    distance = float(np.linalg.norm(GOAL - block)) + 1e-6
    ahead, offset = (GOAL - block) / distance, agent - block
    if -(offset @ ahead) > 0.9 * np.linalg.norm(offset):
        return block + ahead * min(distance, 40)
    if offset @ ahead <= 0:
        return block - ahead * 90
    side = np.array([-ahead[1], ahead[0]])
    return block + np.sign(side @ offset) * side * 110


def main() -> None:
    """Record, and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/pusht"))
    args = parser.parse_args()
    data = args.out / "data"
    if not data.exists():
        settings = resolve(TASK, SimulatorConfig(max_steps=STEPS))
        names = suite_of(TASK).describe(TASK, settings).state_names
        jobs = [CollectJob("policy", Pusher, range(24)), CollectJob("random", RandomActor, range(1000, 1008))]
        episodes = collect(TASK, jobs, settings, workers=0)
        write_dataset(data, episodes, DatasetInfo(fps=10, simulator="gym", max_steps=STEPS, state_names=names))
    words = [
        "run",
        "world4rl",
        "--preset",
        "tiny",
        "--dataset",
        str(data),
        "--task",
        TASK,
        "--out",
        str(args.out / "run"),
    ]
    subprocess.run(
        [sys.executable, "-m", "burnish", *words, "--threads", "1", "--config.simulator.max-steps", str(STEPS)],
        check=True,
    )


if __name__ == "__main__":
    main()
