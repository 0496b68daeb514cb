"""When has a world model learned enough? Two held-out numbers while it trains, on the data of finished runs.

    python benchmarks/stopping.py --runs runs/table/*-v3-4 --out runs/stopping [--length 2] [--jobs 2]

For each run of world4rl on states its world model is trained anew for `--length` times the steps of its configuration,
and asked ten times on the way (`validate_every`): the open-loop error after ten steps, and the outcome error, 1 − the
correlation of imagined and recorded success of replayed held-out episodes. Resumes; writes
benchmarks/results/stopping.md.
"""

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from burnish.pipeline.side_by_side import Job, run_side_by_side
from burnish.recipes.how import How
from burnish.recipes.runs import execute_targets, reopen

RESULTS = Path(__file__).parent / "results"
NUMBERS = {"outcome_error": "outcome error", "open_loop_error": "open-loop error"}
TIMES = 10
RECORDED = ("demonstrations", "policy", "dataset")


def train(run: Path, folder: Path, length: float) -> None:
    """The world model of `run` in `folder`, a run folder that begins with a copy of its recorded stages."""
    torch.set_num_threads(1)
    if not folder.exists():
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name in ("recipe.yaml", "manifest.json"):
            shutil.copyfile(run / name, partial / name)
        for name in RECORDED:
            shutil.copytree(run / name, partial / name)
        partial.rename(folder)
    resolved = reopen(run)
    usual = resolved.config.world_model_training
    steps = round(length * usual.steps)
    training = dataclasses.replace(usual, steps=steps, validate_every=steps // TIMES)
    config = dataclasses.replace(resolved.config, world_model_training=training)
    planned = dataclasses.replace(resolved, config=config)
    execute_targets(folder, planned, [planned.plan.models.world], How(threads=1))


def rows(folder: Path) -> dict[str, list[float]]:
    """Each number at every validation, and the steps."""
    log = [json.loads(line) for line in (folder / "world_model" / "metrics.jsonl").read_text().splitlines()]
    asked = [row for row in log if f"validation/{next(iter(NUMBERS))}" in row]
    return {"step": [row["step"] for row in asked]} | {
        name: [row[f"validation/{name}"] for row in asked] for name in NUMBERS
    }


def table(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """One row for each run and number: its values on the way, and where the least stands."""
    shares = " | ".join(f"{(i + 1) / TIMES:.0%}" for i in range(TIMES))
    lines = [f"| run | | {shares} | least at |", "|---" * (TIMES + 3) + "|"]
    for run, values in found.items():
        for name, words in NUMBERS.items():
            curve = values[name]
            least = values["step"][min(range(len(curve)), key=curve.__getitem__)]
            cells = " | ".join(f"{value:.2f}" for value in curve)
            lines.append(f"| {run} | {words} | {cells} | step {least:,} of {values['step'][-1]:,} |")
    for name, words in NUMBERS.items():
        means = [sum(values[name][i] for values in found.values()) / len(found) for i in range(TIMES)]
        lines.append(f"| **mean** | {words} | {' | '.join(f'{value:.2f}' for value in means)} | |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--length", type=float, default=1.0, help="times the configured steps")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--one", action="store_true", help="train in this process, write no table")
    args = parser.parse_args()
    if args.one:
        for run in args.runs:
            train(run, args.out / run.name, args.length)
        return 0
    own = [sys.executable, "-W", "ignore", __file__, "--one", "--out", str(args.out), "--length", str(args.length)]
    args.out.mkdir(parents=True, exist_ok=True)
    jobs = [Job((*own, "--runs", str(run)), args.out / f"{run.name}.log") for run in args.runs]
    codes = run_side_by_side(jobs, args.jobs)
    failed = [run.name for run, code in zip(args.runs, codes, strict=True) if code != 0]
    if failed:
        print(f"stopping: error: {', '.join(failed)} failed; see {args.out}/RUN.log", file=sys.stderr)
        return 1
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    names = " ".join(map(str, args.runs))
    lines = [
        "# When has a world model learned enough?",
        "",
        f"`python benchmarks/stopping.py --runs {names} --out runs/stopping --length {args.length:g}`, commit "
        f"{commit or 'unknown'}.",
        "",
        "Held-out episodes (a tenth), at shares of the training steps; of both numbers less is better.",
        "",
        *table({run.name: rows(args.out / run.name) for run in args.runs}),
    ]
    (RESULTS / "stopping.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
