"""PolyGRAD's world model (arXiv 2312.08533): states, rewards and ends of a whole window, denoised in one pass."""

import functools
from dataclasses import dataclass
from typing import Literal, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, Normaliser, RowSampler
from burnish.errors import InputError
from burnish.networks import CausalResidualMLP, ConditionalResidualMLP, denoising_error, preconditioning
from burnish.world_models.base import State
from burnish.world_models.history import STATE_KEY, fit_normaliser
from burnish.world_models.sampler import SamplerConfig, sample

TOLD = 2
"""What an entry of a trajectory has beside the observation: the reward, and whether the episode has ended (±1)."""


@dataclass(frozen=True)
class TrajectoryConfig:
    """Size and learning of the denoiser; the published one has 6 blocks of 1024 and windows of 10 to 200 steps."""

    horizon: int = within(10, 1)
    """H, the transitions that are denoised together."""
    network: Literal["mlp", "causal"] = "causal"
    """mlp: all entries at once, as published. causal: no entry sees what is done after it, and all steps share their
    weights; a trajectory then cannot read in later actions what state the policy that was recorded must have seen."""
    width: int = within(96, 1)
    depth: int = within(4, 1)
    noise_mean: float = 0.5
    noise_std: float = within(1.2, 0, open_low=True)
    """Training noise: ln σ ~ N(noise_mean, noise_std²), in standard deviations of the data."""
    hidden_share: float = within(0.3, 0, 1)
    """Share of training windows in which the actions after some first ones are hidden, so that the same denoiser also
    imagines step by step, before anybody knows what will be done next. A causal network needs none and has none."""
    slack: float = within(0.1, 0)
    """How far imagined observations and rewards may leave the data's range, as a share of it."""
    sampler: SamplerConfig = SamplerConfig(steps=2)
    """Of imagination step by step; whole trajectories have the guidance's own levels."""

    def __post_init__(self) -> None:
        if self.network == "causal" and 2**self.depth < self.horizon:
            raise InputError(
                f"world_model.depth: found {self.depth}, with which a causal network sees {2**self.depth} steps; "
                f"expected world_model.horizon, {self.horizon}, to be no longer"
            )


@dataclass(frozen=True)
class TrajectoryState(State):
    """The newest frame, and what was said on arriving there."""

    observation: Float[Tensor, "B D"]
    """Normalised."""
    reward: Float[Tensor, " B"]
    """In the data's units; 0 where an episode begins or nobody said."""
    over: Float[Tensor, " B"]
    """Above 0: the episode has ended here by itself."""


@dataclass(frozen=True)
class TrajectoryBatch:
    """B windows: a first frame, H actions, and the H frames that they led to.

    Attributes:
        first: observations of first frames, in the data's units.
        observation: of the frames that follow; after an end the last one is held.
        action: 0 after an end.
        reward: received on arriving at the frames that follow; 0 after an end.
        over: whether the episode had ended by then; it stays over.
        known: actions that are not hidden.
    """

    first: Float[Tensor, "B D"]
    observation: Float[Tensor, "B H D"]
    action: Float[Tensor, "B H A"]
    reward: Float[Tensor, "B H"]
    over: Bool[Tensor, "B H"]
    known: Bool[Tensor, "B H"]


