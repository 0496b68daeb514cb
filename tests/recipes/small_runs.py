"""Runs that do every stage for real in a few seconds, and how they are started, watched and stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from burnish.data import STATE, DatasetInfo, Episode, image_key, write_dataset

TASK = "drawer-open-v3"
STAGES = (
    "demonstrations",
    "policy",
    "dataset",
    "world_model",
    "ensemble",
    "classifier",
    "refined",
    "held_out_worlds",
    "accepted",
    "evaluation",
    "report",
)

# Checkpoints are written ten times a second, so that a kill in a stage of two seconds finds one.
# The margin makes the last judged iterate the chosen one: otherwise so short a refinement may keep the pretrained
# policy, and equal weights would prove nothing.
SETTINGS = [
    "--preset",
    "tiny",
    "--threads",
    "1",
    "--config.collect.demonstrations",
    "3",
    "--config.collect.policy-episodes",
    "6",
    "--config.collect.random-episodes",
    "2",
    "--config.pretraining.steps",
    "300",
    "--config.pretraining.batch-size",
    "64",
    "--config.pretraining.checkpoint-seconds",
    "0.1",
    "--config.world-model.width",
    "64",
    "--config.world-model-training.steps",
    "300",
    "--config.world-model-training.batch-size",
    "64",
    "--config.world-model-training.checkpoint-seconds",
    "0.1",
    "--config.ensemble.members",
    "2",
    "--config.ensemble-training.steps",
    "40",
    "--config.ensemble-training.batch-size",
    "64",
    "--config.classifier-training.steps",
    "40",
    "--config.classifier-training.batch-size",
    "64",
    "--config.imagination.num-envs",
    "32",
    "--config.imagination.horizon",
    "20",
    "--config.refine.iterations",
    "8",
    "--config.ppo.rollout-steps",
    "16",
    "--config.refine.evaluate-every",
    "4",
    "--config.ppo.critic-warmup",
    "2",
    "--config.refine.checkpoint-seconds",
    "0.1",
    "--config.refine.margin=-1",
    "--config.evaluation.episodes",
    "4",
    "--config.evaluation.imagined-episodes",
    "16",
    "--config.evaluation.curve-points",
    "1",
    "--config.evaluation.curve-episodes",
    "2",
    "--config.evaluation.videos",
    "0",
]


def command(out: Path, *more: str, task: str = TASK, seed: int = 0) -> list[str]:
    """The arguments of a small run in the simulator; later ones win."""
    return ["run", "world4rl", "--task", task, "--seed", str(seed), "--out", str(out), *SETTINGS, *more]


def own_data_command(data: Path, out: Path, *more: str) -> list[str]:
    """The arguments of a small run on a data set of the user's own."""
    return ["run", "world4rl", "--dataset", str(data), "--out", str(out), *SETTINGS, *more]


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start the command in a process group of its own, like a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-m", "burnish", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )


def heed_interrupts() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so do its children; ours are to hear it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(process: subprocess.Popen[str], happened: Callable[[], bool], seconds: float = 180) -> None:
    """Wait until something was done by the process; an error when it ends before."""
    limit = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"ended too early: {process.communicate()[0]}"
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.002)


def finish(process: subprocess.Popen[str], seconds: float = 240) -> tuple[int, str]:
    """Exit code and output."""
    try:
        output = process.communicate(timeout=seconds)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, output


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def stage_files(folder: Path) -> dict[str, dict]:
    """The manifests of the finished stages."""
    paths = {name: folder / name / "stage.json" for name in STAGES}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def redone(before: dict[str, dict], after: dict[str, dict]) -> set[str]:
    """The stages that were done (again) between two looks."""
    return {name for name in after if name not in before or before[name] != after[name]}


def write_point_data(
    folder: Path,
    episodes: int = 14,
    length: int = 20,
    succeed: bool = True,
    camera: str | None = None,
    strays: int = 0,
) -> Path:
    """A point on a plane that is pushed to the origin: (x, y) and the last action; success within 0.2 of it.

    Of the episodes the first `strays` are pushed away from it.

    A camera sees a bright square of four pixels where the point is, in pictures of 32.
    """
    generator = np.random.default_rng(0)
    written = []
    for seed in range(episodes):
        position = generator.uniform(0.5, 1.0, 2) * generator.choice([-1.0, 1.0], 2)
        push, states, actions = np.zeros(2), [], []
        for _ in range(length):
            states.append(np.concatenate([position, push]))
            push = np.clip((1 if seed < strays else -1) * position + generator.normal(0, 0.2, 2), -1, 1)
            actions.append(push)
            position = position + 0.2 * push
        state = np.array(states, np.float32)
        success = (np.linalg.norm(state[:, :2], axis=1) < 0.2) & succeed
        observation = {STATE: state}
        if camera is not None:
            observation[image_key(camera)] = np.stack([_square(x, y) for x, y in state[:, :2]])
        written.append(Episode(observation, np.array(actions, np.float32), success, "teleoperation", seed, "center"))
    write_dataset(folder, written, DatasetInfo(fps=20, robot_type="point", simulator=None))
    return folder


def _square(x: float, y: float) -> np.ndarray:
    picture = np.full((32, 32, 3), 30, np.uint8)
    column, row = (int(np.clip(14 + 12 * value, 0, 28)) for value in (x, y))
    picture[row : row + 4, column : column + 4] = 220
    return picture


class Trap:
    """Creates a file where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def replace_by_pickle(path: Path, sprung: Path, same_size: bool) -> None:
    """Put what torch.save writes in the place of a weights file; unpickling it would create the file `sprung`."""
    size = path.stat().st_size
    torch.save({"weights": torch.zeros(3), "trap": Trap(sprung)}, path)
    assert path.stat().st_size < size
    if same_size:
        with path.open("ab") as file:
            file.write(b"\0" * (size - path.stat().st_size))
