"""DAWM on own offline sets: inverse dynamics, synthetic transitions against the simulator, learners with and without.

    python benchmarks/dawm.py --sets runs/offline-sets/HalfCheetah-v5/medium --seeds 0 1 --out runs/dawm
    python benchmarks/dawm.py --sets … --shares 0 0.25 0.5 0.75 0.9 --learners td3_bc --out runs/dawm

One run folder for each set and seed: the diffusion model, inverse dynamics, synthetic transitions and the clone once,
then a policy for each learner and share of synthetic data, with the same updates; share 0 is the learner on real data
alone. Each policy plays fresh starts in the simulator. Returns are normalised by `reference.json` beside the set: 0 is
random motion, 100 the policy that the expert episodes are from. Own sets, not D4RL.

Against the simulator: MuJoCo is put into the state that a synthetic transition begins with, takes its action, and says
what follows and what is earned. That needs observations that are the state but for the root's position, which nothing
depends on (HalfCheetah, Hopper, Walker2d; Ant's contact forces cannot be put anywhere). Recorded transitions go the
same way, for what this costs by itself. What is there is not done again.
"""

import argparse
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from burnish.components import frozen, load
from burnish.data import STATE, Dataset
from burnish.evaluation.intervals import mean_interval
from burnish.evaluation.real import evaluation_seeds, play
from burnish.networks import TrajectoryNetworkConfig
from burnish.pipeline import SharedRun, Stage, execute, stage
from burnish.pipeline.run import Run
from burnish.recipes import base
from burnish.recipes.dawm import DAWM, Learners
from burnish.recipes.own_data import OwnData
from burnish.recipes.presets.dawm import RECIPE
from burnish.recipes.runs import Resolved
from burnish.recipes.stages.data import split
from burnish.recipes.stages.synthesis import learn_on_both
from burnish.rl import TransitionBatch
from burnish.simulators.settings import SimulatorConfig
from burnish.storage import read_json, write_json
from burnish.training import ALONE
from burnish.world_models import InverseDynamics, ReturnDiffusion, ReturnWindows, window_return

OPTIMISM = (None, 0.0, 0.5, 1.0, 2.0)
COMPARED = 512
"""Trajectories that are compared with the simulator."""


def settings(args: argparse.Namespace) -> DAWM:
    """The recipe's configuration at the size of this measurement."""
    c: DAWM = RECIPE.preset("default")
    hidden, learners = (args.hidden, args.hidden), Learners()
    network = TrajectoryNetworkConfig(args.network, args.width, args.depth)
    return replace(
        c,
        world_model=replace(
            c.world_model,
            network=network,
            horizon=args.horizon,
            sampler=replace(c.world_model.sampler, steps=args.sampler_steps),
        ),
        world_model_training=replace(c.world_model_training, steps=args.steps),
        inverse_dynamics_training=replace(c.inverse_dynamics_training, steps=args.inverse_steps),
        pretraining=replace(c.pretraining, steps=args.inverse_steps),
        synthesis=replace(c.synthesis, trajectories=args.trajectories, optimism=args.optimism),
        learners=Learners(
            td3_bc=replace(learners.td3_bc, critic_hidden=hidden),
            td3_bc_policy=replace(learners.td3_bc_policy, hidden=hidden),
            iql=replace(learners.iql, critic_hidden=hidden),
            iql_policy=replace(learners.iql_policy, hidden=hidden),
            training=replace(learners.training, steps=args.updates, batch_size=args.batch, learning_rate=args.rate),
        ),
    )


def policies(c: DAWM, run: base.RunSpec, args: argparse.Namespace) -> dict[str, Stage]:
    """The stage of each policy by its name."""
    plan = RECIPE.build(c, run)
    found = {"clone of the best quarter": plan.policy}
    for learner in args.learners:
        for share in args.shares:
            own = {"learner": learner, "share": share, "settings": c.learners.of(learner)}
            name = f"{learner}_{share:g}".replace(".", "_")
            found[f"{learner} {share:g}"] = stage(learn_on_both, name, **{**plan.refined.arguments, **own})
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The simulator as judge of transitions.


