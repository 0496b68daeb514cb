"""The methods of a comparison: each is one or two more stages in the run folder of a recipe, on that run's data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from burnish.baselines import IQL, TD3BC, IQLConfig, PlanningConfig, TD3BCConfig, Transitions, successful_episodes
from burnish.components import save
from burnish.errors import InputError
from burnish.pipeline import StageContext
from burnish.policies import Agent, GaussianPolicy, GaussianPolicyConfig, TanhPolicy, TanhPolicyConfig, load_agent
from burnish.recipes.ablations import PARTS, REFINED, check_part, refinement_without
from burnish.recipes.evaluating import simulator_steps
from burnish.recipes.gating import ACCEPTED
from burnish.recipes.parts import clone, recorded_features
from burnish.recipes.steps import Step
from burnish.recipes.views import StateView, view_of
from burnish.storage import write_json
from burnish.training import TrainingConfig, fit

if TYPE_CHECKING:
    from burnish.recipes.recording import Recorder


def _offline(**changes: Any) -> TrainingConfig:
    # The published learners use Adam without decay and, in practice, without clipping.
    settings = {"steps": 20_000, "learning_rate": 3e-4, "weight_decay": 0.0, "gradient_clip": 10.0, "ema_decay": None}
    return TrainingConfig(**(settings | changes))


@dataclass(frozen=True)
class BaselineConfig:
    """Every setting of the baselines; behaviour cloning has the recipe's own."""

    td3_bc: TD3BCConfig = field(default_factory=TD3BCConfig)
    td3_bc_policy: TanhPolicyConfig = field(default_factory=TanhPolicyConfig)
    td3_bc_training: TrainingConfig = field(default_factory=_offline)
    iql: IQLConfig = field(default_factory=IQLConfig)
    iql_policy: GaussianPolicyConfig = field(default_factory=GaussianPolicyConfig)
    iql_training: TrainingConfig = field(default_factory=_offline)
    planning: PlanningConfig = field(default_factory=PlanningConfig)

    def of(self, method: str) -> dict[str, Any]:
        """Those that a method depends on."""
        names = (method, f"{method}_policy", f"{method}_training")
        return {name: getattr(self, name) for name in names if hasattr(self, name)}


def baseline_preset(name: str) -> BaselineConfig:
    """What a recipe's preset means for the baselines: only `tiny` is another size."""
    if name != "tiny":
        return BaselineConfig()
    short = _offline(steps=300)
    planning = PlanningConfig(horizon=4, iterations=1, samples=8, policy_samples=2, elites=2, judged=2)
    return BaselineConfig(td3_bc_training=short, iql_training=short, planning=planning)


@dataclass(frozen=True)
class Method:
    """One row of a comparison.

    Attributes:
        name: as the table and the command line have it.
        stages: its own stages; the last one leaves what `measured` reads.
        measured: the stage that plays its policy in the simulator, from the evaluation's starts.
    """

    name: str
    stages: tuple[Step, ...]
    measured: Step


BASELINES = ("bc", "filtered_bc", "td3_bc", "iql", "planning")


def method_names(recipe: str) -> tuple[str, ...]:
    """All methods that a recipe's runs can be compared by."""
    return (*BASELINES, recipe, f"{recipe}-gated", *(f"{recipe}-no-{part}" for part in PARTS))


def default_methods(recipe: str) -> tuple[str, ...]:
    """Table II's columns as far as they are here, what the trust gate lets pass, and refinement without its two most
    important safety parts."""
    return (*BASELINES, recipe, f"{recipe}-gated", f"{recipe}-no-halting", f"{recipe}-no-anchor")


def check_method(name: str, recipe: str, config: Any) -> None:
    """InputError, which says what there is, where there is no such method or it makes no sense."""
    if name not in method_names(recipe):
        raise InputError(f"unknown method '{name}', expected some of: {', '.join(method_names(recipe))}")
    if name == f"{recipe}-gated" and (not hasattr(config, "gate") or config.gate.worlds == 0):
        raise InputError(f"there is no '{name}' to compare: these settings have no trust gate")
    if name.startswith(f"{recipe}-no-"):
        check_part(name.removeprefix(f"{recipe}-no-"), config)


@dataclass(frozen=True)
class Setting:
    """The run that methods are added to."""

    recipe: str
    task: str
    seed: int
    config: Any
    baselines: BaselineConfig
    recorder: "Recorder"
    make_steps: Callable[[Any], list[Step]]
    """The recipe's stages with a configuration."""

    @property
    def view(self) -> StateView:
        """What the run's models look at."""
        c = self.config
        return view_of(c.observation, c.autoencoder, c.autoencoder_training, c.simulator, c.held_out, self.seed)


def method(name: str, setting: Setting) -> Method:
    """A method's stages; InputError where there is no such method."""
    s, stage = setting, name.replace("-", "_")
    check_method(name, s.recipe, s.config)
    if name == "planning":
        models = ("policy", "world_model", "classifier", "ensemble")
        planned = {**_measuring(s), "planning": s.baselines.planning, "seed": s.seed}
        return Method(name, (), Step(f"{stage}_success", planned, models, lambda c: measure_planning(s, c), True))
    own: tuple[Step, ...] = ()
    if name == "bc":
        agent = "policy"
    elif name == s.recipe:
        agent = REFINED
    elif name == f"{s.recipe}-gated":
        agent = ACCEPTED
    elif name in _TRAINED:
        agent, settings = stage, {**s.baselines.of(name), "task": s.task, "seed": s.seed}
        if name == "filtered_bc":
            settings |= {"training": s.config.pretraining, "noise": s.config.cloning_noise}
        own = (Step(stage, settings, ("dataset", "policy", *s.view.inputs), lambda c: _TRAINED[name](s, c)),)
    else:
        agent, part = stage, name.removeprefix(f"{s.recipe}-no-")
        own = (refinement_without(part, stage, s.config, s.make_steps),)
    measured = Step(f"{stage}_success", _measuring(s), (agent,), lambda c: measure(s, agent, c), alone=True)
    return Method(name, own, measured)


