"""How fast refinement is alone on a machine, and beside neighbours who want every core.

    python benchmarks/busy_machine.py --run runs/demo --trees . ../before

Refines the policy of a finished run, judgements included, in a process of its own: with one lane and one thread, with a
lane for each core, and with as many threads of PyTorch's; alone, and beside one busy process for each core. `--trees`
are checkouts to compare, measured in turns. Writes `benchmarks/results/busy_machine.md`; CPU seconds of an iteration
hardly depend on who else is at work, iterations per second do.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
WARM = 1
"""Iterations before the clock starts; the critic alone learns in none of them, as in all but a run's first ten."""


def refine_for(folder: Path, threads: int, lanes: int, iterations: int) -> dict[str, object]:
    """In the child: iterations per second, CPU seconds of one, and a digest of the policy at the end."""
    importlib.import_module("burnish")  # before torch, as the command does: it tells OpenMP how to wait
    import torch

    from burnish.data import read_dataset
    from burnish.imagination import ImaginedEnv, imagined_evaluation
    from burnish.policies import load_agent
    from burnish.recipes.runs import reopen
    from burnish.recipes.stages.refining import start_states, time_limit
    from burnish.rl import PPO, EnvExperience, Judgement, refine
    from studies.finished import models_of

    torch.set_num_threads(threads)
    config, dataset, agent = reopen(folder).config, read_dataset(folder / "dataset"), load_agent(folder / "policy")
    models = models_of(folder, config.imagination.pessimism)
    starts = start_states(config.imagination.starts, dataset, models.world_model)
    env = ImaginedEnv(models, starts, dataset.action_dim, config.imagination, 0)
    count = config.refine.imagined_episodes
    rules = replace(config.imagination, num_envs=count, horizon=10**9)
    scored = ImaginedEnv(models, starts, dataset.action_dim, rules, 1)
    scored_from, limit = starts.episode_starts(count), time_limit(dataset)
    torch.manual_seed(0)
    learner = PPO(agent.policy, env.feature_dim, replace(config.ppo, critic_warmup=0))
    clocks: dict[int, tuple[float, float]] = {}

    def at(iteration: int, row: dict[str, float]) -> None:
        clocks[iteration] = time.perf_counter(), time.process_time()

    settings = replace(config.refine, iterations=WARM + iterations, patience=None, average=0.0)
    with _lanes(lanes), tempfile.TemporaryDirectory() as scratch:
        refine(
            learner,
            EnvExperience(env, 0),
            lambda candidate: Judgement.of(imagined_evaluation(scored, candidate, scored_from, limit, 0)),
            settings,
            Path(scratch),
            0,
            on_iteration=at,
        )
        digest = hashlib.sha256((Path(scratch) / "iterates" / f"{WARM + iterations:04d}.safetensors").read_bytes())
    wall, cpu = (end - begin for begin, end in zip(clocks[WARM], clocks[WARM + iterations], strict=True))
    return {"rate": iterations / wall, "cpu": cpu / iterations, "digest": digest.hexdigest()[:12]}


def _lanes(count: int) -> contextlib.AbstractContextManager[None]:
    try:
        from burnish import lanes
    except ImportError:  # a checkout from before there were any
        return contextlib.nullcontext()
    lanes.offer(count)
    return lanes.opened()


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes that want a core each."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in busy:
            each.kill()
            each.wait()


def measure(tree: Path, run: Path, threads: int, lanes: int, iterations: int, seconds: float) -> dict:
    """One child of the code in `tree`."""
    settings = {**os.environ, "PYTHONPATH": f"{tree}:{tree / 'benchmarks'}"}
    command = [sys.executable, __file__, "--run", str(run), "--child", str(threads), str(lanes), str(iterations)]
    try:
        done = subprocess.run(command, env=settings, cwd=tree, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"rate": 0.0, "cpu": float("nan"), "digest": "too slow"}
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--trees", type=Path, nargs="+", default=[Path(__file__).parent.parent])
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=600.0, help="after which a measurement is given up")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--settings", nargs="+", default=["lanes", "one", "threads"])
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1], help="for each core")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        threads, lanes, iterations = args.child
        print(json.dumps(refine_for(args.run, int(threads), int(lanes), int(iterations))))
        return
    cores = len(os.sched_getaffinity(0))
    ways = {"lanes": (1, cores), "one": (1, 1), "threads": (cores, 1)}
    lines = [
        "| code | lanes | threads | neighbours | iterations/s | CPU-s an iteration | policy | load |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for around in args.neighbours:
        for _ in range(args.repeats):
            for name in args.settings:
                for tree in args.trees:
                    threads, lanes = ways[name]
                    with neighbours(around * cores):
                        found = measure(
                            tree.resolve(), args.run.resolve(), threads, lanes, args.iterations, args.seconds
                        )
                    numbers = f"{found['rate']:.2f} | {found['cpu']:.3f} | {found['digest']}"
                    load = f"{os.getloadavg()[0]:.1f}"
                    lines.append(f"| {tree} | {lanes} | {threads} | {around * cores} | {numbers} | {load} |")
                    print(lines[-1], flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "busy_machine.md").write_text(
        "# Refinement beside neighbours\n\n`python benchmarks/busy_machine.py …`\n\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    main()
