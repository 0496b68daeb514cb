"""Fitted Q evaluation: what a policy is worth by the recorded real data alone, a second opinion without a world model.

Le et al. 2019 (arXiv 1903.08738); Paine et al. 2020 (arXiv 2007.09055) choose among policies by it, offline.  It has
mistakes of its own: where a policy's actions lie far from the recorded ones, critics guess.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from burnish.data import Dataset
from burnish.errors import InputError
from burnish.networks import EnsembleMLP
from burnish.policies import Policy
from burnish.rl.transitions import TransitionBatch, Transitions, follow
from burnish.training import TrainingConfig, fit
from burnish.training.loop import OnStep


@dataclass(frozen=True)
class FQEConfig:
    """Critics and their training."""

    members: int = 5
    """Critics; each has an initialisation, targets and a bootstrap of the episodes of its own."""
    hidden: tuple[int, ...] = (256, 256)
    gamma: float = 0.99
    """Discount of one action, as in IQL."""
    polyak: float = 0.05
    """Ten times IQL's, because training is short and values travel back one decision at a time.

    On a point 80 decisions from success (true value 0.43), 3000 steps give 0.39; with 0.02 they give 0.13.
    """
    steps: int = 3000
    batch_size: int = 256
    learning_rate: float = 1e-3

    @property
    def training(self) -> TrainingConfig:
        """For `fit`: Adam without decay and, in practice, without clipping, as for the offline learners."""
        return TrainingConfig(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=0.0,
            gradient_clip=10.0,
            ema_decay=None,
        )


@dataclass(frozen=True)
class FollowedBatch(TransitionBatch):
    """B transitions, and what the policy does after them.

    Attributes:
        next_action: the evaluated policy's chunk at `next_features`, flattened.
        weight: how often the transition's episode is in each member's bootstrap.
    """

    next_action: Float[Tensor, "B TA"]
    weight: Float[Tensor, "B members"]


class FollowedTransitions:
    """The recorded transitions with the policy's decision after each, made once; one bootstrap of episodes a member."""

    def __init__(
        self, policy: Policy, features: Float[Tensor, "N F"], dataset: Dataset, members: int, seed: int
    ) -> None:
        """`features` are those that the policy reads at every frame; InputError as `Transitions` raises it."""
        self.transitions = Transitions(features, dataset, policy.config.chunk)
        self.next_action = decisions(policy, self.transitions.next_features)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(dataset.num_episodes, (members, dataset.num_episodes), generator=generator)
        copies = torch.stack([torch.bincount(row, minlength=dataset.num_episodes) for row in drawn], dim=1)
        episode = dataset.episode_of_frame[self.transitions.frames]
        self.weight = copies.to(features.device)[episode].to(features.dtype)

    def sample(self, batch_size: int, generator: torch.Generator) -> FollowedBatch:
        """Draw with replacement; the same rows for all members, who weigh them differently."""
        index = self.transitions.draw(batch_size, generator)
        return FollowedBatch(
            **vars(self.transitions.rows(index)), next_action=self.next_action[index], weight=self.weight[index]
        )


