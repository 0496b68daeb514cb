"""Is the ensemble's disagreement calibrated? Rank correlation with the true error, and coverage, by horizon.

    python benchmarks/uncertainty.py --runs runs/table/*-v3-[23]

For each run of world4rl on states: open-loop predictions on its held-out episodes. A factor for each horizon makes
disagreement a 90 % bound on the error on half of these episodes; the table has the coverage on the other half, with
these factors and with the one of a single step throughout. Writes benchmarks/results/uncertainty.md.
"""

import argparse
from pathlib import Path

import torch

from burnish.data import read_dataset
from burnish.evaluation.prediction import open_loop
from burnish.evaluation.uncertainty import uncertainty
from burnish.recipes.runs import reopen
from studies.finished import models_of

RESULTS = Path(__file__).parent / "results"
HORIZONS = (1, 5, 10, 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    heads = [f"{kind}, {h}" for kind in ("rank correlation", "coverage", "with one step's factor") for h in HORIZONS]
    lines = [
        "# Calibration of the ensemble's disagreement",
        "",
        f"`python benchmarks/uncertainty.py --runs {' '.join(map(str, args.runs))}`",
        "",
        "Held-out episodes; by the number of predicted steps.  The wanted coverage is 0.90.",
        "",
        f"| run | {' | '.join(heads)} | warning |",
        "|---" * (len(heads) + 2) + "|",
    ]
    sums = torch.zeros(len(heads), dtype=torch.float64)
    for run in args.runs:
        resolved = reopen(run)
        _, held_out = read_dataset(run / "dataset", cameras=()).split(resolved.config.held_out, seed=0)
        models, seed = models_of(run), resolved.run.seed
        found = uncertainty(
            open_loop(models.world_model, held_out, max(HORIZONS), seed, models.pessimism.uncertainties[0]),
            seed,
        )
        curves = (found.correlation, found.coverage, found.coverage_one_step)
        values = torch.stack([curve[h - 1].double() for curve in curves for h in HORIZONS])
        sums += values
        cells = " | ".join(f"{value:.2f}" for value in values.tolist())
        lines.append(f"| {run.name} | {cells} | {found.warning or '–'} |")
        print(lines[-1], flush=True)
    lines.append(f"| **mean** | {' | '.join(f'{value:.2f}' for value in (sums / len(args.runs)).tolist())} | |")
    (RESULTS / "uncertainty.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
