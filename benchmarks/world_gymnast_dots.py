"""World-Gymnast where sentences alone tell tasks apart: a dot that is asked to go left, right, up or down.

    python -m benchmarks.world_gymnast_dots --out runs/dots --seed 0

All tasks have the same pictures: without the sentence nobody can do better than one in four. The data are a few noisy
demonstrations of each task, and play in all directions with outcomes. Everything else is the recipe: a clone of the
demonstrations, the world model on frame latents, a video judge that learns from the outcomes, filtered cloning, GRPO,
and PPO for as many imagined steps. Both refine a clone that was stopped early (`--early`): one that is done leaves
nothing to gain. The true world is a line of code; it has no part in learning, and says in the end what each policy is
worth from 100 new starts a task. What is there is not made again.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.world_gymnast import arms, in_imagination, rate, told
from burnish.components import load
from burnish.data import DatasetInfo, Episode, image_key, write_dataset
from burnish.networks import FrameDiTConfig, InstructedConfig
from burnish.pipeline import Stage
from burnish.policies import Agent, TokenPolicyConfig, load_agent
from burnish.recipes.base import Models, RunSpec
from burnish.recipes.how import How
from burnish.recipes.own_data import OwnData
from burnish.recipes.presets.world_gymnast import DEFAULT
from burnish.recipes.runs import Resolved, execute_targets
from burnish.recipes.stages.data import whole
from burnish.recipes.world_gymnast import WorldGymnast
from burnish.rewards import RewardConfig, VideoJudgeConfig
from burnish.storage import read_json, write_json
from burnish.world_models import DiffusionForcingConfig, FilmConfig, PatchLatentsConfig

CAMERA, SIZE, LENGTH, STEP, EDGE = "top", 32, 13, 0.15, 0.5
WAYS = {"go left": (0, -1), "go right": (0, 1), "go up": (1, -1), "go down": (1, 1)}
"""Of each sentence the coordinate (0: column, 1: row) and its sign."""


def picture(position: Tensor) -> Tensor:
    """A bright dot at (…, 2) column and row in [-1, 1]: uint8 (…, S, S, 3)."""
    grid = torch.linspace(-1, 1, SIZE)
    column = torch.exp(-((grid - position[..., :1]) ** 2) / 0.1)
    row = torch.exp(-((grid - position[..., 1:]) ** 2) / 0.1)
    dot = row.unsqueeze(-1) * column.unsqueeze(-2)
    return (40 + 200 * dot.unsqueeze(-1) * torch.tensor([1.0, 0.7, 0.2])).round().to(torch.uint8)


def moved(position: Tensor, action: Tensor) -> Tensor:
    """The true world."""
    return (position + STEP * action.clamp(-1, 1)).clamp(-0.85, 0.85)


def arrived(position: Tensor, task: str) -> Tensor:
    """Success: beyond the edge on the side that is asked for."""
    axis, sign = WAYS[task]
    return sign * position[..., axis] > EDGE


def episode(generator: torch.Generator, task: str, expert: bool, seed: int) -> Episode:
    """Towards the side, badly, or in any direction; success is told at the end alone."""
    axis, sign = WAYS[task]
    angle = torch.rand(1, generator=generator) * 2 * np.pi
    drift = torch.cat([angle.cos(), angle.sin()]) * torch.rand(1, generator=generator).sqrt()
    if expert:
        drift = torch.zeros(2)
        drift[axis] = 0.7 * sign
    position = torch.rand(2, generator=generator) * 1.4 - 0.7
    actions = (drift + (0.6 if expert else 0.3) * torch.randn(LENGTH, 2, generator=generator)).clamp(-1, 1)
    places = [position]
    for action in actions[:-1]:
        places.append(moved(places[-1], action))
    frames = torch.stack(places)
    success = np.zeros(LENGTH, bool)
    success[-1] = bool(arrived(frames[-1], task))
    observation = {image_key(CAMERA): picture(frames).numpy()}
    return Episode(observation, actions.numpy(), success, "expert" if expert else "play", seed, task)


def record(folder: Path, seed: int, demonstrations: int, play: int) -> None:
    """The data set."""
    generator = torch.Generator().manual_seed(seed)
    tasks, found = list(WAYS), list[Episode]()
    for task in tasks:
        wanted = 0
        while wanted < demonstrations:
            made = episode(generator, task, True, len(found))
            if made.succeeded:
                found.append(made)
                wanted += 1
    found += [episode(generator, tasks[number % 4], False, number) for number in range(play)]
    write_dataset(folder, found, DatasetInfo(fps=10, max_steps=LENGTH - 1, action_names=("column", "row")))


def settings(args: argparse.Namespace) -> WorldGymnast:
    """The recipe's configuration at the size of this measurement."""
    c = DEFAULT
    return replace(
        c,
        start_from="bc",
        film=FilmConfig((CAMERA,), SIZE, frames=3, film=3, every=6),
        policy=TokenPolicyConfig(chunk=3, bins=9, network=InstructedConfig(patch=16, width=48, depth=2, heads=4)),
        pretraining=replace(c.pretraining, steps=args.cloning_steps, batch_size=64),
        # One token a frame: a dot that is cut by patches takes longer to learn than there is time here.
        latents=PatchLatentsConfig(patch=SIZE, latent_dim=48),
        world_model=DiffusionForcingConfig(FrameDiTConfig(width=64, depth=2, heads=4), steps=args.denoising),
        world_model_training=replace(c.world_model_training, steps=args.world_steps, batch_size=64, learning_rate=3e-3),
        judge=VideoJudgeConfig(widths=(16, 32, 32), embedding=64, hidden=(64,)),
        judge_training=replace(c.judge_training, steps=args.judge_steps, learning_rate=2e-3),
        imagination=replace(c.imagination, num_envs=args.envs, horizon=LENGTH - 1),
        learner=replace(c.learner, learning_rate=args.rate, minibatch_size=args.minibatch, epochs=args.epochs),
        refine=replace(
            c.refine,
            iterations=args.iterations,
            evaluate_every=args.every,
            imagined_episodes=args.scored,
            patience=None,
        ),
    )


