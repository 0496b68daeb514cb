"""What World4RL on frames will cost, from the FLOPs of its world model; the other networks are small beside it."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from burnish.recipes.world4rl import World4RL
from burnish.world_models import PixelDiffusion, PixelDiffusionConfig, PixelHistory, PixelHistoryConfig

_BACKWARD = 2  # times the forward pass


@dataclass(frozen=True)
class Cost:
    """FLOPs, two a multiply-add."""

    parameters: int
    training: float
    """Of the world model."""
    refinement: float
    """Of imagination in one refinement, if no judging and no refinement ends early."""
    evaluation: float
    """Of the pictures that one evaluation imagines."""


def predicted(config: World4RL, action_dim: int) -> Cost:
    """Counted on networks that have no memory (PyTorch's meta device)."""
    seen, model = config.history, config.world_model
    assert isinstance(seen, PixelHistoryConfig) and isinstance(model, PixelDiffusionConfig)
    with torch.device("meta"):
        world_model = PixelDiffusion(PixelHistory(action_dim, seen), model)
        network, channels = world_model.network, world_model.history.channels
        picture = torch.zeros(1, channels, seen.image_size, seen.image_size)
        actions, level = torch.zeros(1, seen.frames, network.condition.action.in_features), torch.zeros(1)
        with FlopCounterMode(display=False) as embedding:
            past = network.embed(picture.repeat(1, seen.frames, 1, 1), actions, level)
        with FlopCounterMode(display=False) as denoising:
            network(picture, level, past)
    embed, denoise = embedding.get_total_flops(), denoising.get_total_flops()
    # Heun asks twice a step, but once in the last.
    calls = model.sampler.steps if model.sampler.method == "euler" else 2 * model.sampler.steps - 1
    frame = embed + calls * denoise
    training = config.world_model_training
    windows = training.steps * training.batch_size
    return Cost(
        sum(parameter.numel() for parameter in network.parameters()),
        float((1 + _BACKWARD) * (embed + denoise) * model.rollout_steps * windows),
        float(imagined_steps(config) * frame),
        float(evaluation_steps(config) * frame),
    )


def imagined_steps(config: World4RL) -> int:
    """Frames that one refinement imagines at most, its judgings among them."""
    r = config.refine
    judged = [i for i in range(0, r.iterations + 1, r.evaluate_every) if i == 0 or i > config.ppo.critic_warmup]
    judgings = len({*judged, r.iterations})
    learned_from = r.iterations * config.ppo.rollout_steps * config.imagination.num_envs
    return learned_from + judgings * config.refine.imagined_episodes * (config.simulator.max_steps or 100)


def evaluation_steps(config: World4RL) -> int:
    """Frames that one evaluation imagines at most: ten after each window of three kinds of episodes, ten in each of two
    ways of acting, whole episodes, and videos."""
    limit = config.simulator.max_steps or 100
    return config.evaluation.picture_windows * (3 * 10 + 2 * 10 + limit) + config.evaluation.videos * limit
