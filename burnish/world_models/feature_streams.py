"""Several frozen encoders of the same pictures as one, each a stream of its own (LaDi-WM: geometry and semantics)."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.components import Component
from burnish.data import Dataset, Normaliser
from burnish.errors import InputError


class FeatureStreams(Component):
    """The features of several encoders side by side, standardised: to world models they are latents like any others.

    An encoder is anything with `latent_dim`, `observation_shapes`, `encode` and `encode_dataset`. Its features are
    `tokens` tokens where it says so, else one. Pictures are drawn by the first encoder that can `decode`.
    """

    def __init__(self, encoders: Mapping[str, Component]) -> None:
        super().__init__()
        if len(encoders) < 1:
            raise InputError("feature streams: found no encoder, expected at least one")
        self.encoders = nn.ModuleDict(encoders)
        self.sizes = [int(each.latent_dim) for each in encoders.values()]  # type: ignore[arg-type]
        self.normalisers = nn.ModuleDict(
            {name: Normaliser(size) for name, size in zip(encoders, self.sizes, strict=True)}
        )
        self.latent_dim = sum(self.sizes)

    @property
    def streams(self) -> tuple[tuple[int, int], ...]:
        """(tokens, numbers of a token) of each."""
        tokens = [int(getattr(each, "tokens", 1)) for each in self.encoders.values()]
        return tuple((count, size // count) for count, size in zip(tokens, self.sizes, strict=True))

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """What one observation holds, by LeRobot's keys."""
        return {key: shape for each in self._all for key, shape in each.observation_shapes.items()}

    def fit(self, dataset: Dataset) -> Self:
        """Mean and deviation of each stream's features over a data set; once.

        Raises:
            InputError: an encoder's features are not finite, or the same for all frames.
        """
        for name, encoder in self.encoders.items():
            features = encoder.encode_dataset(dataset)  # type: ignore[operator]
            require_features(name, encoder, features)
            # As with states: a dimension that hardly moves in this data may move later.
            self.normalisers[name].fit(features, floor=1.0)  # type: ignore[operator]
        return self

    def encode(self, observation: dict[str, Tensor]) -> Float[Tensor, "B Z"]:
        """All features of pictures, standardised.

        Raises:
            InputError: a camera is missing, or its pictures are of another size or dtype.
        """
        return self._joined([each.encode(observation) for each in self._all])

    @torch.no_grad()
    def encode_dataset(self, dataset: Dataset) -> Float[Tensor, "F Z"]:
        """The features of every frame."""
        return self._joined([each.encode_dataset(dataset) for each in self._all])

    def decode(self, latents: Float[Tensor, "B Z"]) -> dict[str, Tensor]:
        """Pictures uint8 (B, S, S, 3) as the first stream that draws sees them; none where none does."""
        for name, encoder, part in zip(self.encoders, self._all, latents.split(self.sizes, dim=-1), strict=True):
            if hasattr(encoder, "decode"):
                return encoder.decode(self._normaliser(name).denormalise(part))
        return {}

    @property
    def _all(self) -> list[Any]:
        return list(self.encoders.values())

    def _normaliser(self, name: str) -> Normaliser:
        found = self.normalisers[name]
        assert isinstance(found, Normaliser)
        return found

    def _joined(self, parts: list[Tensor]) -> Tensor:
        names = list(self.encoders)
        return torch.cat([self._normaliser(n).normalise(part) for n, part in zip(names, parts, strict=True)], dim=-1)


def require_features(name: str, encoder: Any, features: Float[Tensor, "F Z"]) -> None:
    """Check that features tell frames apart.

    Raises:
        InputError: some are not finite, or none of them ever changes; names the stream and its encoder.
    """
    kind = type(encoder).__name__
    wrong = int((~features.isfinite()).any(1).sum())
    if wrong:
        raise InputError(
            f"the encoder of {name} ({kind}): found features that are not finite in {wrong} of {len(features)} frames, "
            f"expected numbers; train or load another one (config.{name})"
        )
    if len(features) > 1 and float(features.std(0).max()) <= 1e-6 * max(1.0, float(features.abs().max())):
        raise InputError(
            f"the encoder of {name} ({kind}): found the same features in all {len(features)} frames, expected some "
            f"that tell frames apart; is its camera the right one, and did it learn (config.{name})?"
        )
