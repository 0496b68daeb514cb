"""A state that is simply the last H observations and actions, and the transition space that diffusion works in."""

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from burnish.components import Component
from burnish.config import within
from burnish.data import STATE as STATE_KEY
from burnish.data import Dataset, Normaliser, WindowBatch, Windows
from burnish.networks import BodyDifferences, action_encoding
from burnish.networks.action_encoding import ActionEncodingName
from burnish.world_models.base import State
from burnish.world_models.inertia import Inertia

STD_FLOOR = 1.0
"""A dimension that hardly moves in a few demonstrations may move a lot later; without a floor of its standard
deviation (here the median one) it would then drown the others."""
RANGE_FLOOR = 0.25
"""The same for other people's data, whose dimensions have units of their own: a share of the dimension's range."""
FAR = 5.0
"""Standard deviations beyond which networks see no difference."""
RANGE_SLACK = 0.005
"""How far imagined values may leave the data's range, as a share of it."""


@dataclass(frozen=True)
class HistoryState(State):
    """The last H frames, oldest first, in normalised units.

    `action[:, i]` was executed at frame i, so the newest slot is empty (zero) until the next step. An episode that
    has just begun holds its first frame H times; `valid` tells which frames are real.
    """

    observation: Float[Tensor, "B H D"]
    action: Float[Tensor, "B H A"]
    valid: Bool[Tensor, "B H"]


@dataclass(frozen=True)
class HistoryConfig:
    """How much of the past a model sees, and how actions enter."""

    frames: int = within(4, 1)
    """H, the number of past frames and actions (World4RL: 4)."""
    feature_frames: int = within(1, 1)
    """How many of the newest frames policies and classifiers read."""
    action_encoding: ActionEncodingName = "two_hot"
    bins: int = within(21, 2)
    """K of the two-hot or one-hot encoding (World4RL: 21); dct quantises in steps of 2 / (K - 1)."""
    codes: int = within(256, 2)
    """Size of the codebook of vq."""
    inertia: bool = True
    """Whether a linear regression on past changes and actions predicts first, and networks only what it leaves,
    compressed. For states with a meaning; learned latents do worse with it."""


class ObservationHistory(Component):
    """Observer half of a state world model: normalises observations and keeps the last H of them."""

    action_steps = 1
    device_anchor: Tensor

    def __init__(self, observation_dim: int, action_dim: int, config: HistoryConfig) -> None:
        super().__init__()
        self.observation_dim, self.action_dim, self.config = observation_dim, action_dim, config
        self.feature_dim = observation_dim * config.feature_frames
        self.normaliser = Normaliser(observation_dim)
        self.register_buffer("device_anchor", torch.zeros(()), persistent=False)

    def fit(self, dataset: Dataset) -> Self:
        """Compute the normalisation statistics, once."""
        fit_normaliser(self.normaliser, dataset)
        return self

    def initial(self, batch_size: int) -> HistoryState:
        """States of episodes that have not begun: no frame is valid."""
        h, device = self.config.frames, self.device_anchor.device
        return HistoryState(
            torch.zeros(batch_size, h, self.observation_dim, device=device),
            torch.zeros(batch_size, h, self.action_dim, device=device),
            torch.zeros(batch_size, h, dtype=torch.bool, device=device),
        )

    def observe(self, state: HistoryState, action: Tensor | None, observation: dict[str, Tensor]) -> HistoryState:
        """Push a real observation (B, D, in the data's units); episodes that begin are filled with it."""
        frame = self.normaliser.normalise(observation[STATE_KEY])
        if action is None:
            action = torch.zeros(len(frame), self.action_dim, device=frame.device)
        begun = state.valid[:, -1]
        pushed = push(state, action, frame)
        first = HistoryState(
            frame.unsqueeze(1).expand(-1, self.config.frames, -1), torch.zeros_like(state.action), pushed.valid
        )
        return pushed.where(~begun, first)

    def features(self, state: HistoryState) -> Float[Tensor, "B F"]:
        """The newest `feature_frames` frames, normalised and flattened."""
        return state.observation[:, -self.config.feature_frames :].flatten(1)

    @property
    def shown_frames(self) -> int:
        """Frames that a row of features shows."""
        return self.config.feature_frames

    def shown(self, features: Float[Tensor, "B F"]) -> dict[str, Float[Tensor, "B frames D"]]:
        """The frames that features are, oldest first, in the data's units."""
        return {STATE_KEY: self.normaliser.denormalise(features.unflatten(-1, (self.shown_frames, -1)))}

    def decode(self, state: HistoryState) -> dict[str, Tensor]:
        """The newest frame in the data's units."""
        return {STATE_KEY: self.normaliser.denormalise(state.observation[:, -1])}

    def recorded(self, dataset: Dataset) -> HistoryState:
        """The state at every frame of a dataset, in frame order."""
        windows = Windows(dataset, history=self.config.frames, horizon=0)
        return self.window_state(windows.gather(windows.present_frames))

    def window_state(self, batch: WindowBatch) -> HistoryState:
        """The state at the present frame of each window."""
        h = self.config.frames
        action = batch.action[:, :h].clone()
        action[:, -1] = 0  # the present action is not yet executed
        return HistoryState(self.normaliser.normalise(batch.observation[STATE_KEY][:, :h]), action, batch.valid[:, :h])


