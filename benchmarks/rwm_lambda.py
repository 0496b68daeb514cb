"""RWM-O's λ on an own offline set, chosen without the simulator, beside cheap alternatives on the same data.

    python benchmarks/rwm_lambda.py --set runs/offline-sets/HalfCheetah-v5/medium-replay --seeds 0 --out runs/rwm-lambda

One run folder a seed: the world model, the reward and the clone once, one refinement for each λ, TD3+BC and IQL on the
same transitions. Every policy is then judged twice. First in imagination, by two ensembles (and rewards) that learned
from other halves of the data with other seeds, and that halt as the trust gate's do where they do not know the data any
more: the λ whose policy has the highest return in the worse of the two is chosen. Only then in the simulator, from
fresh starts, for the table. Returns are normalised by `reference.json` beside the set: 0 is random motion, 100 the SAC
policy that the expert episodes are from. Own sets, not D4RL. Imagined returns are those of `--limit` steps, in the
environment's units.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from burnish.data import Dataset
from burnish.evaluation.intervals import mean_interval
from burnish.evaluation.real import evaluation_seeds, play
from burnish.pipeline import SharedRun, Stage, StageContext, execute, naming, stage
from burnish.pipeline.run import Run
from burnish.policies import Agent
from burnish.recipes import base
from burnish.recipes.methods import BaselineConfig, train_iql, train_td3_bc
from burnish.recipes.own_data import OwnData
from burnish.recipes.presets.rwm import RECIPE
from burnish.recipes.runs import Resolved
from burnish.recipes.rwm import RWM, models
from burnish.recipes.stages.cloning import Cloning, clone_newest
from burnish.recipes.stages.gate import plays
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.refining import inside, refine_policy
from burnish.simulators.settings import SimulatorConfig
from burnish.storage import read_json, write_json
from burnish.training import ALONE

LAMBDAS = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
JUDGED = "judged.json"


def settings(args: argparse.Namespace) -> RWM:
    """The recipe's configuration at the size of this measurement."""
    c: RWM = RECIPE.preset("default")
    return replace(
        c,
        world_model=replace(c.world_model, hidden=args.hidden, head=(args.hidden,), trunk=args.trunk),
        world_model_training=replace(c.world_model_training, steps=args.steps, batch_size=args.batch),
        pretraining=replace(c.pretraining, steps=args.steps),
        classifier_training=replace(c.classifier_training, steps=args.steps),
        imagination=replace(c.imagination, num_envs=args.envs, horizon=args.horizon),
        ppo=replace(c.ppo, critic_warmup=min(c.ppo.critic_warmup, args.iterations // 8)),
        refine=replace(
            c.refine, iterations=args.iterations, evaluate_every=max(1, args.iterations // 3), imagined_episodes=32
        ),
    )


def limited(data: Dataset, limit: int) -> Dataset:
    """The data, with imagined episodes of so many steps: those of a thousand cost minutes and say little more."""
    return replace(data, info=replace(data.info, max_steps=limit))


def refine(context: StageContext, data: Dataset, limit: int, **settings: Any) -> Agent:
    """The recipe's refinement, whose iterates are compared over `limit` steps."""
    return refine_policy(context, data=limited(data, limit), **settings)


def judge(
    context: StageContext,
    worlds: Sequence[base.Models],
    data: Dataset,
    policies: Mapping[str, Agent],
    limit: int,
    seed: int,
) -> None:
    """Each policy's mean imagined return in worlds that nobody was refined in; judged.json has one number a world, with
    halting and ("hopeful") without."""
    data = limited(data, limit)
    frozen = [imagined(each, None, data) for each in worlds]
    found = {}
    for name, agent in policies.items():
        played = plays(inside(agent), frozen, data, 32, seed)
        found[name] = {
            "halting": [each.score for each in played],
            "hopeful": [float(each.returns.mean()) for each in played],
        }
    write_json(context.folder / JUDGED, found)


def graph(
    c: RWM, run: base.RunSpec, baselines: BaselineConfig, args: argparse.Namespace
) -> tuple[dict[str, Stage], Stage]:
    """The stage of each policy by its name, and that of the judgement in imagination."""
    limit, halves = args.limit, args.judges
    plan = RECIPE.build(c, run)
    policies = {"%BC": plan.policy}
    how = Cloning(c.policy, c.pretraining, c.cloning_noise, best_share=1.0)
    world = plan.models.world
    policies["BC"] = stage(clone_newest, "bc", data=plan.seen.whole, world=world, how=how, seed=run.seed, task=run.task)
    for name, body in (("TD3+BC", train_td3_bc), ("IQL", train_iql)):
        word = body.__name__.removeprefix("train_")
        own = {"data": plan.seen.whole, "policy": plan.policy, "baseline": baselines.of(word), "seed": run.seed}
        policies[name] = stage(body, word, **own)
    for weight in args.lambdas:
        pessimism = replace(c.imagination.pessimism, weight=weight)
        refined = RECIPE.build(replace(c, imagination=replace(c.imagination, pessimism=pessimism)), run).refined
        policies[f"λ = {weight:g}"] = stage(
            refine, f"refined_{weight:g}".replace(".", "_"), **refined.arguments, limit=limit
        )
    worlds = []
    for number in range(halves):
        with naming(f"half_{number}", role="gate"):
            worlds.append(models(c, plan.seen.fold(number, halves, run.seed), run.seed + 7919 * (number + 1)))
    own = {"data": plan.seen.whole, "policies": policies, "limit": limit, "seed": run.seed}
    judged = stage(judge, "judged", worlds=tuple(worlds), **own)
    return policies, judged


def measured(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """All policies of one seed: imagined returns in the other worlds, true returns, and what was chosen."""
    task = f"gym:{args.set.parent.name}"
    own = OwnData.of(args.set.absolute())
    run = base.RunSpec("rwm", own.task(None), seed, own, task)
    c, offline = settings(args), BaselineConfig()
    short = replace(offline.td3_bc_training, steps=args.offline_steps)
    offline = replace(offline, td3_bc_training=short, iql_training=short)
    policies, judged = graph(c, run, offline, args)
    folder = args.out / f"{args.set.parent.name}-{args.set.name}-{seed}"
    with Run.create(folder, "rwm", run.task, seed, Resolved(run, c).settings()) as opened:
        execute([judged], SharedRun(opened, opened.folder, ALONE))
        seconds = {name: opened.stage_info(each.name)["seconds"] for name, each in policies.items()}
        imagined_steps = {
            name: opened.stage_info(each.name)["outputs"].get("imagined_steps") for name, each in policies.items()
        }
    reference = read_json(args.set.parent / "reference.json")
    span = reference["expert"] - reference["random"]
    elsewhere, rows = read_json(folder / "judged" / JUDGED), {}
    for name, each in policies.items():
        path = folder / f"true_{each.name}.json"
        if not path.exists():
            played = play(folder / each.name, task, SimulatorConfig(), evaluation_seeds(args.episodes), 0)
            write_json(path, [float(episode.reward.sum()) for episode in played if episode.reward is not None])
        returns = [100 * (value - reference["random"]) / span for value in read_json(path)]
        mean, low, high = mean_interval(returns)
        rows[name] = {"true": mean, "low": low, "high": high, "seconds": seconds[name]}
        rows[name] |= {**elsewhere[name], "imagined_steps": imagined_steps[name]}
    weights = [name for name in rows if name.startswith("λ")] if args.judges else []
    choice = max(weights, key=lambda name: min(rows[name]["halting"]), default=None)
    behaviour = 100 * (reference["behaviour"][args.set.name] - reference["random"]) / span
    return {"set": str(args.set), "seed": seed, "behaviour": behaviour, "chosen": choice, "rows": rows}


def main() -> None:
    """Do what is left to do, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--lambdas", nargs="+", type=float, default=LAMBDAS)
    parser.add_argument("--judges", type=int, default=2, help="ensembles of other data; 0: λ is not chosen")
    parser.add_argument("--steps", type=int, default=2500, help="of the world model, the reward and the clones")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--trunk", choices=("shared", "own"), default="shared")
    parser.add_argument("--envs", type=int, default=512)
    parser.add_argument("--horizon", type=int, default=256)
    parser.add_argument("--limit", type=int, default=256, help="steps over which policies are compared in imagination")
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--offline-steps", type=int, default=20_000, help="of TD3+BC and IQL")
    parser.add_argument("--episodes", type=int, default=20, help="true ones of each policy")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in args.seeds:
        found = measured(args, seed)
        (args.out / f"{args.set.parent.name}-{args.set.name}-{seed}.json").write_text(json.dumps(found))
        print(f"{args.set}, seed {seed}: behaviour {found['behaviour']:.1f}, chosen {found['chosen']}")
        for name, row in found["rows"].items():
            halting, hopeful = (" / ".join(f"{value:.0f}" for value in row[key]) for key in ("halting", "hopeful"))
            true = f"{row['true']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
            print(f"| {name} | {true} | {halting} | {hopeful} | {row['seconds']:.0f} |")


if __name__ == "__main__":
    main()
