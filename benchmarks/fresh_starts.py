"""Finished runs once more, on starts that nobody has looked at: the check that no setting was fitted to the evaluation.

    python benchmarks/fresh_starts.py --runs runs/eight/*-v3-[01] runs/demo-grid/*-v3-?

Plays the pretrained and the refined policy of each run from the same fresh starts and writes
`benchmarks/results/fresh_starts.md`.
"""

import argparse
from pathlib import Path

from burnish.evaluation.intervals import wilson_interval
from burnish.evaluation.real import evaluation_seeds, real_success
from burnish.recipes.runs import reopen
from burnish.simulators.parallel import WorkerPool, default_workers

RESULTS = Path(__file__).parent / "results"
OFFSET = 300_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=100)
    args = parser.parse_args()
    seeds = evaluation_seeds(args.episodes, offset=OFFSET)
    totals: dict[str, list[list[int]]] = {}
    lines = [
        "# Fresh starts",
        "",
        f"`python benchmarks/fresh_starts.py --runs {' '.join(map(str, args.runs))} --episodes {args.episodes}`",
        "",
        f"Starts {OFFSET} places beyond those of the evaluation, the same for both policies; 95 % Wilson intervals.",
        "",
        "| task | seed | pretrained | refined |",
        "|---|---|---|---|",
    ]
    with WorkerPool(default_workers()) as pool:
        for run in args.runs:
            resolved = reopen(run)
            task, simulator = resolved.run.task, resolved.config.simulator
            counts = [
                sum(real_success(run / part, task, simulator, seeds, pool).success) for part in ("policy", "refined")
            ]
            totals.setdefault(task, []).append(counts)
            cells = []
            for count in counts:
                low, high = wilson_interval(count, args.episodes)
                cells.append(f"{count}/{args.episodes} ({low:.2f}–{high:.2f})")
            lines.append(f"| {task} | {run.name.rpartition('-')[2]} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    lines += ["", "| task | pretrained, mean | refined, mean | failures removed |", "|---|---|---|---|"]
    for task, rows in totals.items():
        before, after = (sum(row[k] for row in rows) / len(rows) / args.episodes for k in (0, 1))
        removed = f"{100 * (after - before) / (1 - before):.0f} %" if before < 1 else "–"
        lines.append(f"| {task} | {before:.2f} | {after:.2f} | {removed} |")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fresh_starts.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
