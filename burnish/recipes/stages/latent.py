"""Bodies of systems with a recurrent latent world model (DiWA, S5WM): models, a policy on their features."""

from typing import Any

import torch

from burnish.components import build, frozen
from burnish.data import Dataset, Streams, in_chunks
from burnish.pipeline import Reading, StageContext, stage
from burnish.policies import Agent
from burnish.recipes.base import Models
from burnish.recipes.stages.cloning import Cloning, clone, cloned_episodes, feature_versions
from burnish.recipes.stages.data import Split
from burnish.recipes.stages.training import reward_of, train, validation
from burnish.training import TrainingConfig
from burnish.world_models import (
    RSSM,
    BootstrapTransitions,
    Encoded,
    LatentEnsemble,
    LatentEnsembleConfig,
    RSSMConfig,
    position_differences,
)


def latent_models(c: Any, data: Reading, seed: int) -> Models:
    """A recurrent world model, bootstrapped priors that know where the data end, and a reward on its features.

    From (training, held-out) episodes; the gate asks for it again, on other ones.
    """
    world = stage(
        train_world_model,
        "world_model",
        data=data,
        model=c.world_model,
        length=c.sequence_length,
        training=c.world_model_training,
        seed=seed,
    )
    ensemble = stage(
        train_ensemble,
        "ensemble",
        data=data,
        world=world,
        model=c.ensemble,
        training=c.ensemble_training,
        seed=seed,
    )
    return Models(world, reward_of(c, data, world, c.classifier, seed), (ensemble,))


def train_world_model(
    context: StageContext, data: Split, model: RSSMConfig, length: int, training: TrainingConfig, seed: int
) -> RSSM:
    """Reconstruction and balanced KL on contiguous sequences, the recurrent state carried over."""
    episodes, held_out = data
    torch.manual_seed(seed)
    differences = position_differences(episodes, (*model.ignored, *model.privileged))
    world = RSSM(episodes.observation_dim, episodes.action_dim, model, differences, episodes.info.state_names)
    world.to(episodes.device).fit(episodes)
    transitions, _ = in_chunks(shuffled(episodes, seed), model.action_steps)
    validate = validation(world, episodes, held_out, training, seed)
    return train(context, world, Streams(transitions, length), training, seed, validate)


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    """The episodes in random order, so that neighbouring streams read different kinds of episodes."""
    generator = torch.Generator().manual_seed(seed)
    return dataset.subset(torch.randperm(dataset.num_episodes, generator=generator).tolist())


def train_ensemble(
    context: StageContext,
    data: Split,
    world: RSSM,
    model: LatentEnsembleConfig,
    training: TrainingConfig,
    seed: int,
) -> LatentEnsemble:
    """Bootstrapped predictors of the next latent; the threshold comes from held-out real transitions."""
    episodes, held_out = data
    torch.manual_seed(seed + 1)
    ensemble = LatentEnsemble(frozen(world), model).to(episodes.device)
    sampler = BootstrapTransitions(ensemble.transitions(episodes), model.members, seed)
    train(context, ensemble, sampler, training, seed)
    context.record("threshold", ensemble.calibrate(held_out))
    return ensemble


# ---------------------------------------------------------------------------------------------------------------------
# The policy, by behaviour cloning.


def clone_policy(
    context: StageContext,
    data: Dataset,
    world: RSSM,
    how: Cloning,
    seed: int,
    task: str,
    encoder: Any,
) -> Agent:
    """A policy on action chunks, cloned from the demonstrations' posterior features."""
    world = frozen(world)
    torch.manual_seed(seed)
    policy = build(how.policy, world.feature_dim, data.action_dim).to(data.device)
    chosen = cloned_episodes(data, how.best_share)
    clone(context, how, policy, feature_versions(world, chosen, how.samples, seed), chosen, seed)
    policy.begin_refinement()
    return Agent(world if encoder is None else Encoded(encoder, world), policy, task, data.info.scaling)