class TrajectoryWindows(RowSampler[tuple[Tensor, Tensor]]):
    """Windows of H transitions; those that reach beyond an episode which ended by itself stay over.

    An episode that was merely cut off says nothing about what would have followed, so no window passes its end.
    """

    def __init__(self, dataset: Dataset, config: TrajectoryConfig) -> None:
        """Raises InputError where there are no rewards, they do not vary, or no episode has a window."""
        if dataset.reward is None:
            raise InputError(
                "the data set: found no column next.reward, expected one: rewards are part of what the world model "
                "denoises (burnish data label adds some, or write them down with --config.reward.kind terms)"
            )
        after = _later(dataset)
        if not bool((dataset.reward[after] != dataset.reward[after][:1]).any()):
            raise InputError("the data set: next.reward is the same everywhere, expected rewards that vary")
        self.dataset, self.config = dataset, config
        last = dataset.starts + dataset.lengths - 1
        never = torch.zeros_like(after)
        self.ended = never if dataset.terminated is None else dataset.terminated
        # First frames: all with a successor where the episode ends by itself, else those with H of them.
        latest = torch.where(self.ended[last], last - 1, last - config.horizon)
        frames = torch.arange(dataset.num_frames, device=dataset.device)
        self._last = last[dataset.episode_of_frame]
        self.first_frames = frames[frames <= latest[dataset.episode_of_frame]]
        if not len(self.first_frames):
            raise InputError(
                f"world_model.horizon: found {config.horizon} steps, but no episode of the data has more than "
                f"{int(dataset.lengths.max())} frames; expected less than that"
            )

    def draw(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """First frames (B,), uniformly, with replacement, and how many actions are known after each (B,)."""
        shape = {"generator": generator, "device": generator.device}
        drawn = torch.randint(len(self.first_frames), (batch_size,), **shape).to(self.dataset.device)
        count = torch.randint(1, self.config.horizon + 1, (batch_size,), **shape)
        share = self.config.hidden_share if self.config.network == "mlp" else 0.0
        hidden = torch.rand(batch_size, **shape) < share
        count = torch.where(hidden, count, self.config.horizon).to(self.dataset.device)
        return self.first_frames[drawn], count

    def gather(self, drawn: tuple[Tensor, Tensor]) -> TrajectoryBatch:
        """The windows from first frames (B,), with so many of their first actions known (B,)."""
        first, count = drawn
        data, offsets = self.dataset, torch.arange(self.config.horizon + 1, device=first.device)
        wanted = first[:, None] + offsets
        frames = torch.minimum(wanted, self._last[first][:, None])
        after, alive = frames[:, 1:], (wanted == frames)[:, 1:]
        observation = data.observations[STATE_KEY]
        assert data.reward is not None
        return TrajectoryBatch(
            first=observation[first],
            observation=observation[after],
            action=data.actions[frames[:, :-1]] * alive[..., None],
            reward=data.reward[after] * alive,
            over=self.ended[after],
            known=offsets[:-1] < count[:, None],
        )


class TrajectoryDenoiser(Component):
    """D_θ(x; σ | s_0, a_0 … a_{H-1}) of the entries x_k = (s_k, r_k, over_k), k = 1 … H.

    The first state is in-painted: at every level of noise the network reads it as it is, and never predicts it.
    Preconditioning and loss are EDM's (arXiv 2206.00364), around a residual network. Actions are never noised in
    training (the paper's configuration), and may be hidden from some step on.

    It is a world model, too: `imagine` denoises a window of which the first action alone is known, with few levels, and
    keeps its first transition (a causal network denoises nothing else). Features are the normalised observation.
    """

    action_steps = 1
    low: Tensor
    high: Tensor
    ends: Tensor

    def __init__(self, observation_dim: int, action_dim: int, config: TrajectoryConfig) -> None:
        super().__init__()
        self.config = config
        self.observation_dim = self.feature_dim = observation_dim
        self.action_dim, self.entry = action_dim, observation_dim + TOLD
        self.normaliser = Normaliser(observation_dim)
        self.reward_normaliser, self.action_normaliser = Normaliser(1), Normaliser(action_dim)
        context, size = observation_dim + config.horizon * (action_dim + 1), (config.width, config.depth)
        if config.network == "causal":
            self.network = CausalResidualMLP(self.entry, observation_dim, action_dim + 1, config.horizon, *size)
        else:
            self.network = ConditionalResidualMLP(config.horizon * self.entry, context, *size)
        self.register_buffer("low", torch.full((self.entry,), -torch.inf))
        self.register_buffer("high", torch.full((self.entry,), torch.inf))
        self.register_buffer("ends", torch.zeros((), dtype=torch.bool))

    def fit(self, dataset: Dataset) -> Self:
        """Compute the normalisation statistics, the range of imagination, and whether any episode ends by itself."""
        assert dataset.reward is not None
        fit_normaliser(self.normaliser, dataset)
        self.reward_normaliser.fit(dataset.reward[_later(dataset)][:, None])
        self.action_normaliser.fit(dataset.actions)
        return self.cover(dataset)

    def cover(self, dataset: Dataset) -> Self:
        """The range of imagination, and whether any episode ends by itself, with the normalisation as it is: what is
        to be known anew of data that grew."""
        assert dataset.reward is not None
        later = _later(dataset)
        reward = self.reward_normaliser.normalise(dataset.reward[later][:, None])
        rows = self.normaliser.normalise(dataset.observations[STATE_KEY])
        low, high = (torch.cat([each(rows, 0), each(reward, 0)]) for each in (torch.amin, torch.amax))
        self.low[:-1] = low - self.config.slack * (high - low)
        self.high[:-1] = high + self.config.slack * (high - low)
        self.ends.fill_(dataset.terminated is not None and bool(dataset.terminated.any()))
        return self

    # -- denoising -----------------------------------------------------------------------------------------------------

    def context(
        self, first: Float[Tensor, "B D"], action: Float[Tensor, "B H A"], known: Bool[Tensor, "B H"]
    ) -> Float[Tensor, "B width"]:
        """The first layer's share of a normalised first state and of actions in [-1, 1]; hidden ones count for none."""
        seen = torch.cat([self.action_normaliser.normalise(action), torch.ones_like(action[..., :1])], -1)
        return self.network.embed_context(torch.cat([first, (seen * known[..., None]).flatten(1)], -1))

    def denoise(
        self, x: Float[Tensor, "B H E"], sigma: float, context: Float[Tensor, "B width"]
    ) -> Float[Tensor, "B H E"]:
        """The expected clean entries."""
        flat, level = x.flatten(1), torch.full((1, 1), sigma, device=x.device)
        c_skip, c_out, c_in, c_noise = preconditioning(level, 1.0)
        return (c_skip * flat + c_out * self.network(c_in * flat, c_noise.squeeze(-1), context)).view_as(x)

    def loss(self, batch: TrajectoryBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of F_θ, over all entries: those after an end are inputs of the next level, too."""
        over = 2.0 * batch.over[..., None] - 1
        reward = self.reward_normaliser.normalise(batch.reward[..., None])
        target = torch.cat([self.normaliser.normalise(batch.observation), reward, over], -1)
        context = self.context(self.normaliser.normalise(batch.first), batch.action, batch.known)
        flat = target.flatten(1)
        sigma = (self.config.noise_mean + self.config.noise_std * torch.randn_like(flat[:, :1])).exp()
        network = functools.partial(self.network, context=context)
        wrong, clean = denoising_error(network, flat, sigma, torch.randn_like(flat), 1.0)
        return wrong.square().mean(), {"denoised_mse": (clean - flat).square().mean()}

    def bounded(self, entries: Float[Tensor, "*batch E"]) -> Float[Tensor, "*batch E"]:
        """Within the data's range and its slack."""
        return torch.minimum(torch.maximum(entries, self.low), self.high)

    def state(self, entries: Float[Tensor, "B E"]) -> TrajectoryState:
        """What one entry of each trajectory says."""
        entries = self.bounded(entries)
        reward = self.reward_normaliser.denormalise(entries[:, -TOLD : -TOLD + 1]).squeeze(-1)
        return TrajectoryState(entries[:, :-TOLD], reward, entries[:, -1])

    # -- the contract of a world model ---------------------------------------------------------------------------------

    def initial(self, batch_size: int) -> TrajectoryState:
        """States of episodes that have not begun."""
        nothing = self.normaliser.mean.new_zeros(batch_size)
        return TrajectoryState(nothing.new_zeros(batch_size, self.observation_dim), nothing, nothing - 1)

    def observe(self, state: TrajectoryState, action: Tensor | None, observation: dict[str, Tensor]) -> TrajectoryState:
        """Take in a real observation (in the data's units): it is all that is remembered."""
        frame = self.normaliser.normalise(observation[STATE_KEY])
        return TrajectoryState(frame, torch.zeros_like(state.reward), -torch.ones_like(state.over))

    def recorded(self, dataset: Dataset) -> TrajectoryState:
        """The state at every frame, in frame order."""
        return self.observe(self.initial(dataset.num_frames), None, dataset.observations)

    def imagine(
        self, state: TrajectoryState, action: Float[Tensor, "B A"], generator: torch.Generator | None = None
    ) -> TrajectoryState:
        """The first transition of a window whose later actions are hidden, or of a window that has no other."""
        h = 1 if self.config.network == "causal" else self.config.horizon
        actions = torch.nn.functional.pad(action[:, None], (0, 0, 0, h - 1))
        known = torch.zeros(len(action), h, dtype=torch.bool, device=action.device)
        known[:, 0] = True
        context = self.context(state.observation, actions, known)
        shape = (len(action), h, self.entry)
        denoise = functools.partial(self.denoise, context=context)
        return self.state(sample(denoise, shape, self.config.sampler, generator, action.device)[:, 0])

    def features(self, state: TrajectoryState) -> Float[Tensor, "B D"]:
        """The newest observation, normalised."""
        return state.observation

    def decode(self, state: TrajectoryState) -> dict[str, Tensor]:
        """The newest observation in the data's units."""
        return {STATE_KEY: self.normaliser.denormalise(state.observation)}

    def ended(self, state: TrajectoryState) -> Bool[Tensor, " B"]:
        """Where the episode is over by itself; never, where no recorded one was."""
        return (state.over > 0) & self.ends

    def earned(self, state: TrajectoryState) -> Float[Tensor, " B"]:
        """The reward that was denoised with the state, in the data's units."""
        return state.reward


def _later(dataset: Dataset) -> Bool[Tensor, " F"]:
    """All frames but the first of each episode, which has no reward."""
    later = torch.ones(dataset.num_frames, dtype=torch.bool, device=dataset.device)
    later[dataset.starts] = False
    return later
