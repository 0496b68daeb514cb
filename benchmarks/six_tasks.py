"""World4RL's main experiment: six Meta-World tasks, one world model for all of them, three seeds (Table II).

    python benchmarks/six_tasks.py --out runs/six --device cuda --minutes 9     and again, until all is done
    python benchmarks/six_tasks.py --predict                                    what that costs, from FLOPs

It does as much as fits into `--minutes` and stops; the same command again goes on (training and refinement from their
last checkpoint; one recording of episodes from its beginning, so let that fit). The pieces, in their order: for
every task the demonstrations, the cloned policy and its rollouts; one world model on the data of all tasks; then, for
every task, classifier, refinement and evaluation. That is done for one seed after the other. With `--world-models
one` (the paper's 69,000 frames) all seeds imagine in the first seed's world model; with `each` every seed trains its
own.

`six_tasks.md` and `six_tasks.json` in `--out` hold what is done so far, and each finished world model is exported there
as `world_model_SEED/`, in files of half precision and at most 16 MiB. `--world-model FOLDER` takes such an export in
the place of training. A run folder `TASK-SEED` is a run like any other: `burnish report`, say, works on it.
"""

import argparse
import dataclasses
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from burnish.errors import BurnishError, InputError
from burnish.networks import UNET_PRESETS
from burnish.recipes.base import RunSpec
from burnish.recipes.catalogue import entry
from burnish.recipes.how import How
from burnish.recipes.runs import Resolved, run_recipe
from burnish.recipes.world4rl import World4RL
from burnish.storage import write_bytes_atomic, write_json
from burnish.world_models import PixelDiffusionConfig
from studies.cost import predicted
from studies.export import export_half, import_half
from studies.joint import train_joint

RECIPE = "world4rl"
PAPER = {
    "coffee-pull-v3": ((47, 7), (68, 5)),
    "soccer-v3": ((18, 2), (31, 4)),
    "hammer-v3": ((79, 5), (91, 4)),
    "door-lock-v3": ((74, 5), (92, 5)),
    "lever-pull-v3": ((31, 5), (52, 8)),
    "handle-pull-v3": ((60, 6), (71, 4)),
}
"""Success in percent, mean and spread over three seeds, of behaviour cloning and of World4RL (on Meta-World's v2)."""
ACTION_DIM = 4
TFLOPS = (30, 60, 100, 200, 400)


class OutOfTime(BaseException):
    """The minutes are over; whatever was under way goes on in the next call."""


@contextmanager
def time_limit(minutes: float | None) -> Iterator[None]:
    """Raise OutOfTime in the main thread after so many minutes; None for no limit."""

    def end(signum: int, frame: Any) -> None:
        raise OutOfTime

    if minutes is None:
        yield
        return
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---------------------------------------------------------------------------------------------------------------------
# The experiment.


def configuration(args: argparse.Namespace) -> World4RL:
    """The preset, with what the command line changes."""
    config = entry(RECIPE).preset(args.preset)
    if not isinstance(config.world_model, PixelDiffusionConfig):
        raise InputError(f"--preset {args.preset}: found a world model of states, expected one of frames")
    changes: dict[str, dict[str, Any]] = {
        "world_model": {"preset": args.network},
        "world_model_training": {
            "steps": args.steps,
            "batch_size": args.batch,
            "checkpoint_seconds": args.checkpoint_seconds,
        },
        "refine": {"iterations": args.iterations, "checkpoint_seconds": args.checkpoint_seconds},
        "imagination": {"num_envs": args.envs},
        "evaluation": {"episodes": args.episodes},
    }
    groups = {
        name: dataclasses.replace(getattr(config, name), **{k: v for k, v in values.items() if v is not None})
        for name, values in changes.items()
    }
    # On a CPU compiling takes longer than it saves.
    compiled = args.compile and args.device == "cuda"
    speed = dataclasses.replace(groups["world_model"].speed, compile=compiled)
    groups["world_model"] = dataclasses.replace(groups["world_model"], speed=speed)
    return dataclasses.replace(config, **groups)


