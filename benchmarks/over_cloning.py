"""Is refinement worth more than cloning one's own successes: six Meta-World tasks, the default path, every run shown.

    python benchmarks/over_cloning.py --seeds 20 21 22 --out runs/over-cloning --jobs 2

Each run is `burnish run world4rl --preset contacts`, one thread, and nothing else. A row has the policy cloned from ten
demonstrations, the one cloned from every recorded success (seconds of work), the refined one, and the one that the
trust gate hands out: 100 fresh starts, the same for all of them; success within the run's 200 control steps and within
the simulator's own 500. What is done is not done again. `benchmarks/results/over_cloning.md` receives the table.

The seeds are looked at once; settings were chosen on seed 17.
"""

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from burnish.evaluation.agreement import BackTest
from burnish.evaluation.intervals import mean_interval
from burnish.pipeline.side_by_side import Job, run_side_by_side

RESULTS = Path(__file__).parent / "results"
TASKS = ("coffee-pull-v3", "soccer-v3", "hammer-v3", "door-lock-v3", "lever-pull-v3", "handle-pull-v3")
NOTHING_TO_CLONE = "handle-pull-v3"
GAIN = 0.1
POLICIES = ("pretrained", "filtered", "refined")


def command(out: Path, task: str, seed: int, extra: list[str]) -> list[str]:
    """The run of one task and seed."""
    made = ["run", "world4rl", "--preset", "contacts", "--task", task, "--seed", str(seed)]
    made += ["--threads", "1", "--jobs", "1"]
    place = ["--out", str(out / f"{task}-{seed}")]
    return [sys.executable, "-W", "ignore", "-m", "burnish", *made, *place, *extra]


def result(out: Path, task: str, seed: int) -> dict[str, Any] | None:
    """What the report of a finished run says; None where there is none."""
    path = out / f"{task}-{seed}" / "report.json"
    if not path.exists():
        return None
    report = json.loads(path.read_text())
    row = {name: report["policies"][name] for name in POLICIES}
    gate = report["gate"] or {}
    handed = gate.get("handed_out")
    difference = report["over_filtered"]["paired_difference"]
    anatomy = json.loads((out / f"{task}-{seed}" / "evaluation" / "anatomy.json").read_text())
    return {
        "task": task,
        "seed": seed,
        **row,
        "handed_out": handed,
        "start": report["start"],
        "skill": gate.get("skill"),
        "difference": difference,
        "seconds": report["seconds"],
        "limit": report["limit"],
        "anatomy": anatomy["refined"],
    }


def rate(row: dict[str, Any], policy: str, own: bool = False) -> float:
    """Success within the run's limit, or within the simulator's own."""
    return row[policy]["success_own_limit" if own else "success"]["rate"]


def line(row: dict[str, Any]) -> str:
    """One run."""
    cells = [row["task"], str(row["seed"])]
    cells += [f"{100 * rate(row, name):.0f} / {100 * rate(row, name, own=True):.0f}" for name in POLICIES]
    found = row["difference"]
    cells.append(f"{100 * found['difference']:+.0f} ({100 * found['low']:+.0f} to {100 * found['high']:+.0f})")
    handed = row["handed_out"]
    cells.append("gate not asked" if handed is None else f"{handed}, {100 * rate(row, handed):.0f}")
    cells.append("–" if row["skill"] is None else f"{row['skill']:.2f}")
    work = row["seconds"]
    cells.append(f"{sum(work.values()) - work['gate']:.0f} + {work['gate']:.0f}")
    return f"| {' | '.join(cells)} |"


def by_task(rows: list[dict[str, Any]], own: bool = False) -> list[str]:
    """Means over seeds, a row a task, and the means over tasks."""
    lines = ["| | cloned | filtered | refined | refined − filtered | failures of filtered removed |"]
    lines.append("|---|---|---|---|---|---|")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["task"], []).append(row)
    means: dict[str, list[float]] = {}
    for task, group in groups.items():
        found = [mean(rate(row, name, own) for row in group) for name in POLICIES]
        means[task] = found
    if not means:
        return lines
    table = dict(means)
    rest = [values for task, values in means.items() if task != NOTHING_TO_CLONE]
    if rest:
        table["mean without handle-pull"] = [mean(column) for column in zip(*rest, strict=True)]
    table["mean of all"] = [mean(column) for column in zip(*means.values(), strict=True)]
    for name, (cloned, filtered, refined) in table.items():
        # Of one failure in a hundred no share is worth saying.
        gone = "–" if filtered > 0.98 else f"{100 * (refined - filtered) / (1 - filtered):.0f} %"
        cells = [f"{100 * value:.0f} %" for value in (cloned, filtered, refined)]
        lines.append(f"| {name} | {' | '.join(cells)} | {100 * (refined - filtered):+.1f} | {gone} |")
    return lines


