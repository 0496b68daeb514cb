"""First-order gradients through a small local model against PPO, both in one global model; and the local model alone.

    python benchmarks/coupled.py --run runs/handle-pull-v3-21 --out runs/coupled/handle-pull-v3-21

`--run` is a finished run of world4rl on states: its data, world model, classifier and pessimism are what everything
here learns in, its start is where every arm begins, and its refinement is PPO's arm. Beside it are made: the local
model, of the same data; the arm "coupled", short-horizon actor-critic with values of the world model and gradients of
the local one; and "local", the same learner where the local model is the world as well and stays as it is (the paper's
baseline without a global model; nothing tells it where it is not to be trusted).

Then iterates of each arm play in the simulator, all from the same starts, none of which any training saw. No simulator
has a part in learning. What is there is not made again.
"""

import argparse
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from burnish.components import Component, load, save
from burnish.data import STATE, Dataset, Normaliser
from burnish.evaluation.actor import PolicyActor
from burnish.evaluation.intervals import mean_interval, wilson_interval
from burnish.evaluation.real import RealSuccess, evaluation_seeds, play_job
from burnish.imagination import LocalModel, PessimismConfig
from burnish.pipeline import StageContext
from burnish.policies import Agent, load_agent
from burnish.recipes.base import Models
from burnish.recipes.coupled import Coupled
from burnish.recipes.presets.coupled import RECIPE
from burnish.recipes.stages.coupling import refine_through_local, train_local
from burnish.recipes.stages.data import split, whole
from burnish.recipes.stages.refining import refine_policy
from burnish.recipes.stages.training import train_reward
from burnish.rewards import RewardConfig, RewardHeadConfig
from burnish.rl import PPOConfig, RefineConfig
from burnish.simulators.collect import CollectJob
from burnish.simulators.settings import SimulatorConfig
from burnish.storage import load_tensors, read_json, write_json
from burnish.world_models import Encoded

READS: dict[str, Any] = {"cameras": (), "states": True}


class Normalised(Component):
    """State vectors as the world model's features: what the local model observes, as an encoder."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.latent_dim = dim
        self.normaliser = Normaliser(dim)

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of one observation."""
        return {STATE: (self.latent_dim,)}

    def encode(self, observation: dict[str, torch.Tensor]) -> torch.Tensor:
        """Normalised."""
        return self.normaliser.normalise(observation[STATE])

    def encode_dataset(self, dataset: Dataset) -> torch.Tensor:
        """Of every frame."""
        return self.encode(dataset.observations)

    def decode(self, latents: torch.Tensor) -> dict[str, torch.Tensor]:
        """In the data's units."""
        return {STATE: self.normaliser.denormalise(latents)}


def settings(args: argparse.Namespace) -> Coupled:
    """The recipe's configuration at the size of this measurement."""
    c: Coupled = RECIPE.preset("default")
    policy = replace(
        c.learner.policy,
        rollout_steps=args.horizon,
        policy_learning_rate=args.rate,
        policy_rate_falls=args.falls,
        critic_iterations=args.critic_iterations,
        entropy=args.entropy,
    )
    refine = RefineConfig(
        iterations=args.updates, evaluate_every=args.every, imagined_episodes=64, average=args.average, margin=-1.0
    )
    imagination = replace(c.imagination, num_envs=args.envs, member_share=0.5)
    if args.no_halting:
        imagination = replace(imagination, pessimism=PessimismConfig(rule="none"), member_share=0.0)
    return replace(
        c,
        local_reward=replace(c.local_reward, termination_weight=args.ends),
        local_training=replace(c.local_training, steps=args.local_steps),
        imagination=imagination,
        learner=replace(c.learner, policy=policy, steps=args.refresh),
        refine=refine,
    )