class Experiment:
    """The pieces of the experiment, each of which knows what of it is done."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.config, self.out = args, configuration(args), args.out.absolute()
        assert isinstance(self.config.world_model, PixelDiffusionConfig)
        self.model: PixelDiffusionConfig = self.config.world_model

    def pieces(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """What is to be done, in its order."""
        for seed in self.args.seeds:
            first = self.args.seeds[0] if self.args.world_models == "one" else seed
            for task in self.args.tasks:
                yield f"data of {task}, seed {seed}", lambda task=task, seed=seed: self.run(task, seed, None, "collect")
            if seed == first:
                yield f"world model of seed {seed}", lambda seed=seed: self.train_world_model(seed)
            model = str(self.world_model(first))
            for task in self.args.tasks:
                yield (
                    f"refinement of {task}, seed {seed}",
                    lambda task=task, seed=seed, model=model: self.run(task, seed, model, "report"),
                )

    def run(self, task: str, seed: int, world_model: str | None, command: str) -> None:
        """The stages of one run that a command does."""
        config = dataclasses.replace(self.config, world_model_from=world_model)
        folder = self.folder(task, seed)
        if command == "collect" and (folder / "report.json").exists():
            return  # the run's own settings name the world model by now
        resolved = Resolved(RunSpec(RECIPE, task, seed, None, task), config)
        run_recipe(folder, resolved, command, How(self.args.threads, device=self.args.device))

    def folder(self, task: str, seed: int) -> Path:
        """The run folder of one task and seed."""
        return self.out / f"{task}-{seed}"

    def world_model(self, seed: int) -> Path:
        """Where the world model that is trained on one seed's data will be."""
        return self.out / (f"joint-{seed}/world_model" if self.args.world_model is None else "given")

    def train_world_model(self, seed: int) -> None:
        """One model on all tasks' data, or the given one; the trained one is exported."""
        if self.args.world_model is not None:
            if not (self.world_model(seed) / "config.json").exists():
                import_half(self.args.world_model, self.world_model(seed))
            return
        runs = [self.folder(task, seed) for task in self.args.tasks]
        training = self.config.world_model_training
        folder = self.out / f"joint-{seed}"
        model = train_joint(runs, self.model, training, folder, seed, self.args.device)
        export_half(model, self.out / f"world_model_{seed}")


def work(experiment: Experiment) -> bool:
    """Do the pieces until all is done (True) or time is over; the tables are written in either case."""
    args = experiment.args
    done = False
    try:
        with time_limit(args.minutes):
            for name, piece in experiment.pieces():
                print(f"[six_tasks] {name}", flush=True)
                piece()
        done = True
    except OutOfTime:
        print("[six_tasks] the time is over; the same command again goes on", flush=True)
    finally:
        write_results(experiment, done)
    return done


# ---------------------------------------------------------------------------------------------------------------------
# Results.


def write_results(experiment: Experiment, done: bool) -> None:
    """six_tasks.json and six_tasks.md from the reports that are there."""
    args = experiment.args
    rows = {task: [found for seed in args.seeds if (found := outcome(experiment, task, seed))] for task in args.tasks}
    write_json(experiment.out / "six_tasks.json", {"done": done, "runs": rows})
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    training = experiment.config.world_model_training
    told = [
        f"`python benchmarks/six_tasks.py {' '.join(sys.argv[1:])}`, commit {found.stdout.strip() or 'unknown'}, torch "
        f"{torch.__version__}, {args.device}.",
        f"Preset {args.preset}; U-Net `{experiment.model.preset}`, {training.steps:,} steps of "
        f"{training.batch_size} windows; {experiment.config.evaluation.episodes} evaluation episodes a policy. "
        f"{'Complete.' if done else 'NOT complete: the missing runs are left out.'}",
        "Success in %, mean ± standard deviation over seeds (each in brackets). Moving PSNR: of imagined pictures "
        "after 10 steps, dB over the pixels that moved, beside holding the present one, in policy episodes. The "
        "paper's numbers are of Meta-World v2 and three seeds.",
    ]
    text = "\n\n".join(["# Six tasks", *told, "\n".join(table(rows))]) + "\n"
    write_bytes_atomic(experiment.out / "six_tasks.md", text.encode())
    print(text)


def outcome(experiment: Experiment, task: str, seed: int) -> dict[str, Any] | None:
    """What the table needs of a finished run."""
    folder = experiment.folder(task, seed)
    if not (folder / "report.json").exists():
        return None
    report = json.loads((folder / "report.json").read_text())
    fidelity = json.loads((folder / "evaluation" / "fidelity.json").read_text())
    moving = fidelity["sources"].get("policy", {}).get("psnr_moving", {})
    return {
        "seed": seed,
        "pretrained": 100 * report["success"]["pretrained"]["rate"],
        "refined": 100 * report["success"]["refined"]["rate"],
        "imagined": {name: 100 * rate for name, rate in report["imagined_success"].items()},
        "moving_psnr": {name: moving[name][-1] for name in ("model", "hold_last") if name in moving},
        "imagined_steps": report["imagined_steps"],
        "seconds": report["seconds"],
        "refinement_simulator_steps": report["simulator_steps"]["refinement"],
    }