def gates(rows: list[dict[str, Any]]) -> list[str]:
    """What the gates that were asked decided, and whether it was right."""
    asked = [row for row in rows if row["handed_out"] is not None]
    if not asked:
        return []
    let = [row for row in asked if row["handed_out"] == "refined"]
    kept = [row for row in asked if row["handed_out"] != "refined"]
    handed, filtered, refined = (
        mean(rate(row, row["handed_out"] if name is None else name) for row in asked)
        for name in (None, "filtered", "refined")
    )

    def named(chosen: list[dict[str, Any]]) -> str:
        return ", ".join(f"{row['task']} {row['seed']}" for row in chosen) or "none"

    below = {
        name: [row for row in let if rate(row, "refined") < rate(row, name)] for name in ("pretrained", "filtered")
    }
    missed = [row for row in kept if rate(row, "refined") >= rate(row, "pretrained") + GAIN]
    return [
        f"The gate was asked in {len(asked)} of {len(rows)} runs: what it hands out has {100 * handed:.0f} % in the "
        f"mean, filtered cloning {100 * filtered:.0f} %, the refined policies {100 * refined:.0f} %. Refined policies "
        f"handed out: {len(let)}; below the pretrained one are of these: {named(below['pretrained'])}; below the "
        f"filtered one: {named(below['filtered'])}. Kept back: {len(kept)}; really better than the pretrained policy "
        f"by {100 * GAIN:.0f} points or more are of these: {named(missed)}. Each gate ran with the commit that made "
        "its run; since then the filtered policy is handed out where the gate vouches for none.",
        "",
    ]


def left_over(rows: list[dict[str, Any]]) -> list[str]:
    """Why the refined policies fail where they still do: their real episodes, imagined from the same starts."""
    lines = [
        "| | real failures | of these imagined as successes: dynamics | classifier | imagined as failures, too "
        "| real successes imagined as failures | φ |",
        "|---|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[dict[str, int]]] = {}
    for row in rows:
        groups.setdefault(row["task"], []).append(row["anatomy"])
    for task, group in groups.items():
        episodes, real, imagined, dynamics, reward, halted, lost = (
            sum(found[key] for found in group)
            for key in ("episodes", "real", "imagined", "dynamics", "reward", "halted", "lost")
        )
        wrong, missed, failed = dynamics + reward, halted + lost, episodes - real
        both, neither = imagined - wrong, failed - wrong
        cells = [f"{failed} of {episodes}", dynamics, reward, neither, missed]
        cells.append(f"{BackTest(both, missed, wrong, neither).skill:.2f}")
        lines.append(f"| {task} | {' | '.join(map(str, cells))} |")
    return lines


def write(rows: list[dict[str, Any]], args: argparse.Namespace, extra: list[str]) -> None:
    """The tables, with what holds for all of them."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    gains = [row["difference"]["difference"] for row in rows if row["task"] != NOTHING_TO_CLONE]
    told = ""
    if len(gains) > 1:
        centre, low, high = mean_interval(gains)
        told = (
            f"Refined − filtered over these {len(gains)} runs without handle-pull: {100 * centre:+.1f} points "
            f"(Student's 95 % interval over runs {100 * low:+.1f} to {100 * high:+.1f})."
        )
    seeds = " ".join(map(str, args.seeds))
    wanted = len(args.tasks) * len(args.seeds)
    lines = [
        "# Worth more than cloning one's own successes?",
        "",
        f"`python benchmarks/over_cloning.py --seeds {seeds}{''.join(f' {word}' for word in extra)}` · {len(rows)} of "
        f"{wanted} runs are done · commit {commit} · {platform.machine()}, one thread a run",
        "",
        "100 fresh starts a run, the same for all policies. *Cloned*: from ten demonstrations. *Filtered*: from every "
        "recorded success, the policy's rollouts among them. *Refined*: in imagination, from the better of the two. "
        "*Handed out*: what the trust gate lets pass, where it was asked. Settings were chosen on seed 17.",
        "",
        "Means over seeds, within the run's 200 control steps:",
        "",
        *by_task(rows),
        "",
        "The same within the simulator's own 500 control steps:",
        "",
        *by_task(rows, own=True),
        "",
        *([told, ""] if told else []),
        *gates(rows),
        "## What the refined policies still fail at",
        "",
        "All seeds together; each real episode of the refined policy was imagined again from its own start, in the "
        "world in which it was refined. *Dynamics*: imagined frames show a success that never happened. *Classifier*: "
        "it calls the real frames a success, too. *Imagined as failures, too*: what refinement saw and did not solve. "
        "φ: whether imagination knows which starts the refined policy fails from.",
        "",
        *left_over(rows),
        "",
        "## Every run",
        "",
        "Success in per cent within 200 / 500 control steps; the difference within 200, with its paired 95 % interval; "
        "φ of the gate's back-test; seconds of the run and of its gate, on a machine that did other work, too.",
        "",
        "| task | seed | cloned | filtered | refined | refined − filtered | handed out | φ | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
        *(line(row) for row in rows),
        "",
    ]
    (RESULTS / f"{args.name}.md").write_text("\n".join(lines))


def main() -> None:
    """Run what is left, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22])
    parser.add_argument("--out", type=Path, default=Path("runs/over-cloning"))
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("--name", default="over_cloning", help="of the page in benchmarks/results")
    args, extra = parser.parse_known_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pairs = [(task, seed) for seed in args.seeds for task in args.tasks]
    jobs = [
        Job(tuple(command(args.out, task, seed, extra)), args.out / f"{task}-{seed}.log")
        for task, seed in pairs
        if result(args.out, task, seed) is None
    ]
    run_side_by_side(jobs, args.jobs)
    write([row for pair in pairs if (row := result(args.out, *pair)) is not None], args, extra)


if __name__ == "__main__":
    main()
