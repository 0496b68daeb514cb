"""GWM's autoencoder (arXiv 2508.17600): a set of 3-D Gaussians to a few latent tokens and back.

Learned queries ask the tokens for the set, so that what is imagined can be drawn: its positions are not known before.
As with `Autoencoder`, a small network predicts the next latents from the last two and the actions, from which the next
set must come, so that latents are fit for imagination.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import Camera, Dataset, WindowBatch, depth_camera, image_key, pack_depth
from burnish.errors import InputError
from burnish.networks import MLP, Gaussians, Picture, SetDecoder, SetEncoder, activated, chamfer, render
from burnish.world_models.scenes import SceneConfig, Scenes

_ENCODE_BATCH = 128
_DRAW_BATCH = 4
_MOVING = 10.0
"""How much more a pixel of a drawn picture counts that shows what moves: most show the background."""
_LEAST_OPACITY = 0.3
"""Of a pixel that something drawn covers: below it shows the background's depth."""


@dataclass(frozen=True)
class SceneAutoencoderConfig:
    """Sizes and loss weights."""

    scene: SceneConfig = SceneConfig()
    gaussians: int = within(96, 1)
    """K, that learned queries decode."""
    tokens: int = within(8, 1)
    token_dim: int = within(6, 1)
    width: int = within(64, 4)
    heads: int = within(4, 1)
    depth: int = within(1, 0)
    """Blocks of self-attention among the tokens, of the encoder and again of the decoder."""
    kl_weight: float = within(2e-5, 0)
    """Weight of the divergence from a unit Gaussian, per latent."""
    prediction_weight: float = within(0.5, 0)
    """Weight of the next set, from the latents that are predicted for it."""
    render_weight: float = within(1.0, 0)
    """Weight of the mean absolute error of pictures in [0, 1], where what moves counts more; Chamfer distances are in
    half the scene's size."""
    drawn: int = within(4, 0)
    """Scenes of a batch that are drawn in training, all in one view, drawn by lot."""
    drawn_size: int = within(24, 4)
    """Pixels of these pictures; a divisor of the views' own."""

    def __post_init__(self) -> None:
        if self.scene.image_size % self.drawn_size:
            raise InputError(
                f"scene autoencoder: found drawn_size {self.drawn_size}, expected a divisor of image_size "
                f"{self.scene.image_size}"
            )

    @property
    def cameras(self) -> tuple[str, ...]:
        """Whose pictures are seen."""
        return self.scene.cameras

    @property
    def image_size(self) -> int:
        """Of all pictures."""
        return self.scene.image_size


