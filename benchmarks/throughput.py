"""Imagined against real steps per second, both with all cores, in one run; and where imagination's time goes.

    python benchmarks/throughput.py --runs runs/nine/*-0 --seconds 3

Each run folder gives a task with its trained world model, ensemble, classifier and policy. An imagined step is what
refinement does: policy, disagreement, denoising, classifier, auto-reset. A real step is one environment step (one
decision, `action_repeat` control steps) of the same policy, resets included, on one process per core.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from burnish.data import read_dataset
from burnish.evaluation.real import evaluation_seeds, play
from burnish.imagination import ImaginedEnv
from burnish.policies import load_agent
from burnish.recipes.runs import reopen
from burnish.recipes.stages.refining import start_states
from burnish.recipes.world4rl import World4RL
from burnish.rewards import SuccessReward
from burnish.simulators.parallel import WorkerPool, default_workers
from studies.finished import models_of

RESULTS = Path(__file__).parent / "results"


@torch.no_grad()
def imagined_rate(folder: Path, config: World4RL, seconds: float) -> tuple[float, dict[str, float]]:
    """Steps per second, and the share of each part, measured on its own at the same batch size."""
    dataset, agent = read_dataset(folder / "dataset"), load_agent(folder / "policy")
    models = models_of(folder, config.imagination.pessimism)
    world_model, (ensemble, support) = models.world_model, models.pessimism.uncertainties
    assert isinstance(models.reward, SuccessReward)
    classifier = models.reward.classifier
    starts = start_states(config.imagination.starts, dataset, world_model)
    env = ImaginedEnv(models, starts, dataset.action_dim, config.imagination)
    generator = torch.Generator().manual_seed(0)
    features, _ = env.reset(seed=0)

    def step(features: torch.Tensor) -> torch.Tensor:
        decision = agent.policy.act(features, False, generator)
        agent.policy.log_prob(features, decision.trace)
        return env.step(decision.action_chunk[:, 0])[0]

    for _ in range(20):
        features = step(features)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        features = step(features)
        count += env.num_envs
    rate = count / (time.perf_counter() - start)
    state: Any = starts.sample(env.num_envs, generator)
    action = torch.rand(env.num_envs, dataset.action_dim) * 2 - 1
    parts = {
        "policy": lambda: agent.policy.act(features, False, generator),
        "distance to the data": lambda: support(state, action),
        "world model": lambda: world_model.imagine(state, action, generator),
        "disagreement": lambda: ensemble(state, action),
        "classifier": lambda: classifier.succeeded(features),
        "start states": lambda: starts.sample(env.num_envs, generator),
    }
    whole = env.num_envs / rate
    return rate, {name: _time(part) / whole for name, part in parts.items()}


def _time(function, repeats: int = 50) -> float:
    function()
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats


def real_rate(folder: Path, task: str, config: World4RL, pool: WorkerPool, episodes: int) -> float:
    """Environment steps per second over all cores; the workers and their environments are warm."""
    play(folder / "policy", task, config.simulator, evaluation_seeds(20, offset=500_000), pool)
    start = time.perf_counter()
    played = play(folder / "policy", task, config.simulator, evaluation_seeds(episodes, offset=600_000), pool)
    return sum(len(episode.action) - 1 for episode in played) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--episodes", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(default_workers())
    rows = []
    with WorkerPool(default_workers()) as pool:
        for folder in args.runs:
            opened = reopen(folder)
            imagined, parts = imagined_rate(folder, opened.config, args.seconds)
            real = real_rate(folder, opened.run.task, opened.config, pool, args.episodes)
            rows.append({"task": opened.run.task, "imagined": imagined, "real": real, "parts": parts})
            print(
                f"{opened.run.task}: {imagined:.0f} imagined, {real:.0f} real steps/s, {imagined / real:.1f}×",
                flush=True,
            )
    _write(rows)


def _write(rows: list[dict]) -> None:
    names = list(rows[0]["parts"])
    mean = {key: sum(row[key] for row in rows) / len(rows) for key in ("imagined", "real")}
    ratios = [row["imagined"] / row["real"] for row in rows]
    lines = [
        "# Imagined against real steps per second",
        "",
        "`python benchmarks/throughput.py --runs …`: both with all cores, in one run. One step is one decision "
        "(action repeat 2: two control steps in the simulator). Shares of an imagined step by part, each timed alone.",
        "",
        f"| task | imagined /s | real /s | ratio | {' | '.join(names)} |",
        "|---|---|---|---|" + "---|" * len(names),
    ]
    for row, ratio in zip(rows, ratios, strict=True):
        shares = " | ".join(f"{100 * row['parts'][name]:.0f} %" for name in names)
        lines.append(f"| {row['task']} | {row['imagined']:.0f} | {row['real']:.0f} | {ratio:.1f}× | {shares} |")
    lines.append(
        f"| **mean** | {mean['imagined']:.0f} | {mean['real']:.0f} | {sum(ratios) / len(ratios):.1f}× (of means: "
        f"{mean['imagined'] / mean['real']:.1f}×) |" + " |" * len(names)
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "throughput.md").write_text("\n".join(lines) + "\n")
    (RESULTS / "throughput.json").write_text(json.dumps(rows, indent=1))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
