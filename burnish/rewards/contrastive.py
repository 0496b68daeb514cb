"""DiWA's latent success classifier (arXiv 2508.03645): supervised contrastive learning plus cross-entropy."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from burnish.config import within
from burnish.networks import MLP
from burnish.rewards.base import CalibratedClassifier


@dataclass(frozen=True)
class ContrastiveConfig:
    """Sizes, loss weights, and the precision that held-out episodes must show."""

    hidden: int = within(512, 1)
    embedding: int = within(256, 1)
    temperature: float = within(0.5, 0, open_low=True)
    """Of the contrastive loss, on the unit sphere (DiWA: 0.5)."""
    cross_entropy_weight: float = within(0.5, 0)
    """α, the weight of the cross-entropy beside the contrastive loss (DiWA: 0.5)."""
    target_precision: float = within(0.95, 0, 1, open_low=True)
    grace_frames: int = within(3, 0)
    """Frames just before a success that calibration leaves out: to call success a moment early is no mistake."""
    positive_share: float = within(0.3, 0, 1)
    """Share of successful frames in a training batch; they are rare in the data."""
    imagined_share: float = within(0.5, 0, 1)
    """Share of training frames taken from imagined continuations of real ones, labelled by what really happened."""


class ContrastiveClassifier(CalibratedClassifier):
    """An encoder whose embeddings of successes lie together on the unit sphere, and a head that tells them apart."""

    loss_compares_rows = True

    def __init__(self, feature_dim: int, config: ContrastiveConfig) -> None:
        super().__init__(feature_dim, config)
        self.encoder = MLP(feature_dim, (config.hidden,), config.embedding)
        self.head = MLP(config.embedding, (config.hidden,), 1)

    def probability(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Probability that the features show success."""
        return self.head(self.encoder(features)).squeeze(-1).sigmoid()

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Supervised NT-Xent + α cross-entropy on (features (B, F), success (B,))."""
        features, success = batch
        embedding = self.encoder(features)
        contrastive = supervised_contrastive(embedding, success, self.config.temperature)
        logits = self.head(embedding).squeeze(-1)
        entropy = nn.functional.binary_cross_entropy_with_logits(logits, success.to(logits.dtype))
        accuracy = ((logits.detach() > 0) == success).float().mean()
        metrics = {"contrastive": contrastive.detach(), "cross_entropy": entropy.detach(), "accuracy": accuracy}
        return contrastive + self.config.cross_entropy_weight * entropy, metrics


def supervised_contrastive(
    embedding: Float[Tensor, "B E"], label: Bool[Tensor, " B"], temperature: float
) -> Float[Tensor, ""]:
    """Supervised NT-Xent: every other row of the same label is a positive (arXiv 2004.11362, Eq. 2).

    Rows that have no positive in the batch are left out; zero where none has.
    """
    unit = nn.functional.normalize(embedding, dim=-1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    similarity = (unit @ unit.T / temperature).masked_fill(itself, -torch.inf)
    log_probability = similarity.log_softmax(-1).masked_fill(itself, 0.0)
    positive = (label[:, None] == label[None, :]) & ~itself
    count = positive.sum(-1)
    each = -(log_probability * positive).sum(-1) / count.clamp(min=1)
    return each.sum() / (count > 0).sum().clamp(min=1)
