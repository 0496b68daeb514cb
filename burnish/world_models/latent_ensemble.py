"""Bootstrapped priors beside a recurrent world model: where they disagree, imagination is not to be trusted."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from burnish.components import Component
from burnish.config import within
from burnish.data import Dataset, RowSampler, in_chunks
from burnish.networks import EnsembleMLP, sample_one_hot
from burnish.world_models.rssm import RSSM, RSSMState


@dataclass(frozen=True)
class LatentEnsembleConfig:
    """Size of the ensemble, and the quantile of held-out disagreement beyond which imagination halts."""

    members: int = within(5, 2)
    hidden: tuple[int, ...] = within((192, 192), 1)
    halt_quantile: float = within(0.99, 0, 1, open_low=True)
    """Held-out real transitions that may lie beyond the threshold: 1 - halt_quantile of them."""


@dataclass(frozen=True)
class LatentTransitions:
    """What members learn from: (h, z, a) and the classes of the posterior that really followed."""

    inputs: Float[Tensor, "N I"]
    following: Int[Tensor, "N G"]
    episode: Int[Tensor, " N"]


class LatentEnsemble(Component):
    """E networks that predict z' from (h, z, a), each from its own bootstrap of the episodes.

    Disagreement is the mutual information between the prediction and the member, averaged over the categoricals:
    H[mean of the members] - mean of H[member]. Noise that all members know of adds nothing to it. The members read
    (h, z, a) themselves and share no trunk with each other or with the world model's prior.
    """

    name = "disagreement"
    threshold: Tensor

    def __init__(self, world_model: RSSM, config: LatentEnsembleConfig) -> None:
        super().__init__()
        self.config, self.members = config, config.members
        cell = world_model.cell
        self.groups, self.classes = cell.groups, cell.classes
        inputs = world_model.feature_dim + world_model.action_dim * world_model.action_steps
        self.network = EnsembleMLP(config.members, inputs, config.hidden, cell.stochastic)
        self.register_buffer("threshold", torch.full((), torch.inf))

    @property
    def world_model(self) -> RSSM:
        """The model whose latents it predicts; its weights are not this module's."""
        return self.arguments["world_model"]

    def predict(self, state: RSSMState, action: Float[Tensor, "B A"]) -> Float[Tensor, "members B G C"]:
        """Each member's logits of the next z."""
        return self._logits(torch.cat([self.world_model.features(state), action], dim=-1))

    def forward(self, state: RSSMState, action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """Disagreement about what `action` does, in nats; above `threshold` it is out of the data's support."""
        return mutual_information(self.predict(state, action))

    def predict_member(
        self,
        state: RSSMState,
        action: Float[Tensor, "B A"],
        member: Int[Tensor, " B"],
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, " B"], RSSMState]:
        """Disagreement, and a sample of what each row's own `member` predicts."""
        logits = self.predict(state, action)
        chosen = logits[member, torch.arange(len(action), device=action.device)]
        h = self.world_model.advance(state, action)
        return mutual_information(logits), RSSMState(h, sample_one_hot(chosen, generator).flatten(-2))

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of each member on its own share of the batch (rows of member 0 first, then of member 1, …)."""
        inputs, following = batch
        logits = self._logits(inputs.unflatten(0, (self.members, -1)))
        target = following.unflatten(0, (self.members, -1))
        loss = nn.functional.cross_entropy(logits.flatten(0, 2), target.flatten())
        return loss, {"accuracy": (logits.detach().argmax(-1) == target).float().mean()}

    @torch.no_grad()
    def transitions(self, dataset: Dataset) -> LatentTransitions:
        """All recorded transitions, as the world model sees them."""
        model = self.world_model
        chunked, order = in_chunks(dataset, model.action_steps)
        states, dataset = model.recorded(dataset).rows(order), chunked
        inside = torch.ones(dataset.num_frames, dtype=torch.bool, device=dataset.device)
        inside[dataset.starts + dataset.lengths - 1] = False
        frames = torch.nonzero(inside).flatten()
        inputs = torch.cat([model.features(states.rows(frames)), dataset.actions[frames]], dim=-1)
        following = states.z[frames + 1].unflatten(-1, (self.groups, self.classes)).argmax(-1)
        return LatentTransitions(inputs, following, dataset.episode_of_frame[frames])

    @torch.no_grad()
    def calibrate(self, held_out: Dataset, batch_size: int = 4096) -> dict[str, float]:
        """Set the halting threshold from held-out real transitions."""
        inputs = self.transitions(held_out).inputs
        doubt = torch.cat([mutual_information(self._logits(rows)) for rows in inputs.split(batch_size)])
        self.threshold.copy_(torch.quantile(doubt[: 2**24], self.config.halt_quantile))
        return {"threshold": float(self.threshold), "median": float(doubt.median()), "windows": float(len(doubt))}

    def _logits(self, inputs: Tensor) -> Tensor:
        return self.network(inputs).unflatten(-1, (self.groups, self.classes))


class BootstrapTransitions(RowSampler[Tensor]):
    """One bootstrap of the episodes per member: transitions of an episode stand or fall together."""

    def __init__(self, transitions: LatentTransitions, members: int, seed: int) -> None:
        self.transitions = transitions
        generator = torch.Generator().manual_seed(seed)
        episodes = int(transitions.episode.max()) + 1
        rows = torch.arange(len(transitions.episode), device=transitions.episode.device)
        self.pools = []
        for _ in range(members):
            drawn = torch.randint(episodes, (episodes,), generator=generator)
            copies = torch.bincount(drawn, minlength=episodes).to(rows.device)
            self.pools.append(rows.repeat_interleave(copies[transitions.episode]))

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """`batch_size` transitions for each member, member-major."""
        device = self.pools[0].device
        return torch.cat(
            [pool[torch.randint(len(pool), (batch_size,), generator=generator, device=device)] for pool in self.pools]
        )

    def gather(self, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """What went into them, and what followed."""
        return self.transitions.inputs[drawn], self.transitions.following[drawn]


def mutual_information(logits: Float[Tensor, "members B G C"]) -> Float[Tensor, " B"]:
    """H[E p] - E H[p] over the members, averaged over the G categoricals, in nats."""

    def entropy(p: Any) -> Tensor:
        return -(p * p.clamp(min=1e-12).log()).sum(-1)

    p = _softmax(logits)
    return (entropy(p.mean(0)) - entropy(p).mean(0)).mean(-1)


def _softmax(logits: Float[Tensor, "*rest C"]) -> Float[Tensor, "*rest C"]:
    """Over the last dimension; where it is shorter than a CPU's vectors, with the classes outermost in memory, which
    makes this and the sums after it three times as fast."""
    if logits.shape[-1] >= 16:
        return logits.softmax(-1)
    return logits.movedim(-1, 0).contiguous().softmax(0).movedim(0, -1)
