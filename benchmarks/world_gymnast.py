"""World-Gymnast, small: one policy for several Meta-World tasks, refined by GRPO in a video world model with a judge.

    python benchmarks/video_set.py --out video --tasks drawer-open-v3 reach-v3 door-open-v3 --frames 9000 --size 32 \
        --cameras corner3 topview --action-repeat 5 --max-steps 40
    python benchmarks/world_gymnast.py --video video --out runs/world-gymnast

The first successes of each task, `--demonstrations` of them, count as the expert's, and the policy is cloned from these
alone. The recipe's stages are worked on in `--out`: world model, judge, filtered cloning (every success of the data)
and GRPO. PPO refines the same clone in the same world for as many imagined steps. Then each of the four policies plays
every task, told by its sentence alone, in the world model from recorded starts and in the simulator from starts that no
training saw. No simulator has a part in learning. What is there is not made again.
"""

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from burnish.components import load, save
from burnish.data import Dataset, read_dataset, write_dataset
from burnish.evaluation.intervals import wilson_interval
from burnish.evaluation.real import evaluation_seeds, real_success
from burnish.imagination import ImaginedEnv, imagined_evaluation
from burnish.networks import FrameDiTConfig
from burnish.pipeline import Stage
from burnish.policies import Agent, load_agent
from burnish.recipes.base import Models, RunSpec
from burnish.recipes.how import How
from burnish.recipes.own_data import OwnData
from burnish.recipes.presets.world_gymnast import DEFAULT
from burnish.recipes.runs import Resolved, execute_targets
from burnish.recipes.stages.data import whole
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.refining import start_states, time_limit
from burnish.recipes.world_gymnast import WorldGymnast
from burnish.rewards import RewardConfig
from burnish.rl import PPOConfig
from burnish.storage import read_json, write_json
from burnish.world_models import DiffusionForcingConfig

SEES: dict[str, Any] = {"cameras": DEFAULT.cameras, "states": False, "reward": RewardConfig(), "instructed": True}


def settings(args: argparse.Namespace) -> WorldGymnast:
    """The recipe's configuration at the size of this measurement."""
    c = DEFAULT
    return replace(
        c,
        start_from="bc",
        pretraining=replace(c.pretraining, steps=args.cloning_steps, batch_size=64),
        world_model=DiffusionForcingConfig(FrameDiTConfig(depth=args.depth), steps=args.denoising),
        world_model_training=replace(c.world_model_training, steps=args.world_steps),
        judge_training=replace(c.judge_training, steps=args.judge_steps, batch_size=32),
        least_kappa=args.least_kappa,
        imagination=replace(c.imagination, num_envs=args.envs),
        policy=replace(c.policy, temperature=args.temperature),
        learner=replace(c.learner, learning_rate=args.rate, minibatch_size=args.minibatch, epochs=args.epochs),
        refine=replace(
            c.refine,
            iterations=args.iterations,
            evaluate_every=args.every,
            imagined_episodes=args.scored,
            patience=None,
        ),
    )


def demonstrated(video: Path, out: Path, count: int) -> Path:
    """The video set with the first `count` successes of each task as the expert's; written once."""
    folder = out / "video"
    if folder.exists():
        return folder
    found = read_dataset(video, cameras=DEFAULT.cameras)
    sources, told = list(found.sources), Counter[str]()
    for number, (task, success) in enumerate(zip(found.tasks, found.episode_success.tolist(), strict=True)):
        if success and told[task] < count:
            sources[number], told[task] = "expert", told[task] + 1
    write_dataset(folder, replace(found, sources=tuple(sources)).to_episodes(), found.info)
    return folder


def arms(c: WorldGymnast, resolved: Resolved, args: argparse.Namespace) -> dict[str, Stage]:
    """The policies that are compared, as stages."""
    plan = resolved.plan
    decisions = c.imagination.horizon // c.policy.chunk
    ppo = PPOConfig(
        rollout_steps=decisions,
        critic_warmup=args.warmup,
        minibatch_size=args.minibatch,
        policy_learning_rate=args.rate,
    )
    other = replace(plan.refined, name="refined_ppo", arguments={**plan.refined.arguments, "learner": ppo})
    return {"cloned": plan.policy, "filtered cloning": plan.starts.filtered, "GRPO": plan.refined, "PPO": other}


