"""Success and return in the real simulator, on starts that no training ever saw."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from burnish.data import Episode
from burnish.evaluation.actor import PolicyActor
from burnish.evaluation.intervals import wilson_interval
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.counter import simulator_use
from burnish.simulators.parallel import Progress, WorkerPool
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.vector import EVALUATION_SEEDS


@dataclass(frozen=True)
class RealSuccess:
    """One episode from each evaluation seed.

    Attributes:
        success: whether each succeeded; all false in a task that does not tell.
        returns: each one's sum of the environment's own rewards.
        simulator_steps: control steps that it took.
    """

    success: tuple[bool, ...]
    returns: tuple[float, ...]
    simulator_steps: int

    @classmethod
    def of(cls, episodes: Sequence[Episode], simulator_steps: int = 0) -> Self:
        """The outcomes of recorded episodes."""
        returns = [float(e.reward.sum(dtype=float)) if e.reward is not None else 0.0 for e in episodes]
        return cls(tuple(bool(e.success.any()) for e in episodes), tuple(returns), simulator_steps)

    def to_dict(self) -> dict[str, Any]:
        """Counts, rate and 95 % Wilson interval, and the mean return."""
        successes, episodes = sum(self.success), len(self.success)
        low, high = wilson_interval(successes, episodes)
        return {
            "successes": successes,
            "episodes": episodes,
            "rate": successes / episodes,
            "ci95": [round(low, 4), round(high, 4)],
            "return": sum(self.returns) / episodes,
        }


def evaluation_seeds(episodes: int, offset: int = 0) -> list[int]:
    """Seeds of evaluation episodes: a range that collection never touches."""
    return list(range(EVALUATION_SEEDS + offset, EVALUATION_SEEDS + offset + episodes))


def real_success(
    policy: Path,
    task: str,
    simulator: SimulatorConfig,
    seeds: Sequence[int],
    pool: WorkerPool | int,
    progress: Progress | None = None,
) -> RealSuccess:
    """Play the deterministic policy saved in `policy` from the start of each seed."""
    before = simulator_use().control_steps
    episodes = play(policy, task, simulator, seeds, pool, progress)
    return RealSuccess.of(episodes, simulator_use().control_steps - before)


def play(
    policy: Path,
    task: str,
    simulator: SimulatorConfig,
    seeds: Sequence[int],
    pool: WorkerPool | int,
    progress: Progress | None = None,
) -> list[Episode]:
    """The episodes themselves."""
    # Worker processes may have begun in another folder.
    job = CollectJob("policy", PolicyActor, seeds, {"folder": policy.absolute()})
    return play_job(job, task, simulator, pool, progress)


def play_job(
    job: CollectJob,
    task: str,
    simulator: SimulatorConfig,
    pool: WorkerPool | int,
    progress: Progress | None = None,
) -> list[Episode]:
    """The episodes of any actor, under the rules of evaluation."""
    return collect(
        task,
        [job],
        simulator,
        workers=pool,
        progress=progress,
    )


def first_decisions(episode: Episode, decisions: int) -> Episode:
    """The episode as if its time limit had been so many decisions."""
    if len(episode) <= decisions + 1:
        return episode
    parts = {
        name: None if (values := getattr(episode, name)) is None else values[: decisions + 1]
        for name in ("action", "success", "reward", "terminated")
    }
    observation = {key: values[: decisions + 1] for key, values in episode.observation.items()}
    return replace(episode, observation=observation, **parts)
