"""Imagination in the five systems on states beside the real simulator: steps per second of one core, in turns.

    python benchmarks/imagination_speed.py --out runs/imagination-speed

Networks, imagined environments and rollouts have the recipes' default sizes. Every model learns for one step, which
leaves about random weights: how fast they imagine does not depend on them. The data are random motion, a few episodes.
An imagined step is what refinement does of it: policy, world model, reward, uncertainty, restarts (DAWM: a transition
of a generated trajectory with the action that explains it). Learning is not counted, nor is making the models.

Beside it, in the same call and in turns, two real rates: Gymnasium's environment alone with actions that were drawn
before, resets included; and the same policy as in imagination, acting in ten environments of the simulator. Seconds are
the process's own (`time.process_time`), so that a busy machine does not count, and the clock's. Each turn's imagined
rate is divided by the rate of the real turn after it; the medians are shown, with the least and most of the ratios.
Floating-point operations of an imagined step are those of matrix products, as PyTorch counts them.
"""

import argparse
import json
import platform
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import torch
from torch.utils.flop_counter import FlopCounterMode

from burnish.components import frozen
from burnish.data import DatasetInfo, write_dataset
from burnish.imagination import GuidedConfig
from burnish.pipeline import SharedRun, Stage, StageContext, execute, stage
from burnish.pipeline.run import Run
from burnish.policies import Policy
from burnish.recipes.base import RunSpec, shortened
from burnish.recipes.catalogue import entry
from burnish.recipes.own_data import OwnData
from burnish.recipes.runs import Resolved
from burnish.recipes.stages.refining import imagined_env, inside
from burnish.recipes.stages.synthesis import as_transitions, generated
from burnish.rl import EnvExperience, GeneratedExperience
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import RandomActor
from burnish.simulators.real_env import RealEnv
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import suite_of
from burnish.storage import read_json, write_json
from burnish.training import ALONE
from burnish.world_models import ReturnWindows

RECIPES = ("rwm", "polygrad", "dawm", "s5wm", "adept")
EPISODES, LENGTH = 10, 200
GOING_ON = {"Hopper-v5": ("terminate_when_unhealthy=false",)}
"""Random motion falls before a window of training is over; nothing is slower or faster for an episode that goes on."""
REAL_ENVS, REAL_STEPS = 10, 60
RESULT = "speed.json"

Work = Callable[[], int]
"""Does some steps, and says how many."""


@dataclass(frozen=True)
class Measuring:
    """How much is measured, and beside which real environment."""

    task: str
    rounds: int
    least_seconds: float


def record(name: str, folder: Path) -> None:
    """Random motion in the task as a data set."""
    task, settings = f"gym:{name}", SimulatorConfig(max_steps=LENGTH, env_kwargs=GOING_ON.get(name, ()))
    suite = suite_of(task)
    settings = suite.resolve(task, settings)
    spec = suite.describe(task, settings)
    info = DatasetInfo(
        round(spec.control_rate), simulator=suite.name, max_steps=LENGTH, state_names=spec.state_names or None
    )
    jobs = [CollectJob("random", RandomActor, range(EPISODES))]
    write_dataset(folder, collect(task, jobs, settings, workers=0), info)


def bare(name: str) -> Work:
    """Gymnasium's environment alone."""
    env: Any = gymnasium.make(name)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(500)]

    def step() -> int:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return len(actions)

    return step


def steps_of(experience: EnvExperience | GeneratedExperience, policy: Policy, length: int) -> Work:
    """Rollouts of the policy, as its learner asks for them."""
    generator = torch.Generator().manual_seed(0)

    def step() -> int:
        rollout = experience.rollout(policy, length, generator)
        return rollout.reward.numel()

    return step


def synthesis(data: Any, world: Any, inverse: Any, how: Any) -> Work:
    """A batch of DAWM's synthetic transitions."""
    world, inverse = frozen(world), frozen(inverse)
    starts, generator = ReturnWindows(data, world.config.horizon), torch.Generator().manual_seed(0)

    @torch.no_grad()
    def step() -> int:
        _, action, made = generated(world, starts, how.batch_size, how.optimism, generator)
        return len(as_transitions(made, action, inverse).reward)

    return step


def in_turns(context: StageContext, works: dict[str, Work], measuring: Measuring) -> None:
    """Rates of all, one after the other, round by round; a round at first does not count."""
    with FlopCounterMode(display=False) as counter:
        steps = works["imagined"]()
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for number in range(measuring.rounds + 1):
        for name, work in works.items():
            count, own, clock = 0, time.process_time(), time.perf_counter()
            while time.process_time() - own < (measuring.least_seconds if number else 0):
                count += work()
            if number:
                rates[name].append((count / (time.process_time() - own), count / (time.perf_counter() - clock)))
            else:
                work()
    write_json(context.folder / RESULT, {"rates": rates, "flops": counter.get_total_flops() / steps})


