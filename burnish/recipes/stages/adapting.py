"""A world model that learns again, from the same data, where the policy that is refined in it goes."""

import copy
from dataclasses import replace

import torch

from burnish.components import build, frozen, save
from burnish.data import Dataset
from burnish.imagination import ImaginationConfig, ImaginedEnv
from burnish.pipeline import StageContext
from burnish.policies import Agent, Policy, SquashedPolicy
from burnish.recipes.base import Models
from burnish.recipes.stages.cloning import Cloning, clone
from burnish.recipes.stages.data import Split
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.refining import inside, refine_with
from burnish.recipes.stages.training import recorded_features, train, validation
from burnish.recipes.stages.transitions import transition_space, windows_for
from burnish.rl import SAC, Adapting, AdaptingConfig, Known, RefineConfig, Transitions
from burnish.training import TrainingConfig, current
from burnish.world_models import GuidedDiffusion, GuidedDiffusionConfig, HistoryConfig, WeightedWindows

ADAPTED = "adapted_world_model"
"""In the refined policy's folder: the world model as it was after the last iteration."""


def train_guided(
    context: StageContext,
    data: Split,
    history: HistoryConfig,
    model: GuidedDiffusionConfig,
    training: TrainingConfig,
    seed: int,
) -> GuidedDiffusion:
    """The transition model that everything begins with, all weights one; its threshold is from held-out episodes."""
    episodes, held_out = data
    torch.manual_seed(seed)
    world = GuidedDiffusion(transition_space(history, episodes, None), model).to(context.device)
    windows = windows_for(episodes, history.frames, model.rollout_steps, context.device)
    train(context, world, windows, training, seed, validation(world, episodes, held_out, training, seed))
    context.record("threshold", world.calibrate(held_out))
    return world


def fit_behaviour(context: StageContext, data: Split, policy: Agent, how: Cloning, seed: int) -> SquashedPolicy:
    """π_b by maximum likelihood on all training episodes, whoever acted; it reads what `policy` reads.

    Training may stop by the likelihood of held-out episodes ("surprise" is minus its logarithm): a density that knows
    its own actions by heart gives wrong weights. Recorded beside it: both mean log-likelihoods.
    """
    agent = inside(policy)
    torch.manual_seed(seed)
    behaviour = build(agent.policy.config, agent.policy.feature_dim, agent.policy.action_dim).to(context.device)
    seen = [recorded_features(agent.observer, part) for part in data]

    def likelihood(part: int) -> float:
        return float(behaviour.density(seen[part], data[part].actions).mean())

    clone(context, how, behaviour, seen[:1], data[0], seed, lambda: {"surprise": -likelihood(1)})
    with torch.no_grad():
        context.record("log_likelihood", {"training": likelihood(0), "held_out": likelihood(1)})
    return behaviour


def adapt_policy(
    context: StageContext,
    policy: Agent,
    data: tuple[Dataset, SquashedPolicy],
    models: Models,
    imagination: ImaginationConfig,
    learner: AdaptingConfig,
    refinement: RefineConfig,
    seed: int,
) -> Agent:
    """SAC in a copy of the world model, which learns again from the data as they are weighted by the policy.

    With the data comes the density of how they were recorded, π_b. Iterates are compared in the world model as it was:
    one yardstick for all. The copy is kept as `ADAPTED`.
    """
    episodes, behaviour = data
    world = copy.deepcopy(models.world)

    def make(acting: Policy, env: ImaginedEnv) -> Adapting:
        adapted = imagined(replace(models, world=world), imagination.pessimism, episodes)
        caution = replace(adapted.pessimism, halt_reward=endless_worst(episodes, learner.sac.gamma))
        env.models = replace(adapted, pessimism=caution)
        seen = recorded_features(world, episodes)
        sac = SAC(acting, env.feature_dim, learner.sac, current(), Transitions(seen, episodes))
        windows = WeightedWindows(episodes, world.space.config.frames, world.config.rollout_steps)
        known = Known(windows, seen, episodes.actions, frozen(behaviour))
        return Adapting(sac, world, known, learner, current())

    refined = refine_with(context, policy, episodes, models, imagination, make, refinement, seed)
    save(context.folder / ADAPTED, world)
    return refined


def endless_worst(data: Dataset, gamma: float) -> float:
    """What an episode is worth that goes on for ever as badly as the worst one recorded, discounted; 0 at most.

    A critic's value of leaving the data: the undiscounted return of a long episode would be many times the size of
    every other value.
    """
    if data.reward is None or gamma == 1:
        return 0.0 if data.reward is None else min(0.0, float(data.episode_return.min()))
    rate = float((data.episode_return / (data.lengths - 1).clamp(min=1)).min())
    return min(0.0, rate) / (1 - gamma)
