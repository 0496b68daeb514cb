"""Masked velocities: does S5 remember them as well as the GRU, in less time, and do privileged heads help?

    python -m benchmarks.s5wm --out runs/s5wm --seeds 1 2

Tasks whose velocities nothing sees: a pendulum that has to be swung up, a pole on a cart, and Hopper. The data of the
first two come from controllers of graded quality that do see velocities, with correlated noise, and from random motion;
Hopper's are the medium set of `offline_sets.py` below `--sets`. `burnish run s5wm` learns from them alone. Of each data
set the same number of updates of the same batches with either cell, with the velocities left out (`ignored`) or to be
told in training only (`privileged`). The environment only judges. What is done is not done again.
`benchmarks/results/s5wm.md` and `.json` receive every run, the bad ones too.
"""

import argparse
import json
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from burnish.components import frozen, load
from burnish.data import DatasetInfo, read_dataset, write_dataset
from burnish.evaluation.intervals import mean_interval
from burnish.recipes.stages.training import held_out_error
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.experts import RandomActor
from burnish.simulators.noise import CorrelatedNoise
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import suite_of
from burnish.world_models import RSSM

RESULTS = Path(__file__).parent / "results"


class SwingUp:
    """A pendulum (cos, sin, speed): energy is pumped until it stands, then held by a proportional-derivative law."""

    def __init__(self, gain: float, noise: float) -> None:
        self.gain, self.noise = gain, noise

    def begin(self, env, seeds) -> None:
        """Start K episodes."""
        self._noise = CorrelatedNoise(self.noise, 0.9, 1, seeds)

    def act(self, observation) -> np.ndarray:
        """Torques, float32 (K, 1) in [-1, 1] of the largest."""
        cos, sin, speed = observation["observation.state"].T
        angle = np.arctan2(sin, cos)
        missing = 10 * (1 - cos) / 2 - speed**2 / 6
        torque = np.where(cos > 0.8, -8 * angle - 2 * speed, np.sign(speed) * missing)
        return np.clip(self.gain * torque[:, None] + self._noise.next(), -1, 1).astype(np.float32)


class Balance:
    """A pole on a cart (place, angle, their speeds), held up by a linear law."""

    def __init__(self, gain: float, noise: float) -> None:
        self.gain, self.noise = gain, noise

    def begin(self, env, seeds) -> None:
        """Start K episodes."""
        self._noise = CorrelatedNoise(self.noise, 0.5, 1, seeds)

    def act(self, observation) -> np.ndarray:
        """Forces, float32 (K, 1) in [-1, 1] of the largest."""
        place, angle, speed, turning = observation["observation.state"].T
        force = 0.3 * place + 3.5 * angle + 0.4 * speed + 0.7 * turning
        return np.clip(self.gain * force[:, None] + self._noise.next(), -1, 1).astype(np.float32)


@dataclass(frozen=True)
class Task:
    """One task: who records it, what is hidden, and how long an episode is."""

    name: str
    actor: type | None
    """None: the data are an own offline set."""
    gains: tuple[float, ...]
    noise: float
    episodes: int
    """Of each gain, and of random motion."""
    hidden: tuple[str, ...]
    steps: int


TASKS = {
    "pendulum": Task("gym:Pendulum-v1", SwingUp, (0.1, 0.2, 0.4), 0.4, 16, ("state.2",), 200),
    "cartpole": Task("gym:InvertedPendulum-v5", Balance, (0.25, 0.4, 0.6), 0.25, 60, ("state.2", "state.3"), 200),
    "hopper": Task("gym:Hopper-v5", None, (), 0.0, 0, tuple(f"state.{n}" for n in range(5, 11)), 1000),
}
VARIANTS = {
    "gru": ("gru", "ignored"),
    "s5": ("s5", "ignored"),
    "gru, privileged": ("gru", "privileged"),
    "s5, privileged": ("s5", "privileged"),
}
_SETTINGS = """
    --preset tiny --threads 1 --config.sequence-length 64 --config.world-model-training.steps 1000
    --config.classifier-training.steps 400 --config.ensemble-training.steps 200 --config.pretraining.steps 400
    --config.imagination.num-envs 256 --config.imagination.pessimism.rule penalty --config.dreamer.gamma 0.97
    --config.dreamer.critic-warmup 100 --config.refine.iterations 200 --config.refine.evaluate-every 50
    --config.gate.worlds 0 --config.evaluation.episodes 50
    --config.evaluation.curve-points 0 --config.evaluation.videos 0
"""
SETTINGS = _SETTINGS.split()


