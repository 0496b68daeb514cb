"""GWM's dynamics (arXiv 2508.17600): latent EDM diffusion by a transformer that looks at actions by cross-attention."""

from dataclasses import dataclass
from typing import Any

from burnish.errors import InputError
from burnish.networks import TokenDiT, TokenDiTConfig
from burnish.world_models.diffusion import DiffusionConfig, DiffusionWorldModel


@dataclass(frozen=True)
class TokenDiffusionConfig(DiffusionConfig):
    """Noise levels and sampler of `DiffusionConfig`, whose width and depth do not matter, and the transformer's sizes.

    What is predicted is a standardised change: σ_data is 1 where GWM has 0.5, and levels of noise are about it.
    """

    transformer: TokenDiTConfig = TokenDiTConfig()


class TokenDiffusion(DiffusionWorldModel):
    """`DiffusionWorldModel` of latents that are tokens."""

    config: TokenDiffusionConfig

    def __init__(self, space: Any, config: TokenDiffusionConfig) -> None:
        super().__init__(space, config)

    def _network(self) -> Any:
        space, transformer = self.space, self.config.transformer
        numbers, tokens = space.observation_dim, transformer.tokens
        if len(space.learned_dims) != numbers or numbers % tokens:
            raise InputError(
                f"token diffusion: found {len(space.learned_dims)} latents that change of {numbers} and {tokens} "
                "tokens, expected all to change and as many tokens as the encoder has "
                "(--config.world-model.transformer.tokens)"
            )
        past = space.config.frames  # the newest frame, and the changes before it
        return TokenDiT(numbers, past, space.context_dim - past * numbers, past, transformer)
