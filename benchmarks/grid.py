"""Run a recipe on tasks × seeds, two runs side by side with one thread each, and write the table of results.

    python benchmarks/grid.py --tasks drawer-open-v3 --seeds 0 1 2 3 4 --out runs/demo-grid --name demo_seeds
    python benchmarks/grid.py --tasks coffee-pull-v3 … --seeds 0 1 2 --out runs/nine --name nine_tasks \
        -- --config.collect.demonstrations 10

    python benchmarks/grid.py --recipe diwa --tasks … --seeds 1 2 3 --out runs/diwa-gaussian --from runs/diwa \
        --name diwa_gaussian -- --config.policy gaussian

`--from` starts every run from a copy of another grid's run: only the stages that the changed settings concern are done
again. What stands after `--` goes to `burnish run` as it is. A run that is done is not run again: the script resumes.
`benchmarks/results/NAME.md` and `NAME.json` receive every run, the bad ones too.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

from burnish.pipeline.side_by_side import Job, run_side_by_side

RESULTS = Path(__file__).parent / "results"
POLICIES = ("pretrained", "filtered", "refined")


def main() -> None:
    own, extra = _split(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--recipe", default="world4rl")
    parser.add_argument("--from", dest="origin", type=Path, help="folder of an earlier grid's run folders")
    parser.add_argument("--name", required=True, help="name of the table")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(own)
    args.out.mkdir(parents=True, exist_ok=True)
    pairs = [(task, seed) for seed in args.seeds for task in args.tasks]
    started = time.time()
    jobs = [_job(task, seed, args, extra) for task, seed in pairs]
    codes = run_side_by_side(
        jobs, args.jobs, lambda number, code: print(_line(_row(*pairs[number], args, code)), flush=True)
    )
    rows = [_row(task, seed, args, code) for (task, seed), code in zip(pairs, codes, strict=True)]
    write(args.name, rows, extra, args, time.time() - started)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" in arguments:
        at = arguments.index("--")
        return arguments[:at], arguments[at + 1 :]
    return arguments, []


def _job(task: str, seed: int, args: argparse.Namespace, extra: list[str]) -> Job:
    folder = args.out / f"{task}-{seed}"
    if args.origin is not None and not folder.exists():
        shutil.copytree(args.origin / folder.name, folder)
    command = [sys.executable, "-W", "ignore", "-m", "burnish", "run", args.recipe, "--task", task, "--seed", str(seed)]
    command += ["--threads", str(args.threads), "--out", str(folder), *extra]
    return Job(tuple(command), args.out / f"{task}-{seed}.log")


def _row(task: str, seed: int, args: argparse.Namespace, code: int) -> dict:
    row = {"task": task, "seed": seed, "exit_code": code}
    if code == 0:
        report = json.loads((args.out / f"{task}-{seed}" / "report.json").read_text())
        row |= {key: report[key] for key in ("policies", "imagined_success", "accepted", "seconds", "imagined_steps")}
        row["imagined_steps_per_second"] = report["imagined_steps_per_second"]
        row["versions"] = report["versions"]
    return row


def _line(row: dict) -> str:
    if row["exit_code"] != 0:
        return f"| {row['task']} | {row['seed']} | failed with exit code {row['exit_code']} | | | | | |"
    cells = " | ".join(_rate(row, name) for name in POLICIES)
    imagined = row["imagined_success"]
    return (
        f"| {row['task']} | {row['seed']} | {cells} | {_removed(row)} "
        f"| {imagined['pretrained']:.2f} → {imagined['refined']:.2f} | {sum(row['seconds'].values()):.0f} |"
    )


def _rate(row: dict, policy: str) -> str:
    """Within the run's limit, and within the simulator's own."""
    found = row["policies"].get(policy)
    if found is None:
        return "–"
    count, own = found["success"], found.get("success_own_limit")
    low, high = count["ci95"]
    within = f" / {own['successes']}" if own else ""
    return f"{count['successes']}{within} of {count['episodes']} ({low:.2f}–{high:.2f})"


def _mean(rows: list[dict], policy: str) -> float | None:
    known = [row["policies"][policy]["success"]["rate"] for row in rows if policy in row["policies"]]
    return sum(known) / len(known) if known else None


def _removed(row: dict) -> str:
    before, after = (_mean([row], name) for name in ("filtered", "refined"))
    return _share(_mean([row], "pretrained") if before is None else before, after)


def _share(before: float | None, after: float | None) -> str:
    return "–" if before in (None, 1) or after is None else f"{100 * (after - before) / (1 - before):.0f} %"


def write(name: str, rows: list[dict], extra: list[str], args: argparse.Namespace, seconds: float) -> None:
    """Write the table, with means over seeds for each task and over everything."""
    RESULTS.mkdir(exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    done = [row for row in rows if row["exit_code"] == 0]
    tasks = " ".join(args.tasks)
    seeds = " ".join(map(str, args.seeds))
    command = f"python benchmarks/grid.py --recipe {args.recipe} --tasks {tasks} --seeds {seeds} --out {args.out}"
    command += f" --from {args.origin} --name {name}" if args.origin else f" --name {name}"
    command += f" -- {' '.join(extra)}" if extra else ""
    lines = [
        f"# {name}",
        "",
        f"`{command}`",
        "",
        f"Commit {commit}, {platform.machine()}, {args.jobs} runs side by side with {args.threads} thread(s) each; "
        f"{seconds:.0f} s in this call. Real success: deterministic policy, unseen starts, 95 % Wilson intervals. "
        "Within the run's limit / within the simulator's own. Failures removed: (refined − filtered) / (1 − filtered).",
        "",
        "| task | seed | cloned | filtered | refined | failures removed | imagined success | seconds |",
        "|---|---|---|---|---|---|---|---|",
        *[_line(row) for row in rows],
        "",
        "| task | cloned, mean | filtered, mean | refined, mean | failures removed |",
        "|---|---|---|---|---|",
    ]
    for task in [*args.tasks, None]:
        chosen = [row for row in done if task is None or row["task"] == task]
        if chosen:
            means = [_mean(chosen, each) for each in POLICIES]
            cells = " | ".join("–" if each is None else f"{each:.2f}" for each in means)
            before = means[0] if means[1] is None else means[1]
            lines.append(f"| {task or '**all**'} | {cells} | {_share(before, means[2])} |")
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    (RESULTS / f"{name}.json").write_text(json.dumps({"command": command, "commit": commit, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