class SceneAutoencoder(Component):
    """Pictures with depth to latents (B, tokens · token_dim), and those to Gaussians and pictures."""

    def __init__(self, action_dim: int, config: SceneAutoencoderConfig) -> None:
        super().__init__()
        self.config, self.action_dim = config, action_dim
        self.latent_dim = config.tokens * config.token_dim
        self.scenes = Scenes(config.scene)
        sizes = (config.width, config.heads, config.depth)
        self.encoder = SetEncoder(config.tokens, 2 * config.token_dim, *sizes)
        self.decoder = SetDecoder(config.tokens, config.token_dim, config.gaussians, *sizes)
        hidden = (4 * config.width, 4 * config.width)
        self.predictor = MLP(2 * (self.latent_dim + action_dim), hidden, self.latent_dim)

    def fit(self, dataset: Dataset, cameras: tuple[Camera, ...]) -> float:
        """Cameras, background and bounds, before training; the share of holes. Raises what `Scenes.fit` does."""
        return self.scenes.place(cameras).fit(dataset)

    # -- scenes and latents --------------------------------------------------------------------------------------------

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """What one observation holds, by LeRobot's keys."""
        return self.scenes.observation_shapes

    def encode(self, observation: Mapping[str, Tensor]) -> Float[Tensor, "B Z"]:
        """The latents of pictures (B, S, S, 3) uint8; the posterior's mean. Raises InputError for unusable ones."""
        found, there, _ = self.scenes.read(observation)
        return self._posterior(found, there)[0]

    @torch.no_grad()
    def encode_dataset(self, dataset: Dataset) -> Float[Tensor, "F Z"]:
        """The latent of every frame."""
        chunks = torch.arange(dataset.num_frames, device=dataset.device).split(_ENCODE_BATCH)
        keys = list(self.observation_shapes)
        rows = [{key: dataset.observations[key][chunk] for key in keys} for chunk in chunks]
        return torch.cat([self.encode(each) for each in rows])

    def moving(self, latents: Float[Tensor, "B Z"]) -> Gaussians:
        """The set that latents stand for, without the background."""
        raw = self.decoder(latents.unflatten(1, (self.config.tokens, -1)))
        middle, reach = self._bounds()
        return activated(raw, middle, reach, float(reach.mean()) / 10)

    def scene(self, latents: Float[Tensor, "B Z"]) -> Gaussians:
        """Everything: what moves, and the background's Gaussians."""
        moving, still = self.moving(latents), self.scenes.background()
        return moving + Gaussians(still.numbers.expand(len(latents), -1, -1))

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "B Z"]) -> dict[str, Tensor]:
        """Pictures uint8 (B, S, S, 3), depth among them, by LeRobot's keys; for people's eyes and picture metrics."""
        size, shown = self.config.image_size, {key: [] for key in self.observation_shapes}
        for rows in latents.split(_DRAW_BATCH):
            scene = self.moving(rows)
            for number, name in enumerate(self.config.scene.views):
                drawn = render(scene, self.scenes.view(number), size)
                shown[image_key(name)].append((255 * self._before(drawn, number)).round().to(torch.uint8))
                if image_key(depth_camera(name)) in shown:
                    shown[image_key(depth_camera(name))].append(self._depth(drawn, number))
        return {key: torch.cat(pictures) for key, pictures in shown.items()}

    @torch.no_grad()
    def psnr(self, dataset: Dataset) -> float:
        """Peak signal-to-noise ratio of the reconstructed colours of up to 256 frames, in dB."""
        step = -(-dataset.num_frames // 256)
        some = {key: dataset.observations[key][::step] for key in self.observation_shapes}
        drawn = self.decode(self.encode(some))
        keys = [image_key(name) for name in self.config.scene.views]
        squares = [(drawn[key].float() - some[key].float()).square().mean() for key in keys]
        return 10 * math.log10(255**2 / max(float(torch.stack(squares).mean()), 1e-9))

    @torch.no_grad()
    def distance(self, dataset: Dataset) -> float:
        """The mean Chamfer distance of decoded sets to the true ones, in metres, over up to 256 frames."""
        step = -(-dataset.num_frames // 256)
        found, there, _ = self.scenes.read({key: dataset.observations[key][::step] for key in self.observation_shapes})
        decoded = self.moving(self._posterior(found, there)[0])
        return float(chamfer(decoded.position, found.position, there=there).mean())

    # -- learning ------------------------------------------------------------------------------------------------------

    def loss(self, batch: WindowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Chamfer distance and drawn pictures of two successive sets and of the one predicted to follow; weak prior."""
        config, (count, length) = self.config, batch.action.shape[:2]
        if length != 3:
            raise ValueError(f"windows have {length} frames, the autoencoder learns from 3")
        flat = {key: batch.observation[key].flatten(0, 1) for key in self.observation_shapes}
        with torch.no_grad():
            true, there, moving = self.scenes.read(flat)
        mean, log_variance = self._posterior(true, there)
        sample = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        seen = sample.unflatten(0, (count, 3))[:, :2]
        past = torch.cat([seen.flatten(1), batch.action[:, :2].flatten(1)], dim=-1)
        following = seen[:, 1] + self.predictor(past)
        decoded = self.moving(torch.cat([sample, following]))
        last = torch.arange(2, 3 * count, 3, device=mean.device)
        rows = torch.cat([torch.arange(3 * count, device=mean.device), last])
        unit = self._bounds()[1].mean()
        distances = chamfer(decoded.position, true.position[rows], there=there[rows]) / unit
        reconstruction, prediction = distances[: 3 * count].mean(), distances[3 * count :].mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
        loss = reconstruction + config.prediction_weight * prediction + config.kl_weight * kl
        metrics = {"chamfer": reconstruction * unit, "predicted_chamfer": prediction * unit, "kl": kl}
        if config.drawn and config.render_weight:
            metrics["drawn"] = self._drawn_error(decoded, rows, flat, moving)
            loss = loss + config.render_weight * metrics["drawn"]
        return loss, {name: value.detach() for name, value in metrics.items()}

    def _drawn_error(self, decoded: Gaussians, rows: Tensor, flat: Mapping[str, Tensor], moving: Tensor) -> Tensor:
        """The mean absolute error of some rows' pictures, where what moves outside of the workspace is left out."""
        number = int(torch.randint(len(self.config.scene.views), ()))
        some = torch.randint(len(rows), (self.config.drawn,), device=rows.device)
        picture = flat[image_key(self.config.scene.views[number])][rows[some]].float() / 255
        shown = moving[rows[some], number].unsqueeze(-1)
        true = torch.where(shown, picture, self.scenes.still[number, ..., 10:13])
        coarse = self.config.image_size // self.config.drawn_size
        true, weight = _pooled(true, coarse), 1 + _MOVING * _pooled(shown.float(), coarse)
        drawn = render(Gaussians(decoded.numbers[some]), self.scenes.view(number), true.shape[1])
        behind = _pooled(self.scenes.still[number, ..., 10:13].unsqueeze(0), coarse)
        wrong = (drawn.colour + (1 - drawn.opacity).unsqueeze(-1) * behind - true).abs()
        return (weight * wrong).mean() / weight.mean()

    def _before(self, drawn: Picture, number: int) -> Float[Tensor, "B S S 3"]:
        """What is drawn, before the background of a view."""
        return (drawn.colour + (1 - drawn.opacity).unsqueeze(-1) * self.scenes.still[number, ..., 10:13]).clamp(0, 1)

    def _depth(self, drawn: Picture, number: int) -> Tensor:
        """The depth picture of what is drawn, and of the background where that is little."""
        near = drawn.depth / drawn.opacity.clamp(min=1e-3)
        metres = torch.where(drawn.opacity > _LEAST_OPACITY, near, self.scenes.distance[number])
        return torch.from_numpy(pack_depth(metres.cpu().numpy())).to(metres.device)

    def _posterior(self, found: Gaussians, there: Tensor) -> tuple[Tensor, Tensor]:
        middle, reach = self._bounds()
        place, scale, others = found.numbers.split((3, 3, 8), dim=-1)
        small = (scale.clamp(min=1e-4) / reach.mean() * 10).log()
        points = torch.cat([(place - middle) / reach, small, others], dim=-1)
        mean, log_variance = self.encoder(points * there.unsqueeze(-1), there).chunk(2, dim=-1)
        return mean.flatten(1), log_variance.flatten(1).clamp(-8, 2)

    def _bounds(self) -> tuple[Tensor, Tensor]:
        return (self.scenes.low + self.scenes.high) / 2, (self.scenes.high - self.scenes.low) / 2


def _pooled(pictures: Float[Tensor, "B S S c"], by: int) -> Float[Tensor, "B s s c"]:
    return torch.nn.functional.avg_pool2d(pictures.movedim(-1, 1), by).movedim(1, -1)
