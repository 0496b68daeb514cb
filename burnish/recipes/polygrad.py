"""PolyGRAD (arXiv 2312.08533), read from top to bottom like its method section.

A denoiser learns whole windows at once: the states, rewards and ends that follow a first state under H actions. In
refinement the first states are recorded ones, in-painted, and the actions become the policy's own while the rest is
denoised: they follow the score of its log-probability at the states believed so far. A2C learns from such trajectories.

Where the paper is silent or this differs:
- Noise levels, preconditioning and loss are EDM's (16 levels from σ = 80), which this house has, not 128 steps of a
  cosine schedule. Actions begin as draws of the policy at the first state, not as noise; the score is that of the
  standardised action, so that one guidance scale fits dimensions of any width. Clips and tuning are the paper's.
- The paper begins with a random policy and alternates with the environment (Algorithm 2): a real step of the policy as
  it explores, a step of the denoiser on all that was recorded, now and then one of A2C. By default nothing alternates
  here: the data are recorded once, and A2C begins at a clone of the best episodes. `--config.online.rounds N` are N
  rounds of whole real episodes, further training and updates (`stages.online`). Between rounds the data's normalisation
  stays that of the first data, the range of imagination grows; the denoiser keeps its weights, its optimiser and A2C's
  critic begin anew. The newest iterate plays, and imagination chooses one in the last round alone. Without a data set
  the rounds begin with random motion, as in the paper, but A2C still with a clone of the best of it.
- The published denoiser sees all actions for each state. Later actions tell what state the recorded policy must have
  been in, so guided ones are taken for evidence of rewards that never come (benchmarks/results/polygrad.md). By default
  the network is causal, with the same weights at every step; `--config.world-model.network mlp` is the published one.
- After an end the last state is held without reward; A2C sees no such step.
- Iterates are compared, and the gate plays, step by step: the same denoiser imagines one transition, with few levels
  (the MLP has learned to, from windows whose later actions were hidden). It is an autoregressive use of the model, over
  longer horizons than it was trained for. Nothing tells where it is not to be trusted: there is no pessimism.
- A tanh-Gaussian policy is a clipped Gaussian here, and the transformer denoiser is left out.
"""

from dataclasses import dataclass

import torch

from burnish.config import within
from burnish.errors import InputError
from burnish.imagination import GuidedConfig, PessimismConfig, StartConfig
from burnish.pipeline import Reading, Stage, StageContext, stage
from burnish.policies import GaussianPolicyConfig
from burnish.recipes.base import Models, Plan, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import Cloning, clone_newest
from burnish.recipes.stages.data import Recorded, Split
from burnish.recipes.stages.finish import finish
from burnish.recipes.stages.online import OnlineConfig, alternate, going_on
from burnish.recipes.stages.refining import refine_policy
from burnish.recipes.stages.training import train, validation
from burnish.rewards import RewardConfig, WorldReward
from burnish.rl import A2CConfig, RefineConfig
from burnish.training import TrainingConfig
from burnish.world_models import TrajectoryConfig, TrajectoryDenoiser, TrajectoryWindows


@dataclass(frozen=True)
class PolyGRAD(RecipeConfig):
    """Every setting of the method."""

    reward: RewardConfig = RewardConfig(kind="learned")
    """next.reward as it was recorded, or named terms in its place (`--config.reward.kind terms`)."""
    world_model: TrajectoryConfig = TrajectoryConfig()
    world_model_training: TrainingConfig = TrainingConfig(
        steps=5000, batch_size=256, learning_rate=2e-3, weight_decay=0.0, ema_decay=0.99
    )
    policy: GaussianPolicyConfig = GaussianPolicyConfig(hidden=(256, 256))
    pretraining: TrainingConfig = TrainingConfig(steps=2000, batch_size=256, ema_decay=None, weight_decay=1e-3)
    cloning_noise: float = within(0.05, 0)
    """Noise on the features while cloning: imagined features are never exact."""
    imagination: GuidedConfig = GuidedConfig(
        num_envs=256, starts=StartConfig(episode_start_share=0.1), pessimism=PessimismConfig(rule="none")
    )
    """`guidance`: levels, scale and safeguards; `num_envs` trajectories are those of one update (paper: 1024)."""
    a2c: A2CConfig = A2CConfig()
    refine: RefineConfig = RefineConfig(iterations=200, evaluate_every=25, average=0.8)
    """Of each round, too."""
    online: OnlineConfig = OnlineConfig()


def recipe(c: PolyGRAD, run: RunSpec) -> Plan:
    """The method in its order."""
    check(c)

    def clone(recorded: Recorded, imagined: Models) -> Stage:
        how = Cloning(c.policy, c.pretraining, c.cloning_noise, best_share=c.reward.best_share)
        settings = {"how": how, "seed": run.seed, "task": run.task}
        return stage(clone_newest, "policy", data=recorded.whole, world=imagined.world, **settings)

    def refine(recorded: Recorded, imagined: Models, policy: Stage, how: RefineConfig, seed: int) -> Stage:
        settings = {"imagination": c.imagination, "learner": c.a2c, "refinement": how, "seed": seed}
        return stage(refine_policy, "refined", policy=policy, data=recorded.whole, models=imagined, **settings)

    return finish(run, c, models, alternate(c, run, models, clone, refine))


def check(c: PolyGRAD) -> None:
    """What guided trajectories cannot be; InputError says which option helps."""
    if c.reward.kind in ("auto", "success") or c.reward.with_success:
        raise InputError(
            "the trajectories have rewards: found a reward of success, expected config.reward.kind 'learned' (from "
            "next.reward), 'terms' or 'function', and no with_success"
        )
    if c.policy.chunk != 1:
        raise InputError(f"policy.chunk: found {c.policy.chunk}, expected 1 for guided trajectories")
    if c.a2c.rollout_steps > c.world_model.horizon:
        raise InputError(
            f"a2c.rollout_steps: found {c.a2c.rollout_steps}, expected at most world_model.horizon, "
            f"{c.world_model.horizon}: a generated trajectory has no more"
        )


def models(c: PolyGRAD, data: Reading, seed: int, earlier: Stage | None = None) -> Models:
    """The denoiser is the world and its own reward; the gate asks for it on other episodes."""
    settings = {"model": c.world_model, "training": c.world_model_training, "seed": seed} | going_on(earlier)
    world = stage(train_world_model, "world_model", data=data, **settings)
    return Models(world, stage(keep_reward, "reward", world=world))


def train_world_model(
    context: StageContext,
    data: Split,
    model: TrajectoryConfig,
    training: TrainingConfig,
    seed: int,
    earlier: TrajectoryDenoiser | None = None,
) -> TrajectoryDenoiser:
    """EDM's loss on windows of H transitions, the first state in-painted (section 4.1); `earlier` learns on."""
    episodes, held_out = data
    windows = TrajectoryWindows(episodes, model)
    torch.manual_seed(seed)
    if earlier is None:
        made = TrajectoryDenoiser(episodes.observation_dim, episodes.action_dim, model)
        world = made.to(context.device).fit(episodes)
    else:
        world = earlier.cover(episodes)
    return train(context, world, windows, training, seed, validation(world, episodes, held_out, training, seed))


def keep_reward(context: StageContext, world: TrajectoryDenoiser) -> WorldReward:
    """Nothing more is learned: rewards and ends are part of what is denoised."""
    context.record("reward", "imagined")
    return WorldReward()
