"""Reward and termination, learned from the data: `next.reward` and `next.done` of recorded transitions."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from burnish.config import within
from burnish.networks import EnsembleMLP
from burnish.rewards.base import CalibratedClassifier
from burnish.rewards.calibration import calibrate_ends

_NEVER = 2.0  # no probability reaches it


@dataclass(frozen=True)
class RewardHeadConfig:
    """Size of the head, and the precision that its terminations must show on held-out episodes."""

    members: int = within(3, 1)
    hidden: tuple[int, ...] = within((128, 128), 1)
    termination_weight: float = within(1.0, 0)
    """Weight of the terminations' cross-entropy beside the rewards' error, which is in standard deviations; 0: the head
    tells none, since the world model does."""
    target_precision: float = within(0.9, 0, 1, open_low=True)
    imagined_share: float = within(0.5, 0, 1)
    """Share of training transitions taken from imagined continuations of real ones, with what was really earned."""


@dataclass(frozen=True)
class RewardTransitions:
    """N transitions as a reward head reads them, and what came of them.

    Attributes:
        features: before the transition.
        action: that of one transition, flattened.
        following: features after it.
        reward: earned by it.
        terminated: whether the episode ended with it, by itself.
    """

    features: Float[Tensor, "N F"]
    action: Float[Tensor, "N A"]
    following: Float[Tensor, "N F"]
    reward: Float[Tensor, " N"]
    terminated: Bool[Tensor, " N"]

    def rows(self, index: Tensor) -> "RewardTransitions":
        """The transitions that `index` names."""
        return RewardTransitions(**{name: values[index] for name, values in vars(self).items()})


class RewardHead(CalibratedClassifier):
    """A small ensemble of MLPs on (features, action, features that follow): standardised reward, chance of an end.

    What it says is the members' mean. Where the data has no termination, it never ends an episode.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, feature_dim: int, config: RewardHeadConfig) -> None:
        """`feature_dim` numbers are read: features before and after, and the action between."""
        super().__init__(feature_dim, config)
        self.members = config.members
        self.network = EnsembleMLP(config.members, feature_dim, config.hidden, 2)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        self.threshold.fill_(_NEVER)

    def fit(self, reward: Float[Tensor, " N"]) -> "RewardHead":
        """Take the rewards' mean and standard deviation, in which the head learns; a constant has a scale of 1."""
        std = reward.std()
        self.mean.copy_(reward.mean())
        self.scale.copy_(torch.where(std > 1e-8, std, 1.0))
        return self

    def forward(
        self, features: Float[Tensor, "B F"], action: Float[Tensor, "B A"], following: Float[Tensor, "B F"]
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """Reward in the data's units, and the probability that the episode ends."""
        reward, logit = self._each(torch.cat([features, action, following], dim=-1))
        return self.mean + self.scale * reward.mean(0), logit.sigmoid().mean(0)

    def loss(self, batch: RewardTransitions) -> tuple[Tensor, dict[str, Tensor]]:  # type: ignore[override]
        """Squared error of the standardised reward and cross-entropy of termination; members see different rows."""
        rows = torch.cat([batch.features, batch.action, batch.following], dim=-1)
        reward, logit = self._each(rows.unflatten(0, (self.members, -1)))
        target = ((batch.reward - self.mean) / self.scale).unflatten(0, (self.members, -1))
        ended = batch.terminated.to(logit.dtype).unflatten(0, (self.members, -1))
        error = (reward - target).square().mean()
        entropy = nn.functional.binary_cross_entropy_with_logits(logit, ended)
        metrics = {"reward_mse": error.detach(), "termination_entropy": entropy.detach()}
        return error + self.config.termination_weight * entropy, metrics

    @torch.no_grad()
    def evaluate(self, held_out: RewardTransitions) -> dict[str, float | None]:
        """Set the threshold of termination on held-out transitions; say how well both are told there.

        "r2" is the share of the rewards' variance that is explained (None where they do not vary), "rmse" in the data's
        units. Without a held-out termination none is ever said.
        """
        found = self.explained(held_out)
        found |= {
            "transitions": float(len(held_out.reward)),
            "terminations": float(held_out.terminated.sum()),
        }
        chance = self(held_out.features, held_out.action, held_out.following)[1]
        if self.config.termination_weight > 0 and bool(held_out.terminated.any()):
            calibration = calibrate_ends(chance, held_out.terminated, self.config.target_precision)
            self.threshold.fill_(calibration.threshold)
            found |= {"precision": calibration.precision, "recall": calibration.recall}
        return found

    @torch.no_grad()
    def explained(self, rows: RewardTransitions) -> dict[str, float | None]:
        """ "rmse" and "r2" on these transitions, as in `evaluate`."""
        reward, _ = self(rows.features, rows.action, rows.following)
        error, variance = (reward - rows.reward).square().mean(), rows.reward.var(correction=0)
        return {"rmse": float(error.sqrt()), "r2": float(1 - error / variance) if variance > 0 else None}

    def _each(self, rows: Float[Tensor, "*members B I"]) -> tuple[Tensor, Tensor]:
        """(members, B): the standardised reward, and the logit of an end."""
        reward, logit = self.network(rows).unbind(-1)
        return reward, logit


class TransitionSampler:
    """Draws transitions uniformly from several sources of given shares; rows of member 0 first, then of member 1, …"""

    def __init__(self, sources: list[tuple[float, RewardTransitions]], members: int) -> None:
        self.sources = [(share, rows) for share, rows in sources if share > 0]
        self.members = members

    def sample(self, batch_size: int, generator: torch.Generator) -> RewardTransitions:
        """`batch_size` transitions for each member, in random order."""
        parts = []
        for share, source in self.sources:
            count, device = round(share * batch_size * self.members), source.reward.device
            parts.append(source.rows(torch.randint(len(source.reward), (count,), generator=generator, device=device)))
        joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])}
        order = torch.randperm(len(joined["reward"]), generator=generator, device=joined["reward"].device)
        return RewardTransitions(**joined).rows(order[: len(order) // self.members * self.members])
