"""Latent actions: what happened between two frames in a few numbers, learned from video without any action.

AdaWorld (arXiv 2503.18938, section 3.1): an encoder sees two successive frames, a decoder only the first one and what
the encoder says, from which it has to draw the second. What is said costs its divergence from a unit Gaussian, β a nat:
so it is what changes and nothing that the first frame shows already, which is what an action is. As there, one
posterior of Gaussians, its mean in use; other than there, two small convolutional networks in the place of
spatio-temporal transformers, and the squared error is in units of what a video changes from frame to frame, so that β
means the same for a small robot and a moving camera.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, WindowBatch, Windows, image_key
from burnish.errors import InputError
from burnish.networks import FrameChange, LatentEncoder, level_widths
from burnish.world_models.picture_encoding import checked_pictures, shapes_of

REACH = 3.0
"""Standard deviations of the video's latent actions that -1 and 1 stand for."""
_FIRST_LOG_VARIANCE = -2.0
_LOOKED_AT = 2000
_BATCH = 256


@dataclass(frozen=True)
class LatentActionConfig:
    """Sizes, and the price of information."""

    cameras: tuple[str, ...] = ("corner3",)
    """Stacked on channels."""
    image_size: int = within(32, 16)
    latent_dim: int = within(8, 1)
    """Numbers of a latent action (AdaWorld: 32)."""
    beta: float = within(0.001, 0)
    """β: what a nat costs, as a share of the mean squared change from frame to frame. At ten times as much one number
    is left in use, of a gridworld and of Meta-World (benchmarks/results/adaworld.md)."""
    width: int = within(16, 4)
    """Channels of the first convolution of both networks."""
    hidden: int = within(128, 1)
    recolour: bool = True
    """Whether training shows the encoder a pair in other colours, and inverted or not, than the decoder's frame. Else a
    dark thing on a light ground that goes left may say what a light thing on a dark ground says that goes right."""
    condition: int = within(64, 2)
    """Width of what a latent action says to every block of the decoder."""