def data(args: argparse.Namespace) -> tuple[Dataset, Dataset, Dataset]:
    """Whole, for training, and held out; with the task's own rewards, scaled, where they are what is learned."""
    reward = RewardConfig(kind="learned") if args.dense else RewardConfig()
    folder = args.run / "dataset"
    parts = whole(folder, **READS, reward=reward), *split(folder, 0.1, **READS, reward=reward)
    if not args.dense:
        return parts
    scaled = [replace(each, reward=args.dense * each.reward) for each in parts if each.reward is not None]
    return scaled[0], scaled[1], scaled[2]


def global_models(args: argparse.Namespace) -> Models:
    """What the finished run learned in; with a reward head of its own where rewards are dense."""
    world, success, ensemble, support = (
        load(args.run / name) for name in ("world_model", "classifier", "ensemble", "support")
    )
    folder = args.out / "reward"
    if args.dense and not (folder / "config.json").exists():
        _, training, held_out = data(args)
        steps = replace(RECIPE.preset("default").classifier_training, steps=args.reward_steps)
        head = train_reward(context(folder), (training, held_out), world, RewardHeadConfig(), steps, args.seed)
        save(folder, head)
    return Models(world, load(folder) if args.dense else success, (ensemble, support))


def beginning(run: Path) -> Agent:
    """The policy with which the run's refinement began."""
    agent = load_agent(run / "refined")
    agent.policy.load_state_dict(load_tensors(run / "refined/iterates/0000.safetensors")[0])
    return agent


def context(folder: Path) -> StageContext:
    """Of a stage that is done here, outside of any graph."""
    return StageContext(folder.name, folder, {}, "benchmark")


def local_model(args: argparse.Namespace, c: Coupled) -> LocalModel:
    """Made from the run's data, or as it was made before."""
    folder = args.out / "local_model"
    if not (folder / "config.json").exists():
        how = {"model": c.local_model, "reward": c.local_reward, "training": c.local_training, "seed": args.seed}
        here = context(folder)
        save(folder, train_local(here, data(args)[1:], global_models(args), length=c.local_length, **how))
        write_json(folder / "found.json", here.outputs)
    return load(folder, LocalModel)


def alone(args: argparse.Namespace, local: LocalModel) -> Models:
    """The local model as the world itself."""
    models = global_models(args)
    world = models.world
    encoder = Normalised(world.observation_dim)
    encoder.normaliser.load_state_dict(world.normaliser.state_dict())
    return Models(Encoded(encoder, local.dynamics), models.reward)


def refine(args: argparse.Namespace, c: Coupled, arm: str, out: Path) -> None:
    """One arm's refinement, in OUT/ARM."""
    folder = out / arm
    if (folder / "found.json").exists():
        return
    models, imagination = global_models(args), c.imagination
    how: dict[str, Any] = {"refinement": c.refine, "seed": args.seed}
    policy, episodes, here = beginning(args.run), data(args)[0], context(folder)
    begun = time.process_time()
    if arm == "ppo":
        config = replace(imagination, num_envs=512)
        how["refinement"] = replace(c.refine, iterations=args.ppo_updates, evaluate_every=args.ppo_every)
        refine_policy(here, policy, episodes, models, config, PPOConfig(), **how)
    else:
        local, learner = local_model(args, c), c.learner
        if arm == "local":
            models = alone(args, local)
            learner = replace(learner, steps=0, first_steps=0)
            imagination = replace(imagination, pessimism=PessimismConfig(rule="none"), member_share=0.0)
        refine_through_local(here, policy, (episodes, local), models, imagination, learner, **how)
    write_json(folder / "found.json", {**here.outputs, "processor_seconds": time.process_time() - begun})


