"""The cells of a recurrent state-space model with categorical latents (DreamerV2, arXiv 2010.02193)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from burnish.networks.s5 import S5, S5Config


@dataclass(frozen=True)
class Unrolled:
    """What a cell made of B sequences of L frames.

    Attributes:
        h: what prior and readers see, (B, L, H).
        z: samples of the posterior with the gradient of its probabilities, (B, L, G · C).
        posterior: its logits, (B, L, G, C).
        last: the memory after the last frame, (B, `memory`).
    """

    h: Tensor
    z: Tensor
    posterior: Tensor
    last: Tensor


class LatentCell(nn.Module):
    """A recurrence h' = f(h, ELU(LN(W_z z + W_a a))), and what is known of z: `groups` categoricals of `classes` each.

    z is the flattened one-hot sample, (B, groups · classes). The prior sees h alone. Families make the recurrence and
    say what the posterior sees. Of the `memory` numbers that a cell carries from frame to frame, the first
    `deterministic` ones are h.
    """

    memory: int

    def __init__(
        self, action_dim: int, embedding_dim: int, deterministic: int, groups: int, classes: int, hidden: int
    ) -> None:
        super().__init__()
        self.groups, self.classes = groups, classes
        self.deterministic, self.stochastic = deterministic, groups * classes
        self.from_latent = nn.Linear(self.stochastic, hidden)
        self.from_action = nn.Linear(action_dim, hidden, bias=False)
        self.input_norm = nn.LayerNorm(hidden, eps=1e-3)
        self._make_recurrence(hidden)
        self.prior_body = nn.Sequential(nn.Linear(deterministic, hidden), nn.LayerNorm(hidden, eps=1e-3), nn.ELU())
        self.prior_head = nn.Linear(hidden, self.stochastic)
        self._make_posterior(embedding_dim, hidden)
        self.posterior_head = nn.Linear(hidden, self.stochastic)
        initialise(self)

    def _make_recurrence(self, hidden: int) -> None:
        raise NotImplementedError

    def _make_posterior(self, embedding_dim: int, hidden: int) -> None:
        self.from_embedding = nn.Linear(embedding_dim, hidden, bias=False)
        self.posterior_body = nn.Sequential(nn.LayerNorm(hidden, eps=1e-3), nn.ELU())

    def read(self, memory: Float[Tensor, "*batch M"]) -> Float[Tensor, "*batch H"]:
        """h, the part of the memory that others see."""
        return memory[..., : self.deterministic]

    def advance(
        self, memory: Float[Tensor, "B M"], z: Float[Tensor, "B Z"], action: Float[Tensor, "B hidden"]
    ) -> Float[Tensor, "B M"]:
        """The next memory; `action` is already embedded by `from_action`."""
        raise NotImplementedError

    def unroll(
        self,
        memory: Float[Tensor, "B M"],
        z: Float[Tensor, "B Z"],
        embedding: Float[Tensor, "B L hidden"],
        actions: Float[Tensor, "B L hidden"],
        reset: Bool[Tensor, "B L"],
    ) -> Unrolled:
        """Sequences from (memory, z) on, with gradients; `reset` says before which frames everything is forgotten."""
        raise NotImplementedError

    def prior(self, h: Float[Tensor, "*batch H"]) -> Float[Tensor, "*batch G C"]:
        """Logits of p(z | h)."""
        return self.prior_head(self.prior_body(h)).unflatten(-1, (self.groups, self.classes))

    def posterior(
        self, h: Float[Tensor, "*batch H"], embedding: Float[Tensor, "*batch hidden"]
    ) -> Float[Tensor, "*batch G C"]:
        """Logits of q(z | h, observation); `embedding` is already mapped by `from_embedding`."""
        raise NotImplementedError

    def _input(self, z: Tensor, action: Tensor) -> Tensor:
        return nn.functional.elu(self.input_norm(self.from_latent(z) + action))


class RSSMCell(LatentCell):
    """h' = GRU(…, h), with a posterior that sees h besides the observation: frame after frame."""

    def _make_recurrence(self, hidden: int) -> None:
        self.gru, self.memory = nn.GRUCell(hidden, self.deterministic), self.deterministic

    def _make_posterior(self, embedding_dim: int, hidden: int) -> None:
        self.from_deterministic = nn.Linear(self.deterministic, hidden)
        super()._make_posterior(embedding_dim, hidden)

    def advance(self, memory: Tensor, z: Tensor, action: Tensor) -> Tensor:
        """The next h, which is all there is."""
        return self.gru(self._input(z, action), memory)

    def unroll(self, memory: Tensor, z: Tensor, embedding: Tensor, actions: Tensor, reset: Tensor) -> Unrolled:
        """Every frame's posterior waits for the h before it."""
        keep = (~reset).to(embedding.dtype).unsqueeze(-1)
        h, hs, zs, posteriors = memory, [], [], []
        for t in range(reset.shape[1]):
            h = self.advance(h * keep[:, t], z * keep[:, t], actions[:, t] * keep[:, t])
            posterior = self.posterior(h, embedding[:, t])
            z = straight_through(posterior).flatten(-2)
            hs.append(h)
            zs.append(z)
            posteriors.append(posterior)
        return Unrolled(torch.stack(hs, 1), torch.stack(zs, 1), torch.stack(posteriors, 1), h)

    def posterior(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Of both."""
        logits = self.posterior_head(self.posterior_body(self.from_deterministic(h) + embedding))
        return logits.unflatten(-1, (self.groups, self.classes))


class S5Cell(LatentCell):
    """h' = S5(…), with a posterior that sees the observation alone (S5WM, arXiv 2502.20168; as S4WM, 2307.02064).

    So all z of a sequence are there at once, and then all h by parallel scans. The past is in h, not in z. The memory
    is h and the layers' complex states behind it.
    """

    def __init__(self, *sizes: int, config: S5Config) -> None:
        self._config = config
        super().__init__(*sizes)

    def _make_recurrence(self, hidden: int) -> None:
        self.s5 = S5(hidden, self.deterministic, self._config)
        self.memory = self.deterministic + self.s5.memory

    def advance(self, memory: Tensor, z: Tensor, action: Tensor) -> Tensor:
        """h of this frame, and the layers' states."""
        return torch.cat(self.s5.step(self._input(z, action), memory[..., self.deterministic :]), -1)

    def unroll(self, memory: Tensor, z: Tensor, embedding: Tensor, actions: Tensor, reset: Tensor) -> Unrolled:
        """All frames at once."""
        posterior = self.posterior(None, embedding)
        zs = straight_through(posterior).flatten(-2)
        keep = (~reset).to(embedding.dtype).unsqueeze(-1)
        before = torch.cat([z.unsqueeze(1), zs[:, :-1]], 1)
        inputs = self._input(before * keep, actions * keep)
        hs, states = self.s5.scan(inputs, reset, memory[..., self.deterministic :])
        return Unrolled(hs, zs, posterior, torch.cat([hs[:, -1], states], -1))

    def posterior(self, h: Tensor | None, embedding: Tensor) -> Tensor:
        """Of the observation; h has no part in it."""
        return self.posterior_head(self.posterior_body(embedding)).unflatten(-1, (self.groups, self.classes))


def initialise(module: nn.Module) -> None:
    """Xavier-uniform weights, zero biases, orthogonal recurrent weights (as DiWA's world model)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.GRUCell):
            nn.init.xavier_uniform_(layer.weight_ih)
            for gate in layer.weight_hh.data.chunk(3):
                nn.init.orthogonal_(gate)
            nn.init.zeros_(layer.bias_ih)
            nn.init.zeros_(layer.bias_hh)


def sample_one_hot(
    logits: Float[Tensor, "*batch G C"], generator: torch.Generator | None = None
) -> Float[Tensor, "*batch G C"]:
    """A one-hot sample of each categorical (by the Gumbel-max trick, so that nothing leaves the device)."""
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device, dtype=logits.dtype)
    gumbel = -(-uniform.clamp(min=1e-20).log()).clamp(min=1e-20).log()
    return nn.functional.one_hot((logits + gumbel).argmax(-1), logits.shape[-1]).to(logits.dtype)


def straight_through(logits: Float[Tensor, "*batch G C"]) -> Float[Tensor, "*batch G C"]:
    """A one-hot sample whose gradient is that of the probabilities (DreamerV2, Algorithm 1)."""
    probabilities = logits.softmax(-1)
    return sample_one_hot(logits.detach()) + probabilities - probabilities.detach()


def categorical_kl(p: Float[Tensor, "*batch G C"], q: Float[Tensor, "*batch G C"]) -> Float[Tensor, " *batch"]:
    """KL(p ‖ q) of two sets of logits, in nats, summed over the categoricals."""
    log_p, log_q = p.log_softmax(-1), q.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum((-2, -1))
