"""Can the trust gate be trusted?  Many refinements, some set up to exploit their models, judged by gate and simulator.

    python benchmarks/trust_study.py --runs runs/table/*-v3-[23] --name trust_study

RUNS are finished run folders of `burnish compare` with methods bc, RECIPE, RECIPE-no-halting and RECIPE-no-anchor.  In
each of them this script

- refines twice more, set up to exploit (no halting, no anchor, no members): in a world model that was trained for 100
  steps, and for a classifier that calls everything a success to which it gives a probability of 2 %;
- trains the held-out worlds, and lets the gate decide on all five refinements;
- scores the pretrained and the refined policies, iterates of refinement, checkpoints of behaviour cloning and a policy
  of random weights in the held-out worlds, in the run's own world model, and in the real simulator.

A stage that is done is not done again.  Writes benchmarks/results/NAME.md, .json, .html and .png.
With `--more N` every policy plays N further starts in the simulator, and truth is what came of all of them: a hundred
episodes cannot tell policies apart that succeed alike.  `--least-skill` decides by one φ for all gains instead of the
default rule (what the held-out worlds said stays the same), and NAME_thresholds.md has what each of several would
decide.
"""

import argparse
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from burnish.evaluation.agent import Agent, load_agent, save_agent
from burnish.recipes.gating import WORLDS, held_out_splits, held_out_worlds, plays, recorded_success
from burnish.recipes.parts import clone as clone_policy
from burnish.recipes.parts import cloned_episodes, recorded_features
from burnish.recipes.steps import Step, run_steps

from burnish.evaluation.back_test import back_test
from burnish.evaluation.frozen import load_frozen
from burnish.evaluation.gate import GateConfig, PolicyEvidence, decide, expected_success
from burnish.evaluation.intervals import paired_difference
from burnish.imagination import PessimismConfig
from burnish.pipeline import SharedRun, StageContext
from burnish.pipeline.side_by_side import Job, run_side_by_side
from burnish.recipes.ablations import REFINED
from burnish.recipes.methods import BaselineConfig, Setting, measure
from burnish.recipes.runs import opened, recipe_steps, reopen
from burnish.recipes.world4rl import train_world_model
from burnish.storage import load_tensors, read_json, save_tensors, write_json
from burnish.training import ALONE, TrainingConfig
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
_FROM_COMPARE = ("bc", "world4rl", "world4rl_no_halting", "world4rl_no_anchor")
COMPARED = {*_FROM_COMPARE[2:], *(f"{name}_success" for name in _FROM_COMPARE)}


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
    with opened(folder, resolved) as (run, recorder):
        assert run is not None and recorder is not None

        def make(config: Any) -> list[Step]:
            return recipe_steps(replace(resolved, config=config), recorder)

        steps = make(resolved.config)
        setting = Setting(
            resolved.recipe, resolved.task, resolved.seed, resolved.config, BaselineConfig(), recorder, make
        )
        shared = SharedRun(run, folder, ALONE)
        steps += exploiting(setting, iterations) + others(setting)
        names = [*KINDS, *(name for name in SETTINGS if name not in KINDS)]
        measured = [
            Step(
                success_of(name),
                {"episodes": EPISODES},
                (name,),
                lambda s, n=name: measure(setting, n, s),
                alone=True,
            )
            for name in names
        ]
        longer = [
            Step(
                f"{name}_more",
                {"episodes": more},
                (name,),
                lambda s, n=name: measure(setting, n, s, range(EPISODES, EPISODES + more)),
                alone=True,
            )
            for name in (names if more else [])
        ]
        judged = Step(
            JUDGED,
            {"gate": resolved.config.gate, "seed": resolved.seed, "version": 4},
            ("dataset", "world_model", "ensemble", "classifier", WORLDS, *names, *(step.name for step in measured)),
            lambda s: judge_all(setting, names, s),
        )
        # What `compare` made is taken as it is.
        wanted = [step for step in [*steps, *measured, judged, *longer] if step.name not in COMPARED]
        run_steps(shared, wanted, [JUDGED, *(step.name for step in longer)])


def success_of(name: str) -> str:
    """The stage that holds a policy's real success."""
    return {"policy": "bc_success", REFINED: "world4rl_success"}.get(name, f"{name}_success")


