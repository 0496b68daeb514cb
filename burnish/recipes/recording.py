"""Recording episodes in the simulator for a recipe; only runs that have a simulator import this module."""

import math
from dataclasses import replace
from pathlib import Path

from burnish.data import DatasetInfo, Episode
from burnish.errors import InputError, RunError
from burnish.evaluation.actor import PolicyActor
from burnish.pipeline import StageContext
from burnish.recipes.stages.shards import pool_in
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.counter import simulator_use
from burnish.simulators.experts import ExpertActor, RandomActor
from burnish.simulators.parallel import WorkerPool
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import check_task, suite_of
from burnish.simulators.vector import COLLECTION_SEEDS, EVALUATION_SEEDS

# Each kind of episode has its own range of seeds, and each run its own ranges.
_SEEDS_PER_RUN, _SEEDS_PER_KIND = 100_000, 10_000
_EXPERT, _RANDOM, _NOISY_EXPERT, _POLICY = range(4)
# Runs whose ranges would reach the evaluation's seeds record far beyond those.
_BEYOND_EVALUATION = 100 * EVALUATION_SEEDS


class Recorder:
    """One task in the simulator, with worker processes that play its episodes.

    `expert`, `random_motion`, `noisy_experts`, `rollouts` and `exploration` say who acts; `record` plays their
    episodes.

    Args:
        task: its name chooses the suite (`burnish.simulators.tasks`).
        seed: the run's; with the kind of an episode it decides the episode's seed.
        simulator: the real environment's settings; the attribute `simulator` has the suite's defaults filled in.
        pool: worker processes that play the episodes.

    Attributes:
        suite: the suite, and what abilities it has.
        spec: what the task's observations and actions mean.

    Raises:
        InputError: unknown task or camera, negative seed, an episode too long, or the simulator not installed.
    """

    def __init__(self, task: str, seed: int, simulator: SimulatorConfig, pool: WorkerPool) -> None:
        if seed < 0:
            raise InputError(f"the seed is {seed}, expected 0 or more")
        self.task, self.seed = check_task(task), seed
        self.suite = suite_of(self.task)
        self.simulator = self.suite.resolve(self.task, simulator)
        self.spec = self.suite.describe(self.task, self.simulator)
        self.pool = pool

    @property
    def own_limit(self) -> SimulatorConfig:
        """The settings with the time limit that the simulator itself has, where it is longer than the run's."""
        repeat, steps = self.simulator.action_repeat or 1, self.simulator.max_steps or 0
        own = (self.spec.control_step_limit or 0) // repeat
        return replace(self.simulator, max_steps=max(own, steps))

    def expert(self, count: int, noise: float) -> list[CollectJob]:
        """The scripted expert with temporally correlated noise.

        Raises:
            InputError: the suite has none, and some were asked for.
        """
        if count:
            self.suite.expert()
        seeds = self._seeds(_EXPERT, count)
        return [CollectJob("expert", ExpertActor, seeds, {"task": self.task, "noise": noise})]

    def random_motion(self, count: int) -> list[CollectJob]:
        """Uniformly random actions."""
        return [CollectJob("random", RandomActor, self._seeds(_RANDOM, count))]

    def noisy_experts(self, count: int, levels: tuple[float, ...]) -> list[CollectJob]:
        """Graded, imperfect data, shared evenly between levels of noise.

        Where the suite has play of several skills, it is that; else episodes of the noisy expert.

        Raises:
            InputError: the suite has neither, and some were asked for.
        """
        if count:
            self.suite.expert(play=True)
        shares = _shares(self._seeds(_NOISY_EXPERT, count), levels)
        arguments = {"task": self.task, "play": True}
        return [CollectJob("noisy_expert", ExpertActor, s, {**arguments, "noise": level}) for level, s in shares]

    def rollouts(self, policy: Path, count: int, levels: tuple[float, ...]) -> list[CollectJob]:
        """Rollouts of a saved policy, shared evenly between graded levels of noise."""
        shares = _shares(self._seeds(_POLICY, count), levels)
        return [
            CollectJob("policy", PolicyActor, s, {"folder": policy.absolute(), "noise": level}) for level, s in shares
        ]

    def exploration(self, policy: Path, source: str, count: int, first: int) -> list[CollectJob]:
        """A saved policy with actions drawn from its own distribution, in the episodes from the `first` on."""
        seeds = self._seeds(_POLICY, first + count)[first:]
        return [CollectJob(source, PolicyActor, seeds, {"folder": policy.absolute(), "sampled": True})]

    def record(self, jobs: list[CollectJob], frames_after_success: int, stage: StageContext) -> list[Episode]:
        """Play the episodes of all jobs, in their order; the control steps are kept with the stage."""
        stage.record("role", "collection")
        before = simulator_use().control_steps
        with stage.progress(sum(len(job.seeds) for job in jobs), "episodes") as bar:
            episodes = collect(
                self.task,
                [job for job in jobs if job.seeds],
                self.simulator,
                frames_after_success=frames_after_success,
                workers=pool_in(stage, self.pool),
                progress=lambda done, total: bar.set(done),
            )
        stage.record("role", "collection")
        stage.record("simulator_steps", simulator_use().control_steps - before)
        return episodes

    def record_demonstrations(
        self, count: int, noise: float, others: list[CollectJob], frames_after_success: int, stage: StageContext
    ) -> list[Episode]:
        """`count` successful episodes of the expert, and after them the episodes of the other jobs.

        Raises:
            RunError: the expert with this noise fails too often.
        """
        tries, at_once, before = 4 * count + 10, self.suite.chunk_episodes, simulator_use().control_steps
        [expert] = self.expert(tries, noise)
        left, kept = list(expert.seeds), list[Episode]()
        # No more tries than it takes. How many those are depends on the episodes alone, never on the workers. The other
        # jobs come after: where the expert fails, it is said at once.
        while len(kept) < count and left:
            now = at_once * math.ceil((count - len(kept)) / at_once)
            played, left = left[:now], left[now:]
            episodes = self.record([replace(expert, seeds=played)], frames_after_success, stage)
            kept += [episode for episode in episodes if episode.succeeded]
        if len(kept) < count:
            raise RunError(
                f"{self.task}: the scripted expert with noise {noise} succeeded in {len(kept)} of {tries} episodes, "
                f"{count} demonstrations are needed; lower collect.demonstration_noise"
            )
        rest = self.record(others, frames_after_success, stage) if others else []
        stage.record("simulator_steps", simulator_use().control_steps - before)
        return kept[:count] + rest

    @property
    def info(self) -> DatasetInfo:
        """What holds for every episode that is recorded here."""
        repeat = self.simulator.action_repeat or 1
        return DatasetInfo(
            fps=max(1, round(self.spec.control_rate / repeat)),
            robot_type=self.spec.robot_type,
            simulator=self.suite.name,
            action_repeat=repeat,
            max_steps=self.simulator.max_steps,
            state_names=self.spec.state_names or None,
        )

    def _seeds(self, kind: int, count: int) -> list[int]:
        if count > _SEEDS_PER_KIND:
            raise InputError(f"{count} episodes of one kind were asked for, at most {_SEEDS_PER_KIND} are possible")
        run = self.seed * _SEEDS_PER_RUN
        base = COLLECTION_SEEDS if run + _SEEDS_PER_RUN <= EVALUATION_SEEDS else _BEYOND_EVALUATION
        first = base + run + kind * _SEEDS_PER_KIND
        return list(range(first, first + count))


def _shares(seeds: list[int], levels: tuple[float, ...]) -> list[tuple[float, list[int]]]:
    return [(level, seeds[i :: len(levels)]) for i, level in enumerate(levels) if seeds[i :: len(levels)]]
