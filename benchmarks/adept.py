"""ADEPT's parts on an own offline set: what weights do to the world model where the policy goes, and to true returns.

    python benchmarks/adept.py --set runs/offline-sets/HalfCheetah-v5/medium-replay --seeds 0 1 2 --out runs/adept

One run folder a seed: the world model, the reward, the clone and the behaviour's density once, one refinement for each
arm, all with the same SAC and the same numbers of steps: weights or none (the world model takes as many further steps,
with weights of one) or a world model that stays as it is; penalty, penalty and halting, or neither. No iterate is
chosen: the last one counts, to which the world model has adapted. Then each policy plays in the simulator from fresh
starts, without noise, which tells true returns; and, exploring, for 5 steps from 400 recorded states that the simulator
is put in, which is what imagination does. On both (`errors` and `near`) the errors after 1 and 5 steps are told of the
world model that the arm ended with, of the one that learned on with weights of one, and of the one that did not learn
on. Normalised
returns: 0 is random motion, 100 the SAC policy that the expert episodes are from. Own sets, not D4RL. Errors: root mean
square over dimensions in standard deviations of the data, averaged over windows. Resumable.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from burnish.components import load
from burnish.data import STATE, Dataset, Episode, read_dataset
from burnish.evaluation.correlation import spearman
from burnish.evaluation.intervals import mean_interval
from burnish.evaluation.prediction import open_loop
from burnish.evaluation.real import evaluation_seeds, play
from burnish.imagination.pessimism import Rule
from burnish.pipeline import SharedRun, Stage, StageContext, execute, stage
from burnish.pipeline.run import Run
from burnish.policies import Agent
from burnish.recipes import base
from burnish.recipes.adept import ADEPT
from burnish.recipes.own_data import OwnData
from burnish.recipes.presets.adept import RECIPE
from burnish.recipes.runs import Resolved
from burnish.recipes.stages.adapting import ADAPTED, adapt_policy
from burnish.recipes.stages.data import recorded_scaling
from burnish.simulators.settings import SimulatorConfig
from burnish.storage import read_json, write_json
from burnish.training import ALONE
from burnish.world_models import GuidedDiffusion

ARMS: dict[str, tuple[dict[str, Any], Rule]] = {
    "weights": ({}, "none"),
    "no_weights": ({"weighted": False}, "none"),
    "static": ({"steps": 0}, "none"),
    "weights_penalty": ({}, "penalty"),
    "static_penalty": ({"steps": 0}, "penalty"),
    "weights_both": ({}, "both"),
}
"""Changes of the learner's settings, and the rule of pessimism."""


def settings(args: argparse.Namespace, arm: str) -> ADEPT:
    """The recipe's configuration at the size of this measurement."""
    c: ADEPT = RECIPE.preset("default")
    changes, rule = ARMS[arm]
    sac = replace(
        c.learner.sac,
        gradient_steps=args.gradient_steps,
        batch_size=128,
        critic_hidden=(128, 128),
        entropy=args.entropy,
        value_learning_rate=1e-3,
        polyak=0.02,
        critic_warmup=args.iterations // 4,
    )
    pessimism = replace(c.imagination.pessimism, rule=rule, weight=args.penalty)
    return replace(
        c,
        world_model=replace(c.world_model, width=args.width, depth=2),
        world_model_training=replace(c.world_model_training, steps=args.steps, batch_size=args.batch),
        policy=replace(c.policy, hidden=(128, 128)),
        imagination=replace(c.imagination, num_envs=args.envs, pessimism=pessimism),
        learner=replace(c.learner, sac=sac, batch_size=args.batch, **{"steps": args.adapt_steps, **changes}),
        refine=replace(
            c.refine, iterations=args.iterations, evaluate_every=args.iterations, imagined_episodes=16, margin=-1e9
        ),
    )