def early(stages: dict[str, Stage], steps: int) -> dict[str, Stage]:
    """The same, refined from a clone that was stopped after `steps` updates."""
    whole_clone = stages["cloned"]
    how = whole_clone.arguments["how"]
    how = replace(how, training=replace(how.training, steps=steps))
    clone = replace(whole_clone, name="early", arguments={**whole_clone.arguments, "how": how})
    found = {"cloned": whole_clone, "filtered cloning": stages["filtered cloning"], "cloned, stopped early": clone}
    for name in ("GRPO", "PPO"):
        one = stages[name]
        found[name] = replace(one, name=f"{one.name}_early", arguments={**one.arguments, "policy": clone})
    return found


def in_truth(agent: Agent, sentence: str, task: str, count: int) -> list[int]:
    """Successes at `task` from new starts, told `sentence`, and how many there were."""
    generator = torch.Generator().manual_seed(10_000)
    position = torch.rand(count, 2, generator=generator) * 1.4 - 0.7
    asked = told(agent, sentence)
    asked.begin(count)
    for _ in range(LENGTH - 1):
        position = moved(position, asked.act({image_key(CAMERA): picture(position)}))
    return [int(arrived(position, task).sum()), count]


def main() -> None:
    """Do what is not there yet, and print the table of one seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--demonstrations", type=int, default=4)
    parser.add_argument("--play", type=int, default=240)
    parser.add_argument("--cloning-steps", type=int, default=200)
    parser.add_argument("--early", type=int, default=35, help="updates of the clone that is refined")
    parser.add_argument("--world-steps", type=int, default=800)
    parser.add_argument("--denoising", type=int, default=4)
    parser.add_argument("--judge-steps", type=int, default=300)
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--minibatch", type=int, default=64, help="decisions of one gradient step")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=24)
    parser.add_argument("--warmup", type=int, default=2, help="iterations in which only PPO's critic learns")
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--scored", type=int, default=64, help="imagined episodes that score an iterate")
    parser.add_argument("--episodes", type=int, default=100, help="in the true world, of each task")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    video, run, c = args.out / "video", args.out / "run", settings(args)
    if not video.exists():
        record(video, args.seed, args.demonstrations, args.play)
    resolved = Resolved(RunSpec("world-gymnast", "go left", args.seed, OwnData.of(video.absolute())), c)
    stages, plan = early(arms(c, resolved, args), args.early), resolved.plan
    execute_targets(run, resolved, (plan.models.reward, *stages.values()), How(threads=1))
    data = whole(run / plan.data.name, (CAMERA,), False, RewardConfig(), instructed=True)
    models = Models(load(run / plan.models.world.name), load(run / plan.models.reward.name))
    path = args.out / "results.json"
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    tasks = list(WAYS)
    for name, each in stages.items():
        if name not in found:
            agent = load_agent(run / each.name)
            found[name] = {
                "imagined": in_imagination(agent, models, data, c, args.scored),
                "true": {task: in_truth(agent, task, task, args.episodes) for task in tasks},
                "other": {task: in_truth(agent, tasks[n - 1], task, args.episodes) for n, task in enumerate(tasks)},
            }
            write_json(path, found)
        shown = {where: rate(list(counts.values())) for where, counts in found[name].items()}
        print(f"{name}: {json.dumps(shown)}")
    print(json.dumps(read_json(run / plan.models.reward.name / "judge.json")))


if __name__ == "__main__":
    main()