def record(folder: Path, task: Task, seed: int, sets: Path | None = None) -> None:
    """The offline data of one seed; of an own offline set a copy."""
    if task.actor is None:
        if sets is None:
            sys.exit("--sets: the folder of offline_sets.py is missing")
        shutil.copytree(sets / task.name.removeprefix("gym:") / "medium", folder)
        return
    first = 10_000 * seed
    jobs = [
        CollectJob(
            f"gain_{gain:g}",
            task.actor,
            range(first + 1000 * n, first + 1000 * n + task.episodes),
            {"gain": gain, "noise": task.noise},
        )
        for n, gain in enumerate(task.gains)
    ]
    jobs.append(CollectJob("random", RandomActor, range(first + 9000, first + 9000 + task.episodes)))
    suite = suite_of(task.name)
    settings = suite.resolve(task.name, SimulatorConfig(max_steps=task.steps))
    spec = suite.describe(task.name, settings)
    info = DatasetInfo(
        fps=max(1, round(spec.control_rate)),
        simulator=suite.name,
        max_steps=settings.max_steps,
        state_names=spec.state_names,
    )
    write_dataset(folder, collect(task.name, jobs, settings, workers=0), info)


def command(out: Path, name: str, seed: int, variant: str, extra: Sequence[str]) -> list[str]:
    """One run."""
    task, (cell, how) = TASKS[name], VARIANTS[variant]
    made = ["run", "s5wm", "--dataset", str(out / f"{name}-{seed}"), "--task", task.name, "--seed", str(seed)]
    made += ["--out", str(run_folder(out, name, seed, variant)), "--config.world-model.cell", cell]
    made += [f"--config.world-model.{how}", *task.hidden, "--config.simulator.max-steps", str(task.steps)]
    return [sys.executable, "-W", "ignore", "-m", "burnish", *made, *SETTINGS, *extra]


def run_folder(out: Path, name: str, seed: int, variant: str) -> Path:
    """Where a run is."""
    return out / f"{name}-{seed}-{variant.replace(', ', '-')}"


