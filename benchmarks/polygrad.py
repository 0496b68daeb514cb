"""PolyGRAD on own offline sets: are guided trajectories true, are their actions the policy's, and what is learned.

    python benchmarks/polygrad.py --set runs/offline-sets/HalfCheetah-v5/medium --seeds 0 --out runs/polygrad

One run folder a seed, with the recipe's stages: the denoiser of windows, the clone, A2C on guided trajectories; and
beside them the same denoiser with windows of one step (autoregressive diffusion), and A2C inside that one with as many
decisions. The same updates and batches; a trajectory of H steps costs both as many calls of the denoiser, or
nearly: the levels of one window are shared out among H steps.

First the clone's trajectories from recorded states that no model learned from. Their actions are replayed in the
simulator from the same states: root mean square error over dimensions, in standard deviations of the data, by step.
Every row replays its own actions. Held: the first state, under the guided actions. Processor seconds are of all rows'
trajectories together. Then true returns from fresh starts, normalised by `reference.json` beside the set (0: random
motion, 100: the SAC policy of the expert episodes). Own sets, not D4RL. What is there is not made again.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from burnish.components import load
from burnish.data import STATE, Dataset
from burnish.evaluation.intervals import mean_interval
from burnish.evaluation.real import evaluation_seeds, play
from burnish.imagination import GuidanceConfig, ImaginationConfig, Trajectories, guided
from burnish.imagination.guidance import tuned
from burnish.pipeline import SharedRun, Stage, StageContext, execute, stage
from burnish.pipeline.run import Run
from burnish.policies import Agent, load_agent
from burnish.recipes import base
from burnish.recipes.own_data import OwnData
from burnish.recipes.polygrad import PolyGRAD, keep_reward, train_world_model
from burnish.recipes.presets.polygrad import RECIPE
from burnish.recipes.runs import Resolved
from burnish.recipes.stages.refining import refine_policy
from burnish.simulators.settings import SimulatorConfig
from burnish.storage import read_json, write_json
from burnish.training import ALONE
from burnish.world_models import SamplerConfig, TrajectoryDenoiser, TrajectoryState, TrajectoryWindows

TUNING = 40
MEAN_AT = 5.0
"""A level of noise at which nothing is seen of the trajectory, so that its mean is what is predicted."""


def settings(args: argparse.Namespace) -> PolyGRAD:
    """The recipe's configuration at the size of this measurement."""
    c: PolyGRAD = RECIPE.preset("default")
    width = args.causal_width if args.network == "causal" else args.width
    return replace(
        c,
        world_model=replace(c.world_model, network=args.network, width=width, depth=args.depth),
        world_model_training=replace(c.world_model_training, steps=args.steps, batch_size=args.batch),
        imagination=replace(c.imagination, num_envs=args.envs),
        refine=replace(
            c.refine, iterations=args.iterations, evaluate_every=max(1, args.iterations // 4), imagined_episodes=32
        ),
    )


def refine(context: StageContext, data: Dataset, limit: int, **settings: Any) -> Agent:
    """The recipe's refinement, whose iterates are compared over `limit` steps: those of a thousand cost minutes."""
    return refine_policy(context, data=replace(data, info=replace(data.info, max_steps=limit)), **settings)


def graph(args: argparse.Namespace, c: PolyGRAD, run: base.RunSpec) -> dict[str, Stage]:
    """The stages that are measured, by name."""
    plan = RECIPE.build(c, run)
    levels = c.imagination.guidance.sampler.steps // c.world_model.horizon
    # The single steps have the published network, whatever that of the windows is.
    single_size = {"network": "mlp", "width": args.width, "depth": args.depth, "horizon": 1, "hidden_share": 0.0}
    alone = replace(c.world_model, **single_size, sampler=SamplerConfig(steps=levels, sigma_max=5.0))
    own = {"model": alone, "training": c.world_model_training, "seed": run.seed}
    single = stage(train_world_model, "autoregressive", data=plan.seen.split(c.held_out), **own)
    stepwise = {each: getattr(c.imagination, each) for each in ("num_envs", "starts", "pessimism")}
    inside = base.Models(single, stage(keep_reward, "autoregressive_reward", world=single))
    by_steps = {
        "models": inside,
        "imagination": ImaginationConfig(horizon=c.a2c.rollout_steps, **stepwise),
        "limit": args.limit,
    }
    return {
        "world": plan.models.world,
        "autoregressive": single,
        "clone": plan.policy,
        "A2C, guided": stage(refine, "guided", **plan.refined.arguments, limit=args.limit),
        "A2C, autoregressive": stage(refine, "stepwise", **{**plan.refined.arguments, **by_steps}),
    }


class Simulator:
    """A MuJoCo task of Gymnasium whose observation is its state but for the place along the track."""

    def __init__(self, name: str) -> None:
        self.env: Any = gymnasium.make(name).unwrapped
        self.positions = self.env.model.nq

    def replay(self, start: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Observations (T, D) and rewards (T,) of the actions (T, A) in [-1, 1], from the observation `start` (D,)."""
        self.env.reset(seed=0)
        self.env.set_state(np.append(0.0, start[: self.positions - 1]), start[self.positions - 1 :])
        space = self.env.action_space
        scaled = space.low + (np.clip(actions, -1, 1) + 1) / 2 * (space.high - space.low)
        stepped = [self.env.step(action.astype(np.float32)) for action in scaled]
        return np.stack([each[0] for each in stepped]), np.array([each[1] for each in stepped])


@torch.no_grad()
def stepwise(world: TrajectoryDenoiser, states: TrajectoryState, policy: Any, steps: int, seed: int) -> Trajectories:
    """Autoregressive trajectories: the policy decides at each imagined state."""
    generator = torch.Generator().manual_seed(seed)
    features, actions, rewards, standardised = [world.features(states)], [], [], []
    for _ in range(steps):
        mean, std = policy.distribution(features[-1])
        action = mean + std * torch.randn(mean.shape, generator=generator)
        states = world.imagine(states, action.clamp(-1, 1), generator)
        features.append(world.features(states))
        actions.append(action)
        rewards.append(states.reward)
        standardised.append((action - mean) / std)
    stacked = [torch.stack(each, 1) for each in (features, actions, rewards, standardised)]
    return Trajectories(stacked[0], stacked[1], stacked[2], torch.zeros_like(stacked[2], dtype=torch.bool), stacked[3])


def errors(simulator: Simulator, world: TrajectoryDenoiser, start: Tensor, found: Trajectories) -> dict[str, Any]:
    """Of the trajectories and of the held first state, by step, under the trajectories' own actions; mean rewards."""
    pairs = zip(start.double().numpy(), found.action.numpy(), strict=True)
    states, rewards = zip(*(simulator.replay(*pair) for pair in pairs), strict=True)
    following = world.normaliser.normalise(torch.from_numpy(np.stack(states)).float())
    wrong, held = (_by_step(value, following) for value in (found.features[:, 1:], found.features[:, :1]))
    reward = {"imagined_reward": float(found.reward.mean()), "true_reward": float(np.mean(rewards))}
    return {"error": wrong, "held": held, "deviation": float(found.deviation), **reward}


def _by_step(found: Tensor, true: Tensor) -> list[float]:
    return (found - true).square().mean(-1).mean(0).sqrt().tolist()


@torch.no_grad()
def hindsight(world: TrajectoryDenoiser, held_out: Dataset, rows: int, seed: int) -> dict[str, list[float]]:
    """The mean prediction's error by step on recorded windows, and where their later half has the actions of another.

    What was done later changes nothing about what was before; a denoiser that thinks so reads the policy that recorded.
    """
    windows, generator = TrajectoryWindows(held_out, world.config), torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(windows.first_frames), generator=generator)[:rows]
    known = torch.full_like(drawn, world.config.horizon)
    batch, half = windows.gather((windows.first_frames[drawn], known)), world.config.horizon // 2
    true, other = world.normaliser.normalise(batch.observation), batch.action.clone()
    other[:, half:] = batch.action.roll(1, 0)[:, half:]
    found = {}
    for name, actions in (("own", batch.action), ("later_from_others", other)):
        context = world.context(world.normaliser.normalise(batch.first), actions, batch.known)
        noise = torch.randn(*true.shape[:2], world.entry, generator=generator)
        clean = world.denoise(MEAN_AT * noise, MEAN_AT, context)
        found[name] = _by_step(clean[..., : world.observation_dim], true)[:half]
    return found


def trajectories(
    args: argparse.Namespace, guidance: GuidanceConfig, folder: Path, held_out: Dataset, seed: int
) -> dict[str, Any]:
    """What is wrong with each kind of trajectory of the clone, and with those of the refined policies."""
    world, single = (load(folder / name, TrajectoryDenoiser) for name in ("world_model", "autoregressive"))
    simulator, generator = Simulator(args.set.parent.name), torch.Generator().manual_seed(seed)
    drawn = torch.randperm(held_out.num_frames, generator=generator)[: args.starts]
    start = held_out.observations[STATE][drawn]
    states = world.observe(world.initial(len(start)), None, {STATE: start})
    found: dict[str, Any] = {}
    for whose in ("policy", "guided", "stepwise"):
        policy: Any = load_agent(folder / whose).policy
        scale, rows = torch.tensor(guidance.scale), {}
        for _ in range(TUNING):
            scale = tuned(scale, guided(world, states, policy, guidance, scale, generator).deviation, guidance)
        for name, mode in (("guided", "score"), ("drawn anew", "sample"), ("unguided", "none")):
            begun = time.process_time()
            made = guided(world, states, policy, replace(guidance, mode=mode), scale, generator)
            rows[name] = {"seconds": time.process_time() - begun, **errors(simulator, world, start, made)}
        begun = time.process_time()
        made = stepwise(single, states, policy, world.config.horizon, seed)
        rows["autoregressive"] = {"seconds": time.process_time() - begun, **errors(simulator, single, start, made)}
        found[whose] = rows | {"scale": float(scale)}
    return found | {"hindsight": hindsight(world, held_out, 2 * args.starts, seed)}


def measured(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Everything of one seed."""
    task, c = f"gym:{args.set.parent.name}", settings(args)
    own = OwnData.of(args.set.absolute())
    run = base.RunSpec("polygrad", own.task(None), seed, own, task)
    stages, folder = graph(args, c, run), args.out / f"{args.set.parent.name}-{args.set.name}-{seed}"
    with Run.create(folder, "polygrad", run.task, seed, Resolved(run, c).settings()) as opened:
        execute(list(stages.values()), SharedRun(opened, opened.folder, ALONE))
        seconds = {name: opened.stage_info(each.name)["seconds"] for name, each in stages.items()}
        noted = {name: opened.stage_info(each.name)["outputs"] for name, each in stages.items()}
    held = RECIPE.build(c, run).seen.split(c.held_out)
    _, held_out = held.function(folder / held.stage.name, **held.settings)
    path = folder / "trajectories.json"
    if not path.exists():
        write_json(path, trajectories(args, c.imagination.guidance, folder, held_out, seed))
    reference = read_json(args.set.parent / "reference.json")
    span = reference["expert"] - reference["random"]
    rows = {}
    for name in ("clone", "A2C, guided", "A2C, autoregressive"):
        path = folder / f"true_{stages[name].name}.json"
        if not path.exists():
            played = play(folder / stages[name].name, task, SimulatorConfig(), evaluation_seeds(args.episodes), 0)
            write_json(path, [float(episode.reward.sum()) for episode in played if episode.reward is not None])
        mean, low, high = mean_interval([100 * (value - reference["random"]) / span for value in read_json(path)])
        told = {key: noted[name][key] for key in ("imagined", "imagined_steps", "iteration") if key in noted[name]}
        rows[name] = {"true": mean, "low": low, "high": high, "seconds": seconds[name], **told}
    behaviour = 100 * (reference["behaviour"][args.set.name] - reference["random"]) / span
    return {
        "set": f"{args.set.parent.name}/{args.set.name}",
        "seed": seed,
        "behaviour": behaviour,
        "trajectories": read_json(folder / "trajectories.json"),
        "returns": rows,
        "training_seconds": {name: seconds[name] for name in ("world", "autoregressive")},
    }


def main() -> None:
    """Do what is left to do, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--steps", type=int, default=3000, help="of both denoisers")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--network", choices=("mlp", "causal"), default="causal", help="of the denoiser of windows")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--causal-width", type=int, default=96, help="of the causal network, in the place of width")
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--envs", type=int, default=256, help="trajectories of one update")
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--limit", type=int, default=100, help="steps over which iterates are compared")
    parser.add_argument("--starts", type=int, default=500, help="recorded states that trajectories begin at")
    parser.add_argument("--episodes", type=int, default=10, help="true ones of each policy")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in args.seeds:
        found = measured(args, seed)
        (args.out / f"{args.set.parent.name}-{args.set.name}-{seed}.json").write_text(json.dumps(found))
        print(f"{found['set']}, seed {seed}: behaviour {found['behaviour']:.1f}; seconds {found['training_seconds']}")
        made = found["trajectories"]
        for whose in ("policy", "guided", "stepwise"):
            for name, row in made[whose].items():
                if name != "scale":
                    by_step = " ".join(f"{row['error'][k - 1]:.3f}" for k in (1, 2, 5, len(row["error"])))
                    reward = f"{row['imagined_reward']:.3f} ({row['true_reward']:.3f})"
                    rest = f"{row['held'][-1]:.3f} | {row['deviation']:.3f} | {reward} | {row['seconds']:.1f}"
                    print(f"| {whose}: {name} | {by_step} | {rest} |")
        print(made["hindsight"])
        for name, row in found["returns"].items():
            print(f"| {name} | {row['true']:.1f} ({row['low']:.1f} to {row['high']:.1f}) | {row['seconds']:.0f} |")


if __name__ == "__main__":
    main()
