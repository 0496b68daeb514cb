"""RWM and RWM-O (arXiv 2501.10100, 2504.16680), read from top to bottom like their method sections.

A recurrent ensemble learns to forecast from its own forecasts (dual-autoregressive) and is frozen. PPO refines a cloned
policy inside it: each imagined episode follows one member, and the reward is less λ times the members' spread.

Where the papers are silent or this differs: λ counts the spread in units of what 99 % of held-out real transitions do
not pass; a bootstrap is of whole episodes; hidden states are warmed by the whole episode before; imagined values stay
near the data's range; PPO begins at a clone of the best episodes. Commands (`world_model.commands`) are one of a
recorded frame's; pushes (`imagination.disturbances.pushed`) are of named dimensions, none by default.

RWM itself learns online (MBPO-PPO: the policy acts for real, the ensemble learns on, PPO goes on inside it). Nothing
alternates by default; `--config.online.rounds N` are N rounds of that (`stages.online`). Between rounds normalisation
stays that of the first data, the range of imagination grows, thresholds and the learned reward are made anew; the
ensemble keeps its weights, its optimiser, its bootstraps and PPO's critic begin anew.
"""

from dataclasses import dataclass

import torch

from burnish.config import within
from burnish.data import Dataset
from burnish.errors import InputError
from burnish.evaluation.gate import GateConfig
from burnish.imagination import ImaginationConfig, PessimismConfig, StartConfig
from burnish.pipeline import Reading, Stage, StageContext, stage
from burnish.policies import GaussianPolicyConfig
from burnish.recipes.base import Models, Plan, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import SMALL, Cloning, clone_newest
from burnish.recipes.stages.data import Recorded, Split
from burnish.recipes.stages.finish import finish
from burnish.recipes.stages.online import OnlineConfig, alternate, going_on
from burnish.recipes.stages.refining import refine_policy
from burnish.recipes.stages.training import reward_of, train, validation
from burnish.report.section import save_sections
from burnish.report.sections_rewards import ends_section
from burnish.rewards import ClassifierConfig, RewardConfig, RewardHeadConfig, calibrate_ends
from burnish.rl import PPOConfig, RefineConfig
from burnish.training import TrainingConfig
from burnish.world_models import Forecasts, GRUEnsemble, GRUEnsembleConfig
from burnish.world_models.named import dimensions_named

PRECISION = 0.9
"""Of terminations on held-out transitions, where it can be had."""


@dataclass(frozen=True)
class RWM(RecipeConfig):
    """Every setting of the method."""

    reward: RewardConfig = RewardConfig(head=RewardHeadConfig(termination_weight=0.0))
    """Learned, or named terms (`--config.reward.kind terms`); the world model tells terminations."""
    world_model: GRUEnsembleConfig = GRUEnsembleConfig()
    world_model_training: TrainingConfig = TrainingConfig(
        steps=2500, batch_size=256, learning_rate=1e-3, weight_decay=1e-5, ema_decay=None
    )
    policy: GaussianPolicyConfig = GaussianPolicyConfig(hidden=(128, 128, 128))
    pretraining: TrainingConfig = SMALL
    cloning_noise: float = within(0.05, 0)
    """Noise on the features while cloning: imagined features are never exact."""
    classifier: ClassifierConfig = ClassifierConfig()
    classifier_training: TrainingConfig = SMALL
    """Of the learned reward, or of a success classifier."""
    imagination: ImaginationConfig = ImaginationConfig(
        horizon=256,
        starts=StartConfig(episode_start_share=0.2),
        pessimism=PessimismConfig(rule="penalty", weight=2.0, use=(GRUEnsemble.name,)),
        member_share=1.0,
    )
    """The weight of the penalty is RWM-O's λ; 0 is RWM. 2 is what other ensembles chose most often, without a simulator
    (benchmarks/results/states.md)."""
    ppo: PPOConfig = PPOConfig(rollout_steps=24, epochs=5, entropy_weight=0.005, anchor_weight=0.0)
    refine: RefineConfig = RefineConfig(iterations=150, average=0.8)
    """Of each round, too."""
    gate: GateConfig = GateConfig(training_share=0.25)
    """Four worlds of a quarter of the training told a large gain rightly (benchmarks/results/states.md)."""
    online: OnlineConfig = OnlineConfig()

    def check_data(self, data: Dataset) -> None:
        """The commands, and what is to be pushed."""
        pushed = self.imagination.disturbances.pushed
        dimensions_named("imagination.disturbances.pushed", pushed, data.info.state_names)
        dimensions_named("world_model.commands", self.world_model.commands, data.info.state_names)


def recipe(c: RWM, run: RunSpec) -> Plan:
    """The method in its order."""
    if c.online.rounds and c.world_model.privileged is not None:
        raise InputError(
            f"world_model.privileged: found '{c.world_model.privileged}', which no simulator shows; expected none "
            "beside online.rounds"
        )

    def clone(recorded: Recorded, imagined: Models) -> Stage:
        how = Cloning(c.policy, c.pretraining, c.cloning_noise, best_share=c.reward.best_share)
        settings = {"how": how, "seed": run.seed, "task": run.task}
        return stage(clone_newest, "policy", data=recorded.whole, world=imagined.world, **settings)

    def refine(recorded: Recorded, imagined: Models, policy: Stage, how: RefineConfig, seed: int) -> Stage:
        settings = {"imagination": c.imagination, "learner": c.ppo, "refinement": how, "seed": seed}
        return stage(refine_policy, "refined", policy=policy, data=recorded.whole, models=imagined, **settings)

    return finish(run, c, models, alternate(c, run, models, clone, refine))


def models(c: RWM, data: Reading, seed: int, earlier: Stage | None = None) -> Models:
    """The ensemble is the world and its own uncertainty (RWM-O, section IV); the gate asks for it on other episodes."""
    settings = {"model": c.world_model, "training": c.world_model_training, "seed": seed} | going_on(earlier)
    world = stage(train_world_model, "world_model", data=data, **settings)
    return Models(world, reward_of(c, data, world, c.classifier, seed))


def train_world_model(
    context: StageContext,
    data: Split,
    model: GRUEnsembleConfig,
    training: TrainingConfig,
    seed: int,
    earlier: GRUEnsemble | None = None,
) -> GRUEnsemble:
    """N forecast steps after M recorded ones, on own samples (RWM, Eq. 2); thresholds come from held-out episodes.

    An `earlier` ensemble learns on.
    """
    episodes, held_out = data
    torch.manual_seed(seed)
    forecasts = Forecasts(episodes, model, seed)
    if earlier is None:
        privileged = 0 if model.privileged is None else episodes.observations[model.privileged].flatten(1).shape[1]
        made = GRUEnsemble(episodes.observation_dim, episodes.action_dim, model, privileged)
        world = made.to(context.device).fit(episodes)
    else:
        world = earlier.cover(episodes)
    train(context, world, forecasts, training, seed, validation(world, episodes, held_out, training, seed))
    context.record("threshold", world.calibrate(held_out))
    if (told := world.end_chances(held_out)) is not None:
        found = calibrate_ends(*told, PRECISION)
        world.end_at(found.threshold)
        ends = {name: getattr(found, name) for name in ("precision", "recall", "positives")}
        context.record("termination", ends)
        save_sections(context.folder, [ends_section(ends)])
    return world