def told(agent: Agent, task: str) -> Agent:
    """The same policy, asked for another task."""
    return Agent(agent.observer.asking(task), agent.policy, task, agent.scaling).eval()


def in_imagination(agent: Agent, models: Models, data: Dataset, c: WorldGymnast, count: int) -> dict[str, list[int]]:
    """Successes by the judge and verdicts, of each task, from recorded starts of it."""
    imagines, found = imagined(models, c.imagination.pessimism, data), {}
    for task in data.task_names:
        own = data.subset([number for number, name in enumerate(data.tasks) if name == task])
        starts = start_states(c.imagination.starts, own, imagines.world_model)
        rules = replace(c.imagination, chunk=agent.policy.config.chunk, num_envs=count, horizon=10**9)
        env = ImaginedEnv(imagines, starts, data.action_dim, rules, 1)
        limit = -(-time_limit(own) // rules.chunk)
        played = imagined_evaluation(env, agent.policy, starts.episode_starts(count), limit, 1)
        assert played.success is not None
        found[task] = [int(played.success.sum()), count]
    return found


def in_simulator(agent: Agent, folder: Path, tasks: tuple[str, ...], c: WorldGymnast, count: int) -> dict[str, Any]:
    """Successes and episodes of each task, asked for by its sentence; and of each with another task's sentence."""
    found = {}
    for number, task in enumerate(tasks):
        for kind, sentence in (("own", task), ("other", tasks[(number + 1) % len(tasks)])):
            episodes = count if kind == "own" else count // 2
            save(folder, told(agent, sentence))
            played = real_success(folder, task, c.simulator, evaluation_seeds(episodes), 0)
            found.setdefault(kind, {})[task] = [sum(played.success), episodes]
    return found


def rate(pairs: list[list[int]]) -> str:
    """A pooled rate with its 95 % Wilson interval."""
    hits, count = (sum(each) for each in zip(*pairs, strict=True))
    low, high = wilson_interval(hits, count)
    return f"{hits}/{count} = {100 * hits / count:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def table(found: dict[str, Any]) -> str:
    """Markdown: policies by row, tasks and their mean by column."""
    tasks = list(next(iter(found.values()))["imagined"])
    rows = [f"| policy | where | {' | '.join(tasks)} | all |", "|---" * (len(tasks) + 3) + "|"]
    for name, each in found.items():
        kinds = {"world model": each["imagined"], "simulator": each["real"]["own"]}
        kinds["simulator, another task's sentence"] = each["real"]["other"]
        for where, counts in kinds.items():
            cells = " | ".join(f"{hits}/{count}" for hits, count in counts.values())
            rows.append(f"| {name} | {where} | {cells} | {rate(list(counts.values()))} |")
    return "\n".join(rows)


def main() -> None:
    """Do what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--demonstrations", type=int, default=5)
    parser.add_argument("--cloning-steps", type=int, default=600)
    parser.add_argument("--world-steps", type=int, default=2000)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--denoising", type=int, default=3)
    parser.add_argument("--judge-steps", type=int, default=400)
    parser.add_argument("--least-kappa", type=float, default=0.4)
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--minibatch", type=int, default=160, help="decisions of one gradient step")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3, help="iterations in which only PPO's critic learns")
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--scored", type=int, default=63, help="imagined episodes that score an iterate")
    parser.add_argument("--episodes", type=int, default=20, help="in the simulator, of each task")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    video, c = demonstrated(args.video, args.out, args.demonstrations), settings(args)
    own = OwnData.of(video.absolute())
    resolved = Resolved(RunSpec("world-gymnast", "drawer-open-v3", args.seed, own), c)
    stages, plan = arms(c, resolved, args), resolved.plan
    run = args.out / "run"
    execute_targets(run, resolved, (plan.models.reward, *stages.values()), How(threads=1))
    data = whole(run / plan.data.name, **SEES)
    models = Models(load(run / plan.models.world.name), load(run / plan.models.reward.name))
    path = args.out / "results.json"
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    for name, each in stages.items():
        if name in found:
            continue
        agent = load_agent(run / each.name)
        found[name] = {
            "imagined": in_imagination(agent, models, data, c, args.scored // 3),
            "real": in_simulator(agent, args.out / "playing", data.task_names, c, args.episodes),
        }
        write_json(path, found)
    print(table(found))
    print(json.dumps(read_json(run / plan.models.reward.name / "judge.json")))


if __name__ == "__main__":
    main()
