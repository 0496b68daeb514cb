"""The methods of a comparison: each is one or two more stages in the graph of a recipe's run, on that run's data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish.data import Dataset
from burnish.errors import InputError
from burnish.pipeline import Stage, StageContext, stage
from burnish.policies import Agent, GaussianPolicyConfig, TanhPolicyConfig
from burnish.recipes.ablations import PARTS, check_part, has_part, without
from burnish.recipes.base import Plan, Recipe, RunSpec
from burnish.recipes.catalogue import cards
from burnish.recipes.stages.offline import OFFLINE, Offline, learn_iql, learn_td3_bc
from burnish.recipes.stages.playing import compared_by, outcomes_of
from burnish.recipes.stages.recording import Real
from burnish.recipes.stages.refining import simulator_steps
from burnish.rewards import RewardConfig
from burnish.rl import IQLConfig, PlanningConfig, TD3BCConfig
from burnish.storage import write_json
from burnish.training import TrainingConfig


@dataclass(frozen=True)
class BaselineConfig:
    """Every setting of the baselines; behaviour cloning has the recipe's own."""

    td3_bc: TD3BCConfig = TD3BCConfig()
    td3_bc_policy: TanhPolicyConfig = TanhPolicyConfig()
    td3_bc_training: TrainingConfig = OFFLINE
    iql: IQLConfig = IQLConfig()
    iql_policy: GaussianPolicyConfig = GaussianPolicyConfig()
    iql_training: TrainingConfig = OFFLINE
    planning: PlanningConfig = PlanningConfig()

    def of(self, method: str) -> dict[str, Any]:
        """Those that a method depends on."""
        names = (method, f"{method}_policy", f"{method}_training")
        return {name: getattr(self, name) for name in names if hasattr(self, name)}


def baseline_preset(name: str | None) -> BaselineConfig:
    """What a recipe's preset means for the baselines: only the tiny ones are of another size."""
    if name is None or not name.endswith("tiny"):
        return BaselineConfig()
    short = replace(OFFLINE, steps=300)
    planning = PlanningConfig(horizon=4, iterations=1, samples=8, policy_samples=2, elites=2, judged=2)
    return BaselineConfig(td3_bc_training=short, iql_training=short, planning=planning)


_BY_DEFAULT = RewardConfig()
BASELINES = ("bc", "filtered_bc", "td3_bc", "iql", "planning")


def other_recipe(name: str, recipe: str) -> str | None:
    """The recipe other than `recipe` that a row is of (`NAME` or `NAME-gated`); None where it is none."""
    if name in method_names(recipe):
        return None
    found, known = name.removesuffix("-gated"), {each.name for each in cards()}
    return found if found in known and found != recipe else None


def method_names(recipe: str) -> tuple[str, ...]:
    """All methods that a recipe's runs can be compared by."""
    return (*BASELINES, recipe, f"{recipe}-gated", *(f"{recipe}-no-{part}" for part in PARTS))


def default_methods(recipe: str, config: Any) -> tuple[str, ...]:
    """Table II's columns as far as they are here, what the trust gate lets pass, and refinement without its two most
    important safety parts, as far as these settings have them."""
    parts = [part for part in ("halting", "anchor") if has_part(part, config)]
    return (*BASELINES, recipe, f"{recipe}-gated", *(f"{recipe}-no-{part}" for part in parts))


def check_method(name: str, recipe: str, config: Any) -> None:
    """InputError, which says what there is, where there is no such method or it makes no sense."""
    if name not in method_names(recipe) and other_recipe(name, recipe) is None:
        known = ", ".join(method_names(recipe))
        raise InputError(f"unknown method '{name}', expected some of: {known}; or another recipe (burnish recipes)")
    if name == f"{recipe}-gated" and config.gate.worlds == 0:
        raise InputError(f"there is no '{name}' to compare: these settings have no trust gate")
    if name.startswith(f"{recipe}-no-"):
        check_part(name.removeprefix(f"{recipe}-no-"), config)


def measured(name: str, recipe: Recipe, config: Any, run: RunSpec, baselines: BaselineConfig) -> Stage:
    """The stage that plays a method's policy in the simulator, from the evaluation's starts.

    Raises:
        InputError: there is no such method.
    """
    check_method(name, recipe.name, config)
    plan, real = recipe.build(config, run), run.real(config)
    play = {"alone": True, "real": real, "episodes": config.evaluation.episodes}
    if run.own is not None:  # what policies are compared by, and in which units they act, the data say
        play |= {"reward": config.reward, "data": plan.seen.whole}
    result = f"{name.replace('-', '_')}_success"
    if name == "planning":
        models = {"world": plan.models.world.folder, "reward": plan.models.reward.folder}
        models["uncertainties"] = tuple(each.folder for each in plan.models.uncertainties)
        return stage(
            measure_planning, result, **play, policy=plan.policy.folder, models=models, planning=baselines.planning
        )
    return stage(measure, result, **play, policy=_agent(name, recipe, config, run, baselines, plan).folder)


