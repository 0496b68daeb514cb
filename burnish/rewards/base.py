"""What every success classifier has: a threshold calibrated on held-out episodes."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.components import Component
from burnish.rewards.calibration import Calibration, ThresholdRule, calibrate


class CalibratedClassifier(Component, register=False):
    """A success classifier on features; a family adds its network, `probability` and `loss`.

    Its configuration has at least `target_precision`, `grace_frames`, `positive_share` and `imagined_share`. `members`
    says into how many independent batches the loss divides its rows, `hard_share` which share of a training batch's
    failures is chosen for high scores (`BalancedFrames`).
    """

    threshold: Tensor
    members = 1
    hard_share = 0.0

    def __init__(self, feature_dim: int, config: Any) -> None:
        super().__init__()
        self.config, self.feature_dim = config, feature_dim
        self.register_buffer("threshold", torch.full((), 0.5))

    def probability(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Probability that the features show success."""
        raise NotImplementedError

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss and metrics on (features (B, F), success (B,))."""
        raise NotImplementedError

    @property
    def threshold_rule(self) -> ThresholdRule:
        """Which of the thresholds that reach the precision is taken."""
        return "lowest"

    def succeeded(self, features: Float[Tensor, "B F"]) -> Bool[Tensor, " B"]:
        """Whether the probability reaches the calibrated threshold."""
        return self.probability(features) >= self.threshold

    @torch.no_grad()
    def calibrate(self, features: Float[Tensor, "N F"], success: Bool[Tensor, " N"]) -> Calibration:
        """Set the threshold on held-out frames and return the evidence."""
        precision = self.config.target_precision
        calibration = calibrate(self.probability(features), success, precision, rule=self.threshold_rule)
        self.threshold.fill_(calibration.threshold)
        return calibration
