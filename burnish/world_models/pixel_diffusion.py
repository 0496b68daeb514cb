"""World4RL's transition model on pixels: EDM-preconditioned diffusion over the next frame (DIAMOND's design)."""

import copy
import functools
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.config import within
from burnish.data import Dataset, Normaliser, WindowBatch
from burnish.errors import InputError
from burnish.networks import (
    DIT_PRESETS,
    UNET_PRESETS,
    ActionAdapter,
    ActionEncoding,
    ActionModulesConfig,
    AdapterConfig,
    DiT,
    DiTConfig,
    UNet,
    UNetConfig,
    action_adapter,
    action_encoding,
    denoising_error,
    follow_actions,
    preconditioning,
)
from burnish.world_models.base import Observed
from burnish.world_models.pixel_history import PixelHistory, PixelHistoryState, push, signed, to_levels
from burnish.world_models.pixel_speed import FrozenNetwork, SpeedConfig, fingerprint
from burnish.world_models.sampler import SamplerConfig, offset_noise, sample


@dataclass(frozen=True)
class NoiseLevels:
    """Log-normal noise levels of training: ln σ ~ N(mean, std²), clipped to [low, high]. Defaults: DIAMOND, Atari."""

    mean: float = -0.4
    std: float = within(1.2, 0, open_low=True)
    low: float = within(2e-3, 0, open_low=True)
    high: float = within(20.0, 0, open_low=True)

    def draw(self, count: int, device: torch.device) -> Float[Tensor, " count"]:
        """One level per row."""
        return (self.mean + self.std * torch.randn(count, device=device)).exp().clamp(self.low, self.high)


@dataclass(frozen=True)
class PixelDiffusionConfig:
    """Network, noise levels, sampler and speed."""

    backbone: Literal["unet", "dit"] = "unet"
    preset: str = "xs"
    """Sizes of the backbone: a name in UNET_PRESETS or DIT_PRESETS, or `custom` for those of `unet` or `dit` below."""
    unet: UNetConfig = UNetConfig()
    dit: DiTConfig = DiTConfig()
    sigma_data: float = within(0.5, 0, open_low=True)
    """Standard deviation of pixels in [-1, 1]."""
    noise: NoiseLevels = NoiseLevels()
    offset_noise: float = within(0.1, 0)
    """Share of the noise that a whole channel has in common, relative to the pixels' own."""
    disturb_context: bool = True
    """Whether training puts noise on the past frames, one level a window, and tells the network the level."""
    context_noise: NoiseLevels = NoiseLevels(mean=-3.0, low=5e-3, high=5.0)
    """Levels of that noise; `low` is what imagination tells the network."""
    rollout_steps: int = within(2, 1)
    """Predicted frames per training window; later ones see the model's own prediction (one denoising) as their past."""
    motion_weight: float = within(0.0, 0)
    """β: pixels count in proportion to exp(β |x_{t+1} - x_t|), on average once (DWS, arXiv 2502.07825: 1)."""
    modules: ActionModulesConfig | None = None
    """Of a network that was trained on video without actions (`PixelDiffusion.following_actions`)."""
    sampler: SamplerConfig = SamplerConfig(steps=3, sigma_min=2e-3)
    speed: SpeedConfig = SpeedConfig()

    def __post_init__(self) -> None:
        presets = UNET_PRESETS if self.backbone == "unet" else DIT_PRESETS
        if self.preset != "custom" and self.preset not in presets:
            names = ", ".join([*presets, "custom"])
            raise InputError(
                f"pixel diffusion: found preset '{self.preset}' of {self.backbone}, expected one of {names}"
            )
        if self.rollout_steps < 1 or self.sigma_data <= 0:
            found = f"rollout_steps {self.rollout_steps} and sigma_data {self.sigma_data}"
            raise InputError(f"pixel diffusion: found {found}, expected at least 1 and a positive number")


