"""Can the trust gate be trusted? Many refinements, some set up to exploit their models, judged by gate and simulator.

    python benchmarks/trust_study.py --runs runs/table/*-v3-[23] --name trust_study

RUNS are finished run folders of `burnish compare` with methods bc, RECIPE, RECIPE-no-halting and RECIPE-no-anchor. In
each of them this script

- refines twice more, set up to exploit (no halting, no anchor, no members): in a world model that was trained for 100
  steps, and for a classifier that calls everything a success to which it gives a probability of 2 %;
- trains the held-out worlds, and lets the gate decide on all five refinements;
- scores the pretrained and the refined policies, iterates of refinement, checkpoints of behaviour cloning and a policy
  of random weights in the held-out worlds, in the run's own world model, and in the real simulator.

A stage that is done is not done again. Writes benchmarks/results/NAME.md, .json, .html and .png.
With `--more N` every policy plays N further starts in the simulator, and truth is what came of all of them: a hundred
episodes cannot tell policies apart that succeed alike. `--least-skill` decides by one φ for all gains instead of the
default rule (what the held-out worlds said stays the same), and NAME_thresholds.md has what each of several would
decide.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from burnish.components import load
from burnish.data import Dataset, folds
from burnish.evaluation.back_test import back_test
from burnish.evaluation.gate import GateConfig, PolicyEvidence, decide, expected_outcome
from burnish.evaluation.intervals import paired_difference
from burnish.imagination import PessimismConfig
from burnish.pipeline import Stage, StageContext, stage
from burnish.pipeline.side_by_side import Job, run_side_by_side
from burnish.policies import Agent
from burnish.recipes.base import Models, Plan
from burnish.recipes.catalogue import entry
from burnish.recipes.how import How
from burnish.recipes.methods import BaselineConfig, measure, measured, play
from burnish.recipes.runs import Resolved, execute_targets, reopen
from burnish.recipes.stages.cloning import Cloning, clone, cloned_episodes
from burnish.recipes.stages.gate import plays, recorded_outcome
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.recording import Real
from burnish.recipes.stages.refining import inside, time_limit
from burnish.recipes.stages.training import recorded_features
from burnish.storage import load_tensors, read_json, write_json
from burnish.training import TrainingConfig
from studies.agreement import Share, decision_rates
from studies.page import study_of, write_study

RESULTS = Path(__file__).parent / "results"
SETTINGS = {
    "refined": "as it is",
    "world4rl_no_halting": "no halting",
    "world4rl_no_anchor": "no anchor",
    "undertrained": "undertrained world model",
    "misfiring": "misfiring classifier",
}
CLONES = {"clone_10": 10, "early_clone": 30, "clone_60": 60, "clone_120": 120}
"""Checkpoints of behaviour cloning, by training steps (the pretrained policy: 600)."""
ITERATES = {"first_iterate": 0.0, "quarter_iterate": 0.25, "middle_iterate": 0.5, "last_iterate": 1.0}
"""Iterates of refinement, by their place among those that it judged."""
KINDS = {
    "policy": "pretrained",
    "refined": "refined",
    "random_weights": "random",
    **dict.fromkeys(CLONES, "early clone"),
    **dict.fromkeys(ITERATES, "iterate"),
}
SHORT = TrainingConfig(steps=100, batch_size=256, learning_rate=2e-3)
JUDGED = "study"
THRESHOLDS = (0.0, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
EPISODES = 100
COMPARED = {
    "policy": "bc",
    "refined": "world4rl",
    "world4rl_no_halting": "world4rl-no-halting",
    "world4rl_no_anchor": "world4rl-no-anchor",
}
"""What `compare` has done already, by its methods' names."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    parser.add_argument("--name", default="trust_study")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=50, help="of the two refinements that are set up to exploit")
    parser.add_argument("--more", type=int, default=0, help="real episodes of every policy beyond the hundred")
    parser.add_argument("--least-skill", type=float, help="one least φ for all gains; default: the gate's rule")
    parser.add_argument("--one", action="store_true", help="do the only run here, and write no page")
    args = parser.parse_args()
    if args.one:
        torch.set_num_threads(1)
        study_run(args.runs[0], args.iterations, args.more)
        return
    own = [sys.executable, "-W", "ignore", __file__, "--one", "--iterations", str(args.iterations)]
    own += ["--more", str(args.more), "--runs"]
    jobs = [Job((*own, str(run)), run.with_name(f"{run.name}-study.log")) for run in args.runs]
    codes = run_side_by_side(jobs, args.jobs, lambda n, code: print(f"{args.runs[n]}: exit code {code}", flush=True))
    done = [run for run, code in zip(args.runs, codes, strict=True) if code == 0]
    rows = [judged_rows(run, args.least_skill, args.more) for run in done]
    study = study_of(
        [row for each in rows for row in each["policies"]],
        [row for each in rows for row in each["decisions"]],
        source="rows.json",
        title="Can the trust gate be trusted?",
        command=f"python benchmarks/trust_study.py --runs {' '.join(map(str, args.runs))} --name {args.name}"
        + (f" --more {args.more}" if args.more else "")
        + (f" --least-skill {args.least_skill:g}" if args.least_skill is not None else ""),
    )
    print(write_study(study, RESULTS, args.name))
    write_thresholds(done, args.name, study.command, args.more)
    if len(done) < len(args.runs):
        raise SystemExit("some runs failed; their logs say why")


