"""Success classifier on pictures (World4RL, section III: a ResNet-18 with binary cross-entropy)."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within
from burnish.networks import picture_shape, random_shift
from burnish.networks.resnet import NormName, ResNetName, load_torchvision, resnet
from burnish.rewards.base import CalibratedClassifier

_SLICE = 256  # rows at once where no gradient is kept: calibration asks about a whole data set


@dataclass(frozen=True)
class FrameClassifierConfig:
    """What the features show, the network, and the precision that held-out episodes must show."""

    frames: int = within(1, 1)
    """Pictures in a row of features, oldest first."""
    channels: int = within(3, 1)
    """Numbers a pixel: 3, or 3 for each of several cameras."""
    image_size: int = within(64, 8)
    network: ResNetName = "small"
    """World4RL: resnet18 (11.2 M weights); `small` (0.7 M) learns on a CPU."""
    norm: NormName = "group"
    """`folded` comes with `weights`: channel-wise scales and shifts in the place of batch normalisation."""
    weights: Path | None = None
    """A safetensors file with torchvision's ResNet-18 to begin with; None for random weights. It is read once, when
    training begins; what is saved no longer needs it."""
    members: int = within(1, 1)
    shift: int = within(4, 0)
    """Random shifts of ± so many pixels in training; 0 for none."""
    target_precision: float = within(0.95, 0, 1, open_low=True)
    grace_frames: int = within(3, 0)
    """Frames just before a success that calibration leaves out: to call success a moment early is no mistake."""
    positive_share: float = within(0.3, 0, 1)
    """Share of successful frames in a training batch; they are rare in the data."""
    hard_share: float = within(0.0, 0, 1)
    """Share of the failures in a training batch that are chosen for their high scores; see `BalancedFrames`."""
    imagined_share: float = within(0.5, 0, 1)
    """Share of training frames taken from imagined continuations of real ones, labelled by what really happened."""


class FrameClassifier(CalibratedClassifier):
    """Residual networks on flattened pictures (frames, channels, S, S) in [-1, 1]; the members' mean probability."""

    def __init__(self, feature_dim: int, config: FrameClassifierConfig) -> None:
        weights = config.weights
        super().__init__(feature_dim, replace(config, weights=None, norm="folded") if weights else config)
        self.arguments["config"] = self.config  # what is saved no longer needs the file
        self.members, self.hard_share = config.members, config.hard_share
        self.shape = picture_shape("frame classifier", feature_dim, config.frames, config.channels, config.image_size)
        trunks = [resnet(config.network, self.shape[0], self.config.norm) for _ in range(config.members)]
        if weights:
            for trunk in trunks:
                load_torchvision(trunk, weights)
        self.networks = nn.ModuleList(nn.Sequential(trunk, nn.Linear(trunk.output_dim, 1)) for trunk in trunks)

    def probability(self, features: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """Probability that the pictures show success."""
        slices = [features] if torch.is_grad_enabled() else features.split(_SLICE)
        logits = [self._logits(rows.expand(self.members, *rows.shape)) for rows in slices]
        return torch.cat(logits, dim=1).sigmoid().mean(0)

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Binary cross-entropy on (features (B, F), success (B,)), shifted; each member sees rows of its own."""
        features, success = batch
        moved = random_shift(features.unflatten(1, self.shape), self.config.shift).flatten(1)
        logits = self._logits(moved.unflatten(0, (self.members, -1)))
        target = success.to(logits.dtype).unflatten(0, (self.members, -1))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
        return loss, {"accuracy": ((logits.detach() > 0) == (target > 0.5)).float().mean()}

    def _logits(self, features: Float[Tensor, "members B F"]) -> Float[Tensor, "members B"]:
        pictures = features.unflatten(-1, self.shape)
        return torch.stack([network(rows).squeeze(-1) for network, rows in zip(self.networks, pictures, strict=True)])
