"""A small local model beside the world model: values from the one, gradients from the other."""

import copy
from dataclasses import replace
from typing import Any

import torch

from burnish.components import frozen, save
from burnish.data import STATE, Dataset, Streams
from burnish.errors import InputError
from burnish.evaluation.gradients import gradient_agreement
from burnish.imagination import ImaginationConfig, ImaginedEnv, LocalModel
from burnish.pipeline import StageContext
from burnish.policies import Agent, Policy
from burnish.recipes.base import Models
from burnish.recipes.stages.data import Split
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.latent import shuffled
from burnish.recipes.stages.refining import inside, refine_with, start_states
from burnish.recipes.stages.training import held_out_error, recorded_features, train
from burnish.report.section import read_sections, save_sections
from burnish.report.sections_models import gradient_section
from burnish.rewards import RewardHead, RewardHeadConfig, RewardTransitions, TransitionSampler
from burnish.rl import RefineConfig, Refreshing, RefreshingConfig, ShortHorizon
from burnish.training import TrainingConfig, current
from burnish.world_models import RSSM, LocalDynamics, LocalDynamicsConfig, RSSMConfig

REFRESHED = "refreshed_local_model"
"""In the refined policy's folder: the local model as it was after the last iteration."""
_COMPARED = (1, 4)  # decisions along which gradients are compared
_STARTS = 64


def train_local(
    context: StageContext,
    data: Split,
    models: Models,
    model: LocalDynamicsConfig | RSSMConfig,
    reward: RewardHeadConfig,
    training: TrainingConfig,
    length: int,
    seed: int,
) -> LocalModel:
    """On the recorded episodes as the world model sees them, with what its reward says of them.

    Raises:
        InputError: nothing that was recorded differs in what it earns.
    """
    episodes, held_out = (as_features(part, models.world) for part in data)
    torch.manual_seed(seed + 3)
    dynamics = _dynamics(model, episodes).to(context.device)
    train(context, dynamics, Streams(shuffled(episodes, seed), length), training, seed, part="dynamics")
    rows = earned(data[0], models)
    if bool((rows.reward == rows.reward[0]).all()):
        raise InputError(
            f"the local reward: all {len(rows.reward)} recorded transitions earn {float(rows.reward[0]):g}, expected "
            "rewards that vary; record episodes that succeed, or see --config.reward.kind"
        )
    head = RewardHead(2 * dynamics.observation_dim + rows.action.shape[1], reward)
    head = head.to(context.device).fit(rows.reward)
    train(context, head, TransitionSampler([(1.0, rows)], head.members), training, seed, part="reward")
    context.record("local", held_out_error(dynamics, held_out, seed) | head.explained(earned(data[1], models)))
    return LocalModel(dynamics, head)


def _dynamics(model: LocalDynamicsConfig | RSSMConfig, episodes: Dataset) -> Any:
    if isinstance(model, RSSMConfig):
        if model.action_steps != 1:
            raise InputError(f"local_model.action_steps: found {model.action_steps}, expected 1")
        return RSSM(episodes.observation_dim, episodes.action_dim, model).fit(episodes)
    return LocalDynamics(episodes.observation_dim, episodes.action_dim, model).fit(episodes)


def as_features(dataset: Dataset, world: Any) -> Dataset:
    """The episodes as the world model's features: what a local model observes."""
    info = replace(dataset.info, state_names=None)
    return replace(dataset, observations={STATE: recorded_features(world, dataset)}, info=info)


@torch.no_grad()
def earned(dataset: Dataset, models: Models) -> RewardTransitions:
    """Every recorded transition, and what the models' reward says of it."""
    together = imagined(models)
    assert together.reward is not None
    states = together.world_model.recorded(dataset)
    later = torch.ones(dataset.num_frames, dtype=torch.bool, device=dataset.device)
    later[dataset.starts] = False
    after = later.nonzero().flatten()
    before, action = states.rows(after - 1), dataset.actions[after - 1]
    outcome = together.reward(before, action, states.rows(after))
    features = together.world_model.features(states)
    return RewardTransitions(features[after - 1], action, features[after], outcome.reward.float(), outcome.terminated)


def refine_through_local(
    context: StageContext,
    policy: Agent,
    data: tuple[Dataset, LocalModel],
    models: Models,
    imagination: ImaginationConfig,
    learner: RefreshingConfig,
    refinement: RefineConfig,
    seed: int,
) -> Agent:
    """First-order refinement: rollouts of the world model, gradients of the local one, which learns on with them.

    Iterates are compared in the world model. Afterwards the gradients of both local models, as it was trained and as it
    has become, are compared with finite differences of the world; see the report.
    """
    if imagination.starts.priority:
        found = f"{imagination.starts.priority} with a first-order learner"
        raise InputError(f"imagination.starts.priority: found {found}, expected 0: only PPO tells its TD errors")
    episodes, trained = data
    learns: list[Refreshing] = []

    def make(acting: Policy, env: ImaginedEnv) -> Refreshing:
        first_order = ShortHorizon(acting, env.feature_dim, learner.policy, current())
        learns.append(Refreshing(first_order, copy.deepcopy(trained), learner, current()))
        return learns[0]

    refined = refine_with(context, policy, episodes, models, imagination, make, refinement, seed)
    save(context.folder / REFRESHED, learns[0].local)
    world = imagined(models, imagination.pessimism, episodes)
    starts = start_states(imagination.starts, episodes, world.world_model)
    rules = replace(imagination, num_envs=_STARTS, horizon=10**9, member_share=0.0)
    env = ImaginedEnv(world, starts, episodes.action_dim, rules, seed)
    at = starts.sample(_STARTS, torch.Generator(device=episodes.device).manual_seed(seed))
    how = (inside(refined).policy, learns[0].learner.value, at)
    found = {
        name: {str(steps): gradient_agreement(env, frozen(local), *how, steps, seed).to_dict() for steps in _COMPARED}
        for name, local in (("pretrained", trained), ("refreshed", learns[0].local))
    }
    context.record("gradient_agreement", found)
    save_sections(context.folder, [*read_sections(context.folder), gradient_section(found)])
    return refined
