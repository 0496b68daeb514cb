"""Does a world model know which recorded episodes succeeded? It replays their actions from their first frames.

The back-test of the trust gate asks this of finished worlds with their own classifier and agent. Here it is cheap
enough to be asked again and again while a world model trains: no policy plays, and one classifier serves all
stages of training, since it reads observations, which do not depend on the model's weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.data import Dataset, Normaliser
from burnish.evaluation.back_test import telling_sources
from burnish.evaluation.correlation import pearson
from burnish.imagination import Models, recorded, rollout, transitions
from burnish.rewards import BalancedFrames, ClassifierConfig, SuccessClassifier
from burnish.world_models import STATE_KEY, WorldModel

Probability = Callable[[Tensor], Tensor]
"""Of success (B,), of state vectors (B, D) in the data's units."""


@dataclass(frozen=True)
class Replayed:
    """Recorded episodes: how likely the world model finds their success, and whether they did succeed."""

    imagined: Float[Tensor, " E"]
    real: Bool[Tensor, " E"]

    @property
    def correlation(self) -> float:
        """Pearson's, in [-1, 1]; 0 where one of the two never varies: then nothing was shown."""
        return pearson(self.imagined, self.real)


def success_of_states(training: Dataset, seed: int, steps: int = 400, batch_size: int = 128) -> Probability:
    """A small success classifier on recorded state vectors, about a second of training; it needs one success."""
    frames = training.observations[STATE_KEY]
    normaliser = Normaliser(frames.shape[1]).to(frames.device).fit(frames)
    generator = torch.Generator(device=frames.device).manual_seed(seed)
    with torch.random.fork_rng([frames.device] if frames.is_cuda else []), torch.enable_grad():
        torch.manual_seed(seed)
        config = ClassifierConfig(imagined_share=0.0)
        classifier = SuccessClassifier(frames.shape[1], config).to(frames.device)
        optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
        normalised = normaliser.normalise(frames)
        balanced = BalancedFrames([(1.0, normalised, training.success)], config.positive_share, config.members)
        for _ in range(steps):
            loss, _ = classifier.loss(balanced.sample(batch_size, generator))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    classifier.eval().requires_grad_(False)
    return lambda states: classifier.probability(normaliser.normalise(states))


@torch.no_grad()
def replay(
    world_model: WorldModel, probability: Probability, held_out: Dataset, seed: int, copies: int = 4
) -> Replayed:
    """Replay the recorded actions of held-out episodes `copies` times, each from its first frame to its end.

    An episode's imagined success is the highest `probability` of success on the way, averaged over the copies:
    a model that is unsure says something between. See `telling_sources` for which episodes.
    """
    chosen = held_out.with_sources(sorted(telling_sources([held_out])))
    generator = torch.Generator(device=chosen.device).manual_seed(seed)
    first = chosen.starts.repeat(copies)
    steps = transitions(world_model, chosen.lengths.repeat(copies) - 1)
    act = recorded(chosen, first, world_model.action_steps)
    best = torch.zeros(len(first), device=chosen.device)
    for now in rollout(Models(world_model), world_model.recorded(chosen).rows(first), act, steps, generator):
        found = probability(world_model.decode(now.following)[STATE_KEY])
        best = torch.where(now.alive, torch.maximum(best, found), best)
    return Replayed(best.view(copies, -1).mean(0), chosen.episode_success)