def simulated(name: str, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """What MuJoCo says follows states and actions, (N, D), and what is earned, (N,)."""
    env: Any = gymnasium.make(name).unwrapped
    env.reset(seed=0)
    rows = observation.double().numpy()
    root = env.model.nq + env.model.nv - rows.shape[1]
    assert root in (0, 1), f"{name}: the observation is no state that could be set"
    following, reward = np.zeros_like(rows), np.zeros(len(rows))
    for index, (row, act) in enumerate(zip(rows, action.numpy(), strict=True)):
        state = np.concatenate([np.zeros(root), row])
        env.set_state(state[: env.model.nq], state[env.model.nq :])
        following[index], reward[index], *_ = env.step(np.clip(act, -1, 1))
    env.close()
    return torch.from_numpy(following).float(), torch.from_numpy(reward).float()


def against(name: str, rows: TransitionBatch, std: Tensor) -> dict[str, float]:
    """How far transitions are from the simulator's: shares of the true changes' and of the rewards' variance."""
    following, reward = simulated(name, rows.features, rows.action)
    wrong = ((rows.next_features - following) / std).square().mean()
    moved = ((following - rows.features) / std).square().mean()
    off = rows.reward - reward
    return {
        "state": float(wrong / moved),
        "reward": float(off.square().mean() / reward.var()),
        "reward_bias": float(off.mean()),
        "reward_std": float(reward.std()),
    }


def compared(folder: Path, name: str, data: Dataset, seed: int) -> dict[str, Any]:
    """Synthetic transitions of held-out starts against the simulator, by what is asked for and by step."""
    world, inverse = (frozen(load(folder / each)) for each in ("world_model", "inverse_dynamics"))
    assert isinstance(world, ReturnDiffusion) and isinstance(inverse, InverseDynamics)
    generator = torch.Generator().manual_seed(seed)
    batch = ReturnWindows(data, world.config.horizon).sample(COMPARED, generator)
    frames, std = batch.observation[STATE], world.normaliser.std
    assert batch.reward is not None
    first = TransitionBatch(
        frames[:, 0], batch.action[:, 0], batch.reward[:, 1], torch.zeros(len(frames)).bool(), frames[:, 1]
    )
    found: dict[str, Any] = {"recorded": against(name, first, std)}
    recorded = window_return(batch, world.config.gamma)
    for optimism in OPTIMISM:
        asked = None if optimism is None else recorded + optimism * world.return_std
        made = world.generate(frames[:, 0], batch.action[:, 0], asked, generator)
        rows = {"asked": None if asked is None else float(asked.mean()), "met": float(world.returns(made).mean())}
        rows |= {"recorded": float(recorded.mean()), "steps": []}
        for k in range(world.config.horizon):
            before, after = made.observation[:, k], made.observation[:, k + 1]
            with torch.no_grad():
                action = batch.action[:, 0] if k == 0 else inverse(before, after)
            rows["steps"].append(
                against(name, TransitionBatch(before, action, made.reward[:, k], made.ended[:, k], after), std)
            )
        found["unasked" if optimism is None else f"{optimism:g}"] = rows
    return found


# ---------------------------------------------------------------------------------------------------------------------
# One set and seed.


def kept(path: Path, of: list[Any], make: Callable[[], Any]) -> Any:
    """What a file holds; made where there is none, or one of something else than `of`."""
    if not path.exists() or read_json(path)["of"] != of:
        write_json(path, {"of": of, "found": make()})
    return read_json(path)["found"]


def played(policy: Path, task: str, episodes: int) -> list[float]:
    """Returns of fresh starts in the simulator."""
    found = play(policy, task, SimulatorConfig(), evaluation_seeds(episodes), 0)
    return [float(episode.reward.sum()) for episode in found if episode.reward is not None]


def measured(args: argparse.Namespace, data: Path, seed: int) -> dict[str, Any]:
    """All policies' true returns, what inverse dynamics explain, and the comparison with the simulator."""
    environment = data.parent.name
    own = OwnData.of(data.absolute())
    task = f"gym:{environment}"
    run, c = base.RunSpec("dawm", own.task(None), seed, own, task), settings(args)
    found, folder = policies(c, run, args), args.out / f"{environment}-{data.name}-{seed}"
    with Run.create(folder, "dawm", run.task, seed, Resolved(run, c).settings()) as opened:
        execute(list(found.values()), SharedRun(opened, opened.folder, ALONE))
        info = {name: opened.stage_info(each.name) for name, each in found.items()}
        own_stages = {name: opened.stage_info(name) for name in ("world_model", "inverse_dynamics", "synthetic")}
    reference = read_json(data.parent / "reference.json")
    span = reference["expert"] - reference["random"]

    def normalised(value: float) -> float:
        return 100 * (value - reference["random"]) / span

    rows: dict[str, Any] = {}
    for name, each in found.items():
        returns = kept(
            folder / f"true_{each.name}.json",
            [info[name]["content"], args.episodes],
            functools.partial(played, folder / each.name, task, args.episodes),
        )
        mean, low, high = mean_interval([normalised(value) for value in returns])
        rows[name] = {"true": mean, "low": low, "high": high, "seconds": info[name]["seconds"]}
    _, held_out = split(folder / "dataset", c.held_out, cameras=(), states=True, reward=c.reward)
    simulator = kept(
        folder / "against_the_simulator.json",
        [own_stages[name]["content"] for name in ("world_model", "inverse_dynamics")],
        functools.partial(compared, folder, environment, held_out, seed),
    )
    return {
        "behaviour": normalised(reference["behaviour"][data.name]),
        "rows": rows,
        "inverse": own_stages["inverse_dynamics"]["outputs"]["held_out"],
        "synthetic": own_stages["synthetic"]["outputs"]["synthetic"],
        "simulator": simulator,
        "seconds": {name: each["seconds"] for name, each in own_stages.items()},
    }


def show(name: str, seed: int, found: dict[str, Any]) -> None:
    """One set and seed as text."""
    print(f"{name}, seed {seed}: behaviour {found['behaviour']:.1f}, seconds {found['seconds']}")
    print(f"  inverse dynamics {found['inverse']}")
    print(f"  synthetic {found['synthetic']}")
    for what, row in found["rows"].items():
        print(f"  | {what} | {row['true']:.1f} ({row['low']:.1f} to {row['high']:.1f}) | {row['seconds']:.0f} s |")
    print(f"  recorded, in the simulator again: {found['simulator']['recorded']}")
    for what in ("unasked", *(f"{each:g}" for each in OPTIMISM if each is not None)):
        rows = found["simulator"][what]
        told = [f"{step['state']:.3f}/{step['reward']:.3f}/{step['reward_bias']:+.3f}" for step in rows["steps"]]
        asked = "–" if rows["asked"] is None else f"{rows['asked']:.2f}"
        print(
            f"  asked +{what}: {asked}, met {rows['met']:.2f}; state/reward/bias by step: {' '.join(told)}", flush=True
        )


def main() -> None:
    """Do what is left to do, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1))
    parser.add_argument("--learners", nargs="+", default=("td3_bc", "iql"))
    parser.add_argument("--shares", nargs="+", type=float, default=(0.0, 0.5), help="of synthetic transitions")
    parser.add_argument("--optimism", type=float, default=0.5, help="of the returns asked for, in standard deviations")
    parser.add_argument("--network", choices=("mlp", "unet"), default="mlp")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--horizon", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5000, help="of the diffusion model")
    parser.add_argument("--sampler-steps", type=int, default=20, help="of its samples")
    parser.add_argument("--inverse-steps", type=int, default=2000, help="of inverse dynamics, and of the clone")
    parser.add_argument("--trajectories", type=int, default=5000)
    parser.add_argument("--updates", type=int, default=20_000, help="of each learner")
    parser.add_argument("--batch", type=int, default=256, help="of each learner")
    parser.add_argument("--hidden", type=int, default=256, help="of each learner's networks")
    parser.add_argument("--rate", type=float, default=3e-4, help="of each learner")
    parser.add_argument("--episodes", type=int, default=10, help="true ones of each policy")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in args.seeds:
        for data in args.sets:
            found = measured(args, data, seed)
            name = f"{data.parent.name}-{data.name}"
            write_json(args.out / f"{name}-{seed}.json", found)
            show(name, seed, found)


if __name__ == "__main__":
    main()
