"""Own offline data sets on Gymnasium's MuJoCo tasks: random, medium, medium-replay, medium-expert.

    python benchmarks/offline_sets.py --tasks Hopper-v5 Walker2d-v5 --out runs/offline-sets
    python benchmarks/offline_sets.py --tasks Hopper-v5 --sac-steps 50000 --frames 50000 --out runs/offline-sets

They follow D4RL's recipe (arXiv 2004.07219, section 5 and appendix) and are NOT D4RL: other simulator versions, another
SAC (Stable-Baselines3's, with its defaults), fewer frames. Whoever quotes a number from them says "own sets".

- expert: the snapshot of one SAC run with the highest return over a few deterministic episodes;
- medium: the first snapshot that is a third of the way from random to the expert; actions are sampled, as in D4RL;
- medium-replay: what SAC recorded until then, its newest frames where they are more than `--frames`;
- medium-expert: half of each policy's frames;
- random: uniform actions.

Each set is a LeRobotDataset with next.reward and next.done, written whole or not at all. `reference.json` beside them
has the returns of random motion and of the expert (by which returns are normalised as in D4RL, 0 and 100), of every
snapshot, the seeds and the versions. What is there is not made again: the script resumes, set by set and SAC run by SAC
run. Needs `pip install stable-baselines3`.
"""

import argparse
import importlib.metadata
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from stable_baselines3 import SAC  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.callbacks import BaseCallback  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.evaluation import evaluate_policy  # pyright: ignore[reportMissingImports]

from burnish.data import DatasetInfo, Episode, read_dataset, write_dataset
from burnish.data.episodes import STATE
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import RandomActor
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import suite_of
from burnish.storage import read_json, write_json

TASKS = ("Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Ant-v5")
SETS = ("random", "medium", "medium-replay", "medium-expert")
MEDIUM = 1 / 3
"""Of the way from random to expert, as in D4RL."""
EVALUATED = 5
"""Deterministic episodes by which a snapshot is judged."""
REFERENCE, REPLAY, SNAPSHOTS = "reference.json", "replay.safetensors", "snapshots.json"


