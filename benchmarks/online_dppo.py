"""DPPO online: how many real steps the same policy and PPO need in the simulator to match what DiWA reached in none.

    python benchmarks/online_dppo.py RUN … [--steps 300000] [--anchor 0.0]

Each RUN is a finished run folder of the recipe `diwa`. From its pretrained policy and its frozen world model (as the
encoder only) PPO goes on in the real simulator; the environment is all that changes, and the anchor, which DPPO does
not have. The deterministic policy is judged every few iterations on starts that neither the training nor the final
evaluation sees; those episodes are not counted. DiWA's refined policy is judged on the same starts. Writes
benchmarks/results/online_dppo.md.
"""

import argparse
import contextlib
import dataclasses
import json
import tempfile
from pathlib import Path

import torch

from burnish.components import save
from burnish.evaluation.real import evaluation_seeds, real_success
from burnish.policies import Policy, load_agent
from burnish.recipes.runs import reopen
from burnish.rl import PPO, EnvExperience, Judgement, refine
from burnish.simulators.parallel import WorkerPool
from burnish.simulators.real_env import RealEnv

RESULTS = Path(__file__).parent / "results"
_JUDGING_OFFSET = 700_000


class Enough(Exception):
    """The budget of real steps is used up, or the target is reached twice in a row."""


def online(folder: Path, out: Path, limit: int, envs: int, episodes: int, anchor: float, pool: WorkerPool) -> dict:
    """The curve of one run: (real steps, success) pairs, and what DiWA reached on the same starts."""
    opened = reopen(folder)
    run, config = opened.run, opened.config
    seeds = evaluation_seeds(episodes, offset=_JUDGING_OFFSET)

    def rate(path: Path) -> float:
        return sum(real_success(path, run.task, config.simulator, seeds, pool).success) / episodes

    target, pretrained = rate(folder / "refined"), rate(folder / "policy")
    agent = load_agent(folder / "policy", run.task)
    env = RealEnv(run.task, agent.observer, envs, config.simulator, agent.policy.config.chunk, seed=run.seed)
    curve: list[tuple[int, float]] = []

    def judge(policy: Policy) -> Judgement:
        agent.policy.load_state_dict(policy.state_dict())
        with tempfile.TemporaryDirectory() as path:
            save(path, agent)
            found = rate(Path(path))
        curve.append((env.real_steps, found))
        print(f"{run.task} {run.seed}: {env.real_steps} real steps, {found:.2f} (target {target:.2f})", flush=True)
        if env.real_steps >= limit or matched(curve, target):
            raise Enough
        return Judgement(found, {"success": found})

    policy = load_agent(folder / "policy", run.task).policy
    settings = dataclasses.replace(config.refine, iterations=10**6, evaluate_every=10, patience=None, average=0.0)
    torch.manual_seed(run.seed)
    learner = PPO(policy, env.feature_dim, dataclasses.replace(config.ppo, anchor_weight=anchor))
    with contextlib.suppress(Enough):
        # The look before the first update would cost real steps.
        settings = dataclasses.replace(settings, preflight=False)
        refine(learner, EnvExperience(env, run.seed), judge, settings, out, run.seed)
    reached = curve[-2][0] if matched(curve, target) else None
    collected = json.loads((folder / "report.json").read_text())["simulator_steps"]["collection"]
    return {
        "task": run.task,
        "seed": run.seed,
        "pretrained": pretrained,
        "target": target,
        "real_steps": reached,
        "limit": limit,
        "curve": curve,
        "collection": collected,
        "action_repeat": config.simulator.action_repeat,
    }


def matched(curve: list[tuple[int, float]], target: float) -> bool:
    """Whether the last two judgements reached the target."""
    return len(curve) > 1 and min(found for _, found in curve[-2:]) >= target


def main() -> None:
    """Run it for each run folder and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--envs", type=int, default=32)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--anchor", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/online"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for folder in args.runs:
        path = args.out / f"{folder.name}.json"
        if path.exists():
            rows.append(json.loads(path.read_text()))
            continue
        with WorkerPool(args.threads) as pool, tempfile.TemporaryDirectory() as work:
            row = online(folder, Path(work), args.steps, args.envs, args.episodes, args.anchor, pool)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row))
        rows.append(row)
    _write(rows)


def _write(rows: list[dict]) -> None:
    lines = [
        "# Online DPPO beside DiWA",
        "",
        "`python benchmarks/online_dppo.py RUN …`: real frames (executed actions) that PPO needed in the simulator to",
        "reach, twice in a row, the success that DiWA's policy has on the same judging starts. DiWA's refinement: 0.",
        "The offline data that DiWA began with is given beside it, in control steps.",
        "",
        "| task | seed | pretrained | DiWA (target) | DPPO: real frames to match | best of DPPO | data collection |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        best = max(found for _, found in r["curve"])
        steps = f"{r['real_steps']:,}" if r["real_steps"] is not None else f"not within {r['limit']:,}"
        lines.append(
            f"| {r['task']} | {r['seed']} | {r['pretrained']:.0%} | {r['target']:.0%} | {steps} | {best:.0%} "
            f"| {r['collection']:,} control steps |"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "online_dppo.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
