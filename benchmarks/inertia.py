"""What inertia brings: the world model of finished runs, trained anew with it and without.

    python benchmarks/inertia.py --runs runs/table/*-v3-8 --out runs/inertia

For each run of world4rl on states and each variant: a quarter of the episodes is held out, the world model is trained
on the others for the configured steps, and asked for held-out errors of one step (quantiles, in standard deviations of
the changes), open-loop errors after 10 and 40 steps, and the correlation of replayed with recorded success. What is
done is kept in --out. Writes benchmarks/results/inertia.md.
"""

import argparse
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from burnish.data import Windows, read_dataset
from burnish.evaluation.replay import replay, success_of_states
from burnish.policies import load_agent
from burnish.recipes.runs import reopen
from burnish.recipes.stages.training import held_out_error
from burnish.recipes.stages.transitions import transition_space
from burnish.storage import read_json, write_json
from burnish.training import fit
from burnish.world_models import STATE_KEY, DiffusionWorldModel
from burnish.world_models.history import frames_with_next

RESULTS = Path(__file__).parent / "results"
VARIANTS = {"the change itself": False, "what inertia leaves": True}
"""What the network predicts, and `history.inertia`."""
QUANTILES = (0.5, 0.9, 0.99)
SEED = 0


def measure(run: Path, variant: str) -> dict[str, Any]:
    """Train one variant and ask it."""
    resolved = reopen(run)
    history = replace(resolved.config.history, inertia=VARIANTS[variant])
    config = replace(resolved.config, history=history)
    dataset, agent = read_dataset(run / "dataset"), load_agent(run / "policy", resolved.run.task)
    training, held_out = dataset.split(0.25, seed=1)
    torch.manual_seed(SEED)
    space = transition_space(history, training, agent)
    model = DiffusionWorldModel(space, config.world_model)
    windows = Windows(training, history=history.frames, horizon=config.world_model.rollout_steps)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        fit(model, windows, config.world_model_training, Path(folder), SEED)
    seconds = time.monotonic() - began
    model.eval().requires_grad_(False)
    present = frames_with_next(held_out)
    frames = space.normaliser.normalise(held_out.observations[STATE_KEY])
    generator = torch.Generator().manual_seed(SEED)
    following = model.imagine(space.recorded(held_out).rows(present), held_out.actions[present], generator)
    error = ((following.observation[:, -1] - frames[present + 1])[:, space.learned] / space.delta_std).abs()
    return {
        "seconds": seconds,
        "one_step": [float(torch.quantile(error, q, dim=0).mean()) for q in QUANTILES],
        "open_loop": [held_out_error(model, held_out, SEED, horizon=h)["open_loop_error"] for h in (10, 40)],
        "outcome": replay(model, success_of_states(training, SEED), held_out, SEED).correlation,
    }


def table(found: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """One row for each run and variant, and the means over runs."""
    heads = ["run", "the network predicts", *(f"one step, {100 * q:g} %" for q in QUANTILES)]
    heads += ["open loop, 10", "open loop, 40", "outcome correlation", "seconds"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    columns = {name: lambda row: [*row["one_step"], *row["open_loop"], row["outcome"]] for name in found}
    for run, variants in found.items():
        for variant, row in variants.items():
            cells = [f"{value:.3f}" for value in columns[run](row)]
            lines.append(f"| {run} | {variant} | {' | '.join(cells)} | {row['seconds']:.0f} |")
    for variant in VARIANTS:
        rows = torch.tensor([columns[run](variants[variant]) for run, variants in found.items()])
        lines.append(f"| **mean** | {variant} | {' | '.join(f'{value:.3f}' for value in rows.mean(0).tolist())} | |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for run in args.runs:
        for variant in VARIANTS:
            path = args.out / f"{run.name}, {variant}.json"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, measure(run, variant))
            found.setdefault(run.name, {})[variant] = read_json(path)
            print(run.name, variant, found[run.name][variant], flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = [
        "# What inertia brings",
        "",
        f"`python benchmarks/inertia.py --runs {' '.join(map(str, args.runs))} --out runs/inertia`, commit "
        f"{commit or 'unknown'}.",
        "",
        "A quarter of the episodes held out.  One step: quantiles of the absolute error in standard deviations of the "
        "changes, mean over dimensions; open loop: median error in standard deviations of the data; of both less is "
        "better.  Outcome correlation: imagined and recorded success of replayed held-out episodes.",
        "",
        *table(found),
    ]
    (RESULTS / "inertia.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