class PixelDiffusion(Observed):
    """Predicts the next frame from H frames and encoded actions by denoising (World4RL, Eqs. 4 to 7).

    Unlike DIAMOND: sampling starts from noise of standard deviation sigma_max, pictures are clamped and rounded to
    bytes once per frame and not at every denoising step, and actions are continuous.
    """

    action_steps = 1

    def __init__(
        self,
        history: PixelHistory,
        config: PixelDiffusionConfig,
        adapter: AdapterConfig | None = None,
        latent_dim: int = 0,
    ) -> None:
        """With an `adapter`, the network hears of `latent_dim` numbers that it makes of an action (`adapted`)."""
        super().__init__()
        self.history, self.config = history, config
        self.adapter, self.latent_dim = adapter, latent_dim
        self.feature_dim = history.feature_dim
        seen = history.config
        if adapter is not None:
            self.encode: ActionEncoding = action_adapter(adapter, history.action_dim, latent_dim)
        else:
            self.encode = action_encoding(
                seen.action_encoding, seen.bins, frames=seen.frames, action_dim=history.action_dim, codes=seen.codes
            )
        self.network = build_network(history, config, self.encode.output_dim(history.action_dim, 1))
        self._frozen: FrozenNetwork | None = None

    @classmethod
    def following_actions(
        cls, video: "PixelDiffusion", history: PixelHistory, config: "PixelDiffusionConfig"
    ) -> "PixelDiffusion":
        """A model of video, whose actions have no dimension, with modules that learn to follow those of `history`.

        Network and noise are those of the model of video; loss, sampler, speed and modules are the configuration's.
        At birth it imagines what the model of video does, whatever the actions.

        Raises:
            InputError: the model of video knows actions, or sees other pictures.
        """
        assert config.modules is not None
        seen, wanted = video.history.config, history.config
        if video.history.action_dim or video.config.modules is not None:
            found = f"one that knows actions of {video.history.action_dim} dimensions"
            raise InputError(f"the model of video: found {found}, expected one that was trained without actions")
        if (seen.cameras, seen.image_size, seen.frames) != (wanted.cameras, wanted.image_size, wanted.frames):
            raise InputError(f"the model of video sees {seen}, expected what this run's models see: {wanted}")
        taken = ("backbone", "preset", "unet", "dit", "sigma_data", "offset_noise", "noise", "context_noise")
        model = cls(history, replace(config, **{name: getattr(video.config, name) for name in taken}))
        network = follow_actions(copy.deepcopy(video.network), wanted.frames, model.told, config.modules)
        model.network = network.to(history.device_anchor.device)
        return model

    @property
    def told(self) -> int:
        """Numbers that the network hears of the action at one frame, the flag of real frames among them."""
        return self.encode.output_dim(self.history.action_dim, 1) + 1

    @property
    def observer(self) -> PixelHistory:
        """The history, which keeps the states."""
        return self.history

    @property
    def normaliser(self) -> Normaliser:
        """There is none: raises InputError."""
        raise InputError("a world model of pictures has no state vector to be judged by; compare its pictures")

    def fit(self, dataset: Dataset) -> "PixelDiffusion":
        """What the encoding wants to know of the actions; pictures need no statistics. Raises what `check` does."""
        self.check(dataset).encode.fit(dataset.actions.to(self.history.device_anchor.device))
        return self

    def check(self, dataset: Dataset) -> "PixelDiffusion":
        """Raises InputError where the data set lacks the pictures or the actions that the model is made for."""
        self.history.pictures({key: values[:1] for key, values in dataset.observations.items()})
        if dataset.action_dim != self.history.action_dim:
            expected = f"{self.history.action_dim} as the world model has"
            raise InputError(f"the dataset, field 'action': found {dataset.action_dim} values, expected {expected}")
        return self

    def adapted(self, action_dim: int, adapter: AdapterConfig) -> "PixelDiffusion":
        """The same network for other actions, which a new adapter turns into those that it knows.

        Raises:
            InputError: its actions are adapted already, or not encoded one by one as they are (`linear`).
        """
        known, how = self.history.action_dim, self.history.config.action_encoding
        if isinstance(self.encode, ActionAdapter) or how != "linear":
            found = "a world model with an adapter" if isinstance(self.encode, ActionAdapter) else f"'{how}' actions"
            raise InputError(f"an adapter of actions: found {found}, expected one of latent actions, encoded 'linear'")
        world = PixelDiffusion(PixelHistory(action_dim, self.history.config), self.config, adapter, known)
        world.network.load_state_dict(self.network.state_dict())
        return world.to(self.history.device_anchor.device)

    # -- imagination ---------------------------------------------------------------------------------------------------

    def imagine(
        self, state: PixelHistoryState, action: Float[Tensor, "B A"], generator: torch.Generator | None = None
    ) -> PixelHistoryState:
        """Sample the next frame with the configured number of denoising steps.

        Past frames and actions are embedded once, and nothing waits for the device.
        """
        config, network = self.config, self.frozen()
        c_context = action.new_full((1,), config.context_noise.low).log() / 4
        pieces = network.embed(self.context(state.frames), self.encoded_actions(state, action), c_context)

        def denoise(x: Tensor, sigma: float) -> Tensor:
            # Numbers of the host: the level is the same for all rows.
            c_skip, c_out, c_in, c_noise = (float(c) for c in preconditioning(torch.tensor(sigma), config.sigma_data))
            return c_skip * x + c_out * network(c_in * x, x.new_full((1,), c_noise), pieces)

        shape = (len(action), *state.frames.shape[2:])
        clean = sample(denoise, shape, config.sampler, generator, action.device, config.offset_noise)
        return push(state, action, to_levels(clean))

    def frozen(self) -> FrozenNetwork:
        """The network as imagination calls it; made anew when a weight has changed."""
        if self._frozen is None or self._frozen.fingerprint != fingerprint(self.network):
            self._frozen = FrozenNetwork(self.network, self.config.speed)
        return self._frozen

    def context(self, frames: Tensor) -> Float[Tensor, "B HC S S"]:
        """Past frames as the network wants them: stacked on the channels, of about unit variance."""
        return signed(frames).flatten(1, 2) / self.config.sigma_data

    def encoded_actions(self, state: PixelHistoryState, action: Float[Tensor, "B A"]) -> Float[Tensor, "B H E"]:
        """The H encoded actions, zero where the frame is not real, each with a flag that says whether it is."""
        actions = torch.cat([state.action[:, :-1], action.unsqueeze(1)], dim=1)
        valid = state.valid.to(action.dtype).unsqueeze(-1)
        return torch.cat([self.encode.rows(actions, state.valid), valid], dim=-1)

    # -- learning ------------------------------------------------------------------------------------------------------

    def loss(self, batch: WindowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of F_θ over real frames, averaged over the predicted frames of each window (World4RL, Eq. 7).

        Raises InputError where the windows have fewer than `rollout_steps` following frames, or unusable pictures.
        """
        config, h = self.config, self.history.config.frames
        future = self.history.pictures(batch.observation)[:, h:]
        if future.shape[1] < config.rollout_steps:
            found = f"windows with {future.shape[1]} following frames"
            raise InputError(f"pixel diffusion: found {found}, expected rollout_steps = {config.rollout_steps} or more")
        state = self.history.window_state(batch)
        losses: list[Tensor] = []
        error = torch.zeros(())
        for step in range(config.rollout_steps):
            action, target = batch.action[:, h - 1 + step], signed(future[:, step])
            real = batch.valid[:, h + step].to(target.dtype)
            sigma = config.noise.draw(len(target), target.device).view(-1, 1, 1, 1)
            network = functools.partial(self._predict, state=state, action=action)
            wrong, clean = denoising_error(network, target, sigma, self._noise(target), config.sigma_data)
            squared = wrong.square()
            if config.motion_weight:
                squared = squared * motion_weights(signed(state.frames[:, -1]), target, config.motion_weight)
            losses.append((squared.mean((1, 2, 3)) * real).sum() / real.sum().clamp(min=1))
            with torch.no_grad():
                error = ((clean - target).square().mean((1, 2, 3)) * real).sum() / real.sum().clamp(min=1)
                state = push(state, action, to_levels(clean))
        loss = torch.stack(losses).mean()
        return loss, {"loss_first": losses[0].detach(), "loss_last": losses[-1].detach(), "denoised_mse": error}

    def _predict(self, x: Tensor, c_noise: Tensor, state: PixelHistoryState, action: Tensor) -> Tensor:
        """F_θ in training: past frames are disturbed, and the network is told by how much."""
        levels = self.config.context_noise
        context, level = self.context(state.frames), x.new_full((1,), levels.low)
        if self.config.disturb_context:
            # A model that only ever sees true pasts drifts on its own predictions; a little noise teaches it to return.
            level = levels.draw(len(x), x.device)
            context = context + level.view(-1, 1, 1, 1) / self.config.sigma_data * self._noise(context)
        speed = self.config.speed
        # The weights stay contiguous: optimizers' fused kernels and checkpoints count on it. Activations follow these.
        context, x = (frames.contiguous(memory_format=speed.memory_format) for frames in (context, x))
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=speed.dtype == torch.bfloat16):
            embedding = self.network.embed(context, self.encoded_actions(state, action), level.log() / 4)
            return self.network(x, c_noise, embedding).float()

    def _noise(self, like: Tensor) -> Tensor:
        return offset_noise(tuple(like.shape), self.config.offset_noise, None, like.device)


def build_network(history: PixelHistory, config: PixelDiffusionConfig, action_size: int) -> UNet | DiT:
    """The configured backbone for a history's pictures; `action_size` numbers encode an action."""
    frames, channels, told = history.config.frames, history.channels, action_size + 1
    sizes = (channels, frames * channels, frames, told if config.modules is None else 1)
    if config.backbone == "unet":
        network = UNet(*sizes, config.unet if config.preset == "custom" else UNET_PRESETS[config.preset])
    else:
        size = history.config.image_size
        network = DiT(*sizes, size, config.dit if config.preset == "custom" else DIT_PRESETS[config.preset])
    return network if config.modules is None else follow_actions(network, frames, told, config.modules)


def motion_weights(
    before: Float[Tensor, "B C S S"], after: Float[Tensor, "B C S S"], strength: float
) -> Float[Tensor, "B C S S"]:
    """What each number of the following frame counts in the loss: N softmax(strength · |after - before|), mean one.

    The motion-reinforced loss of DWS (arXiv 2502.07825); with c = N, a clip that stands still has its usual loss.
    """
    change = (after - before).abs().flatten(1)
    return (torch.softmax(strength * change, dim=1) * change.shape[1]).view_as(after)
