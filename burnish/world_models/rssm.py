"""DiWA's world model: a recurrent state-space model with categorical latents (DreamerV2, arXiv 2010.02193)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, Normaliser, SequenceBatch, in_chunks
from burnish.errors import InputError
from burnish.networks import (
    MLP,
    BodyDifferences,
    LatentCell,
    RSSMCell,
    S5Cell,
    S5Config,
    categorical_kl,
    sample_one_hot,
    swap,
)
from burnish.world_models.base import State
from burnish.world_models.history import STATE_KEY, fit_normaliser
from burnish.world_models.named import dimensions_named


@dataclass(frozen=True)
class RSSMState(State):
    """Deterministic and stochastic state; both zero before an episode begins.

    h is all that the cell remembers; others read the part of it that `LatentCell.read` gives.
    """

    h: Float[Tensor, "B M"]
    z: Float[Tensor, "B Z"]


@dataclass(frozen=True)
class RSSMConfig:
    """Sizes and loss weights; the defaults are the preset `small`."""

    cell: Literal["gru", "s5"] = "gru"
    """What carries the past on. s5: state spaces that read a training sequence at once (S5WM), with a posterior that
    sees the observation alone."""
    s5: S5Config = S5Config()
    """Of the cell s5."""
    deterministic: int = within(192, 1)
    groups: int = within(16, 1)
    classes: int = within(8, 2)
    hidden: int = within(192, 1)
    action_steps: int = within(1, 1)
    """Actions of one transition; T_a makes it a model of whole action chunks (as DiWA's authors later did)."""
    ignored: tuple[str, ...] = ()
    """Beginnings of the names of state dimensions that are neither seen nor predicted. What differs from episode to
    episode and has no part in the task would take up most of the latent state."""
    privileged: tuple[str, ...] = ()
    """Beginnings of the names of state dimensions that training predicts and nothing sees: what a simulator or a lab
    knows and the robot's sensors do not (S5WM). The features have to tell them, so the past has to be remembered."""
    privileged_weight: float = within(30.0, 0)
    """`state_weight` of the privileged dimensions."""
    kl_weight: float = within(0.3, 0)
    kl_balance: float = within(0.8, 0, 1)
    """Share of the KL term that trains the prior; the rest trains the posterior (DreamerV2, Algorithm 2)."""
    state_weight: float = within(300.0, 0)
    """Weight of ½‖x̂ - x‖² on the normalised state. A normalised state is decided by centimetres, hundredths of a
    standard deviation; with weight 1 the KL term would find them too dear to remember."""
    reset_probability: float = within(0.01, 0, 1)
    """Chance at every frame to forget the past in training, so that short histories stay in distribution."""


RSSM_PRESETS = {
    "tiny": RSSMConfig(deterministic=64, groups=8, classes=8, hidden=64),
    "small": RSSMConfig(),
    "published": RSSMConfig(deterministic=1024, groups=32, classes=32, hidden=1000, state_weight=1.0),
}


class RSSM(Component):
    """h_t = f(h_{t-1}, z_{t-1}, a_{t-1}); z_t ~ q(h_t, observation) for real, z_t ~ p(h_t) for imagined experience.

    f is a GRU, or S5; then z_t ~ q(observation). Features are [h; z]. `observe` takes the posterior's most likely
    classes, so that real experience gives the same features each time; `imagine` samples the prior.
    """

    kept: Tensor
    privileged: Tensor

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        config: RSSMConfig,
        differences: tuple[tuple[int, int], ...] = (),
        state_names: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.observation_dim, self.action_dim = config, observation_dim, action_dim
        self.action_steps = config.action_steps
        self.normaliser, self.bodies = Normaliser(observation_dim), BodyDifferences(differences)
        self.state_names = state_names
        kept, privileged = seen_dimensions(observation_dim, state_names, config)
        self.register_buffer("kept", torch.tensor(kept, dtype=torch.long), persistent=False)
        self.register_buffer("privileged", torch.tensor(privileged, dtype=torch.long), persistent=False)
        self.state_dim = len(kept) + 2 * len(differences)
        self.state_encoder = MLP(self.state_dim, (config.hidden,), config.hidden)
        self.cell = self._make_cell()
        self.feature_dim = config.deterministic + self.cell.stochastic
        self.state_decoder = MLP(self.feature_dim, (config.hidden, config.hidden), self.state_dim)
        if privileged:
            self.privileged_decoder = MLP(self.feature_dim, (config.hidden, config.hidden), len(privileged))

    def _make_cell(self) -> LatentCell:
        c = self.config
        sizes = (self.action_dim * c.action_steps, c.hidden, c.deterministic, c.groups, c.classes, c.hidden)
        return RSSMCell(*sizes) if c.cell == "gru" else S5Cell(*sizes, config=c.s5)

    # -- the contract of a world model ---------------------------------------------------------------------------------

    def fit(self, dataset: Dataset) -> "RSSM":
        """Compute the normalisation statistics, once."""
        fit_normaliser(self.normaliser, dataset)
        self.bodies.fit(dataset.observations[STATE_KEY])
        return self

    def initial(self, batch_size: int) -> RSSMState:
        """States of episodes that have not begun."""
        h = self.normaliser.mean.new_zeros(batch_size, self.cell.memory)
        return RSSMState(h, h.new_zeros(batch_size, self.cell.stochastic))

    def observe(self, state: RSSMState, action: Tensor | None, observation: dict[str, Tensor]) -> RSSMState:
        """The posterior after a real observation (in the data's units)."""
        embedding = self.cell.from_embedding(self.embed(observation))
        return self._posterior(state, self._embed_action(action, state), embedding)

    def imagine(
        self, state: RSSMState, action: Float[Tensor, "B A"], generator: torch.Generator | None = None
    ) -> RSSMState:
        """A sample of the prior after `action`, whose gradient is that of the probabilities."""
        h = self.advance(state, action)
        logits = self.cell.prior(self.cell.read(h))
        z = sample_one_hot(logits.detach(), generator)
        return RSSMState(h, (swap(logits.softmax(-1), z) if logits.requires_grad else z).flatten(-2))

    def advance(self, state: RSSMState, action: Float[Tensor, "B A"] | None) -> Float[Tensor, "B M"]:
        """The next deterministic state."""
        return self.cell.advance(state.h, state.z, self._embed_action(action, state))

    def features(self, state: RSSMState) -> Float[Tensor, "B F"]:
        """[h; z]."""
        return torch.cat([self.cell.read(state.h), state.z], dim=-1)

    def decode(self, state: RSSMState) -> dict[str, Tensor]:
        """The observation that the state stands for, in the data's units."""
        return {STATE_KEY: self._drawn(self.features(state))}

    shown_frames = 1
    """Frames that a row of features shows."""

    def shown(self, features: Float[Tensor, "B F"]) -> dict[str, Float[Tensor, "B 1 D"]]:
        """The newest frame as features tell it, in the data's units."""
        return {STATE_KEY: self._drawn(features).unsqueeze(1)}

    def _drawn(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B D"]:
        # What is ignored, and what never changed in the data (an absent object, say), is the data's mean.
        normalised = features.new_zeros(*features.shape[:-1], self.observation_dim)
        normalised[..., self.kept] = self.state_decoder(features)[..., : len(self.kept)]
        if len(self.privileged):
            normalised[..., self.privileged] = self.privileged_decoder(features)
        return self.normaliser.denormalise(normalised.masked_fill(self.normaliser.constant, 0.0))

    @torch.no_grad()
    def recorded(self, dataset: Dataset, generator: torch.Generator | None = None) -> RSSMState:
        """The posterior state at every frame, in frame order; samples of it where a generator is given."""
        dataset, order = in_chunks(dataset, self.action_steps)
        embedding = self.cell.from_embedding(self.embed(dataset.observations))
        actions = self.cell.from_action(dataset.actions)
        rows = self.initial(dataset.num_frames)
        running = self.initial(dataset.num_episodes)
        for t in range(int(dataset.lengths.max())):
            alive = torch.nonzero(dataset.lengths > t).flatten()
            frames = dataset.starts[alive] + t
            action = actions[frames - 1] if t else torch.zeros_like(actions[frames])
            state = self._posterior(running.rows(alive), action, embedding[frames], generator)
            running.h[alive], running.z[alive] = state.h, state.z
            rows.h[frames], rows.z[frames] = state.h, state.z
        # Every frame of the data set occurs once among the chunks.
        return rows.rows(order.argsort())

    # -- learning ------------------------------------------------------------------------------------------------------

    def loss(self, batch: SequenceBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction and balanced KL, averaged over time and batch (DreamerV2, Eq. 2)."""
        cell, config, count = self.cell, self.config, len(batch.begins)
        carried = batch.stream.carry
        state = self.initial(count)
        if carried is not None and len(carried["h"]) == count:
            state = RSSMState(carried["h"], carried["z"])
        target = self._target(batch.observation)
        embedding = cell.from_embedding(self.state_encoder(target))
        actions = cell.from_action(batch.previous_action)
        reset = batch.begins | (torch.rand(batch.begins.shape, device=embedding.device) < config.reset_probability)
        found = cell.unroll(state.h, state.z, embedding, actions, reset)
        batch.stream.carry = {"h": found.last.detach(), "z": found.z[:, -1].detach()}
        posterior, prior = found.posterior, cell.prior(found.h)
        features = torch.cat([found.h, found.z], dim=-1)
        kl = categorical_kl(posterior.detach(), prior).mean()
        kl_posterior = categorical_kl(posterior, prior.detach()).mean()
        loss = config.kl_weight * (config.kl_balance * kl + (1 - config.kl_balance) * kl_posterior)
        metrics = {"kl": kl.detach()}
        error = self.state_decoder(features) - target
        loss = loss + 0.5 * config.state_weight * error.square().sum(-1).mean()
        metrics["mse_state"] = error.detach().square().mean()
        if len(self.privileged):
            known = self.normaliser.normalise(batch.observation[STATE_KEY])[..., self.privileged]
            error = self.privileged_decoder(features) - known
            loss = loss + 0.5 * config.privileged_weight * error.square().sum(-1).mean()
            metrics["mse_privileged"] = error.detach().square().mean()
        return loss, metrics

    def embed(self, observation: dict[str, Tensor]) -> Float[Tensor, "*batch E"]:
        """What the encoder makes of observations in the data's units."""
        return self.state_encoder(self._target(observation))

    def _target(self, observation: dict[str, Tensor]) -> Float[Tensor, "*batch D"]:
        """Observations as the networks see and draw them."""
        frames = observation[STATE_KEY]
        normalised = self.normaliser.normalise(frames)[..., self.kept]
        return torch.cat([normalised, self.bodies.magnified(frames)], dim=-1)

    def _posterior(
        self, state: RSSMState, action: Tensor, embedding: Tensor, generator: torch.Generator | None = None
    ) -> RSSMState:
        h = self.cell.advance(state.h, state.z, action)
        logits = self.cell.posterior(self.cell.read(h), embedding)
        if generator is not None:
            return RSSMState(h, sample_one_hot(logits, generator).flatten(-2))
        z = nn.functional.one_hot(logits.argmax(-1), self.config.classes).to(h.dtype).flatten(-2)
        return RSSMState(h, z)

    def _embed_action(self, action: Tensor | None, state: RSSMState) -> Tensor:
        if action is None:
            return state.h.new_zeros(len(state.h), self.cell.from_action.out_features)
        return self.cell.from_action(action)


def seen_dimensions(
    observation_dim: int, names: tuple[str, ...] | None, config: RSSMConfig
) -> tuple[list[int], list[int]]:
    """The state dimensions that are seen, and those that are privileged.

    Raises:
        InputError: a beginning of names in `ignored` or `privileged` is no dimension's, or both claim one, or nothing
            is left to be seen.
    """
    ignored, privileged = (
        dimensions_named(f"world model, {what}", prefixes, names)
        for what, prefixes in (("ignored", config.ignored), ("privileged", config.privileged))
    )
    both = set(ignored) & set(privileged)
    if both:
        raise InputError(f"world model: state dimension '{(names or ())[min(both)]}' is both ignored and privileged")
    kept = [i for i in range(observation_dim) if i not in ignored and i not in privileged]
    if not kept and privileged:
        raise InputError("world model: every state dimension is ignored or privileged; expected some that are seen")
    return kept, privileged