def judged_rows(run: Path, least_skill: float | None, more: int) -> dict[str, Any]:
    """rows.json of a run, decided anew: by the default rule, or by one threshold `least_skill` for all gains.

    Truth is that of the study's episodes and of `more` others.
    """
    rule = GateConfig() if least_skill is None else GateConfig(least_skill=least_skill, full_skill=least_skill)
    rows = read_json(run / JUDGED / "rows.json")
    for row, verdict in zip(rows["decisions"], read_json(run / JUDGED / "gates.json").values(), strict=True):
        asked = rule.asked_gain(verdict["skill"])
        row["accepted"] = asked is not None and verdict["low"] > asked
    if more:
        real = {name: outcomes(run, name, more) for name in (row["policy"] for row in rows["policies"])}
        for row in rows["policies"]:
            row["real"] = {"successes": sum(real[row["policy"]]), "episodes": len(real[row["policy"]])}
        for row, name in zip(rows["decisions"], SETTINGS, strict=True):
            row.update(truth_of(real["policy"], real[name]))
    return rows


def outcomes(run: Path, name: str, more: int) -> list[bool]:
    """Every real episode of a policy."""
    stages = [success_of(name), *([f"{name}_more"] if more else [])]
    return [won for stage in stages for won in read_json(run / stage / "success.json")["success"]]


def truth_of(pretrained: list[bool], refined: list[bool]) -> dict[str, Any]:
    """A decision's truth from paired real episodes."""
    found = paired_difference(pretrained, refined)
    return {
        "real_difference": found.difference,
        "improved": found.improved,
        "worsened": found.worsened,
        "episodes": found.episodes,
    }


