"""Bodies of a system that imagines before it acts: frozen encoders, a world model of their features, a policy in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.components import Component, frozen, load
from burnish.data import Dataset, Windows, action_chunks, require_motion
from burnish.errors import InputError
from burnish.pipeline import StageContext
from burnish.policies import Agent, ImaginingPolicy, ImaginingPolicyConfig, spread
from burnish.recipes.stages.cloning import cloned_episodes
from burnish.recipes.stages.data import Split
from burnish.recipes.stages.training import recorded_features, train, validation
from burnish.training import TrainingConfig
from burnish.world_models import (
    Encoded,
    FeatureStreams,
    HistoryConfig,
    LatentDiffusion,
    LatentDiffusionConfig,
    ObservationHistory,
    SelfSupervised,
    SelfSupervisedConfig,
    TransformersFeatures,
    TransformersFeaturesConfig,
)

_SPREAD_ROWS, _SPREAD_DRAWS = 64, 16


def train_self_supervised(
    context: StageContext, data: Split, model: SelfSupervisedConfig, training: TrainingConfig, seed: int
) -> SelfSupervised:
    """An encoder that learns from pictures alone what tells them apart.

    Raises:
        InputError: nothing moves in the pictures.
    """
    episodes, _ = data
    require_motion(episodes, "the data set")
    torch.manual_seed(seed)
    encoder = SelfSupervised(model).to(context.device)
    return train(context, encoder, Windows(episodes, history=1, horizon=0), training, seed)


def take_features(context: StageContext, model: TransformersFeaturesConfig) -> TransformersFeatures:
    """A pretrained model of the user's: nothing of it learns."""
    return TransformersFeatures(model)


def join_encoders(context: StageContext, data: Split, geometry: Component, semantics: Component) -> FeatureStreams:
    """Both encoders as one, frozen, with features of unit variance.

    Raises:
        InputError: an encoder's features are not finite, or the same for all frames.
    """
    joined = FeatureStreams({"geometry": geometry, "semantics": semantics}).to(context.device)
    return frozen(joined).fit(data[0])


def take_over_encoders(context: StageContext, source: Path, data: Split) -> FeatureStreams:
    """Encoders that were trained elsewhere (the stage `encoder` of a run).

    Raises:
        InputError: there are none, or they see other cameras or sizes, or tell these data's frames not apart.
    """
    encoders = load(source, FeatureStreams).to(context.device)
    for key, shape in encoders.observation_shapes.items():
        found = data[0].observations.get(key)
        if found is None or tuple(found.shape[1:]) != shape:
            seen = "no such pictures" if found is None else f"pictures of shape {tuple(found.shape[1:])}"
            raise InputError(f"{source}: these encoders see '{key}' of shape {shape}, found {seen} in the data set")
    return frozen(encoders).fit(data[0])


def train_latent_diffusion(
    context: StageContext,
    data: Split,
    encoder: FeatureStreams,
    history: HistoryConfig,
    model: LatentDiffusionConfig,
    training: TrainingConfig,
    seed: int,
) -> LatentDiffusion:
    """Diffusion over the changes of all streams' features in the next frames, given past ones and actions."""
    episodes, held_out = data
    torch.manual_seed(seed)
    # Features come standardised: every world model, policy and judge reads the same.
    seen = ObservationHistory(episodes.observation_dim, episodes.action_dim, history)
    world = LatentDiffusion(seen, encoder.streams, model).to(context.device).fit(episodes)
    windows = Windows(episodes, history=history.frames, horizon=model.frames)
    return train(context, world, windows, training, seed, validation(world, episodes, held_out, training, seed))


def clone_imagining(
    context: StageContext,
    data: Dataset,
    world: LatentDiffusion,
    encoder: FeatureStreams,
    model: ImaginingPolicyConfig,
    training: TrainingConfig,
    best_share: float,
    run: Mapping[str, Any],
) -> Agent:
    """The policy, cloned from demonstrations, with the world model's word for what follows from each of their chunks.

    `run` has the seed and the task. How far apart sampled decisions are is recorded for each number of rounds.
    """
    seed = int(run["seed"])
    torch.manual_seed(seed)
    policy = ImaginingPolicy(frozen(world), model).to(context.device)
    chosen = cloned_episodes(data, best_share)
    frames, chunks = action_chunks(chosen, model.denoiser.chunk)
    features = recorded_features(world, chosen)[frames]
    train(context, policy, Told(policy, features, chunks), training, seed)
    policy.begin_refinement()
    rows, rounds = features[:: -(-len(features) // _SPREAD_ROWS)], range(max(model.rounds, 1) + 1)
    found = [
        float(spread(policy.with_rounds(each, exploring=False), rows, _SPREAD_DRAWS, seed).mean()) for each in rounds
    ]
    context.record("spread_by_rounds", found)
    return Agent(Encoded(encoder, world), policy, run["task"], data.info.scaling)


class Told:
    """Uniform batches of features and chunks, with a version of what is imagined of each, where there are versions."""

    def __init__(self, policy: ImaginingPolicy, features: Tensor, chunks: Tensor) -> None:
        self.features, self.chunks = features, chunks
        guided = policy.config.versions > 0 and policy.config.unguided_share < 1
        self.imagined = torch.stack(policy.versions(features, chunks)) if guided else None

    def sample(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw rows, with replacement."""
        device = self.features.device
        index = torch.randint(len(self.features), (batch_size,), generator=generator, device=device)
        rows = self.features[index], self.chunks[index]
        if self.imagined is None:
            return rows
        version = torch.randint(len(self.imagined), (batch_size,), generator=generator, device=device)
        return *rows, self.imagined[version, index]
