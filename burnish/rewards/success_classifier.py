"""Success classifier on features: the sparse reward of imagination (World4RL, section III: r_t = C_ψ(x_{t+1}))."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.data import Normaliser
from burnish.networks import BodyDifferences, EnsembleMLP
from burnish.rewards.base import CalibratedClassifier
from burnish.rewards.calibration import ThresholdRule


@dataclass(frozen=True)
class ClassifierConfig:
    """Size of the classifier and the precision it must reach on held-out episodes."""

    members: int = within(3, 1)
    hidden: tuple[int, ...] = within((128, 128), 1)
    target_precision: float = within(0.95, 0, 1, open_low=True)
    grace_frames: int = within(3, 0)
    """Frames just before a success that calibration leaves out: to call success a moment early is no mistake."""
    threshold: ThresholdRule = "auto"
    """Of those that reach the precision. lowest: success is seen early. highest: of those that still find nine tenths
    of what the lowest does; fewer false claims. auto: highest where success is a relation (`relations`), since a near
    miss is then a matter of little, and where few held-out frames show success; else lowest."""
    positive_share: float = within(0.3, 0, 1)
    """Share of successful frames in a training batch; they are rare in the data."""
    imagined_share: float = within(0.5, 0, 1)
    """Share of training frames taken from imagined continuations of real windows, labelled by what really happened."""


class SuccessClassifier(CalibratedClassifier):
    """A small ensemble of MLPs with binary cross-entropy; its probability is the members' mean.

    `relations` are pairs of state dimensions (`world_models.relations`) where features are `frames` of states, the
    newest last: the networks see their differences besides, which few successes would not teach them to form.
    """

    def __init__(
        self, feature_dim: int, config: ClassifierConfig, relations: tuple[tuple[int, int], ...] = (), frames: int = 1
    ) -> None:
        super().__init__(feature_dim, config)
        self.members = config.members
        self.related = BodyDifferences(relations) if relations else None
        self.normaliser = Normaliser(feature_dim // frames) if relations else None
        self.network = EnsembleMLP(config.members, feature_dim + 2 * len(relations), config.hidden, 1)

    def relate(self, normaliser: Normaliser, frames: Float[Tensor, "N D"]) -> Self:
        """Take the features' normalisation, and the relations' scale from frames in the data's units."""
        assert self.related is not None and self.normaliser is not None
        self.normaliser.load_state_dict(normaliser.state_dict())
        self.related.fit(frames)
        return self

    @property
    def threshold_rule(self) -> ThresholdRule:
        """The configured one."""
        return "highest" if self.config.threshold == "auto" and self.related is not None else self.config.threshold

    def probability(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Probability that the features show success."""
        return self.network(self._read(features)).squeeze(-1).sigmoid().mean(0)

    def _read(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B R"]:
        if self.related is None or self.normaliser is None:
            return features
        newest = features[..., -len(self.normaliser.mean) :]
        return torch.cat([features, self.related.magnified(self.normaliser.denormalise(newest))], dim=-1)

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Binary cross-entropy on (features (B, F), success (B,)); members see different random orders of it."""
        features, success = batch
        members = self.config.members
        logits = self.network(self._read(features).unflatten(0, (members, -1))).squeeze(-1)
        target = success.to(logits.dtype).unflatten(0, (members, -1))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
        return loss, {"accuracy": ((logits.detach() > 0) == (target > 0.5)).float().mean()}


class BalancedFrames:
    """Draws labelled features with a set share of successes, from several sources of given shares.

    Of the failures, `hard_share` are hard: each is the one of `CANDIDATES` drawn frames that `score`, the classifier
    as it is at that moment, takes most for a success. Near misses and the frames just before a success come up more
    often so, without anybody saying which they are; nothing is remembered, so a resumed training draws the same.
    """

    CANDIDATES = 4

    def __init__(
        self,
        sources: list[tuple[float, Tensor, Tensor]],
        positive_share: float,
        members: int,
        hard_share: float = 0.0,
        score: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.sources = [
            (share, features[success], features[~success]) for share, features, success in sources if share > 0
        ]
        self.positive_share, self.members = positive_share, members
        self.hard_share, self.score = hard_share, score or _equal_scores

    def sample(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(features, success) of `batch_size` rows for each member, in random order."""
        rows, labels = [], []
        total = batch_size * self.members
        for share, positive, negative in self.sources:
            count = round(share * total)
            positives = round(count * self.positive_share) if len(positive) else 0
            positives = positives if len(negative) else count
            for pool, number, label in ((positive, positives, True), (negative, count - positives, False)):
                if number == 0:
                    continue
                hard = 0 if label else round(number * self.hard_share)
                index = torch.randint(len(pool), (number - hard,), generator=generator, device=pool.device)
                rows += [pool[index], self._hard(pool, hard, generator)]
                labels.append(torch.full((number,), label, device=pool.device))
        features, success = torch.cat(rows), torch.cat(labels)
        order = torch.randperm(len(features), generator=generator, device=features.device)
        order = order[: len(order) // self.members * self.members]
        return features[order], success[order]

    @torch.no_grad()
    def _hard(self, pool: Tensor, number: int, generator: torch.Generator) -> Tensor:
        if number == 0:
            return pool[:0]
        index = torch.randint(len(pool), (number, self.CANDIDATES), generator=generator, device=pool.device)
        best = self.score(pool[index.flatten()]).view(index.shape).argmax(1, keepdim=True)
        return pool[index.gather(1, best).squeeze(1)]


def _equal_scores(features: Tensor) -> Tensor:
    return torch.zeros(len(features), device=features.device)
