"""Scripted play as a data set: what stands in for CALVIN's hours of teleoperation."""

from __future__ import annotations

from pathlib import Path

from burnish.data.checks import bad_input
from burnish.data.info import DatasetInfo
from burnish.data.lerobot_writer import write_dataset
from burnish.errors import InputError
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import ExpertActor
from burnish.simulators.parallel import Progress, WorkerPool
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.vector import EVALUATION_SEEDS
from burnish_calvin.suite import SPEC, SUITE


def write_play(
    out: Path,
    task: str,
    episodes: int,
    *,
    steps: int = 72,
    levels: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3),
    first_seed: int = 0,
    action_repeat: int = 1,
    workers: int | WorkerPool = 1,
    progress: Progress | None = None,
) -> None:
    """Record scripted play and write it as a LeRobotDataset v3.0.

    Every episode starts where the task does and goes on through all its steps, whatever succeeds in it. Its source is
    `play`; each frame's success is that of the task, told by calvin_env's oracle from the episode's start.

    Args:
        out: the data set's folder; it must not exist.
        task: `calvin:` and one of `SKILLS`.
        episodes: how many, shared evenly between the levels.
        steps: env steps of each.
        levels: of noise, on the actions and on the waypoints.
        first_seed: of the first episode.
        action_repeat: control steps per env step.
        workers: processes; the data do not depend on it.
        progress: called with (episodes done, episodes in all).

    Raises:
        InputError: unknown task, calvin_env not installed, a number out of range, or `out` exists.
        RunError: a worker died.
    """
    SUITE.check_task(task)
    if out.exists():
        raise bad_input(out, "something that exists", "a new folder")
    if episodes < 1 or not levels:
        raise InputError(f"{episodes} episodes at {len(levels)} levels of noise, expected at least one of each")
    if first_seed < 0 or first_seed + episodes > EVALUATION_SEEDS:
        raise InputError(f"seeds from {first_seed} for {episodes} episodes, expected 0 to {EVALUATION_SEEDS - 1}")
    seeds = range(first_seed, first_seed + episodes)
    jobs = [
        CollectJob("play", ExpertActor, seeds[i :: len(levels)], {"task": task, "noise": level, "play": True})
        for i, level in enumerate(levels)
    ]
    recorded = collect(
        task,
        [job for job in jobs if job.seeds],
        SimulatorConfig(action_repeat, steps),
        frames_after_success=steps,  # no episode ends early
        workers=workers,
        progress=progress,
    )
    info = DatasetInfo(
        fps=max(1, round(SPEC.control_rate / action_repeat)),
        robot_type=SPEC.robot_type,
        simulator=SUITE.name,
        action_repeat=action_repeat,
        max_steps=steps,
        state_names=SPEC.state_names,
    )
    write_dataset(out, recorded, info)
