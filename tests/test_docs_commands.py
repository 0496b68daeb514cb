"""Every command of the pages on own data and policies does what they say, on small data; training is shortened.

What the pages leave open (`PATH`, `my_data`, `gym:MyTask-v0`) is put in their place; nothing else is changed.
"""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.cli import main
from burnish.data import STATE, DatasetInfo, Episode, SuccessRule, image_key, read_dataset, write_dataset
from burnish.deploy.lerobot import write_checkpoint
from burnish.policies.given.lerobot import LeRobotACT
from tests.recipes.small_runs import flags, write_point_data
from tests.test_docs import blocks

ROOT = Path(__file__).parent.parent
OWN, POLICIES = ROOT / "docs" / "own-data.md", ROOT / "docs" / "policies.md"
JOINTS = tuple(f"{name}.pos" for name in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"))
SHORT = [
    "--config.refine.no-preflight",
    *flags(
        {
            "gate.worlds": 0,
            "pretraining.steps": 40,
            "world-model-training.steps": 40,
            "ensemble-training.steps": 20,
            "classifier-training.steps": 20,
            "refine.iterations": 1,
            "refine.evaluate-every": 1,
            "ppo.epochs": 1,
            "ppo.critic-warmup": 0,
            "imagination.num-envs": 32,
            "refine.imagined-episodes": 16,
            "evaluation.episodes": 2,
            "evaluation.curve-points": 0,
            "evaluation.videos": 0,
        }
    ),
]
pytestmark = pytest.mark.slow


def commands(page: Path) -> list[list[str]]:
    """The arguments of every command of a page, in their order, without remarks and what is printed."""
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    return [shlex.split(re.split(r"\s{2,}#", line)[0])[1:] for line in lines if line.startswith("burnish ")]


def so101(path: Path, episodes: int = 8, length: int = 120) -> Path:
    """As an SO-101 records: six absolute targets from -100 to 100, a gripper of 0 and 100, two cameras, 30 Hz, and no
    word of success."""
    generator, made = np.random.default_rng(0), []
    for _ in range(episodes):
        time = np.arange(length + 3) / 30
        phase, size = generator.uniform(0, 6, 5), generator.uniform(20, 80, 5)
        joints = size * np.sin(0.8 * time[:, None] + phase)
        gripper = 100.0 * (np.arange(length + 3) > generator.integers(40, 80))[:, None]
        targets = np.column_stack([joints, gripper]).astype(np.float32)
        state = targets[:length] + generator.normal(0, 0.3, (length, 6)).astype(np.float32)
        picture = np.clip(targets[:length, :3] + 128, 0, 255).astype(np.uint8)[:, None, None]
        pictures = {image_key(camera): np.tile(picture, (1, 48, 64, 1)) for camera in ("front", "wrist")}
        observation = {STATE: state, **pictures}
        success = np.zeros(length, bool)
        made.append(Episode(observation, targets[3:], success, "unknown", -1, "pick up the block"))
    names = (*JOINTS, "gripper.pos")
    info = DatasetInfo(fps=30, robot_type="so101_follower", state_names=names, action_names=names)
    write_dataset(path, made, info, labelled=False)
    return path


def test_own_data(tmp_path, monkeypatch, capfd):
    """From a recording to a report, and to another format."""
    so101(tmp_path / "my_recording")
    before = {path: path.read_bytes() for path in sorted((tmp_path / "my_recording").rglob("*")) if path.is_file()}
    monkeypatch.chdir(tmp_path)
    bare, page, run, convert = commands(OWN)
    assert main(bare) == 2 and "--success-last-frames" in capfd.readouterr().out
    assert main(page) == 0 and Path("my_recording.html").stat().st_size > 20_000
    said = capfd.readouterr().out
    assert "all 8 episodes succeed" in said and "absolute targets of the state" in said
    assert main([*run, *SHORT]) == 0
    assert "cannot be tested" in capfd.readouterr().err and Path("runs/so101/report.html").exists()
    assert main(convert) == 0
    written, own = read_dataset("my_lerobot"), read_dataset("my_recording", SuccessRule(last_frames=30), cameras=())
    np.testing.assert_array_equal(written.observations[STATE], own.observations[STATE])
    np.testing.assert_array_equal(written.actions, own.actions)
    assert int(written.episode_success.sum()) == 8
    # What the page says instead of --dataset: rollouts, with what came of each.
    labels = "episode,success\n" + "\n".join(f"{number},{number % 2}" for number in range(8))
    Path("labels.csv").write_text(labels + "\n")
    made = ["data", "convert", "my_recording", "my_rollouts", "--cameras", "--labels", "labels.csv"]
    assert main([*made, "--success-last-frames", "30"]) == 0
    several = ["--demonstrations", "my_lerobot", "--rollouts", "my_rollouts", "--stride", "5", "--out", "runs/both"]
    assert main(["run", "world4rl", "--preset", "tiny", *several, "--dry-run"]) == 0
    assert "cannot be tested" not in capfd.readouterr().err
    assert {path: path.read_bytes() for path in before} == before and len(before) == len(
        [path for path in (tmp_path / "my_recording").rglob("*") if path.is_file()]
    )


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with somebody's data, their task as an installed package has it, and an ACT of LeRobot's."""
    sys.path.insert(0, str(ROOT / "tests" / "policies" / "given"))
    from checkpoints import policy_of

    write_point_data(tmp_path / "my_data", strays=4)
    policy = policy_of("act", {STATE: 4})
    assert isinstance(policy, LeRobotACT)
    write_checkpoint(policy, policy.chunk, tmp_path / "act")
    (tmp_path / "my_tasks.py").write_text(
        "import gymnasium\n"
        "from tests.recipes.toy_env import PointEnv\n"
        "gymnasium.register('MyTask-v0', entry_point=PointEnv, max_episode_steps=20)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return tmp_path


def test_policies(workplace, capfd):
    """A policy in, refined and judged; out to ONNX, to LeRobot, to a robot's loop, and behind a server."""
    run, onnx, lerobot, serve = commands(POLICIES)
    instead = {"PATH": "act", "gym:MyTask-v0": "gym:my_tasks:MyTask-v0"}
    run = [instead.get(word, word) for word in run]
    assert main([*run, "--preset", "tiny", "--out", "runs/mine", "--threads", "1", *SHORT]) == 0
    for folder, export in (("policy_onnx/policy.onnx", onnx), ("checkpoint/model.safetensors", lerobot)):
        assert main(export) == 0 and Path(folder).exists()
    robot_loop()
    server = subprocess.Popen(
        [sys.executable, "-m", "burnish", *serve[:-1], "0"], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        said = []
        while not said or not said[-1].startswith("ready: "):
            said.append(server.stdout.readline())
            assert said[-1], said
        assert re.match(r"a decision takes [\d.]+ ms here, 99 of 100 less than [\d.]+ ms", said[0])
        assert [line.strip() for line in said[1:3]] == ["takes observation.state [4]", "gives actions [2, 2]"]
        asyncio.run(asked(said[-1].removeprefix("ready: ").strip()))
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0


def robot_loop():
    """The ten lines of the page, on a robot that counts."""

    class Done(Exception):
        pass

    class Robot:
        moved = 0

        def state(self):
            return np.full(4, 0.5, np.float32)

        def move(self, action):
            assert action.shape == (2,) and np.isfinite(action).all()
            self.moved += 1
            if self.moved == 310:
                raise Done

    (block,) = [each for each in blocks(POLICIES, "python") if "robot.move" in each]
    robot = Robot()
    with pytest.raises(Done):
        exec(compile(block, str(POLICIES), "exec"), {"robot": robot})
    assert robot.moved == 310, "the second episode, too"


async def asked(url):
    """As openpi's client asks."""
    from websockets.asyncio.client import connect

    from burnish.policies.given.wire import pack, unpack

    async with connect(url) as socket:
        assert unpack(await socket.recv())["action_dim"] == 2
        await socket.send(pack({STATE: np.zeros(4, np.float32)}))
        answer = unpack(await socket.recv())
    assert answer["actions"].shape == (2, 2) and answer["server_timing"]["infer_ms"] > 0


@pytest.fixture(autouse=True)
def restored():
    """A command sets the threads and a signal handler of its process, which here is the tests'."""
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    yield
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, handler)