def done(out: Path, name: str, seed: int, variant: str, extra: Sequence[str]) -> dict[str, Any]:
    """Run what was not run, and what came of it."""
    folder = run_folder(out, name, seed, variant)
    kept = folder / "benchmark.json"
    row: dict[str, Any] = {"task": name, "seed": seed, "variant": variant}
    if not kept.exists():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = subprocess.run(command(out, name, seed, variant, extra), capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if found.returncode:
            return row | {"exit_code": found.returncode, "error": found.stderr[-500:]}
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        kept.write_text(json.dumps({"processor_seconds": spent}))
    report = json.loads((folder / "report.json").read_text())
    row |= {"exit_code": 0, **json.loads(kept.read_text())}
    row |= {key: report["return"][key] for key in ("pretrained", "refined")}
    row["difference"] = report["return_difference"]
    row["world_model_seconds"] = json.loads((folder / "world_model/stage.json").read_text())["seconds"]
    row["imagined_return"], row["versions"] = report["imagined_return"], report["versions"]
    row["open_loop_error"] = open_loop_error(out / f"{name}-{seed}", folder)
    row["world_model"] = [json.loads(text) for text in (folder / "world_model/metrics.jsonl").open()][-1]
    return row


def open_loop_error(data: Path, run: Path) -> float:
    """Median error of 15 imagined steps under recorded actions, on the episodes that the world model has not seen, in
    standard deviations of the data. What a world model ignores it decodes as the mean."""
    held_out = read_dataset(data).split(0.1, seed=0)[1]
    return held_out_error(frozen(load(run / "world_model", RSSM)), held_out, seed=0, horizon=15)["open_loop_error"]


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    cells = [row["task"], str(row["seed"]), row["variant"]]
    if row["exit_code"]:
        return f"| {' | '.join(cells)} | failed with exit code {row['exit_code']} | | | | | | |"
    for key in ("pretrained", "refined"):
        found = row[key]
        cells.append(f"{found['mean']:.0f} ({found['ci95'][0]:.0f} to {found['ci95'][1]:.0f})")
    cells.append(f"{row['imagined_return']['pretrained']:.0f} → {row['imagined_return']['refined']:.0f}")
    told = row["world_model"].get("mse_privileged")
    cells.append("–" if told is None else f"{told:.3f}")
    cells.append(f"{row['open_loop_error']:.3f}")
    cells += [f"{row['world_model_seconds']:.0f}", f"{row['processor_seconds']:.0f}"]
    return f"| {' | '.join(cells)} |"


def write(rows: list[dict[str, Any]], args: argparse.Namespace, extra: Sequence[str]) -> None:
    """Every run, and the means over them."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    given = command(args.out, args.tasks[0], args.seeds[0], "s5", extra)
    lines = [
        "# S5WM under masked velocities",
        "",
        f"`python -m benchmarks.s5wm --out {args.out} --seeds {' '.join(map(str, args.seeds))}`, commit {commit}, "
        f"{platform.machine()}, one thread. One of the runs: `{' '.join(['burnish', *given[5:]])}`",
        "",
        "Returns of 50 fresh starts with Student's 95 % intervals. Seconds of the world model are by the clock, the "
        "processor's are of the whole run. Told: the mean squared error of the velocities, in variances, at the end of "
        "training. Error: of 15 imagined steps on held-out episodes (median, standard deviations; velocities that are "
        "ignored count as the mean).",
        "",
    ]
    for name in args.tasks:
        returns = [read_dataset(args.out / f"{name}-{seed}").episode_return for seed in args.seeds]
        words = ", ".join(f"{float(each.mean()):.0f} (best {float(each.max()):.0f})" for each in returns)
        lines.append(f"- {name}: {TASKS[name].name}; the data's mean return by seed: {words}")
    lines += ["", "| task | seed | cell | clone | refined | imagined | told | error | world model s | processor s |"]
    lines += ["|---|---|---|---|---|---|---|---|---|---|", *map(line, rows), ""]
    for name in args.tasks:
        for variant in args.variants:
            found = [
                r["refined"]["mean"] for r in rows if (r["task"], r["variant"]) == (name, variant) and "refined" in r
            ]
            if len(found) > 1:
                mean, low, high = mean_interval(found)
                lines.append(f"- {name}, {variant}: {mean:.0f} ({low:.0f} to {high:.0f}) over {len(found)} seeds")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{args.name}.md").write_text("\n".join(lines).rstrip() + "\n")
    (RESULTS / f"{args.name}.json").write_text(json.dumps({"settings": [*SETTINGS, *extra], "runs": rows}, indent=1))


def main() -> None:
    """Record, run and write the table; it is written after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the data sets and run folders")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["pendulum", "cartpole"])
    parser.add_argument("--sets", type=Path, help="folder of offline_sets.py, for hopper")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--name", default="s5wm", help="name of the table")
    args, extra = parser.parse_known_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    cells = [(seed, name) for seed in args.seeds for name in args.tasks]
    for seed, name in cells:
        if not (args.out / f"{name}-{seed}").exists():
            record(args.out / f"{name}-{seed}", TASKS[name], seed, args.sets)
    for seed, name in cells:
        for variant in args.variants:
            rows.append(done(args.out, name, seed, variant, extra))
            print(line(rows[-1]), rows[-1].get("error", ""), flush=True)
            write(rows, args, extra)


if __name__ == "__main__":
    main()