def fit_normaliser(normaliser: Normaliser, dataset: Dataset) -> None:
    """Statistics of a data set's states, with a floor of the standard deviations.

    Simulators' states are in one kind of unit, and policies learn from few of their episodes. Other data are there as a
    whole from the start, and no unit may count.
    """
    floor, range_floor = (STD_FLOOR, 0.0) if dataset.info.simulator is not None else (0.0, RANGE_FLOOR)
    normaliser.fit(dataset.observations[STATE_KEY], floor, range_floor)


def push(state: HistoryState, action: Float[Tensor, "B A"], frame: Float[Tensor, "B D"]) -> HistoryState:
    """Drop the oldest frame, write `action` beside the newest one, and append `frame` (normalised)."""
    actions = torch.cat([state.action[:, 1:-1], action.unsqueeze(1), torch.zeros_like(action).unsqueeze(1)], dim=1)
    if state.action.shape[1] == 1:
        actions = torch.zeros_like(state.action)
    valid = torch.cat([state.valid[:, 1:], torch.ones_like(state.valid[:, :1])], dim=1)
    return HistoryState(torch.cat([state.observation[:, 1:], frame.unsqueeze(1)], dim=1), actions, valid)


class TransitionSpace(ObservationHistory):
    """What a transition looks like to a network: a context vector in, what linear inertia leaves unexplained out.

    Dimensions that never change within an episode (the goal) are *carried*: copied to the next frame, never predicted.
    The others change by what a linear regression on past changes and actions (`Inertia`) says, plus what the network
    predicts, in standard deviations of the regression's error over the data.

    `differences` names pairs of dimensions (i, j) whose difference x_i - x_j the networks see besides: whether a hand
    touches an object is a matter of a centimetre between two numbers that each range over a metre.
    """

    learned: Tensor
    delta_std: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        learned: tuple[int, ...],
        config: HistoryConfig,
        differences: tuple[tuple[int, int], ...] = (),
    ) -> None:
        super().__init__(observation_dim, action_dim, config)
        self.differences = differences
        self.bodies = BodyDifferences(differences)
        self.encode = action_encoding(
            config.action_encoding, config.bins, frames=config.frames, action_dim=action_dim, codes=config.codes
        )
        self.learned_dims = learned
        self.register_buffer("learned", torch.tensor(learned, dtype=torch.long))
        for name in ("low", "high"):
            self.register_buffer(name, torch.zeros(len(learned)))
        self.register_buffer("delta_std", torch.ones(len(learned)))
        self.whole = Normaliser(observation_dim)
        h = config.frames
        self.inertia = Inertia((h - 1) * len(learned) + h * action_dim, len(learned), config.inertia)
        self.context_dim = observation_dim + (h - 1) * len(learned) + self.encode.output_dim(action_dim, h) + h
        self.context_dim += 2 * len(differences)

    def fit(self, dataset: Dataset) -> Self:
        """Statistics of the changes and of the actions; imagined values stay in the data's range (plus 0.5 %).

        The normaliser is not fitted here: it is the policy's own, so that both read the same features.
        """
        self.whole.fit(dataset.observations[STATE_KEY])
        present = frames_with_next(dataset)
        frames = self.normaliser.normalise(dataset.observations[STATE_KEY])[:, self.learned]
        delta = frames[present + 1] - frames[present]
        self.delta_std.copy_(delta.std(0).clamp(min=1e-6))
        past = self._past(self.recorded(dataset).rows(present), dataset.actions[present])
        self.inertia.fit(past, delta / self.delta_std)
        low, high = frames.amin(0), frames.amax(0)
        self.bodies.fit(dataset.observations[STATE_KEY])
        self.encode.fit(dataset.actions)
        # Hardly any slack: where the data ends there may be a table, and nothing knows what it is like below.
        self.low.copy_(low - RANGE_SLACK * (high - low))
        self.high.copy_(high + RANGE_SLACK * (high - low))
        return self

    def context(self, state: HistoryState, action: Float[Tensor, "B A"]) -> Float[Tensor, "B context"]:
        """Newest frame, standardised changes between the H frames, encoded actions, and which frames are real."""
        actions = torch.cat([state.action[:, :-1], action.unsqueeze(1)], dim=1)
        valid = state.valid.to(action.dtype)
        newest = self.normaliser.denormalise(state.observation[:, -1])
        # Networks read the units of all the data, not of the policy's few demonstrations, and no jumps: from values far
        # outside the usual ones they would conclude anything.
        parts = [self.whole.normalise(newest).clamp(-FAR, FAR), self._changes(state).clamp(-FAR, FAR)]
        parts += [self.encode.window(actions, state.valid), valid]
        if self.differences:
            parts.append(self.bodies.magnified(newest))
        return torch.cat(parts, dim=1)

    def _changes(self, state: HistoryState) -> Float[Tensor, "B changes"]:
        frames = state.observation[:, :, self.learned]
        return ((frames[:, 1:] - frames[:, :-1]) / self.delta_std).flatten(1)

    def _past(self, state: HistoryState, action: Float[Tensor, "B A"]) -> Float[Tensor, "B past"]:
        """What inertia goes by: standardised changes, and the actions (zero before the episode began)."""
        before = state.action[:, :-1] * state.valid[:, :-1, None]
        return torch.cat([self._changes(state), before.flatten(1), action], dim=1)

    def scaled_differences(self, frame: Float[Tensor, "B D"]) -> Float[Tensor, "B pairs"]:
        """Position differences of a normalised frame, in units of their root mean square over the data."""
        return self.bodies(self.normaliser.denormalise(frame))

    def delta(
        self, state: HistoryState, action: Float[Tensor, "B A"], frame: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B d"]:
        """What inertia leaves unexplained of the change from `state` to `frame` (normalised), standardised."""
        change = (frame[:, self.learned] - state.observation[:, -1, self.learned]) / self.delta_std
        return self.inertia.rest(self._past(state, action), change)

    def advance(self, state: HistoryState, action: Tensor, delta: Float[Tensor, "B d"]) -> HistoryState:
        """The state after inertia and an unexplained, standardised `delta`; carried dimensions are copied."""
        frame = state.observation[:, -1].clone()
        change = self.inertia.change(self._past(state, action), delta)
        moved = frame[:, self.learned] + self.delta_std * change
        frame[:, self.learned] = torch.minimum(torch.maximum(moved, self.low), self.high)
        return push(state, action, frame)


def learned_dimensions(dataset: Dataset) -> tuple[int, ...]:
    """The observation dimensions that change within some episode, beyond rounding."""
    frames, present = dataset.observations[STATE_KEY], frames_with_next(dataset)
    change = (frames[present + 1] - frames[present]).abs().amax(0)
    scale = frames.abs().amax(0).clamp(min=1e-6)
    return tuple(torch.nonzero(change > 1e-5 * scale).flatten().tolist())


def frames_with_next(dataset: Dataset) -> Int[Tensor, " n"]:
    """Frames that another one of the same episode follows."""
    inside = torch.ones(len(dataset.actions), dtype=torch.bool, device=dataset.device)
    inside[dataset.starts + dataset.lengths - 1] = False
    return torch.nonzero(inside).flatten()