def rows(folder: Path) -> dict[int, dict[str, float]]:
    """The metrics of each judged iterate."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {int(row["iteration"]): row for row in lines if "eval/score" in row}


def judged(args: argparse.Namespace, arm: str, folder: Path, out: Path) -> list[dict[str, Any]]:
    """Iterates in the simulator: imagined steps, imagined score, successes, mean returns."""
    path, found = out / f"real_{arm}.json", list[dict[str, Any]]()
    known = {row["iteration"]: row for row in (read_json(path) if path.exists() else [])}
    task = re.search(r"^task: (.*)$", (args.run / "recipe.yaml").read_text(), re.M)
    assert task is not None
    for iteration, row in rows(folder).items():
        if iteration % args.real_every[arm] or row["imagined_steps"] > args.until[arm]:
            continue
        if iteration not in known:
            agent = beginning(args.run)
            agent.policy.load_state_dict(load_tensors(folder / f"iterates/{iteration:04d}.safetensors")[0])
            save(out / "playing", agent)
            actor = {"folder": (out / "playing").absolute(), "sampled": args.sampled}
            job = CollectJob("policy", PolicyActor, evaluation_seeds(args.episodes), actor)
            played = RealSuccess.of(play_job(job, task[1], SimulatorConfig(), 0))
            known[iteration] = {
                "iteration": iteration,
                "imagined_steps": row["imagined_steps"],
                "imagined": row["eval/score"],
                "successes": sum(played.success),
                "episodes": args.episodes,
                "return": mean_interval(played.returns),
            }
            write_json(path, list(known.values()))
        found.append(known[iteration])
        low, high = wilson_interval(found[-1]["successes"], args.episodes)
        told = f"{found[-1]['successes'] / args.episodes:.0%} ({low:.0%} to {high:.0%})"
        mean, least, most = found[-1]["return"]
        paid = f"{mean:.1f} ({least:.1f} to {most:.1f})"
        print(f"| {arm} | {row['imagined_steps']:,.0f} | {row['eval/score']:.2f} | {told} | {paid} |", flush=True)
    return found


def main() -> None:
    """Do what is left to do, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", choices=("coupled", "ppo", "local"), default=["coupled", "ppo", "local"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--envs", type=int, default=128)
    parser.add_argument("--horizon", type=int, default=16)
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--every", type=int, default=10, help="updates between two iterates that are judged")
    parser.add_argument("--rate", type=float, default=1e-4, help="of the policy")
    parser.add_argument("--falls", type=int, default=0, help="updates over which that rate falls; 0: it stays")
    parser.add_argument("--critic-iterations", type=int, default=8)
    parser.add_argument("--entropy", type=float, default=1e-4)
    parser.add_argument("--average", type=float, default=0.9)
    parser.add_argument("--refresh", type=int, default=8, help="gradient steps of the local model after an update")
    parser.add_argument("--ends", type=float, default=1.0, help="weight of ends in the local model; 0: no gradient")
    parser.add_argument("--local-steps", type=int, default=500, help="of the local model before")
    parser.add_argument("--episodes", type=int, default=40, help="real ones of each iterate")
    parser.add_argument("--dense", type=float, default=0.0, help="scale of the task's own rewards; 0: success alone")
    parser.add_argument("--reward-steps", type=int, default=1000, help="of the head that learns them")
    parser.add_argument("--ppo-updates", type=int, default=40, help="where rewards are dense")
    parser.add_argument("--ppo-every", type=int, default=10)
    parser.add_argument("--ppo-until", type=float, default=1e9, help="imagined steps")
    parser.add_argument("--no-halting", action="store_true", help="no arm is stopped where models are uncertain")
    parser.add_argument("--sampled", action="store_true", help="real actions are drawn, where the mean one gets stuck")
    parser.add_argument("--no-real", action="store_true")
    args = parser.parse_args()
    args.real_every = {"ppo": args.ppo_every, "coupled": args.every, "local": args.every}
    args.until = {"ppo": args.ppo_until, "coupled": 1e9, "local": 1e9}
    torch.set_num_threads(1)
    c = settings(args)
    args.out.mkdir(parents=True, exist_ok=True)
    for arm in args.arms:
        taken = arm == "ppo" and not args.dense
        if not taken:
            refine(args, c, arm, args.out)
        if not args.no_real:
            judged(args, arm, args.run / "refined" if taken else args.out / arm, args.out)


if __name__ == "__main__":
    main()
