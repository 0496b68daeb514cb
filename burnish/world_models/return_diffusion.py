"""DAWM's world model: diffusion of state and reward trajectories, given state, action and return (arXiv 2509.19538)."""

from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, Normaliser, WindowBatch
from burnish.errors import InputError
from burnish.networks import TrajectoryNetwork, TrajectoryNetworkConfig, denoising_error, preconditioning
from burnish.world_models.base import State
from burnish.world_models.history import STATE_KEY, fit_normaliser
from burnish.world_models.return_windows import ReturnWindows, discounted, ends, window_return
from burnish.world_models.sampler import SamplerConfig, sample

_NEXT_TO_NOTHING = 1e-5  # of a change, in standard deviations of the states: rounding, not motion


@dataclass(frozen=True)
class ReturnDiffusionConfig:
    """Length, network, noise and samplers; none of the published ones is known."""

    horizon: int = within(8, 1)
    """T, the transitions of a trajectory."""
    gamma: float = within(0.99, 0, 1)
    """Discount of one step in the return that is asked for."""
    network: TrajectoryNetworkConfig = TrajectoryNetworkConfig()
    noise_mean: float = -0.5
    """Training noise: ln σ ~ N(noise_mean, noise_std²). EDM's (arXiv 2206.00364, Table 1), for data of variance 1."""
    noise_std: float = within(1.2, 0, open_low=True)
    unasked: float = within(0.25, 0, 1, open_high=True)
    """Share of the training rows whose return is not told, so that the model also knows what usually happens."""
    guidance: float = within(1.0, 0)
    """Classifier-free guidance towards the return; 1: the conditional model as it is, at one network call a step."""
    sampler: SamplerConfig = SamplerConfig(steps=20, sigma_max=10.0)
    """Of whole trajectories; with few steps they move less than real ones, and so do the actions that explain them."""
    stepwise: SamplerConfig = SamplerConfig(steps=3, sigma_max=5.0)
    """Where the model is used as a world model of single steps, for the gate and its like."""
    slack: float = within(0.1, 0)
    """How far generated states may leave the data's range, as a share of it."""

    def __post_init__(self) -> None:
        halvings = 2 ** (len(self.network.unet.down_dims) - 1)
        if self.network.kind == "unet" and self.horizon % halvings:
            raise InputError(
                f"world_model.horizon: found {self.horizon}, expected a multiple of {halvings} (the U-Net)"
            )


@dataclass(frozen=True)
class StepState(State):
    """The newest observation, normalised, and whether the episode is over."""

    observation: Float[Tensor, "B D"]
    over: Bool[Tensor, " B"]


@dataclass(frozen=True)
class Trajectory:
    """What follows B states and actions over T steps; `observation` (B, T + 1, D) is in the data's units and begins
    with the given states, `reward` (B, T) was earned on arriving, `ended` (B, T) says that the episode is over there.
    """

    observation: Float[Tensor, "B frames D"]
    reward: Float[Tensor, "B T"]
    ended: Bool[Tensor, "B T"]