def adapt(context: StageContext, data: tuple[Dataset, Any], limit: int, **settings: Any) -> Agent:
    """The recipe's refinement, in which imagined episodes that only compare iterates are short."""
    short = replace(data[0], info=replace(data[0].info, max_steps=limit))
    return adapt_policy(context, data=(short, data[1]), **settings)


def graph(args: argparse.Namespace, run: base.RunSpec) -> tuple[base.Plan, dict[str, Stage]]:
    """What all arms share, and each arm's refinement."""
    plan = RECIPE.build(settings(args, "weights"), run)
    arms = {}
    for arm in args.arms:
        refined = RECIPE.build(settings(args, arm), run).refined
        own = {"policy": plan.policy, "models": plan.models, "data": plan.refined.arguments["data"]}
        arms[arm] = stage(adapt, f"refined_{arm}", **{**refined.arguments, **own}, limit=100)
    return plan, arms


def errors(world: GuidedDiffusion, seen: Dataset, seed: int) -> dict[str, float]:
    """Mean errors after 1 and 5 steps, and how well the deviation ranks the former."""
    found = open_loop(world, seen, 5, seed, disagreement=world, limit=2000)
    assert found.disagreement is not None
    return {
        "one": float(found.model_error[:, 0].mean()),
        "five": float(found.model_error[:, 4].mean()),
        "hold": float(found.hold_error[:, 0].mean()),
        "rank": spearman(found.disagreement[:, 0], found.model_error[:, 0]),
    }


def branched(folder: Path, name: str, task: str, seed: int, count: int = 400) -> Dataset | None:
    """Five steps of the exploring policy in the simulator from each of `count` recorded states, put there; None where
    an observation does not tell the simulator's state: then a recorded transition does not come out again."""
    data, agent = read_dataset(folder / "dataset"), load(folder / name, Agent)
    env: Any = gymnasium.make(task.removeprefix("gym:")).unwrapped
    env.reset(seed=seed)
    states = data.observations[STATE]

    def put(frame: int) -> np.ndarray:
        observation = states[frame].double().numpy()
        joints = env.model.nq - 1  # all but how far it has come
        env.set_state(np.concatenate([[0.0], observation[:joints]]), observation[joints : joints + env.model.nv])
        return observation.astype(np.float32)

    put(1)
    if not np.allclose(env.step(data.actions[1].numpy())[0], states[2].numpy(), atol=1e-3):
        return None
    generator, episodes = torch.Generator().manual_seed(seed), []
    for index, frame in enumerate(torch.randperm(data.num_frames, generator=generator)[:count].tolist()):
        frames, actions = [put(frame)], []
        for _ in range(5):
            features = agent.observer.normaliser.normalise(torch.from_numpy(frames[-1])[None])
            with torch.no_grad():
                actions.append(agent.policy.act(features, False, generator).action_chunk[0, 0].numpy())
            frames.append(env.step(actions[-1])[0].astype(np.float32))
        none = np.zeros(6, bool)
        episodes.append(
            Episode({STATE: np.stack(frames)}, np.stack([*actions, actions[-1]]), none, name, index, "near")
        )
    return Dataset.from_episodes(episodes, data.info)


def judged(args: argparse.Namespace, folder: Path, name: str, worlds: dict[str, Path], task: str) -> dict[str, Any]:
    """What one policy does in the simulator, and what the worlds say to it; kept in judged_NAME.json."""
    path = folder / f"judged_{name}.json"
    if path.exists():
        return read_json(path)
    played: list[Episode] = list(play(folder / name, task, SimulatorConfig(), evaluation_seeds(args.episodes), 0))
    info = read_dataset(folder / "dataset").info
    seen = Dataset.from_episodes(played, info).scaled(recorded_scaling(folder / "dataset"))
    found = {
        "returns": [float(each.reward.sum()) for each in played if each.reward is not None],
        "errors": {each: errors(load(place, GuidedDiffusion), seen, 0) for each, place in worlds.items()},
    }
    near = branched(folder, name, task, 0)
    if near is not None and recorded_scaling(folder / "dataset") is None:
        found["near"] = {each: errors(load(place, GuidedDiffusion), near, 0) for each, place in worlds.items()}
    write_json(path, found)
    return found


