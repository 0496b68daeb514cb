"""A task with dense reward and no success: does refinement beat the data it came from and the policy it began with?

    python benchmarks/dense_reward.py --seeds 2 3 4 --out runs/dense-reward

Offline data of gym:Reacher-v5 come from a controller of graded quality: the transposed Jacobian pulls the fingertip
toward the target with several stiffnesses, with correlated noise, and one share of the episodes is random motion. They
are recorded through the suite as a LeRobotDataset with next.reward. `burnish run world4rl` learns from them alone; the
environment only judges. What is done is not done again: the script resumes.
`benchmarks/results/dense_reward.md` and `.json` receive every run, the bad ones too.
"""

from pathlib import Path

import numpy as np

from burnish.data import DatasetInfo, write_dataset
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import RandomActor
from burnish.simulators.noise import CorrelatedNoise
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import suite_of

TASK = "gym:Reacher-v5"
RESULTS = Path(__file__).parent / "results"
STIFFNESS = (0.06, 0.25, 8.0)
"""Of the graded controllers; the damping grows with its root."""
EPISODES, RANDOM = 48, 24
"""Recorded with each stiffness, and of random motion."""
NOISE = 0.3
SETTINGS = [
    "--config.collect.policy-episodes",
    "0",
]


class Reach:
    """Torques of the transposed Jacobian toward the target, with damping and correlated noise."""

    def __init__(self, stiffness: float, noise: float = NOISE) -> None:
        self.stiffness, self.noise = stiffness, noise

    def begin(self, env, seeds) -> None:
        """Start K episodes."""
        self._noise = CorrelatedNoise(self.noise, 0.9, 2, seeds)

    def act(self, observation) -> np.ndarray:
        """Actions, float32 (K, 2) in [-1, 1], from (cos q, sin q, target, speed, fingertip - target)."""
        state = observation["observation.state"]
        angle = np.arctan2(state[:, 2:4], state[:, 0:2])
        speed, error = state[:, 6:8], state[:, 8:10]
        both = angle.sum(1)
        first, second = 0.1, 0.11
        x2, y2 = -second * np.sin(both), second * np.cos(both)
        x1, y1 = -first * np.sin(angle[:, 0]) + x2, first * np.cos(angle[:, 0]) + y2
        pull = np.stack([x1 * error[:, 0] + y1 * error[:, 1], x2 * error[:, 0] + y2 * error[:, 1]], 1)
        torque = -10 * self.stiffness * pull - 0.02 * np.sqrt(self.stiffness) * speed
        return np.clip(torque + self._noise.next(), -1, 1).astype(np.float32)


def record(folder: Path, seed: int) -> None:
    """The offline data of one seed."""
    first = 10_000 * seed
    jobs = [
        CollectJob(f"stiffness_{k:g}", Reach, range(first + 1000 * n, first + 1000 * n + EPISODES), {"stiffness": k})
        for n, k in enumerate(STIFFNESS)
    ]
    jobs.append(CollectJob("random", RandomActor, range(first + 9000, first + 9000 + RANDOM)))
    suite = suite_of(TASK)
    settings = suite.resolve(TASK, SimulatorConfig())
    spec = suite.describe(TASK, settings)
    info = DatasetInfo(
        fps=max(1, round(spec.control_rate)),
        simulator=suite.name,
        max_steps=settings.max_steps,
        state_names=spec.state_names,
    )
    write_dataset(folder, collect(TASK, jobs, settings, workers=0), info)
