"""What each part of World4RL is worth: runs with one thing changed, beside the unchanged one.

    python benchmarks/ablation.py --runs runs/eight/handle-pull-v3-0 runs/eight/hammer-v3-0 --out runs/ablation \
        -- --preset contacts --config.evaluation.curve-points 0 --config.evaluation.videos 0

`--runs` are finished runs of `grid.py`; what stands after `--` is what they were given. Each variant starts from a
copy, so that only the stages that the change touches run again. A variant that is done is not run again.
Writes `benchmarks/results/ablation.md`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

VARIANTS = {
    "as it is": [],
    "without halting": ["--config.imagination.pessimism.rule", "none"],
    "without the anchor": ["--config.ppo.anchor-weight", "0"],
    "linear actions": ["--config.history.action-encoding", "linear"],
    "3 denoising steps": ["--config.world-model.sampler.steps", "3"],
    "5 denoising steps": ["--config.world-model.sampler.steps", "5"],
}


def main() -> None:
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args(sys.argv[1:at])
    extra = sys.argv[at + 1 :]
    started = time.time()
    pairs = [(variant, run) for variant in args.variants for run in args.runs]
    with ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(lambda pair: _run(pair[0], pair[1], args.out, extra), pairs))
    _write(rows, args, extra, time.time() - started)


def _run(variant: str, run: Path, out: Path, extra: list[str]) -> dict:
    task, _, seed = run.name.rpartition("-")
    folder = run
    if VARIANTS[variant]:
        folder = out / f"{run.name}-{variant.replace(' ', '-')}"
        if not folder.exists():
            shutil.copytree(run, folder)
        command = [sys.executable, "-W", "ignore", "-m", "burnish", "run", "world4rl", "--task", task, "--seed", seed]
        command += ["--threads", "1", "--out", str(folder), *extra, *VARIANTS[variant]]
        with (out / f"{folder.name}.log").open("w") as log:
            code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode
        if code:
            return {"variant": variant, "task": task, "seed": seed, "exit_code": code}
    report = json.loads((folder / "report.json").read_text())
    row = {"variant": variant, "task": task, "seed": seed, "exit_code": 0}
    row |= {key: report[key] for key in ("success", "imagined_success", "imagined_steps_per_second")}
    print(_line(row), flush=True)
    return row


def _line(row: dict) -> str:
    if row["exit_code"]:
        return f"| {row['variant']} | {row['task']} | {row['seed']} | failed with exit code {row['exit_code']} | | | |"
    before, after, imagined = row["success"]["pretrained"], row["success"]["refined"], row["imagined_success"]
    rate = row["imagined_steps_per_second"]
    return (
        f"| {row['variant']} | {row['task']} | {row['seed']} | {before['successes']}/{before['episodes']} "
        f"| {after['successes']}/{after['episodes']} ({after['ci95'][0]:.2f}–{after['ci95'][1]:.2f}) "
        f"| {imagined['pretrained']:.2f} → {imagined['refined']:.2f} | {rate:.0f} |"
    )


def _write(rows: list[dict], args: argparse.Namespace, extra: list[str], seconds: float) -> None:
    RESULTS.mkdir(exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    runs = " ".join(map(str, args.runs))
    variants = " ".join(f"'{variant}'" for variant in args.variants)
    lines = [
        "# Ablation",
        "",
        f"`python benchmarks/ablation.py --runs {runs} --out {args.out} --variants {variants} -- {' '.join(extra)}`",
        "",
        f"Commit {commit}, {args.jobs} runs side by side with one thread each; {seconds:.0f} s in this call. "
        "Real success: deterministic policy, unseen starts, 95 % Wilson intervals.",
        "",
        "| variant | task | seed | pretrained | refined | imagined success | imagined steps/s |",
        "|---|---|---|---|---|---|---|",
        *[_line(row) for row in rows],
        "",
        "| variant | refined, mean |",
        "|---|---|",
    ]
    for variant in args.variants:
        done = [row for row in rows if row["variant"] == variant and row["exit_code"] == 0]
        if done:
            mean = sum(row["success"]["refined"]["rate"] for row in done) / len(done)
            lines.append(f"| {variant} | {mean:.2f} |")
    (RESULTS / "ablation.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
