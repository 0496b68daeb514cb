"""Runs that do every stage for real in a few seconds, and how they are started, watched and stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from burnish.data import STATE, DatasetInfo, Episode, image_key, write_dataset
from tests.recipes.small_data import SIDES, write_named_data, write_rewarded_data, write_sided_data

TASK = "drawer-open-v3"
DENSE_TASK = "tests.recipes.toy_env:make_dense"
"""Whose rewards `write_rewarded_data` records."""

# Checkpoints are written ten times a second, so that a kill in a stage of two seconds finds one.
# The margin makes the last judged iterate the chosen one: otherwise so short a refinement may keep the pretrained
# policy, and equal weights would prove nothing.
SHARED = {
    "refine.checkpoint-seconds": 0.1,
    "refine.margin": -1,
    "world-model-training.checkpoint-seconds": 0.1,
}
IN_STATES = {
    **SHARED,
    "collect.demonstrations": 3,
    "collect.random-episodes": 2,
    "pretraining.batch-size": 64,
    "ensemble.members": 2,
    "ensemble-training.steps": 40,
    "classifier-training.steps": 40,
    "imagination.num-envs": 32,
    "refine.imagined-episodes": 16,
    "evaluation.episodes": 4,
    "evaluation.curve-points": 1,
    "evaluation.curve-episodes": 2,
    "evaluation.videos": 0,
}
WORLD4RL = {
    **IN_STATES,
    "collect.policy-episodes": 6,
    "pretraining.steps": 150,
    "world-model.width": 64,
    "world-model-training.steps": 200,
    "world-model-training.batch-size": 64,
    "ensemble-training.batch-size": 64,
    "classifier-training.batch-size": 64,
    "imagination.horizon": 20,
    "refine.iterations": 8,
    "refine.evaluate-every": 4,
    "ppo.rollout-steps": 16,
}
PIXELS = {
    **WORLD4RL,
    "collect.noisy-expert-episodes": 3,
    "autoencoder-training.steps": 60,
    "autoencoder-training.checkpoint-seconds": 0.1,
    "world-model-training.steps": 100,
    "evaluation.videos": 1,
    "evaluation.picture-windows": 8,
}
FRAMES = {
    **SHARED,
    "collect.demonstrations": 2,
    "collect.policy-episodes": 2,
    "collect.random-episodes": 2,
    "simulator.max-steps": 45,
    "held-out": 0.4,
    "pretraining.steps": 40,
    "world-model-training.steps": 20,
    "classifier-training.steps": 10,
    "ensemble-training.steps": 10,
    "refine.iterations": 2,
    "refine.imagined-episodes": 4,
    "evaluation.episodes": 2,
    "evaluation.curve-points": 0,
    "evaluation.picture-windows": 2,
}
DIWA = {
    **IN_STATES,
    "collect.play-episodes": 8,
    "pretraining.steps": 120,
    "world-model-training.steps": 120,
    "world-model-training.batch-size": 8,
    "refine.iterations": 6,
    "refine.evaluate-every": 3,
    "ppo.rollout-steps": 8,
    "ppo.critic-warmup": 1,
}
S5WM = {
    **IN_STATES,
    "collect.play-episodes": 8,
    "pretraining.steps": 120,
    "world-model-training.steps": 60,
    "world-model-training.batch-size": 4,
    "refine.iterations": 8,
    "refine.evaluate-every": 4,
    "dreamer.rollout-steps": 8,
    "dreamer.critic-warmup": 1,
}
DWS = {**FRAMES, "video-training.steps": 20, "labelled-steps": 40}
GWM = {
    **WORLD4RL,
    "collect.noisy-expert-episodes": 3,
    "autoencoder-training.steps": 30,
    "autoencoder-training.checkpoint-seconds": 0.1,
    "world-model-training.steps": 40,
    "evaluation.videos": 1,
    "evaluation.picture-windows": 4,
}
GWM.pop("world-model.width")
COUPLED = {
    **IN_STATES,
    "reward.kind": "success",
    "collect.play-episodes": 8,
    "pretraining.steps": 120,
    "world-model.width": 64,
    "world-model-training.steps": 150,
    "world-model-training.batch-size": 64,
    "local-training.steps": 60,
    "local-training.checkpoint-seconds": 0.1,
    "ensemble-training.batch-size": 64,
    "classifier-training.batch-size": 64,
    "imagination.horizon": 20,
    "refine.iterations": 8,
    "refine.evaluate-every": 4,
    "learner.policy.critic-warmup": 1,
}
RETURNS = {
    **SHARED,
    "pretraining.steps": 60,
    "classifier-training.steps": 60,
    "refine.evaluate-every": 2,
    "evaluation.episodes": 6,
    "evaluation.curve-points": 0,
    "gate.episodes": 8,
}
RWM = {**RETURNS, "world-model-training.steps": 60, "refine.iterations": 4, "ppo.critic-warmup": 1}
ADEPT = {
    **RETURNS,
    "world-model-training.steps": 60,
    "behaviour-training.steps": 60,
    "behaviour-training.validate-every": 20,
    "refine.iterations": 6,
    "refine.evaluate-every": 3,
    "learner.sac.critic-warmup": 1,
    "learner.every": 2,
}
POLYGRAD = {
    **{name: value for name, value in RETURNS.items() if not name.startswith("classifier")},
    "world-model-training.steps": 100,
    "refine.iterations": 4,
    "refine.margin": -1e9,
    "a2c.critic-warmup": 1,
}
DAWM = {
    "classifier-training.steps": 30,
    "evaluation.episodes": 6,
    "evaluation.curve-points": 0,
    "gate.episodes": 8,
    "learners.training.checkpoint-seconds": 0.1,
    "world-model-training.checkpoint-seconds": 0.1,
}
ADAWORLD = {
    **SHARED,
    "history.cameras": "view",
    "latent-actions.cameras": "view",
    "latent-action-training.steps": 40,
    "latent-action-training.checkpoint-seconds": 0.1,
    "world-model-training.steps": 20,
    "adaptation.steps": 8,
    "pretraining.steps": 20,
    "classifier-training.steps": 15,
    "labelled-steps": 50,
    "imagination.num-envs": 4,
    "imagination.horizon": 6,
    "refine.iterations": 2,
    "refine.imagined-episodes": 4,
    "gate.worlds": 0,
    "evaluation.picture-windows": 4,
}
LADIWM = {
    **SHARED,
    "geometry.cameras": "view",
    "geometry-training.steps": 20,
    "geometry-training.checkpoint-seconds": 0.1,
    "semantics.cameras": "view",
    "semantics-training.steps": 20,
    "world-model-training.steps": 30,
    "pretraining.steps": 30,
    "ensemble-training.steps": 10,
    "classifier-training.steps": 15,
    "imagination.num-envs": 4,
    "imagination.horizon": 6,
    "refine.iterations": 2,
    "refine.imagined-episodes": 4,
    "gate.worlds": 0,
    "evaluation.picture-windows": 4,
}
WORLD_GYMNAST = {
    **SHARED,
    "film.cameras": "view",
    "judge-training.checkpoint-seconds": 0.1,
    "refine.iterations": 2,
    "refine.evaluate-every": 1,
    "refine.imagined-episodes": 4,
    "evaluation.picture-windows": 4,
}
TPM = {
    **SHARED,
    "pretraining.steps": 30,
    "world-model.width": 32,
    "world-model-training.steps": 20,
    "ensemble.members": 2,
    "ensemble-training.steps": 10,
    "classifier-training.steps": 20,
    "imagination.num-envs": 16,
    "refine.iterations": 2,
    "refine.evaluate-every": 1,
    "refine.imagined-episodes": 8,
    "ppo.critic-warmup": 1,
    "ppo.rollout-steps": 4,
    "gate.worlds": 0,
    "evaluation.episodes": 4,
    "evaluation.curve-points": 0,
}
RUNS = {
    "world4rl": ("world4rl", "tiny", WORLD4RL),
    "pixels": ("world4rl", "pixels-tiny", PIXELS),
    "frames": ("world4rl", "frames-tiny", FRAMES),
    "diwa": ("diwa", "tiny", DIWA),
    "s5wm": ("s5wm", "tiny", S5WM),
    "dws": ("dws", "tiny", DWS),
    "coupled": ("coupled", "tiny", COUPLED),
    "rwm": ("rwm", "tiny", RWM),
    "adept": ("adept", "tiny", ADEPT),
    "polygrad": ("polygrad", "tiny", POLYGRAD),
    "dawm": ("dawm", "tiny", DAWM),
    "adaworld": ("adaworld", "tiny", ADAWORLD),
    "tpm": ("tpm", "tiny", TPM),
    "ladiwm": ("ladiwm", "tiny", LADIWM),
    "world-gymnast": ("world-gymnast", "tiny", WORLD_GYMNAST),
    "gwm": ("gwm", "tiny", GWM),
}
LONG = ("pixels", "frames", "s5wm", "dws", "coupled", "gwm")
"""Runs of more than half a minute; continuous integration does them once more from the command line."""


def names(*chosen: str) -> list[Any]:
    """Of runs in the simulator, as parameters of a test; the long ones are slow."""
    chosen = chosen or tuple(name for name in RUNS if name not in ON_DATA)
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in chosen]


def flags(settings: Mapping[str, object]) -> list[str]:
    """Settings of a recipe as the command line has them."""
    return [f"--config.{name}={value}" for name, value in settings.items()]


def command(out: Path, *more: str, task: str = TASK, seed: int = 0, name: str = "world4rl") -> list[str]:
    """The arguments of a small run in the simulator; later ones win."""
    recipe, preset, settings = RUNS[name]
    given = ["--task", task, "--seed", str(seed), "--preset", preset, "--threads", "1", "--out", str(out)]
    return ["run", recipe, *given, *flags(settings), *more]


def own_data_command(data: Path, out: Path, *more: str, name: str = "world4rl") -> list[str]:
    """The arguments of a small run on a data set of the user's own; of those `ON_DATA` with their task."""
    recipe, preset, settings = RUNS[name]
    given = ["--dataset", str(data), "--preset", preset, "--threads", "1", "--out", str(out)]
    writer = ON_DATA.get(name)
    task = ["--task", DENSE_TASK] * (writer is write_rewarded_data)
    task += ["--data-task", SIDES[0]] * (writer is write_sided_data)
    return ["run", recipe, *given, *task, *flags(settings), *more]


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start the command in a process group of its own, like a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-m", "burnish", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts if signal.getsignal(signal.SIGINT) == signal.SIG_IGN else None,
    )