class Snapshots(BaseCallback):
    """Keeps the actor every so many steps, with its return."""

    def __init__(self, folder: Path, every: int, another: Callable[[], SAC]) -> None:
        super().__init__()
        self.folder, self.every, self.another = folder, every, another
        self.found: list[dict[str, float]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % self.every == 0:
            judged = self.another()
            judged.policy.actor.load_state_dict(self.model.policy.actor.state_dict())
            mean, deviation = evaluate_policy(judged, judged.get_env(), EVALUATED, warn=False)
            self.found.append({"step": self.num_timesteps, "return": float(mean), "deviation": float(deviation)})
            save_file(self.model.policy.actor.state_dict(), self.folder / f"actor_{self.num_timesteps}.safetensors")
            print(self.found[-1], flush=True)
        return True


def sac(name: str, seed: int, width: int, steps: int = 1, **learning: Any) -> SAC:
    """The learner, or a policy of its shape to load a snapshot into."""
    settings = {"seed": seed, "buffer_size": steps, "policy_kwargs": {"net_arch": [width, width]}, "device": "cpu"}
    return SAC("MlpPolicy", gymnasium.make(name), **settings, **learning)


def learn(name: str, folder: Path, args: argparse.Namespace) -> None:
    """One SAC run: its snapshots, and everything that it recorded on the way."""
    folder.mkdir(parents=True, exist_ok=True)
    begun, steps = time.perf_counter(), args.sac_steps
    learning = {"batch_size": args.sac_batch, "learning_rate": args.sac_rate}
    model = sac(name, args.seed, args.sac_width, steps, **learning)
    snapshots = Snapshots(folder, args.snapshot_every, lambda: sac(name, args.seed + 1, args.sac_width))
    model.learn(steps, callback=snapshots)
    buffer = model.replay_buffer
    columns = {
        "observation": buffer.observations[:steps, 0],
        "following": buffer.next_observations[:steps, 0],
        "action": buffer.actions[:steps, 0],
        "reward": buffer.rewards[:steps, 0],
        "done": buffer.dones[:steps, 0],
        "timeout": buffer.timeouts[:steps, 0],
    }
    arrays = {name: torch.from_numpy(np.ascontiguousarray(rows, np.float32)) for name, rows in columns.items()}
    save_file(arrays, folder / REPLAY)
    write_json(folder / SNAPSHOTS, {"found": snapshots.found, "seconds": time.perf_counter() - begun})


class SacActor:
    """A snapshot, which samples its actions as it did while it learned."""

    def __init__(self, name: str, snapshot: str, seed: int, width: int) -> None:
        model = sac(name, seed, width)
        model.policy.actor.load_state_dict(load_file(snapshot))
        self.actor = model.policy.actor.eval()

    def begin(self, env: Any, seeds: Any) -> None:
        """Start K episodes, with random numbers of their own."""
        torch.manual_seed(int(seeds[0]))

    @torch.no_grad()
    def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        """Actions, float32 (K, A) in [-1, 1]."""
        return self.actor(torch.from_numpy(observation[STATE])).numpy()


def played(
    task: str, source: str, actor: Callable[..., Any], frames: int, first: int, **settings: Any
) -> list[Episode]:
    """Whole episodes, until there are so many frames."""
    episodes: list[Episode] = []
    while sum(map(len, episodes)) < frames:
        seeds = range(first + len(episodes), first + len(episodes) + suite_of(task).chunk_episodes)
        episodes += collect(task, [CollectJob(source, actor, seeds, settings)], SimulatorConfig(), workers=0)
    return episodes


def replayed(task: str, folder: Path, steps: int, frames: int) -> Iterator[Episode]:
    """The whole episodes of SAC's first `steps` transitions, the newest so many frames, in order."""
    rows = {name: values[:steps].numpy() for name, values in load_file(folder / REPLAY).items()}
    ends = np.flatnonzero(rows["done"] > 0) + 1
    bounds = list(zip([0, *ends[:-1]], ends, strict=True))
    kept, total = [], 0
    for begin, end in reversed(bounds):
        if total >= frames:
            break
        kept.append((begin, end))
        total += end - begin + 1
    for begin, end in reversed(kept):
        states = np.concatenate([rows["observation"][begin:end], rows["following"][end - 1 : end]])
        # The last frame's action was never chosen; none is read from it.
        actions = np.concatenate([rows["action"][begin:end], rows["action"][end - 1 : end]])
        ended = np.zeros(end - begin + 1, bool)
        ended[-1] = rows["timeout"][end - 1] == 0
        reward = np.concatenate([np.zeros(1, np.float32), rows["reward"][begin:end]])
        success = np.zeros_like(ended)
        yield Episode({STATE: states}, actions, success, "sac_training", -1, task, reward=reward, terminated=ended)


def chosen(folder: Path, random_return: float) -> tuple[dict[str, float], dict[str, float]]:
    """The medium and the expert snapshot."""
    found = read_json(folder / SNAPSHOTS)["found"]
    expert = max(found, key=lambda each: each["return"])
    enough = random_return + MEDIUM * (expert["return"] - random_return)
    return next(each for each in found if each["return"] >= enough), expert


def make(name: str, args: argparse.Namespace) -> None:
    """All sets of one task."""
    task, folder = f"gym:{name}", args.out / name
    suite = suite_of(task)
    settings = suite.resolve(task, SimulatorConfig())
    spec = suite.describe(task, settings)
    rate = max(1, round(spec.control_rate))
    info = DatasetInfo(rate, simulator=suite.name, max_steps=settings.max_steps, state_names=spec.state_names)
    runs, first = folder / "sac", 1_000_000 * (args.seed + 1)

    def write(kind: str, episodes: Callable[[], Any]) -> float:
        if not (folder / kind).exists():
            write_dataset(folder / kind, episodes(), info)
        return float(read_dataset(folder / kind).episode_return.mean())

    returns = {"random": write("random", lambda: played(task, "random", RandomActor, args.frames, first))}
    if not (runs / SNAPSHOTS).exists():
        learn(name, runs, args)
    medium, expert = chosen(runs, returns["random"])

    def sampled(kind: str, snapshot: dict[str, float], frames: int, number: int) -> list[Episode]:
        path = str(runs / f"actor_{int(snapshot['step'])}.safetensors")
        own = {"name": name, "snapshot": path, "seed": args.seed, "width": args.sac_width}
        return played(task, f"sac_{kind}", SacActor, frames, first + 100_000 * number, **own)

    returns["medium"] = write("medium", lambda: sampled("medium", medium, args.frames, 1))
    returns["medium-replay"] = write("medium-replay", lambda: replayed(task, runs, int(medium["step"]), args.frames))

    def both() -> list[Episode]:
        half = args.frames // 2
        return sampled("medium", medium, half, 2) + sampled("expert", expert, half, 3)

    returns["medium-expert"] = write("medium-expert", both)
    mixed = read_dataset(folder / "medium-expert")
    reference = {
        "note": "own sets, not D4RL",
        "random": returns["random"],
        "expert": float(mixed.with_sources(["sac_expert"]).episode_return.mean()),
        "behaviour": returns,
        "frames": {kind: read_dataset(folder / kind).num_frames for kind in SETS},
        "snapshots": {"medium": medium, "expert": expert, **read_json(runs / SNAPSHOTS)},
        "settings": {key: value for key, value in vars(args).items() if key not in ("out", "tasks")},
        "versions": {each: importlib.metadata.version(each) for each in ("stable-baselines3", "gymnasium", "mujoco")},
    }
    write_json(folder / REFERENCE, reference)
    print(json.dumps({name: {key: reference[key] for key in ("random", "expert", "behaviour", "frames")}}), flush=True)


def main() -> None:
    """Make what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=TASKS, help="Gymnasium's MuJoCo tasks")
    parser.add_argument("--frames", type=int, default=200_000, help="of each set")
    parser.add_argument("--sac-steps", type=int, default=300_000, help="environment steps of the SAC run")
    parser.add_argument("--sac-width", type=int, default=256, help="of its networks' two layers")
    parser.add_argument("--sac-batch", type=int, default=256)
    parser.add_argument("--sac-rate", type=float, default=3e-4, help="learning rate")
    parser.add_argument("--snapshot-every", type=int, default=5_000, help="steps between two snapshots of it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.tasks:
        make(name, args)


if __name__ == "__main__":
    main()