def exploiting(setting: Setting, iterations: int) -> list[Step]:
    """A world model that hardly learned, a refinement in it, and one for a classifier that fires at anything."""
    s, c = setting, setting.config
    short = replace(c, world_model_training=SHORT)
    loose = replace(
        c,
        refine=replace(c.refine, iterations=iterations),
        imagination=replace(c.imagination, pessimism=PessimismConfig("none"), member_share=0.0),
        ppo=replace(c.ppo, anchor_weight=0.0),
    )
    refine = next(step for step in s.make_steps(loose) if step.name == REFINED)

    def untrained(stage: StageContext) -> None:
        agent = load_agent(stage.inputs["policy"], s.task)
        data = s.view.dataset(stage)
        train_world_model(short, s.seed, data.split(c.held_out, seed=0), agent, stage)

    def undertrained(stage: StageContext) -> Any:
        stage.inputs["world_model"] = stage.inputs["hardly_trained"]
        return refine.body(stage)

    def misfiring(stage: StageContext) -> Any:
        copy = stage.folder / "classifier"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(stage.inputs["classifier"], copy)
        tensors, metadata = load_tensors(copy / "model.safetensors")
        save_tensors(copy / "model.safetensors", tensors | {"threshold": torch.tensor(0.02)}, metadata)
        stage.inputs["classifier"] = copy
        outputs = refine.body(stage)
        shutil.rmtree(copy)
        return outputs

    return [
        Step("hardly_trained", {"training": SHORT, "seed": s.seed}, ("dataset", "policy"), untrained),
        replace(refine, name="undertrained", inputs=(*refine.inputs, "hardly_trained"), body=undertrained),
        replace(refine, name="misfiring", config={"threshold": 0.02, **refine.config}, body=misfiring),
    ]


def others(setting: Setting) -> list[Step]:
    """Policies between the good and the bad ones: iterates, checkpoints of cloning, and random weights."""
    s = setting

    def iterate(stage: StageContext, place: float) -> None:
        agent, found = load_agent(stage.inputs[REFINED], s.task), sorted((stage.inputs[REFINED] / "iterates").glob("*"))
        judged = found[1:] or found  # the first one is the pretrained policy
        agent.policy.load_state_dict(load_tensors(judged[round(place * (len(judged) - 1))])[0])
        save_agent(stage.folder, agent, s.task)

    def fresh(stage: StageContext, steps: int) -> None:
        trained = load_agent(stage.inputs["policy"], s.task)
        torch.manual_seed(s.seed)
        policy = type(trained.policy)(trained.policy.feature_dim, trained.policy.action_dim, trained.policy.config)
        if steps:
            episodes = cloned_episodes(s.view.dataset(stage))
            training = replace(s.config.pretraining, steps=steps)
            seen = [recorded_features(trained.observer, episodes)]
            clone_policy(policy, seen, episodes, s.config.cloning_noise, training, s.seed, stage)
        save_agent(stage.folder, Agent(trained.observer, policy).eval(), s.task)

    settings = {"seed": s.seed, "task": s.task}
    iterates = [
        Step(name, {**settings, "place": place}, (REFINED,), lambda stage, at=place: iterate(stage, at))
        for name, place in ITERATES.items()
    ]
    clones = [
        Step(name, {**settings, "steps": steps}, ("dataset", "policy"), lambda stage, n=steps: fresh(stage, n))
        for name, steps in CLONES.items()
    ]
    random_one = Step("random_weights", settings, ("dataset", "policy"), lambda stage: fresh(stage, 0))
    return [*iterates, *clones, random_one]


def judge_all(setting: Setting, names: list[str], stage: StageContext) -> None:
    """The gate's decisions and the policies' scores, beside what the simulator said: rows.json."""
    s, gate = setting, setting.config.gate
    dataset, worlds = s.view.dataset(stage), held_out_worlds(stage.inputs[WORLDS])
    own = [load_frozen(*(stage.inputs[name] for name in ("world_model", "classifier", "ensemble")))]
    agents = {name: load_agent(stage.inputs[name], s.task) for name in names}
    real = {name: read_json(stage.inputs[success_of(name)] / "success.json")["success"] for name in names}
    imagined = {name: plays(agent, worlds, dataset, gate.episodes, s.seed) for name, agent in agents.items()}
    naive = {name: plays(agent, own, dataset, gate.episodes, s.seed) for name, agent in agents.items()}
    held_out = held_out_splits(dataset, len(worlds), s.seed)
    limit = dataset.info.max_steps or int(dataset.lengths.max())
    tested = back_test(agents["policy"], worlds, held_out, limit, s.seed)
    recorded = recorded_success(agents["policy"], dataset)
    rates = {name: PolicyEvidence.of(played).pessimistic for name, played in imagined.items()}
    policies = [
        {
            "task": s.task,
            "seed": s.seed,
            "policy": name,
            "kind": KINDS.get(name, "exploited"),
            "estimate": expected_success(tested, recorded, rates["policy"], rates[name]),
            "naive": float(naive[name][0].hopeful.mean()),
            "evidence": asdict(PolicyEvidence.of(imagined[name])),
            "real": {"successes": sum(real[name]), "episodes": len(real[name])},
        }
        for name in names
    ]
    decisions, details = [], {}
    for name, label in SETTINGS.items():
        verdict = decide(imagined["policy"], imagined[name], tested, gate, recorded)
        details[name] = verdict.to_dict()
        decisions.append(
            {
                "task": s.task,
                "seed": s.seed,
                "setting": label,
                "exploit": name != REFINED,
                "accepted": verdict.accepted,
                "reason": "; ".join(verdict.reasons),
                "estimate": verdict.estimate,
                "low": verdict.low,
                "high": verdict.high,
                **truth_of(real["policy"], real[name]),
            }
        )
    write_json(stage.folder / "gates.json", details)
    write_json(stage.folder / "rows.json", {"policies": policies, "decisions": decisions})


if __name__ == "__main__":
    main()
