"""Networks that judge pictures and videos: which are there, how their weights are read, and what to say of the others.

The field's networks (AlexNet for LPIPS, Inception-v3 for FID, I3D for FVD) are trained elsewhere, and Burnish ships no
weights.  Whoever has them names one safetensors file each; otherwise a report says that they are missing.  A network of
the run's own can always be used: its Fréchet distance is called `frechet_own`, never FID or FVD.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from burnish.errors import InputError
from burnish.evaluation.i3d import I3D, MIN_FRAMES
from burnish.evaluation.inception import InceptionV3
from burnish.evaluation.lpips import LPIPS
from burnish.storage import load_tensors

# Layers that the files hold and the metrics do not use: classifiers' heads, and counters of batch normalisation.
_UNUSED = ("fc.", "classifier.", "AuxLogits.")
_UNUSED_ENDS = ("num_batches_tracked", "scaling_layer.shift", "scaling_layer.scale")

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class FeatureNetwork(Protocol):
    """Something that makes features of pictures, uint8 (N, H, W, 3), or of videos, uint8 (N, T, H, W, 3)."""

    @property
    def name(self) -> str:
        """What a report calls the network."""
        ...

    @property
    def min_frames(self) -> int:
        """Frames that a video must have at least; 1 for a network of pictures."""
        ...

    def features(self, pictures: Tensor) -> Float[Tensor, "N D"]:
        """The features, one row for each picture or video."""
        ...


@dataclass(frozen=True)
class Features:
    """Any function as a FeatureNetwork: the trunk of a run's own classifier or autoencoder, for instance."""

    name: str
    function: Callable[[Tensor], Tensor]
    min_frames: int = 1

    def features(self, pictures: Tensor) -> Float[Tensor, "N D"]:
        """What the function gives, one flat row each."""
        return self.function(pictures).flatten(1)


class PictureDistance(Protocol):
    """Something like LPIPS: how different the pictures of each pair look."""

    @property
    def name(self) -> str:
        """What a report calls it."""
        ...

    def distance(self, pictures: UInt8[Tensor, "N H W 3"], target: UInt8[Tensor, "N H W 3"]) -> Float[Tensor, " N"]:
        """The distance of each pair, 0 for equal ones."""
        ...


@dataclass(frozen=True)
class Perceptual:
    """Any function of two batches of pictures as a PictureDistance."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]

    def distance(self, pictures: UInt8[Tensor, "N H W 3"], target: UInt8[Tensor, "N H W 3"]) -> Float[Tensor, " N"]:
        """What the function gives."""
        return self.function(pictures, target)


@dataclass(frozen=True)
class Missing:
    """A number that cannot be told here, and why."""

    reason: str

    @classmethod
    def weights(cls, metric: str) -> "Missing":
        """The weights of a metric's network were not given."""
        return cls(f"{metric.upper()}: weights not on this machine; pass --weights.{metric} FILE.safetensors")


@dataclass(frozen=True)
class WeightFiles:
    """Where the networks' weights are, one safetensors file each; None where they are not on this machine.

    Attributes:
        lpips: torchvision's AlexNet (`features.0.weight` …; its classifier is ignored) and the authors' five linear
            layers (`lin0.model.1.weight` …, version 0.1) in one file.
        fid: the Inception-v3 of FID's PyTorch ports (`Conv2d_1a_3x3.conv.weight` …; `fc` is ignored).  Weights of
            torchvision's own Inception-v3 have the same names and give numbers that are not comparable with papers.
        fvd: the I3D of its PyTorch ports, trained on RGB of Kinetics-400 (`Conv3d_1a_7x7.conv3d.weight` …).
    """

    lpips: Path | None = None
    fid: Path | None = None
    fvd: Path | None = None


@dataclass(frozen=True)
class FeatureNetworks:
    """What pictures are judged with, besides PSNR and SSIM."""

    lpips: PictureDistance | Missing = field(default_factory=lambda: Missing.weights("lpips"))
    fid: FeatureNetwork | Missing = field(default_factory=lambda: Missing.weights("fid"))
    fvd: FeatureNetwork | Missing = field(default_factory=lambda: Missing.weights("fvd"))
    own: FeatureNetwork | None = None
    """A network of the run's own, on pictures; its number is `frechet_own`."""


def load_feature_networks(
    files: WeightFiles, device: torch.device | str = "cpu", own: FeatureNetwork | None = None
) -> FeatureNetworks:
    """The networks whose files are given, on `device`; the others are `Missing`.

    Raises InputError where a file is not safetensors, or lacks a tensor, or has one of another shape or kind.
    """
    networks = FeatureNetworks(own=own)
    lpips, fid, fvd = networks.lpips, networks.fid, networks.fvd
    if files.lpips is not None:
        lpips = Perceptual("AlexNet, LPIPS 0.1", with_weights(LPIPS(), files.lpips).to(device))
    if files.fid is not None:
        fid = Features("Inception-v3", with_weights(InceptionV3(), files.fid).to(device))
    if files.fvd is not None:
        fvd = Features("I3D, Kinetics-400", with_weights(I3D(), files.fvd).to(device), MIN_FRAMES)
    return FeatureNetworks(lpips, fid, fvd, own)


def with_weights(network: NetworkT, path: Path) -> NetworkT:
    """Fill a network from a safetensors file and freeze it; half precision is widened.

    Raises InputError for another kind of file, and for a tensor that is missing, unknown, of another shape or kind, or
    not finite.
    """
    found, _ = load_tensors(path)
    expected = {key: tensor for key, tensor in network.state_dict().items() if not _unused(key)}
    for key in expected:
        if key not in found:
            raise InputError(f"{path}: found no tensor '{key}', expected the weights of {type(network).__name__}")
    for key, tensor in found.items():
        if _unused(key):
            continue
        if key not in expected:
            raise InputError(f"{path}: found tensor '{key}', expected the weights of {type(network).__name__} alone")
        if tensor.shape != expected[key].shape or not tensor.is_floating_point():
            told = f"{tensor.dtype} {tuple(tensor.shape)}, expected floats {tuple(expected[key].shape)}"
            raise InputError(f"{path}: tensor '{key}': found {told}")
        if not bool(tensor.isfinite().all()):
            raise InputError(f"{path}: tensor '{key}': found values that are not finite, expected finite ones")
    # Not strict: the counters of batch normalisation are not read.
    network.load_state_dict({key: found[key].float() for key in expected}, strict=False)
    return network.eval().requires_grad_(False)


def _unused(key: str) -> bool:
    return key.startswith(_UNUSED) or key.endswith(_UNUSED_ENDS)