# ---------------------------------------------------------------------------------------------------------------------
# Training, on everything that the run has recorded.


def train_filtered_bc(setting: Setting, stage: StageContext) -> None:
    """A policy of the pretrained one's family, cloned in the same way from all successful episodes."""
    s = setting
    pretrained = load_agent(stage.inputs["policy"], s.task)
    episodes = successful_episodes(s.view.dataset(stage))
    torch.manual_seed(s.seed)
    fresh = type(pretrained.policy)(
        pretrained.policy.feature_dim, pretrained.policy.action_dim, pretrained.policy.config
    )
    features = [recorded_features(pretrained.observer, episodes)]
    clone(fresh, features, episodes, s.config.cloning_noise, s.config.pretraining, s.seed, stage)
    fresh.begin_refinement()
    save(stage.folder, Agent(pretrained.observer, fresh, task=s.task))


def train_td3_bc(setting: Setting, stage: StageContext) -> None:
    """TD3+BC; states are normalised over all of the data, besides the observer's normalisation."""
    s, b = setting, setting.baselines
    observer, features, transitions = _offline_data(s, stage)
    torch.manual_seed(s.seed)
    config = replace(b.td3_bc_policy, chunk=observer.action_steps)
    policy = TanhPolicy(observer.feature_dim, transitions.action.shape[1] // config.chunk, config)
    # The floor is the paper's ε: a dimension that hardly moves must not become the loudest.
    policy.normaliser.fit(features, floor=1e-3)
    _fit(TD3BC(policy, b.td3_bc), transitions, b.td3_bc_training, s.seed, stage)
    save(stage.folder, Agent(observer, policy, task=s.task))


def train_iql(setting: Setting, stage: StageContext) -> None:
    """IQL with advantage-weighted extraction of a Gaussian policy."""
    s, b = setting, setting.baselines
    observer, _, transitions = _offline_data(s, stage)
    torch.manual_seed(s.seed)
    config = replace(b.iql_policy, chunk=observer.action_steps)
    policy = GaussianPolicy(observer.feature_dim, transitions.action.shape[1] // config.chunk, config)
    _fit(IQL(policy, b.iql), transitions, b.iql_training, s.seed, stage)
    save(stage.folder, Agent(observer, policy, task=s.task))


_TRAINED: Mapping[str, Callable[[Setting, StageContext], None]] = {
    "filtered_bc": train_filtered_bc,
    "td3_bc": train_td3_bc,
    "iql": train_iql,
}


def _offline_data(setting: Setting, stage: StageContext) -> tuple[Any, torch.Tensor, Transitions]:
    """The pretrained policy's observer, its features of every frame, and the transitions between them."""
    observer = load_agent(stage.inputs["policy"], setting.task).observer
    dataset = setting.view.dataset(stage)
    features = recorded_features(observer, dataset)
    return observer, features, Transitions(features, dataset, observer.action_steps)


def _fit(
    learner: torch.nn.Module, transitions: Transitions, training: TrainingConfig, seed: int, stage: StageContext
) -> None:
    with stage.progress(training.steps, "steps") as bar:
        fit(learner, transitions, training, stage.folder, seed, on_step=bar.at)


# ---------------------------------------------------------------------------------------------------------------------
# The proof, the same for all of them.


def _measuring(setting: Setting) -> dict[str, Any]:
    return {"simulator": setting.config.simulator, "episodes": setting.config.evaluation.episodes}


def measure(setting: Setting, agent: str, stage: StageContext, starts: range | None = None) -> None:
    """Success of a saved policy on the evaluation's starts, or others of them; success.json holds every outcome."""
    from burnish.evaluation.actor import PolicyActor

    _play(setting, PolicyActor, {"folder": stage.inputs[agent]}, stage, starts)


def measure_planning(setting: Setting, stage: StageContext) -> None:
    """Success of planning at every decision; its imagined steps are those of the decisions that were executed."""
    from burnish.evaluation.actor import PlanningActor

    arguments = {**stage.inputs, "config": setting.baselines.planning}
    decisions = _play(setting, PlanningActor, arguments, stage)
    actor = PlanningActor(**arguments)
    stage.record("imagined_steps", actor.planner.steps_per_decision * (decisions // actor.agent.observer.action_steps))


def _play(
    setting: Setting,
    actor: Callable[..., Any],
    arguments: dict[str, Any],
    stage: StageContext,
    starts: range | None = None,
) -> int:
    """Play, write success.json and return the number of executed actions."""
    from burnish.evaluation.real import evaluation_seeds, play_job
    from burnish.simulators.collect import CollectJob

    s, before = setting, simulator_steps()
    starts = range(s.config.evaluation.episodes) if starts is None else starts
    seeds = evaluation_seeds(len(starts), offset=starts.start)
    with stage.progress(len(seeds), "episodes") as bar:
        job = CollectJob("evaluation", actor, seeds, arguments)
        played = play_job(job, s.task, s.config.simulator, s.recorder.pool, lambda done, total: bar.set(done))
    outcomes = [bool(episode.success.any()) for episode in played]
    write_json(stage.folder / "success.json", {"seeds": seeds, "success": outcomes})
    stage.record("simulator_steps", simulator_steps() - before)
    return sum(len(episode) - 1 for episode in played)