def write_thresholds(runs: list[Path], name: str, command: str, more: int) -> None:
    """NAME_thresholds.md: the decisions by several least φ, and each run's own."""
    lines = [
        "# The least φ of the back-test",
        "",
        f"`{command}`",
        "",
        "Truth by McNemar's exact test at 5 %; Wilson's 95 % intervals.",
        "",
        "| φ at least | accepted | truly worse among them | truly better, rejected | mean real gain of the accepted |",
        "|---|---|---|---|---|",
    ]
    for least in (*THRESHOLDS, None):
        rows = [row for run in runs for row in judged_rows(run, least, more)["decisions"]]
        decisions = study_of([], rows, "rows.json").decisions
        rates = decision_rates(decisions, "test")
        gained = [decision.real_difference for decision in decisions if decision.accepted]
        mean = f"{100 * sum(gained) / len(gained):+.0f} points" if gained else "–"
        wrong, missed = rates.false_accepts_of_accepted, rates.false_rejects_of_better
        name_of = "the default rule" if least is None else f"{least:g}"
        lines.append(f"| {name_of} | {rates.accepted} | {_share(wrong)} | {_share(missed)} | {mean} |")
    skills = {run.name: next(iter(read_json(run / JUDGED / "gates.json").values()))["skill"] for run in runs}
    ordered = sorted(skills.items(), key=lambda item: item[1])
    lines += ["", "φ of the runs: " + ", ".join(f"{run} {skill:.2f}" for run, skill in ordered) + "."]
    (RESULTS / f"{name}_thresholds.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _share(share: Share) -> str:
    if share.rate is None or share.low is None or share.high is None:
        return "–"
    return f"{share.count} of {share.total}: {share.rate:.0%} ({share.low:.0%} to {share.high:.0%})"


def study_run(folder: Path, iterations: int, more: int) -> None:
    """Everything of one run folder, as stages in it."""
    resolved = reopen(folder)
    resolved = replace(resolved, config=replace(resolved.config, gate=GateConfig()))
    r, c, plan = resolved.run, resolved.config, resolved.plan
    assert plan.accepted is not None
    real = r.real(c)
    known = {name: measured(method, entry(r.recipe), c, r, BaselineConfig()) for name, method in COMPARED.items()}
    agents = {name: each.arguments["policy"].stage for name, each in known.items()}
    agents |= {**exploiting(resolved, plan, iterations), **others(resolved, plan)}
    names = [*KINDS, *(name for name in SETTINGS if name not in KINDS)]
    played = {"alone": True, "real": real}
    successes = {
        name: known.get(name)
        or stage(measure, success_of(name), **played, episodes=EPISODES, policy=agents[name].folder)
        for name in names
    }
    longer = [
        stage(measure_more, f"{name}_more", **played, first=EPISODES, count=more, policy=agents[name].folder)
        for name in (names if more else [])
    ]
    judged = stage(
        judge_all,
        JUDGED,
        run={"task": r.task, "seed": r.seed},
        gate=c.gate,
        data=plan.seen.whole,
        worlds=plan.accepted.arguments["worlds"],
        models=plan.models,
        agents={name: agents[name] for name in names},
        real={name: each.folder for name, each in successes.items()},
    )
    execute_targets(folder, resolved, [judged, *longer], How(threads=1))


def success_of(name: str) -> str:
    """The stage that holds a policy's real success."""
    return f"{COMPARED.get(name, name).replace('-', '_')}_success"


def measure_more(context: StageContext, real: Real, first: int, count: int, policy: Path) -> None:
    """Further starts, beyond the evaluation's."""
    from burnish.evaluation.actor import PolicyActor

    play(context, real, PolicyActor, {"folder": policy}, range(first, first + count))


# ---------------------------------------------------------------------------------------------------------------------
# Policies that are set up to exploit, and such that lie between the good and the bad ones.


def exploiting(resolved: Resolved, plan: Plan, iterations: int) -> dict[str, Stage]:
    """Refinements in a world model that hardly learned, and for a classifier that fires at anything."""
    c = resolved.config
    short = replace(resolved, config=replace(c, world_model_training=SHORT)).plan
    loose = replace(
        c,
        refine=replace(c.refine, iterations=iterations),
        imagination=replace(c.imagination, pessimism=PessimismConfig("none"), member_share=0.0),
        ppo=replace(c.ppo, anchor_weight=0.0),
    )
    refined = replace(resolved, config=loose).plan.refined
    changed = {
        "undertrained": replace(plan.models, world=replace(short.models.world, name="hardly_trained")),
        "misfiring": replace(
            plan.models, reward=stage(misfire, "misfiring_classifier", classifier=plan.models.reward, threshold=0.02)
        ),
    }
    return {
        name: replace(refined, name=name, arguments={**refined.arguments, "models": models})
        for name, models in changed.items()
    }


def misfire(context: StageContext, classifier: Any, threshold: float) -> Any:
    """The classifier with another threshold."""
    classifier.threshold.fill_(threshold)
    return classifier


def others(resolved: Resolved, plan: Plan) -> dict[str, Stage]:
    """Iterates, checkpoints of cloning, and random weights."""
    c, seed = resolved.config, resolved.run.seed
    fresh = {"policy": plan.policy, "data": plan.seen.whole, "seed": seed}

    def cloning(steps: int) -> Cloning:
        return Cloning(None, replace(c.pretraining, steps=steps), c.cloning_noise)

    return {
        **{name: stage(iterate, name, refined=plan.refined.folder, place=place) for name, place in ITERATES.items()},
        **{name: stage(clone_anew, name, **fresh, how=cloning(steps)) for name, steps in CLONES.items()},
        "random_weights": stage(clone_anew, "random_weights", **fresh, how=None),
    }


def iterate(context: StageContext, refined: Path, place: float) -> Agent:
    """An iterate of refinement, by its place among those that were judged."""
    agent, found = load(refined, Agent), sorted((refined / "iterates").glob("*"))
    judged = found[1:] or found  # the first one is the pretrained policy
    agent.policy.load_state_dict(load_tensors(judged[round(place * (len(judged) - 1))])[0])
    return agent


def clone_anew(context: StageContext, policy: Agent, data: Dataset, seed: int, how: Cloning | None) -> Agent:
    """A policy of the pretrained one's family, cloned for some steps; where None is said of how, for none."""
    torch.manual_seed(seed)
    old = policy.policy
    fresh = type(old)(old.feature_dim, old.action_dim, old.config)
    if how is not None:
        episodes = cloned_episodes(data)
        clone(context, how, fresh, [recorded_features(inside(policy).observer, episodes)], episodes, seed)
    return policy.with_policy(fresh).eval()


# ---------------------------------------------------------------------------------------------------------------------
# What the gate says of all of them.


def judge_all(
    context: StageContext,
    run: dict[str, Any],
    gate: GateConfig,
    data: Dataset,
    worlds: Sequence[Models],
    models: Models,
    agents: Mapping[str, Agent],
    real: Mapping[str, Path],
) -> None:
    """The gate's decisions and the policies' scores, beside what the simulator said: rows.json."""
    seed, pretrained = run["seed"], inside(agents["policy"])
    held_out, own = [imagined(each, None, data) for each in worlds], [imagined(models, None, data)]
    outcomes = {name: read_json(folder / "success.json")["success"] for name, folder in real.items()}
    played = {name: plays(inside(agent), held_out, data, gate.episodes, seed) for name, agent in agents.items()}
    naive = {name: plays(inside(agent), own, data, gate.episodes, seed) for name, agent in agents.items()}
    parts = [part for _, part in folds(data, len(worlds), seed)]
    tested = back_test(pretrained, held_out, parts, time_limit(data), seed)
    recorded = recorded_outcome(pretrained, data, tested.measure)
    rates = {name: PolicyEvidence.of(found).pessimistic for name, found in played.items()}
    policies = [
        {
            **run,
            "policy": name,
            "kind": KINDS.get(name, "exploited"),
            "estimate": expected_outcome(tested, recorded, rates["policy"], rates[name]),
            "naive": float(naive[name][0].hopeful.mean()),
            "evidence": asdict(PolicyEvidence.of(played[name])),
            "real": {"successes": sum(outcomes[name]), "episodes": len(outcomes[name])},
        }
        for name in agents
    ]
    decisions, details = [], {}
    for name, label in SETTINGS.items():
        verdict = decide(played["policy"], played[name], tested, gate, recorded)
        details[name] = verdict.to_dict()
        decisions.append(
            {
                **run,
                "setting": label,
                "exploit": name != "refined",
                "accepted": verdict.accepted,
                "reason": "; ".join(verdict.reasons),
                "estimate": verdict.estimate,
                "low": verdict.low,
                "high": verdict.high,
                **truth_of(outcomes["policy"], outcomes[name]),
            }
        )
    write_json(context.folder / "gates.json", details)
    write_json(context.folder / "rows.json", {"policies": policies, "decisions": decisions})


if __name__ == "__main__":
    main()