def table(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    """One row a task, the paper's numbers beside ours, and the means over tasks."""
    lines = [
        "| task | pretrained | refined | paper: BC | paper: World4RL | imagined, refined | moving PSNR (held) |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, found in rows.items():
        before, after = ("±".join(map(str, pair)) for pair in PAPER[task]) if task in PAPER else ("–", "–")
        imagined = _spread([each["imagined"]["refined"] for each in found])
        lines.append(
            f"| {task} | {_spread([each['pretrained'] for each in found])} | "
            f"{_spread([each['refined'] for each in found])} | {before} | {after} | {imagined} | {_moving(found)} |"
        )
    finished = {task: found for task, found in rows.items() if found}
    if finished:
        means = [
            f"{statistics.mean(statistics.mean(each[name] for each in found) for found in finished.values()):.1f}"
            for name in ("pretrained", "refined")
        ]
        papers = [PAPER[task] for task in finished if task in PAPER]
        beside = [f"{statistics.mean(pair[i][0] for pair in papers):.1f}" if papers else "–" for i in (0, 1)]
        lines.append(f"| mean of {len(finished)} | {' | '.join([*means, *beside])} | | |")
    return lines


def _spread(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.0f} (1 seed)" if values else "–"
    singles = ", ".join(f"{value:.0f}" for value in values)
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f} ({singles})"


def _moving(found: list[dict[str, Any]]) -> str:
    pairs = [(each["moving_psnr"].get("model"), each["moving_psnr"].get("hold_last")) for each in found]
    known = [pair for pair in pairs if None not in pair]
    if not known:
        return "–"
    model, held = (statistics.mean(values) for values in zip(*known, strict=True))
    return f"{model:.1f} ({held:.1f})"


# ---------------------------------------------------------------------------------------------------------------------
# Its cost.


def prediction(experiment: Experiment) -> list[str]:
    """GPU-seconds at several effective speeds."""
    cost, args = predicted(experiment.config, ACTION_DIM), experiment.args
    models = len(args.seeds) if args.world_models == "each" else 1
    models = 0 if args.world_model is not None else models
    runs = len(args.tasks) * len(args.seeds)
    parts = {
        f"{models} world model(s)": models * cost.training,
        f"refinement of {runs} runs": runs * cost.refinement,
        f"imagined pictures of {runs} evaluations": runs * cost.evaluation,
    }
    lines = [
        f"U-Net `{experiment.model.preset}`: {cost.parameters:,} weights; one world model "
        f"{cost.training / 1e15:.3g} PFLOP, one run's refinement {cost.refinement / 1e15:.3g} PFLOP. Seconds at an "
        "effective speed in TFLOP/s (without collection, classifier, PPO's own networks and the simulator):",
        "",
        "| part | PFLOP | " + " | ".join(map(str, TFLOPS)) + " |",
        "|---" * (len(TFLOPS) + 2) + "|",
    ]
    for name, flops in {**parts, "all": sum(parts.values())}.items():
        seconds = " | ".join(f"{flops / (speed * 1e12):,.0f}" for speed in TFLOPS)
        lines.append(f"| {name} | {flops / 1e15:,.1f} | {seconds} |")
    return lines


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/six_tasks"))
    parser.add_argument("--tasks", nargs="+", default=list(PAPER))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--preset", default="frames-paper", help="of world4rl, on frames")
    parser.add_argument("--network", choices=list(UNET_PRESETS), help="default: the preset's")
    parser.add_argument("--world-models", choices=["one", "each"], default="one", help="for all seeds, or for each")
    parser.add_argument("--world-model", type=Path, help="an exported world model, in the place of training")
    parser.add_argument("--steps", type=int, help="of world-model training")
    parser.add_argument("--batch", type=int, help="of world-model training")
    parser.add_argument("--iterations", type=int, help="of refinement")
    parser.add_argument("--envs", type=int, help="imagined environments")
    parser.add_argument("--episodes", type=int, help="of evaluation, for each policy")
    parser.add_argument("--checkpoint-seconds", type=float, default=45.0, help="what a stop may cost")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="the network, on a GPU")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--minutes", type=float, help="stop after so many")
    parser.add_argument("--predict", action="store_true", help="print the cost and do nothing")
    return parser.parse_args(arguments)


def main() -> int:
    """0 when all is done, 3 when the time was over before, 2 or 1 for errors."""
    args = parsed()
    try:
        experiment = Experiment(args)
        if args.predict:
            print("\n".join(prediction(experiment)))
            return 0
        started = time.monotonic()
        done = work(experiment)
        print(f"[six_tasks] {time.monotonic() - started:.0f} s in this call", flush=True)
        return 0 if done else 3
    except BurnishError as error:
        print(f"six_tasks: error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
