"""World models that live in the latents of an encoder: pictures in, pictures out, vectors within."""

from dataclasses import replace
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from burnish.components import Component
from burnish.data import STATE, Dataset
from burnish.errors import InputError
from burnish.world_models.base import State

LATENT = "observation.latent"
"""Where a data set keeps what the autoencoder made of its pictures, so that they are encoded once."""


class Encoder(Protocol):
    """What turns observations into latent vectors and back: an autoencoder, frozen features, tokens."""

    latent_dim: int

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """What one observation holds, by LeRobot's keys."""
        ...

    def encode(self, observation: dict[str, Tensor]) -> Float[Tensor, "B Z"]:
        """The latents of observations."""
        ...

    def encode_dataset(self, dataset: Dataset) -> Float[Tensor, "F Z"]:
        """The latent of every frame."""
        ...

    def decode(self, latents: Float[Tensor, "B Z"]) -> dict[str, Tensor]:
        """The observations that latents stand for."""
        ...


def with_latents(dataset: Dataset, latents: Float[Tensor, "F Z"]) -> Dataset:
    """The data set with its latents in the place of its pictures and states."""
    return replace(dataset, observations={LATENT: latents})


def as_states(dataset: Dataset) -> Dataset:
    """The latents as the state vector (without names), which is how models of vectors learn from them.

    Raises:
        InputError: the data set has no latents.
    """
    if LATENT not in dataset.observations:
        raise InputError(f"found no '{LATENT}' among {sorted(dataset.observations)}; encode the data set first")
    info = replace(dataset.info, state_names=None)
    return replace(dataset, observations={STATE: dataset.observations[LATENT]}, info=info)


class Encoded(Component):
    """An observer or a world model of vectors behind an encoder.

    Its state, its features and `imagine` are those of `inner`; pictures are encoded when they are observed, and drawn
    only by `decode`. An observation that already holds its latent is not encoded again.
    """

    def __init__(self, autoencoder: Encoder, inner: Any) -> None:
        super().__init__()
        if inner.observation_dim != autoencoder.latent_dim:
            raise InputError(
                f"the encoder has {autoencoder.latent_dim} latents, the model behind reads {inner.observation_dim}"
            )
        self.autoencoder, self.inner = autoencoder, inner
        self.feature_dim, self.action_steps = inner.feature_dim, inner.action_steps

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """What one observation holds, by LeRobot's keys."""
        return self.autoencoder.observation_shapes

    @property
    def normaliser(self) -> Any:
        """Of the latents."""
        return self.inner.normaliser

    def initial(self, batch_size: int) -> State:
        """States of episodes that have not begun."""
        return self.inner.initial(batch_size)

    def observe(self, state: Any, action: Tensor | None, observation: dict[str, Tensor]) -> State:
        """Take in pictures (B, S, S, 3), or their latents (B, Z)."""
        latents = observation[LATENT] if LATENT in observation else self.autoencoder.encode(observation)
        return self.inner.observe(state, action, {STATE: latents})

    def recorded(self, dataset: Dataset) -> State:
        """The state at every frame of a data set that has its latents, or the pictures that they are made of."""
        if LATENT not in dataset.observations:
            dataset = with_latents(dataset, self.autoencoder.encode_dataset(dataset))
        return self.inner.recorded(as_states(dataset))

    def imagine(self, state: Any, action: Float[Tensor, "B A"], generator: torch.Generator | None = None) -> State:
        """Predict the state after `action`; no picture is drawn."""
        return self.inner.imagine(state, action, generator)

    def features(self, state: Any) -> Float[Tensor, "B F"]:
        """What policies and classifiers read."""
        return self.inner.features(state)

    @property
    def shown_frames(self) -> int:
        """Frames that a row of features shows."""
        return self.inner.shown_frames

    def shown(self, features: Float[Tensor, "B F"]) -> dict[str, Tensor]:
        """The pictures that features stand for, uint8 (B, frames, S, S, 3), oldest first."""
        latents = self.inner.shown(features)[STATE]
        drawn = self.autoencoder.decode(latents.flatten(0, 1))
        return {key: pictures.unflatten(0, latents.shape[:2]) for key, pictures in drawn.items()}

    def decode(self, state: Any) -> dict[str, Tensor]:
        """The pictures that the state stands for, uint8 (B, S, S, 3), and their latents."""
        latents = self.inner.decode(state)[STATE]
        return {**self.autoencoder.decode(latents), LATENT: latents}

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The inner model's; its batches hold latents as states."""
        return self.inner.loss(batch)
