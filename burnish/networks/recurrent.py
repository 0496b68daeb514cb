"""The cell of a recurrent state-space model with categorical latents (DreamerV2, arXiv 2010.02193)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RSSMCell(nn.Module):
    """h' = GRU(ELU(LN(W_z z + W_a a)), h); prior and posterior over `groups` categoricals of `classes` classes each.

    z is the flattened one-hot sample, (B, groups · classes). The posterior sees h and an embedding of the
    observation, the prior h alone.
    """

    def __init__(
        self, action_dim: int, embedding_dim: int, deterministic: int, groups: int, classes: int, hidden: int
    ) -> None:
        super().__init__()
        self.groups, self.classes = groups, classes
        self.deterministic, self.stochastic = deterministic, groups * classes
        self.from_latent = nn.Linear(self.stochastic, hidden)
        self.from_action = nn.Linear(action_dim, hidden, bias=False)
        self.input_norm = nn.LayerNorm(hidden, eps=1e-3)
        self.gru = nn.GRUCell(hidden, deterministic)
        self.prior_body = nn.Sequential(nn.Linear(deterministic, hidden), nn.LayerNorm(hidden, eps=1e-3), nn.ELU())
        self.prior_head = nn.Linear(hidden, self.stochastic)
        self.from_deterministic = nn.Linear(deterministic, hidden)
        self.from_embedding = nn.Linear(embedding_dim, hidden, bias=False)
        self.posterior_body = nn.Sequential(nn.LayerNorm(hidden, eps=1e-3), nn.ELU())
        self.posterior_head = nn.Linear(hidden, self.stochastic)
        initialise(self)

    def advance(
        self, h: Float[Tensor, "B H"], z: Float[Tensor, "B Z"], action: Float[Tensor, "B hidden"]
    ) -> Float[Tensor, "B H"]:
        """The next deterministic state; `action` is already embedded by `from_action`."""
        return self.gru(nn.functional.elu(self.input_norm(self.from_latent(z) + action)), h)

    def prior(self, h: Float[Tensor, "*batch H"]) -> Float[Tensor, "*batch G C"]:
        """Logits of p(z | h)."""
        return self.prior_head(self.prior_body(h)).unflatten(-1, (self.groups, self.classes))

    def posterior(
        self, h: Float[Tensor, "*batch H"], embedding: Float[Tensor, "*batch hidden"]
    ) -> Float[Tensor, "*batch G C"]:
        """Logits of q(z | h, observation); `embedding` is already mapped by `from_embedding`."""
        logits = self.posterior_head(self.posterior_body(self.from_deterministic(h) + embedding))
        return logits.unflatten(-1, (self.groups, self.classes))


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
