"""Where world-model training and PPO spend their time, and whether both cores work.

    python benchmarks/profile_stages.py --run runs/demo

Reads a finished run folder; trains its world model for some steps and refines its policy for some iterations, with one
thread and with all, and writes `benchmarks/results/profile.md`.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from burnish.components import load
from burnish.data import Windows, read_dataset
from burnish.imagination import ImaginedEnv
from burnish.policies import load_agent
from burnish.recipes.runs import reopen
from burnish.recipes.stages.refining import start_states
from burnish.recipes.world4rl import World4RL
from burnish.rl import PPO, EnvExperience
from burnish.training import TrainingConfig, fit
from burnish.world_models import DiffusionWorldModel
from studies.finished import models_of

RESULTS = Path(__file__).parent / "results"
TRAINING_STEPS, ITERATIONS = 150, 6


def training(folder: Path, config: World4RL) -> Callable[[], None]:
    """Some steps of world-model training."""
    dataset = read_dataset(folder / "dataset", cameras=())
    model = load(folder / "world_model", DiffusionWorldModel).requires_grad_(True).train()
    windows = Windows(dataset, history=config.history.frames, horizon=config.world_model.rollout_steps)
    settings = TrainingConfig(
        steps=TRAINING_STEPS,
        batch_size=config.world_model_training.batch_size,
        learning_rate=config.world_model_training.learning_rate,
    )

    def work() -> None:
        with tempfile.TemporaryDirectory() as temporary:
            fit(model, windows, settings, Path(temporary), 0)

    return work


def refinement(folder: Path, config: World4RL) -> tuple[Callable[[], None], Callable[[], None]]:
    """Some rollouts in imagination, and as many PPO updates on one of them."""
    dataset, agent = read_dataset(folder / "dataset"), load_agent(folder / "policy")
    models = models_of(folder, config.imagination.pessimism)
    starts = start_states(config.imagination.starts, dataset, models.world_model)
    env = ImaginedEnv(models, starts, dataset.action_dim, config.imagination)
    generator = torch.Generator().manual_seed(0)
    ppo, experience = PPO(agent.policy, env.feature_dim, config.ppo), EnvExperience(env, 0)
    rollout = experience.rollout(agent.policy, config.ppo.rollout_steps, generator)

    def imagine() -> None:
        for _ in range(ITERATIONS):
            experience.rollout(agent.policy, config.ppo.rollout_steps, generator)

    def update() -> None:
        for _ in range(ITERATIONS):
            ppo.learn(rollout, generator)

    return imagine, update


def measure(work: Callable[[], None], threads: int) -> tuple[float, float]:
    """Seconds, and the mean number of cores at work."""
    torch.set_num_threads(threads)
    work()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return wall, cpu / wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    args = parser.parse_args()
    config = reopen(args.run).config
    imagine, update = refinement(args.run, config)
    parts = {
        f"world model, {TRAINING_STEPS} training steps": training(args.run, config),
        f"imagination, {ITERATIONS} rollouts": imagine,
        f"PPO, {ITERATIONS} updates": update,
    }
    cores = len(os.sched_getaffinity(0))
    lines = [
        "# Profile of training and refinement",
        "",
        f"`python benchmarks/profile_stages.py --run {args.run}`, {cores} cores, torch {torch.__version__}",
        "",
        f"| part | 1 thread, s | {cores} threads, s | speed-up | cores at work |",
        "|---|---|---|---|---|",
    ]
    for name, work in parts.items():
        alone, (together, busy) = measure(work, 1)[0], measure(work, cores)
        lines.append(f"| {name} | {alone:.2f} | {together:.2f} | {alone / together:.2f}× | {busy:.2f} |")
        print(lines[-1], flush=True)
    torch.set_num_threads(1)
    for name, work in parts.items():
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            work()
        events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
        total = sum(event.self_cpu_time_total for event in events)
        lines += [
            "",
            f"## {name}: operations by their own time, one thread",
            "",
            "| operation | share | calls |",
            "|---|---|---|",
        ]
        lines += [f"| {e.key} | {100 * e.self_cpu_time_total / total:.0f} % | {e.count} |" for e in events[:8]]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "profile.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