class ReturnDiffusion(Component):
    """p(s_{t+1:t+T}, r_{t:t+T-1}, end | s_t, a_t, R), by EDM; what is denoised are changes against s_t, standardised.

    A step is as exact as a trajectory is long that way: changes over one step and over T have scales of their own.
    The return R is Σ_k γ^k r_{t+k} over the window. Where it is not told, the first step is a world model of single
    steps (`imagine`): that is how held-out worlds judge policies. Features are the normalised observation.
    """

    action_steps = 1
    change_mean: Tensor
    change_std: Tensor
    reward_mean: Tensor
    reward_std: Tensor
    end_mean: Tensor
    end_std: Tensor
    return_mean: Tensor
    return_std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, observation_dim: int, action_dim: int, config: ReturnDiffusionConfig) -> None:
        super().__init__()
        self.config, self.action_dim = config, action_dim
        self.observation_dim = self.feature_dim = observation_dim
        self.normaliser = Normaliser(observation_dim)
        self.network = TrajectoryNetwork(
            config.horizon, observation_dim + 2, observation_dim + action_dim + 2, config.network
        )
        for name, value in (("mean", 0.0), ("std", 1.0)):
            self.register_buffer(f"change_{name}", torch.full((config.horizon, observation_dim), value))
            for what in ("reward", "end", "return"):
                self.register_buffer(f"{what}_{name}", torch.tensor(value))
        for name, bound in (("low", -torch.inf), ("high", torch.inf)):
            self.register_buffer(name, torch.full((observation_dim,), bound))

    def fit(self, dataset: Dataset) -> Self:
        """Statistics of states, changes, rewards and returns; once.

        Raises:
            InputError: as `ReturnWindows`.
        """
        dataset = dataset.thinned()
        fit_normaliser(self.normaliser, dataset)
        windows = ReturnWindows(dataset, self.config.horizon)
        batch = windows.gather(windows.frames)
        frames, reward = self.normaliser.normalise(batch.observation[STATE_KEY]), batch.reward
        assert reward is not None
        change = frames[:, 1:] - frames[:, :1]
        self.change_mean.copy_(change.mean(0))
        deviation = change.std(0, correction=0)
        self.change_std.copy_(torch.where(deviation > _NEXT_TO_NOTHING, deviation, 0.0))
        self.change_mean.mul_(self.change_std > 0)
        told = {"reward": reward[:, 1:], "end": ends(batch).float(), "return": window_return(batch, self.config.gamma)}
        for name, values in told.items():
            getattr(self, f"{name}_mean").copy_(values.mean())
            getattr(self, f"{name}_std").copy_(values.std(correction=0))
        rows = self.normaliser.normalise(dataset.observations[STATE_KEY])
        low, high = rows.amin(0), rows.amax(0)
        self.low.copy_(low - self.config.slack * (high - low))
        self.high.copy_(high + self.config.slack * (high - low))
        return self

    # -- learning ------------------------------------------------------------------------------------------------------

    def loss(self, batch: WindowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of F_θ over all steps and channels; a share of the rows is not told its return."""
        assert batch.reward is not None
        frames = self.normaliser.normalise(batch.observation[STATE_KEY])
        target = self._encoded(frames, batch.reward[:, 1:], ends(batch))
        told = torch.rand(len(frames), device=frames.device) >= self.config.unasked
        asked = window_return(batch, self.config.gamma)
        condition = self.network.condition(self._condition(frames[:, 0], batch.action[:, 0], asked, told))
        sigma = (self.config.noise_mean + self.config.noise_std * torch.randn_like(target[:, :1, :1])).exp()
        network = partial(self.network, condition=condition)
        wrong, clean = denoising_error(network, target, sigma, torch.randn_like(target), 1.0)
        loss = wrong.square().mean()
        error = (clean - target).square().detach()
        parts = {"denoised/first_state": error[:, 0, :-2].mean(), "denoised/last_state": error[:, -1, :-2].mean()}
        return loss, {**parts, "denoised/reward": error[..., -2].mean(), "denoised/end": error[..., -1].mean()}

    # -- whole trajectories --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def generate(
        self,
        observation: Float[Tensor, "B D"],
        action: Float[Tensor, "B A"],
        asked: Float[Tensor, " B"] | None,
        generator: torch.Generator | None = None,
    ) -> Trajectory:
        """Trajectories from states in the data's units and actions in [-1, 1].

        Args:
            observation: where they begin.
            action: the first action.
            asked: the return Σ_k γ^k r_{t+k} that they are to have, in the data's units; None: whatever is usual.
            generator: of the noise.
        """
        frame = self.normaliser.normalise(observation)
        change, reward, ended = self._sample(frame, action, asked, self.config.sampler, generator)
        following = torch.minimum(torch.maximum(frame[:, None] + change, self.low), self.high)
        frames = torch.cat([observation[:, None], self.normaliser.denormalise(following)], 1)
        return Trajectory(frames, reward, ended)

    def returns(self, trajectory: Trajectory) -> Float[Tensor, " B"]:
        """What trajectories earned, discounted as the model counts it; nothing after an end."""
        before = trajectory.ended.long().cumsum(1) - trajectory.ended.long()
        return discounted(trajectory.reward * (before == 0), self.config.gamma)

    # -- the contract of a world model ---------------------------------------------------------------------------------

    def initial(self, batch_size: int) -> StepState:
        """States of episodes that have not begun."""
        frame = self.normaliser.mean.new_zeros(batch_size, self.observation_dim)
        return StepState(frame, torch.zeros(batch_size, dtype=torch.bool, device=frame.device))

    def observe(self, state: StepState, action: Tensor | None, observation: dict[str, Tensor]) -> StepState:
        """Take in a real observation, in the data's units."""
        frame = self.normaliser.normalise(observation[STATE_KEY])
        return StepState(frame, torch.zeros(len(frame), dtype=torch.bool, device=frame.device))

    def recorded(self, dataset: Dataset) -> StepState:
        """The state at every frame, in frame order."""
        return self.observe(self.initial(0), None, {STATE_KEY: dataset.observations[STATE_KEY]})

    def imagine(
        self, state: StepState, action: Float[Tensor, "B A"], generator: torch.Generator | None = None
    ) -> StepState:
        """The first step of a trajectory whose return is not told."""
        change, _, ended = self._sample(state.observation, action, None, self.config.stepwise, generator)
        frame = torch.minimum(torch.maximum(state.observation + change[:, 0], self.low), self.high)
        return StepState(frame, ended[:, 0])

    def features(self, state: StepState) -> Float[Tensor, "B D"]:
        """The newest observation, normalised."""
        return state.observation

    def decode(self, state: StepState) -> dict[str, Tensor]:
        """The newest observation in the data's units."""
        return {STATE_KEY: self.normaliser.denormalise(state.observation)}

    def ended(self, state: StepState) -> Bool[Tensor, " B"]:
        """Where the episode is over by itself."""
        return state.over

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _condition(
        self, frame: Tensor, action: Tensor, asked: Tensor, told: Bool[Tensor, " B"]
    ) -> Float[Tensor, "B condition"]:
        level = (asked - self.return_mean) / self.return_std.clamp(min=torch.finfo(torch.float32).tiny)
        told = told.to(frame.dtype)
        level = torch.where(self.return_std > 0, level, torch.zeros_like(level)) * told
        return torch.cat([frame, action, level[:, None], told[:, None]], 1)

    def _encoded(self, frames: Float[Tensor, "B frames D"], reward: Tensor, ended: Tensor) -> Float[Tensor, "B T C"]:
        """Standardised changes, rewards and ends (so that rare ones count); what never varies is 0."""
        change = _standard(frames[:, 1:] - frames[:, :1], self.change_mean, self.change_std)
        reward = _standard(reward, self.reward_mean, self.reward_std)
        ended = _standard(ended.to(change.dtype), self.end_mean, self.end_std)
        return torch.cat([change, reward[..., None], ended[..., None]], -1)

    def _sample(
        self,
        frame: Float[Tensor, "B D"],
        action: Float[Tensor, "B A"],
        asked: Tensor | None,
        sampler: SamplerConfig,
        generator: torch.Generator | None,
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B T"], Bool[Tensor, "B T"]]:
        """Changes in normalised units, rewards in the data's, and ends, which last."""
        no, weight = frame.new_zeros(len(frame)), self.config.guidance if asked is not None else 0.0
        free = self.network.condition(self._condition(frame, action, no, no.bool()))
        aimed = free if asked is None else self.network.condition(self._condition(frame, action, asked, ~no.bool()))

        def denoise(x: Tensor, sigma: float) -> Tensor:
            level = torch.full((1, 1, 1), sigma, device=x.device)
            if weight in (0.0, 1.0):
                return self._denoise(x, level, aimed if weight else free)
            usual = self._denoise(x, level, free)
            return usual + weight * (self._denoise(x, level, aimed) - usual)

        shape = (len(frame), self.config.horizon, self.observation_dim + 2)
        x = sample(denoise, shape, sampler, generator, frame.device)
        change = self.change_mean + self.change_std * x[..., :-2]
        ended = (self.end_mean + self.end_std * x[..., -1] > 0.5).long().cummax(1).values.bool()
        return change, self.reward_mean + self.reward_std * x[..., -2], ended

    def _denoise(self, x: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        c_skip, c_out, c_in, c_noise = preconditioning(sigma, 1.0)
        return c_skip * x + c_out * self.network(c_in * x, c_noise.flatten(), condition)


def _standard(values: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return torch.where(std > 0, (values - mean) / torch.where(std > 0, std, 1.0), 0.0)