def _agent(name: str, recipe: Recipe, config: Any, run: RunSpec, baselines: BaselineConfig, plan: Plan) -> Stage:
    """The stage that leaves a method's policy."""
    if name == "bc":
        return plan.policy
    if name == recipe.name:
        return plan.refined
    if name == f"{recipe.name}-gated":
        assert plan.accepted is not None
        return plan.accepted
    if name == "filtered_bc":
        if plan.starts is None:
            raise InputError(f"there is no '{name}' to compare: {recipe.name} clones no successes")
        return plan.starts.filtered
    if name in _TRAINED:
        settings = {"data": plan.seen.whole, "policy": plan.policy, "baseline": baselines.of(name), "seed": run.seed}
        return stage(_TRAINED[name], name, **settings)
    part = name.removeprefix(f"{recipe.name}-no-")
    changed = recipe.build(without(part, config), run).refined
    # Whatever is taken away, refinement starts from the same policy; unless it is this that is taken away.
    start = plan.policy if part == "filtered" or plan.starts is None else plan.starts.chosen
    return replace(changed, name=name.replace("-", "_"), arguments={**changed.arguments, "policy": start})


# ---------------------------------------------------------------------------------------------------------------------
# Training, on everything that the run has recorded.


def train_td3_bc(context: StageContext, policy: Agent, data: Dataset, baseline: Mapping[str, Any], seed: int) -> Agent:
    """TD3+BC on real transitions."""
    return learn_td3_bc(context, Offline.of(policy, data), baseline, seed)


def train_iql(context: StageContext, policy: Agent, data: Dataset, baseline: Mapping[str, Any], seed: int) -> Agent:
    """IQL on real transitions."""
    return learn_iql(context, Offline.of(policy, data), baseline, seed)


_TRAINED: Mapping[str, Callable[..., Agent]] = {"td3_bc": train_td3_bc, "iql": train_iql}


# ---------------------------------------------------------------------------------------------------------------------
# The proof, the same for all of them.


def measure(
    context: StageContext,
    real: Real,
    episodes: int,
    policy: Path,
    reward: RewardConfig = _BY_DEFAULT,
    data: Dataset | None = None,
) -> None:
    """Success of a saved policy on the evaluation's starts, or its returns where nothing tells success or the data
    show none; success.json holds every outcome."""
    from burnish.evaluation.actor import PolicyActor

    play(context, real, PolicyActor, {"folder": policy}, range(episodes), reward, data)


def measure_planning(
    context: StageContext,
    real: Real,
    episodes: int,
    policy: Path,
    models: Mapping[str, Any],
    planning: PlanningConfig,
    reward: RewardConfig = _BY_DEFAULT,
    data: Dataset | None = None,
) -> None:
    """The same of planning at every decision; its imagined steps are those of the decisions that were executed."""
    from burnish.evaluation.actor import PlanningActor

    arguments = {"policy": policy, **models, "config": planning}
    decisions = play(context, real, PlanningActor, arguments, range(episodes), reward, data)
    actor = PlanningActor(**arguments)
    imagined = actor.planner.steps_per_decision * (decisions // actor.agent.observer.action_steps)
    context.record("imagined_steps", imagined)


def play(
    context: StageContext,
    real: Real,
    actor: Callable[..., Any],
    arguments: Mapping[str, Any],
    starts: Sequence[int],
    reward: RewardConfig = _BY_DEFAULT,
    data: Dataset | None = None,
) -> int:
    """Play from the evaluation's starts, write success.json and return the number of executed actions."""
    from burnish.evaluation.real import evaluation_seeds, play_job
    from burnish.recipes.stages.shards import pool_in
    from burnish.simulators.collect import CollectJob

    before = simulator_steps()
    seeds = evaluation_seeds(len(starts), offset=starts[0])
    with context.progress(len(seeds), "episodes") as bar:
        job = CollectJob("evaluation", actor, seeds, dict(arguments))
        recorder = real.recorder
        pool = pool_in(context, recorder.pool)
        played = play_job(job, real.task, recorder.simulator, pool, lambda done, total: bar.set(done))
    known, scaling = (reward, None) if data is None else (compared_by(reward, data), data.info.scaling)
    found = outcomes_of(real, {"": played}, known, scaling)[""]
    told = {"returns": found.returns} if found.returns else {}
    write_json(context.folder / "success.json", {"seeds": seeds, "success": found.success, **told})
    context.record("simulator_steps", simulator_steps() - before)
    return sum(len(episode) - 1 for episode in played)