def measured(
    context: StageContext,
    policy: Any,
    data: Any,
    models: Any,
    learner: Any,
    imagination: Any,
    seed: int,
    measuring: Measuring,
) -> None:
    """A recipe that refines in imagination: what its learner learns from, asked for as the learner does."""
    agent, dataset = inside(policy), data[0] if isinstance(data, tuple) else data
    env = imagined_env(agent, dataset, models, imagination, seed)
    if isinstance(imagination, GuidedConfig):
        settings = (agent.policy, imagination.num_envs, imagination.guidance, seed)
        experience: Any = GeneratedExperience(models.world, env.starts, *settings)
    else:
        experience = EnvExperience(env, seed)
    work = steps_of(experience, agent.policy, getattr(learner, "sac", learner).rollout_steps)
    in_turns(context, {"imagined": work, **real(agent, measuring)}, measuring)


def synthesised(
    context: StageContext, policy: Any, data: Any, world: Any, inverse: Any, how: Any, measuring: Measuring
) -> None:
    """DAWM, which makes its transitions before the policy learns."""
    works = {"imagined": synthesis(data, world, inverse, how), **real(inside(policy), measuring)}
    in_turns(context, works, measuring)


def real(agent: Any, measuring: Measuring) -> dict[str, Work]:
    """The simulator alone, and the policy in it."""
    name = measuring.task
    played = RealEnv(f"gym:{name}", agent.observer, REAL_ENVS, SimulatorConfig(), agent.policy.config.chunk)
    return {
        "simulator": bare(name),
        "simulator, policy": steps_of(EnvExperience(played, 0), agent.policy, REAL_STEPS),
    }


def measuring_stage(recipe: str, run: RunSpec, measuring: Measuring) -> tuple[Stage, Any]:
    """The stage that measures a recipe, after those that it needs, and the configuration."""
    c = shortened(entry(recipe).preset(None), 1e-9)
    plan = entry(recipe).build(c, run)
    if recipe == "dawm":
        given = plan.refined.arguments["synthetic"].stage.arguments
        needed = {name: given[name] for name in ("data", "world", "inverse", "how")}
        return stage(synthesised, "speed", policy=plan.policy, measuring=measuring, **needed), c
    given = plan.refined.arguments
    needed = {name: given[name] for name in ("data", "models", "learner", "imagination", "seed")}
    return stage(measured, "speed", policy=plan.policy, measuring=measuring, **needed), c


def rates(recipe: str, data: Path, out: Path, measuring: Measuring) -> dict[str, Any]:
    """A recipe's rates beside the task's."""
    own = OwnData.of(data.absolute())
    run = RunSpec(recipe, own.task(None), 0, own, f"gym:{measuring.task}")
    target, c = measuring_stage(recipe, run, measuring)
    folder = out / measuring.task / recipe
    with Run.create(folder, recipe, run.task, 0, Resolved(run, c).settings()) as opened:
        execute([target], SharedRun(opened, opened.folder, ALONE))
    told = read_json(folder / "speed" / RESULT)
    found, row = told["rates"], dict[str, Any](task=measuring.task, recipe=recipe)
    for kind, number in (("own", 0), ("clock", 1)):
        each = {name: [values[number] for values in turns] for name, turns in found.items()}
        row[kind] = {name: round(statistics.median(values)) for name, values in each.items()}
        for name in ("simulator", "simulator, policy"):
            ratios = [a / b for a, b in zip(each["imagined"], each[name], strict=True)]
            row[kind][f"ratio to {name}"] = [
                round(value, 2) for value in (statistics.median(ratios), min(ratios), max(ratios))
            ]
    envs = c.synthesis.batch_size if recipe == "dawm" else c.imagination.num_envs
    return row | {"envs": envs, "megaflop": round(told["flops"] / 1e6, 2)}


def main() -> None:
    """Measure all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["HalfCheetah-v5", "Hopper-v5"])
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4, help="of each turn, at least")
    parser.add_argument("--out", type=Path, required=True, help="made anew")
    args = parser.parse_args()
    torch.set_num_threads(1)
    shutil.rmtree(args.out, ignore_errors=True)
    print(json.dumps({"machine": platform.machine(), "torch": torch.__version__, "gymnasium": gymnasium.__version__}))
    for name in args.tasks:
        record(name, args.out / name / "data")
        for recipe in args.recipes:
            row = rates(recipe, args.out / name / "data", args.out, Measuring(name, args.rounds, args.seconds))
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
