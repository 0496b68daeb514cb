"""Test-time refinement: GRPO in imagination from one single start frame, for that very start.

    python -m benchmarks.world_gymnast_one_frame --run runs/dots/0 --seed 0

`--run` is what `benchmarks.world_gymnast_dots --out` left: its world model and judge, and the clone that was stopped
early, are taken as they are. New starts are drawn, a sentence each in turn. For each of them the clone is refined
alone, from that one frame, with every group of episodes beginning there, and plays in the true world before and after;
with another sentence, too, for what the refinement costs elsewhere. The true world has no part in learning. What is
there is not made again.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.world_gymnast import told
from benchmarks.world_gymnast_dots import CAMERA, LENGTH, WAYS, arrived, in_truth, moved, picture
from burnish.components import load
from burnish.data import Dataset, DatasetInfo, Episode, image_key, write_dataset
from burnish.evaluation.intervals import wilson_interval
from burnish.pipeline import StageContext
from burnish.policies import Agent, load_agent
from burnish.recipes.base import Models
from burnish.recipes.runs import reopen
from burnish.recipes.stages.data import whole
from burnish.recipes.stages.refining import refine_policy
from burnish.rewards import RewardConfig
from burnish.storage import read_json, write_json

FIRST_START = 20_000


def start(number: int) -> tuple[Tensor, str]:
    """A position (1, 2) that no data and no other evaluation have, and the sentence that goes with it."""
    generator = torch.Generator().manual_seed(FIRST_START + number)
    return torch.rand(1, 2, generator=generator) * 1.4 - 0.7, list(WAYS)[number % len(WAYS)]


def one_frame(folder: Path, number: int) -> Dataset:
    """A data set that knows nothing but this start: a still episode of two frames."""
    position, task = start(number)
    observation = {image_key(CAMERA): picture(position.repeat(2, 1)).numpy()}
    still = Episode(observation, np.zeros((2, 2), np.float32), np.zeros(2, bool), "play", number, task)
    if not folder.exists():
        write_dataset(folder, [still], DatasetInfo(fps=10, max_steps=LENGTH - 1, action_names=("column", "row")))
    return whole(folder, (CAMERA,), False, RewardConfig(), instructed=True)


def succeeds(agent: Agent, number: int) -> bool:
    """Whether the policy's own choice, without noise, gets there in the true world."""
    position, task = start(number)
    asked = told(agent, task)
    asked.begin(1)
    for _ in range(LENGTH - 1):
        position = moved(position, asked.act({image_key(CAMERA): picture(position)}))
    return bool(arrived(position, task))


def refined(args: argparse.Namespace, models: Models, number: int) -> Agent:
    """The early clone, refined from one frame."""
    folder, c = args.run / "one_frame" / str(number), reopen(args.run / "run").config
    here = StageContext("refined", folder, {}, "benchmark")
    refinement = replace(c.refine, iterations=args.iterations, evaluate_every=args.iterations, imagined_episodes=16)
    data = one_frame(args.run / "one_frame" / f"{number}_start", number)
    learner = replace(c.learner, learning_rate=args.rate)
    settings: dict[str, Any] = {"refinement": refinement, "seed": args.seed + number}
    return refine_policy(
        here, load_agent(args.run / "run/early"), data, models, c.imagination, learner, **settings
    ).eval()


def share(hits: list[bool]) -> str:
    """A rate with its 95 % Wilson interval."""
    low, high = wilson_interval(sum(hits), len(hits))
    return f"{sum(hits)}/{len(hits)} = {100 * sum(hits) / len(hits):.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def main() -> None:
    """Do what is not there yet, and print both rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--starts", type=int, default=24)
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--rate", type=float, default=5e-4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    models = Models(load(args.run / "run/world_model"), load(args.run / "run/judge"))
    clone, path = load_agent(args.run / "run/early"), args.run / "one_frame.json"
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    tasks = list(WAYS)
    for number in range(args.starts):
        if str(number) not in found:
            agent, task = refined(args, models, number), start(number)[1]
            others = [in_truth(agent, each, each, 25) for each in tasks if each != task]
            found[str(number)] = {
                "task": task,
                "before": succeeds(clone, number),
                "after": succeeds(agent, number),
                "same sentence, new starts": in_truth(agent, task, task, 25),
                "other sentences, new starts": [sum(column) for column in zip(*others, strict=True)],
            }
            write_json(path, found)
        print(number, found[str(number)], flush=True)
    for when in ("before", "after"):
        print(f"{when}: {share([each[when] for each in found.values()])}")
    print(f"the clone from new starts: { {each: in_truth(clone, each, each, 100) for each in tasks} }")
    for kind in ("same sentence, new starts", "other sentences, new starts"):
        hits, count = (sum(column) for column in zip(*(each[kind] for each in found.values()), strict=True))
        print(f"{kind}, after: {hits}/{count} = {100 * hits / count:.0f} %")


if __name__ == "__main__":
    main()
