"""The transformer of ACT (arXiv 2304.13705): one decision's observation in, a chunk of actions out.

Its weights bear the names that LeRobot's checkpoints of type `act` give them (below `model.`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.config import within

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": nn.functional.relu, "gelu": nn.functional.gelu}


@dataclass(frozen=True)
class ACTNetworkConfig:
    """Sizes, under the names of LeRobot's configuration."""

    chunk_size: int = within(100, 1)
    """Actions that are predicted at once."""
    dim_model: int = within(512, 2)
    n_heads: int = within(8, 1)
    dim_feedforward: int = within(3200, 1)
    feedforward_activation: Literal["relu", "gelu"] = "relu"
    n_encoder_layers: int = within(4, 1)
    n_decoder_layers: int = within(1, 1)
    pre_norm: bool = False
    use_vae: bool = True
    """Whether it was trained with a variational encoder, which is kept, and not asked when it acts."""
    latent_dim: int = within(32, 1)
    n_vae_encoder_layers: int = within(4, 1)


class ACTNetwork(nn.Module):
    """Tokens of the latent (zero, as always when ACT acts), the robot's and the environment's state; DETR's queries.

    Either state may be absent (its size 0), not both.
    """

    def __init__(self, state_dim: int, environment_dim: int, action_dim: int, config: ACTNetworkConfig) -> None:
        super().__init__()
        width = config.dim_model
        self.config = config
        if config.use_vae:
            self.vae_encoder = _Encoder(config, config.n_vae_encoder_layers)
            self.vae_encoder_cls_embed = nn.Embedding(1, width)
            if state_dim:
                self.vae_encoder_robot_state_input_proj = nn.Linear(state_dim, width)
            self.vae_encoder_action_input_proj = nn.Linear(action_dim, width)
            self.vae_encoder_latent_output_proj = nn.Linear(width, 2 * config.latent_dim)
            positions = sinusoids(1 + bool(state_dim) + config.chunk_size, width)
            self.register_buffer("vae_encoder_pos_enc", positions.unsqueeze(0))
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(not name.startswith("vae_encoder"))
        self.encoder = _Encoder(config, config.n_encoder_layers)
        self.decoder = _Decoder(config)
        if state_dim:
            self.encoder_robot_state_input_proj = nn.Linear(state_dim, width)
        if environment_dim:
            self.encoder_env_state_input_proj = nn.Linear(environment_dim, width)
        self.encoder_latent_input_proj = nn.Linear(config.latent_dim, width)
        self.encoder_1d_feature_pos_embed = nn.Embedding(1 + bool(state_dim) + bool(environment_dim), width)
        self.decoder_pos_embed = nn.Embedding(config.chunk_size, width)
        self.action_head = nn.Linear(width, action_dim)

    def forward(
        self, state: Float[Tensor, "B S"] | None, environment: Float[Tensor, "B E"] | None
    ) -> Float[Tensor, "B T A"]:
        """The chunk for normalised states, in normalised units."""
        given = next(each for each in (state, environment) if each is not None)
        tokens = [self.encoder_latent_input_proj(given.new_zeros(len(given), self.config.latent_dim))]
        if state is not None:
            tokens.append(self.encoder_robot_state_input_proj(state))
        if environment is not None:
            tokens.append(self.encoder_env_state_input_proj(environment))
        seen, places = torch.stack(tokens), self.encoder_1d_feature_pos_embed.weight.unsqueeze(1)
        memory = self.encoder(seen, places)
        queries = memory.new_zeros(self.config.chunk_size, len(given), self.config.dim_model)
        found = self.decoder(queries, memory, places, self.decoder_pos_embed.weight.unsqueeze(1))
        return self.action_head(found.transpose(0, 1))


class _Layer(nn.Module):
    """What encoder and decoder layers share: residual attention and a feed-forward net, normalised before or after."""

    def __init__(self, config: ACTNetworkConfig, norms: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(config.dim_model, config.n_heads)
        self.linear1 = nn.Linear(config.dim_model, config.dim_feedforward)
        self.linear2 = nn.Linear(config.dim_feedforward, config.dim_model)
        for number in range(1, norms + 1):
            setattr(self, f"norm{number}", nn.LayerNorm(config.dim_model))
        self.activation, self.pre_norm = _ACTIVATIONS[config.feedforward_activation], config.pre_norm

    def residual(self, x: Tensor, norm: nn.Module, inner: Callable[[Tensor], Tensor]) -> Tensor:
        return x + inner(norm(x)) if self.pre_norm else norm(x + inner(x))

    def feed(self, x: Tensor) -> Tensor:
        return self.linear2(self.activation(self.linear1(x)))


class _EncoderLayer(_Layer):
    norm1: nn.Module
    norm2: nn.Module

    def __init__(self, config: ACTNetworkConfig) -> None:
        super().__init__(config, 2)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        x = self.residual(x, self.norm1, lambda h: _attend(self.self_attn, h + places, h + places, h))
        return self.residual(x, self.norm2, self.feed)


class _DecoderLayer(_Layer):
    norm1: nn.Module
    norm2: nn.Module
    norm3: nn.Module

    def __init__(self, config: ACTNetworkConfig) -> None:
        super().__init__(config, 3)
        self.multihead_attn = nn.MultiheadAttention(config.dim_model, config.n_heads)

    def forward(self, x: Tensor, memory: Tensor, places: Tensor, own: Tensor) -> Tensor:
        keys = memory + places
        x = self.residual(x, self.norm1, lambda h: _attend(self.self_attn, h + own, h + own, h))
        x = self.residual(x, self.norm2, lambda h: _attend(self.multihead_attn, h + own, keys, memory))
        return self.residual(x, self.norm3, self.feed)


class _Encoder(nn.Module):
    def __init__(self, config: ACTNetworkConfig, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_EncoderLayer(config) for _ in range(layers))
        self.norm = nn.LayerNorm(config.dim_model) if config.pre_norm else nn.Identity()

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, places)
        return self.norm(x)


class _Decoder(nn.Module):
    def __init__(self, config: ACTNetworkConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_DecoderLayer(config) for _ in range(config.n_decoder_layers))
        self.norm = nn.LayerNorm(config.dim_model)

    def forward(self, x: Tensor, memory: Tensor, places: Tensor, own: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, memory, places, own)
        return self.norm(x)


def _attend(attention: nn.Module, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return attention(queries, keys, values, need_weights=False)[0]


def sinusoids(positions: int, width: int) -> Float[Tensor, "positions width"]:
    """Fixed positions (arXiv 1706.03762, section 3.5)."""
    place = torch.arange(positions, dtype=torch.float64).unsqueeze(1)
    pair = torch.arange(width, dtype=torch.float64) // 2
    angle = place * torch.exp(-math.log(10000) * 2 * pair / width)
    even = torch.arange(width) % 2 == 0
    return torch.where(even, angle.sin(), angle.cos()).float()