class FittedQ(nn.Module):
    """Several Q(x, a) of one policy: the discounted probability of success, γ^(decisions before the successful one).

    Targets follow at the next call of `loss`, as in `IQL`; each member has its own.
    """

    def __init__(self, feature_dim: int, action_dim: int, chunk: int, config: FQEConfig) -> None:
        """`action_dim` is that of a flattened chunk."""
        super().__init__()
        self.config = config
        self.critics = EnsembleMLP(config.members, feature_dim + action_dim, config.hidden, 1)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.discount = config.gamma**chunk
        self.updates = 0

    def value(self, features: Float[Tensor, "B F"], action: Float[Tensor, "B TA"]) -> Float[Tensor, "members B"]:
        """What each member thinks of the actions, within [0, 1]."""
        return _q(self.critics, features, action).clamp(0, 1)

    def loss(self, batch: FollowedBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """(Q(x, a) - [r + γ Q'(x', π(x'))])², weighted by each member's bootstrap and added up over members."""
        if self.updates:
            follow(self.target_critics, self.critics, self.config.polyak)
        self.updates += 1
        with torch.no_grad():
            following = _q(self.target_critics, batch.next_features, batch.next_action)
            # A probability: without the bounds, what critics guess far from the data feeds on itself.
            target = (batch.reward + self.discount * (~batch.terminal) * following).clamp(0, 1)
        error = (_q(self.critics, batch.features, batch.action) - target).square()
        loss = (batch.weight.T * error).mean(1).sum()
        return loss, {"target": target.mean(), "mse": error.detach().mean()}

    def get_extra_state(self) -> Tensor:
        """The number of updates, for resuming."""
        return torch.tensor(self.updates)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore `get_extra_state`."""
        self.updates = int(state)


@dataclass(frozen=True)
class OffPolicyValue:
    """The discounted probability of success of one policy from S recorded starts, by each critic."""

    values: Float[Tensor, "members S"]

    @property
    def members(self) -> Float[Tensor, " members"]:
        """Each critic's mean over the starts."""
        return self.values.mean(1)

    @property
    def mean(self) -> float:
        """Over critics and starts."""
        return float(self.values.mean())

    @property
    def spread(self) -> float:
        """Standard deviation over critics: about the standard error that few episodes leave."""
        return float(self.members.std())

    def summary(self) -> dict[str, Any]:
        """Plain numbers."""
        return _summary(self.members, self.mean, self.spread) | {"starts": self.values.shape[1]}


@dataclass(frozen=True)
class OffPolicyDifference:
    """How much more a refined policy is worth than the pretrained one, by critics of the same bootstraps."""

    members: Float[Tensor, " members"]

    @property
    def mean(self) -> float:
        """Over critics."""
        return float(self.members.mean())

    @property
    def spread(self) -> float:
        """Standard deviation over critics."""
        return float(self.members.std())

    def summary(self) -> dict[str, Any]:
        """Plain numbers."""
        return _summary(self.members, self.mean, self.spread)


def evaluate_off_policy(
    policy: Policy,
    features: Float[Tensor, "N F"],
    dataset: Dataset,
    config: FQEConfig,
    folder: Path,
    seed: int,
    on_step: OnStep | None = None,
) -> OffPolicyValue:
    """Fit critics of `policy` to recorded real data and ask them about the episodes' starts.

    `features` are what the policy reads at every frame of `dataset`; `folder` is the training's.  Policies evaluated
    with one seed share initialisation, bootstraps and batches, so that the luck of these is not in their difference.
    Starts that show success already are left out.  Raises InputError where nothing else is left, where nothing
    succeeds or no episode is long enough.
    """
    starts = dataset.starts[~dataset.success[dataset.starts]]
    if not len(starts):
        raise InputError("off-policy evaluation: found only episodes that start in success, expected others")
    sampler = FollowedTransitions(policy, features, dataset, config.members, seed)
    torch.manual_seed(seed)
    chunk, action_dim = policy.config.chunk, sampler.next_action.shape[1]
    learner = FittedQ(features.shape[1], action_dim, chunk, config).to(features.device)
    fit(learner, sampler, config.training, folder, seed, on_step)
    with torch.no_grad():
        return OffPolicyValue(learner.value(features[starts], decisions(policy, features[starts])))


def compare_off_policy(pretrained: OffPolicyValue, refined: OffPolicyValue) -> OffPolicyDifference:
    """Refined minus pretrained, critic by critic; InputError unless both are of the same starts and critics."""
    found, expected = tuple(refined.values.shape), tuple(pretrained.values.shape)
    if found != expected:
        raise InputError(f"off-policy values: found {found} (critics, starts), expected {expected} as before")
    return OffPolicyDifference(refined.members - pretrained.members)


@torch.no_grad()
def decisions(policy: Policy, features: Float[Tensor, "N F"], batch_size: int = 4096) -> Float[Tensor, "N TA"]:
    """The policy's deterministic chunk for each row, flattened."""
    return torch.cat([policy.act(rows, True, None).action_chunk.flatten(1) for rows in features.split(batch_size)])


def _q(critics: nn.Module, features: Float[Tensor, "B F"], action: Float[Tensor, "B TA"]) -> Float[Tensor, "members B"]:
    return critics(torch.cat([features, action], dim=-1)).squeeze(-1)


def _summary(members: Tensor, mean: float, spread: float) -> dict[str, Any]:
    return {"mean": mean, "spread": spread, "members": members.tolist()}