def measured(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """All arms of one seed."""
    task = f"gym:{args.set.parent.name}"
    own = OwnData.of(args.set.absolute())
    run = base.RunSpec("adept", own.task(None), seed, own, task)
    plan, arms = graph(args, run)
    folder = args.out / f"{args.set.parent.name}-{args.set.name}-{seed}"
    c = settings(args, "weights")
    with Run.create(folder, "adept", run.task, seed, Resolved(run, c).settings()) as opened:
        execute([plan.policy, *arms.values()], SharedRun(opened, opened.folder, ALONE))
        seconds = {arm: opened.stage_info(each.name)["seconds"] for arm, each in arms.items()}
        likelihood = opened.stage_info("behaviour")["outputs"]["log_likelihood"]
    reference = read_json(args.set.parent / "reference.json")
    span = reference["expert"] - reference["random"]
    rows = {}
    ended = {arm: folder / f"refined_{arm}" / ADAPTED for arm in arms}
    for name in ["policy", *(each.name for each in arms.values())]:
        arm = name.removeprefix("refined_")
        worlds = {"static": folder / "world_model"}
        worlds |= {each: ended[each] for each in ("no_weights", "weights", arm) if each in ended}
        found = judged(args, folder, name, worlds, task)
        returns = [100 * (value - reference["random"]) / span for value in found["returns"]]
        mean, low, high = mean_interval(returns)
        rows[arm] = {"true": mean, "low": low, "high": high, "errors": found["errors"]}
        rows[arm] |= {"near": found.get("near", {}), "seconds": seconds.get(arm)}
        if arm in arms:
            rows[arm]["weights"] = weights(folder / name)
    behaviour = 100 * (reference["behaviour"][args.set.name] - reference["random"]) / span
    return {"set": str(args.set), "seed": seed, "behaviour": behaviour, "likelihood": likelihood, "rows": rows}


def weights(folder: Path) -> dict[str, float]:
    """What became of the weights when the world model last learned."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    last = next((row for row in reversed(rows) if "weights/effective" in row), {})
    return {name: value for name, value in last.items() if name.startswith(("weights/", "world/"))}


def main() -> None:
    """Do what is left to do, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--steps", type=int, default=1500, help="of the world model, before any refinement")
    parser.add_argument("--adapt-steps", type=int, default=100, help="of the world model, after every tenth update")
    parser.add_argument("--batch", type=int, default=128, help="of the world model")
    parser.add_argument("--width", type=int, default=128, help="of the world model")
    parser.add_argument("--envs", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=80, help="updates of the policy")
    parser.add_argument("--gradient-steps", type=int, default=20, help="of SAC in each")
    parser.add_argument("--entropy", type=float, default=0.02, help="SAC's weight of it at the beginning")
    parser.add_argument("--penalty", type=float, default=0.1, help="for one threshold of deviation")
    parser.add_argument("--episodes", type=int, default=3, help="true ones of each policy")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in args.seeds:
        found = measured(args, seed)
        (args.out / f"{args.set.parent.name}-{args.set.name}-{seed}.json").write_text(json.dumps(found))
        likelihood = found["likelihood"]
        print(f"{args.set}, seed {seed}: behaviour {found['behaviour']:.1f}, log-likelihood {likelihood}", flush=True)
        for name, row in found["rows"].items():
            told = " | ".join(
                " ".join(f"{each}:{e['one']:.3f}/{e['five']:.3f}" for each, e in row[where].items())
                for where in ("near", "errors")
            )
            weight = {key.partition("/")[2]: round(value, 3) for key, value in row.get("weights", {}).items()}
            print(f"| {name} | {row['true']:.1f} | {told} | {weight} | {row['seconds'] or 0:.0f} |", flush=True)


if __name__ == "__main__":
    main()
