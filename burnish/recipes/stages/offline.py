"""Offline learners on transitions, real or not: TD3+BC and IQL, in the one supervised loop."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from burnish.data import Dataset
from burnish.pipeline import StageContext
from burnish.policies import Agent, GaussianPolicy, GaussianPolicyConfig, TanhPolicy, TanhPolicyConfig
from burnish.recipes.stages.refining import inside
from burnish.recipes.stages.training import recorded_features, train
from burnish.rl import IQL, TD3BC, IQLConfig, TD3BCConfig, Transitions
from burnish.training import Sampler, TrainingConfig

LearnerName = Literal["td3_bc", "iql"]

# The published learners use Adam without decay and, in practice, without clipping.
OFFLINE = TrainingConfig(steps=20_000, learning_rate=3e-4, weight_decay=0.0, gradient_clip=10.0, ema_decay=None)


@dataclass(frozen=True)
class Offline:
    """Real transitions as an agent's policy reads them.

    Attributes:
        agent: whose observer gives the features.
        features: of every recorded frame.
        transitions: between them; or a sampler that mixes others in.
    """

    agent: Agent
    features: Tensor
    transitions: Any

    @classmethod
    def of(cls, policy: Agent, data: Dataset) -> "Offline":
        """All that was recorded, without chunks beyond what the observer takes at once."""
        observer = inside(policy).observer
        features = recorded_features(observer, data)
        return cls(policy, features, Transitions(features, data, observer.action_steps))

    def with_transitions(self, transitions: Sampler) -> "Offline":
        """The same, learned from others."""
        return replace(self, transitions=transitions)


def learn_td3_bc(context: StageContext, offline: Offline, settings: Mapping[str, Any], seed: int) -> Agent:
    """TD3+BC; states are normalised over all recorded ones, besides the observer's normalisation."""
    config: TanhPolicyConfig = settings["td3_bc_policy"]
    learned = TanhPolicy(*_sizes(offline, seed), replace(config, chunk=inside(offline.agent).observer.action_steps))
    # The floor is the paper's ε: a dimension that hardly moves must not become the loudest.
    learned.normaliser.fit(offline.features, floor=1e-3)
    settings_of: TD3BCConfig = settings["td3_bc"]
    train(context, TD3BC(learned, settings_of), offline.transitions, settings["td3_bc_training"], seed)
    return offline.agent.with_policy(learned)


def learn_iql(context: StageContext, offline: Offline, settings: Mapping[str, Any], seed: int) -> Agent:
    """IQL with advantage-weighted extraction of a Gaussian policy."""
    config: GaussianPolicyConfig = settings["iql_policy"]
    learned = GaussianPolicy(*_sizes(offline, seed), replace(config, chunk=inside(offline.agent).observer.action_steps))
    settings_of: IQLConfig = settings["iql"]
    train(context, IQL(learned, settings_of), offline.transitions, settings["iql_training"], seed)
    return offline.agent.with_policy(learned)


LEARNERS = {"td3_bc": learn_td3_bc, "iql": learn_iql}


def _sizes(offline: Offline, seed: int) -> tuple[int, int]:
    torch.manual_seed(seed)
    return inside(offline.agent).observer.feature_dim, offline.agent.policy.action_dim


def advantage_unit(data: Dataset) -> float:
    """What one unit of the advantage is where rewards are dense: IQL scales returns to a spread of 1000 (its section
    5 and appendix), and counts advantages in those units."""
    returns = data.judged.episode_return
    spread = float(returns.max() - returns.min())
    return spread / 1000 if spread > 0 else 1.0
