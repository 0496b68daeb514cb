"""From video without actions to a world model that knows a robot's: latent actions, a world on them, an adapter."""

import torch
from torch import Tensor

from burnish.components import build, frozen
from burnish.data import Dataset, RowSampler, labelled_steps, unlabelled_video
from burnish.errors import InputError
from burnish.evaluation.probes import explained
from burnish.networks import AdapterConfig, action_adapter
from burnish.pipeline import StageContext
from burnish.policies import Agent
from burnish.recipes.stages.cloning import Cloning, clone, cloned_episodes
from burnish.recipes.stages.data import Split
from burnish.recipes.stages.training import recorded_features, train
from burnish.recipes.stages.transitions import windows_for
from burnish.training import TrainingConfig
from burnish.world_models import (
    LatentActionConfig,
    LatentActions,
    PixelDiffusion,
    PixelDiffusionConfig,
    PixelHistory,
    PixelHistoryConfig,
    with_latent_actions,
)


def choose_labelled(
    context: StageContext,
    data: Split,
    steps: int,
    demonstrations: int | None,
    fewer: bool,
    adapter: AdapterConfig,
    history: PixelHistoryConfig,
    model: PixelDiffusionConfig,
    seed: int,
) -> Dataset:
    """The episodes of `steps` steps whose actions are read, or of all where `fewer` will do; at most `demonstrations`
    of them are the expert's.

    Checked at the same time, before anything trains, is what the rest of the data has to be.

    Raises:
        InputError: a video without motion, clips too short for the world model, fewer steps than asked for, or more
            different actions than a codebook takes.
    """
    require_clips(unlabelled_video(data[0], "the data set, as a video"), history, model)
    known = labelled_steps(data[0], steps, seed, most=demonstrations, fewer=fewer)
    executed = known.actions[followed(known)]
    action_adapter(adapter, known.action_dim, 1).tell(executed, executed[:, :1])
    return known


def train_latent_actions(
    context: StageContext, data: Split, model: LatentActionConfig, training: TrainingConfig, seed: int
) -> LatentActions:
    """What happens between two frames, from pictures alone."""
    video = unlabelled_video(data[0], "the data set, as a video")
    torch.manual_seed(seed)
    latent = LatentActions(model).fit(video).to(context.device)
    train(context, latent, windows_for(video, 1, 1, context.device), training, seed)
    return latent.settle(video)


def train_on_latent_actions(
    context: StageContext,
    data: Split,
    latent: LatentActions,
    history: PixelHistoryConfig,
    model: PixelDiffusionConfig,
    training: TrainingConfig,
    seed: int,
) -> PixelDiffusion:
    """Diffusion over the next frame, given frames and the latent actions between them; no action is read."""
    video = with_latent_actions(unlabelled_video(data[0], "the data set, as a video"), frozen(latent))
    torch.manual_seed(seed)
    world = PixelDiffusion(PixelHistory(latent.latent_dim, history), model).fit(video).to(context.device)
    windows = windows_for(video, history.frames, model.rollout_steps, context.device)
    return train(context, world, windows, training, seed)


def require_clips(video: Dataset, history: PixelHistoryConfig, model: PixelDiffusionConfig) -> None:
    """Check that a clip holds what the world model sees and what it predicts.

    Raises:
        InputError: none does.
    """
    needed, longest = history.frames + model.rollout_steps, int(video.lengths.max())
    if longest < needed:
        raise InputError(
            f"the data set, as a video: found clips of {longest} frames at most, expected {needed} or more: "
            f"config.history.frames = {history.frames} of context and config.world-model.rollout-steps = "
            f"{model.rollout_steps} that follow"
        )


def adapt_world_model(
    context: StageContext,
    labelled: Dataset,
    world: PixelDiffusion,
    latent: LatentActions,
    adapter: AdapterConfig,
    adapter_training: TrainingConfig,
    training: TrainingConfig,
    seed: int,
) -> PixelDiffusion:
    """The world model for the robot's own actions, from labelled steps: an adapter, then both a little further.

    Raises:
        InputError: the world model's latent actions are of another size than the encoder's.
    """
    known = labelled
    if world.history.action_dim != latent.latent_dim:
        found = f"a world model of {world.history.action_dim} latent actions"
        raise InputError(f"an adapter of actions: found {found}, expected {latent.latent_dim} as the encoder has")
    actions, latents = labelled_pairs(known, frozen(latent))
    torch.manual_seed(seed)
    adapted = world.adapted(known.action_dim, adapter)
    adapted.encode.tell(actions, latents)  # type: ignore[operator]
    if adapter.kind == "mlp":
        train(context, adapted.encode, Pairs(actions, latents), adapter_training, seed, part="adapter")
    with torch.no_grad():
        context.record("adapter_r2", explained(adapted.encode(actions), latents).tolist())
    windows = windows_for(known, adapted.history.config.frames, adapted.config.rollout_steps, context.device)
    return train(context, adapted, windows, training, seed)


def labelled_pairs(dataset: Dataset, latent: LatentActions) -> tuple[Tensor, Tensor]:
    """(N, A) actions that were executed, and the latent ones (N, Z) that the pictures around them show."""
    rows = followed(dataset)
    return dataset.actions[rows], latent.of_dataset(dataset)[rows]


def followed(dataset: Dataset) -> Tensor:
    """bool (F,): the frames that another one of the same episode follows."""
    rows = torch.ones(dataset.num_frames, dtype=torch.bool, device=dataset.device)
    rows[dataset.starts + dataset.lengths - 1] = False
    return rows


class Pairs(RowSampler[Tensor]):
    """Uniform batches of rows of both."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self.first, self.second = first, second

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Which rows, with replacement."""
        index = torch.randint(len(self.first), (batch_size,), generator=generator, device=generator.device)
        return index.to(self.first.device)

    def gather(self, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """These rows."""
        return self.first[drawn], self.second[drawn]


def clone_labelled(
    context: StageContext, labelled: Dataset, history: PixelHistoryConfig, how: Cloning, seed: int, task: str
) -> Agent:
    """The policy, from the same steps that the world model is adapted by: the expert's, or its successful episodes."""
    observer = PixelHistory(labelled.action_dim, history).to(context.device)
    torch.manual_seed(seed)
    policy = build(how.policy, observer.feature_dim, labelled.action_dim).to(context.device)
    chosen = cloned_episodes(labelled, how.best_share)
    clone(context, how, policy, [recorded_features(observer, chosen)], chosen, seed)
    return Agent(observer, policy, task, labelled.info.scaling)
