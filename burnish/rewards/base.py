"""What every success classifier has: a threshold calibrated on held-out episodes, and a folder that it is saved to."""

from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from burnish.config import from_dict
from burnish.errors import InputError
from burnish.rewards.calibration import Calibration, calibrate
from burnish.storage import load_module, load_module_config, save_module


class CalibratedClassifier(nn.Module):
    """A success classifier on features; a family adds its network, `probability` and `loss`.

    `CONFIG` is the family's configuration, which has at least `target_precision`, `grace_frames`, `positive_share` and
    `imagined_share`.  `members` says into how many independent batches the loss divides its rows,
    `hard_share` which share of a training batch's failures is chosen for high scores (`BalancedFrames`).
    """

    CONFIG: ClassVar[type]
    threshold: Tensor
    members = 1
    hard_share = 0.0

    def __init__(self, feature_dim: int, config: Any) -> None:
        super().__init__()
        self.config, self.feature_dim = config, feature_dim
        self.register_buffer("threshold", torch.full((), 0.5))

    def save(self, folder: Path) -> None:
        """Write model.safetensors and config.json."""
        save_module(folder, self, {"feature_dim": self.feature_dim, "model": self.config})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises InputError where it is not that."""
        source = str(folder / "config.json")
        config = load_module_config(folder)["config"]
        try:
            feature_dim, fields = int(config["feature_dim"]), config["model"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{source}: found no usable {error}, expected a success classifier") from error
        model = cls(feature_dim, from_dict(cls.CONFIG, fields, source))
        load_module(folder, model)
        return model.eval().requires_grad_(False)

    def probability(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Probability that the features show success."""
        raise NotImplementedError

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss and metrics on (features (B, F), success (B,))."""
        raise NotImplementedError

    def succeeded(self, features: Float[Tensor, "B F"]) -> Bool[Tensor, " B"]:
        """Whether the probability reaches the calibrated threshold."""
        return self.probability(features) >= self.threshold

    @torch.no_grad()
    def calibrate(self, features: Float[Tensor, "N F"], success: Bool[Tensor, " N"]) -> Calibration:
        """Set the threshold on held-out frames and return the evidence."""
        calibration = calibrate(self.probability(features), success, self.config.target_precision)
        self.threshold.fill_(calibration.threshold)
        return calibration