class LatentActions(Component):
    """Encoder of pairs of frames, and the decoder that it learns with."""

    change: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(self, config: LatentActionConfig) -> None:
        super().__init__()
        if not config.cameras:
            raise InputError("latent actions: found no camera, expected at least one")
        self.config, self.latent_dim = config, config.latent_dim
        self.keys = tuple(image_key(name) for name in config.cameras)
        widths = level_widths(config.image_size, config.width)
        channels = 3 * len(config.cameras)
        self.encoder = LatentEncoder(2 * channels, widths, config.hidden, 2 * config.latent_dim)
        with torch.no_grad():
            # Begins with something to say: from noise of unit variance the decoder would learn to ignore the code.
            self.encoder.head[-1].bias[config.latent_dim :].fill_(_FIRST_LOG_VARIANCE)  # type: ignore[index]
        self.decoder = FrameChange(channels, config.latent_dim, widths, config.condition)
        self.register_buffer("change", torch.ones(()))
        self.register_buffer("centre", torch.zeros(config.latent_dim))
        self.register_buffer("scale", torch.ones(config.latent_dim))

    # -- use -----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def between(self, before: dict[str, Tensor], after: dict[str, Tensor]) -> Float[Tensor, "B Z"]:
        """The latent actions that lead from pictures to those that follow them, (B, S, S, 3) uint8, in [-1, 1].

        Raises:
            InputError: a camera is missing, or its pictures have another size or type.
        """
        mean, _ = self._posterior(self._channels(before), self._channels(after))
        return ((mean - self.centre) / (REACH * self.scale)).clamp(-1, 1)

    def of_dataset(self, dataset: Dataset) -> Float[Tensor, "F Z"]:
        """The latent action at every frame; 0 at an episode's last one, which nothing follows."""
        found = dataset.actions.new_zeros(dataset.num_frames, self.latent_dim)
        for present, before, after in self._pairs(dataset, dataset.num_frames):
            found[present] = self.between(before, after)
        return found

    @torch.no_grad()
    def draw(self, pictures: dict[str, Tensor], latent: Float[Tensor, "B Z"]) -> dict[str, Tensor]:
        """The decoder's picture of what latent actions in [-1, 1] do, uint8 (B, S, S, 3): for people's eyes."""
        drawn = self._after(self._channels(pictures), latent * REACH * self.scale + self.centre)
        levels = ((drawn.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1)
        return {key: levels[..., 3 * i : 3 * i + 3] for i, key in enumerate(self.keys)}

    # -- learning ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fit(self, video: Dataset) -> Self:
        """How much the video changes from frame to frame; once, before training.

        Raises:
            InputError: nothing moves, or the pictures are not those that the configuration says.
        """
        squares = [
            (self._channels(after) - self._channels(before)).square().mean((1, 2, 3))
            for _, before, after in self._pairs(video, _LOOKED_AT)
        ]
        change = torch.cat(squares).mean()
        if not change > 0:
            raise InputError(f"the video, field {', '.join(self.keys)}: found no motion, expected pictures that change")
        self.change.copy_(change)
        return self

    @torch.no_grad()
    def settle(self, video: Dataset) -> Self:
        """What -1 and 1 stand for; once, after training."""
        found = [self._posterior(self._channels(a), self._channels(b))[0] for _, a, b in self._pairs(video, _LOOKED_AT)]
        means = torch.cat(found)
        self.centre.copy_(means.mean(0))
        # A dimension without information hovers around zero: stretched to the range it would be noise.
        self.scale.copy_(means.std(0).clamp(min=0.1))
        return self

    def loss(self, batch: WindowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the second frame, as a share of the video's change, plus β times the divergence."""
        before, after = (self._channels({key: batch.observation[key][:, i] for key in self.keys}) for i in (0, 1))
        seen = recoloured(before, after) if self.training and self.config.recolour else (before, after)
        mean, log_variance = self._posterior(*seen)
        sample = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        wrong = (self._after(before, sample) - after).square().mean() / self.change
        nats = gaussian_divergence(mean, log_variance)
        loss = wrong + self.config.beta * nats.sum(1).mean()
        used = (nats.mean(0) > 0.1).sum()
        return loss, {"unexplained": wrong.detach(), "nats": nats.sum(1).mean().detach(), "used": used.float()}

    def _after(self, before: Tensor, code: Tensor) -> Tensor:
        return before + self.change.sqrt() * self.decoder(before, code)

    def _posterior(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        # The change instead of the second frame: in the sum of two large numbers it would be lost.
        mean, log_variance = self.encoder(torch.cat([before, 4 * (after - before)], dim=1)).chunk(2, dim=-1)
        return mean, log_variance.clamp(-8, 2)

    def _channels(self, observation: dict[str, Tensor]) -> Tensor:
        return checked_pictures(observation, shapes_of(self.config.cameras, self.config.image_size))

    def _pairs(self, dataset: Dataset, most: int) -> Any:
        """Batches of (present frames, their pictures, the following pictures), at most `most` pairs spread evenly."""
        present = Windows(dataset, history=1, horizon=1).present_frames
        present = present[:: -(-len(present) // most)]
        pictures = {key: values for key, values in dataset.observations.items() if key in self.keys}
        for rows in present.split(_BATCH):
            before, after = ({key: values[at] for key, values in pictures.items()} for at in (rows, rows + 1))
            yield rows, before, after


def recoloured(before: Float[Tensor, "B C S S"], after: Float[Tensor, "B C S S"]) -> tuple[Tensor, Tensor]:
    """Pairs of pictures in [-1, 1] with their three colours in a random order, and inverted or not; of a row alike."""
    count, channels = before.shape[:2]
    order = torch.rand(count, 1, 3, device=before.device).argsort(-1)
    order = order + 3 * torch.arange(channels // 3, device=before.device)[:, None]
    order = order.flatten(1)[:, :, None, None].expand_as(before)
    sign = 1 - 2 * torch.randint(2, (count, 1, 1, 1), device=before.device)
    return sign * before.gather(1, order), sign * after.gather(1, order)


def gaussian_divergence(mean: Float[Tensor, "B Z"], log_variance: Float[Tensor, "B Z"]) -> Float[Tensor, "B Z"]:
    """KL(N(mean, variance) ‖ N(0, 1)) of each dimension, in nats: ½ (μ² + σ² − ln σ² − 1)."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)


def with_latent_actions(video: Dataset, latent: LatentActions) -> Dataset:
    """The video with its latent actions as the actions: what a world model learns from that nobody has labelled."""
    return replace(video, actions=latent.of_dataset(video))