def heed_interrupts() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so do its children; ours are to hear it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
    """The manifests of the finished stages by name."""
    return {
        path.parent.relative_to(folder).as_posix(): json.loads(path.read_text())
        for path in folder.rglob("stage.json")
        if not path.relative_to(folder).parts[0].startswith(".")
    }


def weights(folder: Path) -> dict[str, bytes]:
    """All that was learned, as it lies in the run folder, by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("model.safetensors")}


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
    state: bool = True,
) -> Path:
    """A point on a plane that is pushed to the origin: (x, y) and the last action; success within 0.2 of it.

    Of the episodes the first `strays` are pushed away from it.

    A camera sees a bright square of four pixels where the point is, in pictures of 32; without `state`, it alone.
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
        vectors = np.array(states, np.float32)
        success = (np.linalg.norm(vectors[:, :2], axis=1) < 0.2) & succeed
        observation = {STATE: vectors} if state else {}
        if camera is not None:
            observation[image_key(camera)] = np.stack([_square(x, y) for x, y in vectors[:, :2]])
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


def write_masked_data(folder: Path) -> Path:
    """A red square that is brought to a green one, with masks of both."""
    return write_named_data(folder, masks=True)


def write_viewed_data(folder: Path) -> Path:
    """The point of `write_point_data`, seen by a camera."""
    return write_point_data(folder, camera="view", strays=4)


ON_DATA: dict[str, Callable[[Path], Path]] = {
    "rwm": write_rewarded_data,
    "adept": write_rewarded_data,
    "polygrad": write_rewarded_data,
    "dawm": write_rewarded_data,
    "adaworld": write_viewed_data,
    "tpm": write_masked_data,
    "ladiwm": write_viewed_data,
    "world-gymnast": write_sided_data,
}
"""Runs that learn from data which are there, and what writes those."""
