"""Recording episodes: every one seeded, reproducible bit for bit, and independent of the number of processes."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from burnish.components import outside_modules
from burnish.data.episodes import Episode
from burnish.errors import InputError
from burnish.simulators.base import Observation, SimulatorEnv
from burnish.simulators.experts import Actor
from burnish.simulators.parallel import Progress, WorkerPool, run_chunks
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import check_task, resolve, suite_of
from burnish.simulators.vector import SimulatorVectorEnv


@dataclass(frozen=True)
class CollectJob:
    """Episodes by one actor.

    Attributes:
        source: who acts, as recorded in the episodes: `expert`, `noisy_expert`, `policy`, `random`, or any word.
        actor: a module's function or class that makes the actor, called in the worker process.
        arguments: its keyword arguments.
        seeds: one episode each.
    """

    source: str
    actor: Callable[..., Actor]
    seeds: Sequence[int]
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chunk:
    """Episodes that one process plays at once; what they are depends on nothing else."""

    task: str
    settings: SimulatorConfig
    frames_after_success: int
    job: CollectJob
    seeds: tuple[int, ...]
    modules: tuple[str, ...]
    """Whose families a saved policy may be of."""

    def digest(self) -> str:
        """Of all that the episodes depend on, the content of the actor's folders included."""
        job, found = self.job, hashlib.sha256()
        actor = f"{job.actor.__module__}.{job.actor.__qualname__}"
        said = (self.task, self.settings, self.frames_after_success, job.source, actor, self.seeds, self.modules)
        found.update(repr(said).encode())
        for name, value in sorted(job.arguments.items()):
            _add(found, name, value)
        return found.hexdigest()


def _add(digest: Any, name: str, value: Any) -> None:
    if isinstance(value, tuple | list):
        for index, each in enumerate(value):
            _add(digest, f"{name}.{index}", each)
        return
    files = sorted(path for path in value.rglob("*") if path.is_file()) if isinstance(value, Path) else []
    said = [path.relative_to(value).as_posix() for path in files] if isinstance(value, Path) else value
    digest.update(repr((name, said)).encode())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())


def run_wave(env: SimulatorVectorEnv, actor: Actor, seeds: Sequence[int], source: str) -> list[Episode]:
    """Play one episode in each environment, all starting together.

    An episode has its start and one frame for each env step; the first frame counts as no success, with reward 0. The
    action of its last frame is what the actor would do there, and is not executed.

    Args:
        env: K environments; it decides when episodes end.
        actor: who acts.
        seeds: K.
        source: recorded in the episodes.
    """
    observation, info = env.reset(seed=list(seeds))
    actor.begin(env, seeds)
    frames = [[_row(observation, k)] for k in range(env.num_envs)]
    success: list[list[bool]] = [[bool(info["success"][k])] for k in range(env.num_envs)]
    rewards, ends = [[0.0] for _ in seeds], [[False] for _ in seeds]
    actions: list[list[np.ndarray]] = [[] for _ in range(env.num_envs)]
    done = np.zeros(env.num_envs, bool)
    while True:
        chosen = np.clip(np.asarray(actor.act(observation), np.float32), -1.0, 1.0)
        for k in range(env.num_envs):
            if len(actions[k]) < len(frames[k]):
                actions[k].append(chosen[k])
        if done.all():
            break
        observation, reward, terminated, truncated, info = env.step(chosen)
        done = terminated | truncated
        for k in np.flatnonzero(info["stepped"]):
            frames[k].append(_row(observation, int(k)))
            success[k].append(bool(info["success"][k]))
            rewards[k].append(float(reward[k]))
            ends[k].append(bool(terminated[k]))
    return [
        Episode(
            _stacked(frames[k]),
            np.stack(actions[k]),
            np.array(success[k]),
            source,
            int(seed),
            env.task,
            reward=np.array(rewards[k], np.float32),
            terminated=np.array(ends[k]),
        )
        for k, seed in enumerate(seeds)
    ]


def _row(observation: Observation, k: int) -> Observation:
    # A copy: a view of one environment's picture would keep those of all the others in memory.
    return {key: values[k].copy() for key, values in observation.items()}


def _stacked(frames: list[Observation]) -> Observation:
    return {key: np.stack([frame[key] for frame in frames]) for key in frames[0]}


def collect(
    task: str,
    jobs: Sequence[CollectJob],
    settings: SimulatorConfig | None = None,
    *,
    frames_after_success: int = 0,
    workers: int | WorkerPool = 1,
    progress: Progress | None = None,
) -> list[Episode]:
    """Record the episodes of all jobs, in their order.

    What the simulator did is added to `counter.simulator_use()`, wherever it ran.

    Args:
        task: its name chooses the suite.
        jobs: who acts, from which seeds.
        settings: action repeat, time limit, and the cameras whose pictures the observations carry as well.
        frames_after_success: env steps recorded after the first success.
        workers: processes (0: this one), or a pool to use. The episodes do not depend on it.
        progress: called with (episodes done, episodes in all).

    Raises:
        InputError: unknown task or camera, an episode too long, a seed twice in one job, or an environment that gives
            what is no number.
        RunError: a worker died, or pictures cannot be drawn on this machine.
    """
    task = check_task(task)
    settings = resolve(task, settings or SimulatorConfig())
    size, chunks, modules = suite_of(task).chunk_episodes, [], outside_modules()
    for job in jobs:
        if len(set(job.seeds)) != len(job.seeds):
            raise InputError(f"the seeds of '{job.source}' repeat")
        for first in range(0, len(job.seeds), size):
            seeds = tuple(job.seeds[first : first + size])
            chunks.append(Chunk(task, settings, frames_after_success, job, seeds, modules))
    results = run_chunks(_collect_chunk, chunks, workers, progress, sizes=[len(chunk.seeds) for chunk in chunks])
    return [episode for episodes in results for episode in episodes]


def _collect_chunk(chunk: Chunk) -> list[Episode]:
    for module in chunk.modules:
        importlib.import_module(module)
    envs = _cached_envs(chunk.task, chunk.settings, len(chunk.seeds))
    env = SimulatorVectorEnv(
        chunk.task, len(chunk.seeds), chunk.settings, frames_after_success=chunk.frames_after_success, envs=envs
    )
    return run_wave(env, chunk.job.actor(**chunk.job.arguments), chunk.seeds, chunk.job.source)


_cache: dict[tuple[Any, ...], list[SimulatorEnv]] = {}


def _cached_envs(task: str, settings: SimulatorConfig, count: int) -> list[SimulatorEnv]:
    """Environments that this process keeps for its next chunk; only the latest task's are kept."""
    key = (task, settings.action_repeat, settings.success_key, settings.env_kwargs)
    if key not in _cache:
        for env in [env for envs in _cache.values() for env in envs]:
            env.close()
        _cache.clear()
    envs = _cache.setdefault(key, [])
    envs.extend(suite_of(task).make_env(task, settings) for _ in range(count - len(envs)))
    return envs[:count]
