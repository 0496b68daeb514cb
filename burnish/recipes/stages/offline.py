"""Offline learners on transitions, real or not: TD3+BC and IQL, in the one supervised loop."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from burnish.data import Dataset
from burnish.pipeline import StageContext
from burnish.policies import Agent, GaussianPolicy, TanhPolicy
from burnish.recipes.stages.refining import inside
from burnish.recipes.stages.training import recorded_features, train
from burnish.rl import IQL, TD3BC, MixedTransitions, Transitions
from burnish.training import TrainingConfig

LearnerName = Literal["td3_bc", "iql"]

# The published learners use Adam without decay and, in practice, without clipping.
OFFLINE = TrainingConfig(steps=20_000, learning_rate=3e-4, weight_decay=0.0, gradient_clip=10.0, ema_decay=None)


@dataclass(frozen=True)
class Offline:
    """What an offline learner learns from.

    Attributes:
        agent: whose observer gives the features.
        features: (F, feature_dim), of every recorded frame.
        transitions: between them, alone or with synthetic ones.
    """

    agent: Agent
    features: Tensor
    transitions: Transitions | MixedTransitions

    @classmethod
    def of(cls, agent: Agent, data: Dataset) -> "Offline":
        """All that was recorded, in decisions of as many actions as the observer takes at once."""
        observer = inside(agent).observer
        features = recorded_features(observer, data)
        return cls(agent, features, Transitions(features, data, observer.action_steps))

    @property
    def sizes(self) -> tuple[int, int]:
        """The sizes of features and of an action."""
        return self.features.shape[1], self.agent.policy.action_dim

    @property
    def chunk(self) -> int:
        """Actions of one decision."""
        return inside(self.agent).observer.action_steps


def learn_td3_bc(context: StageContext, offline: Offline, settings: Mapping[str, Any], seed: int) -> Agent:
    """TD3+BC; states are normalised over all recorded ones, besides the observer's normalisation."""
    torch.manual_seed(seed)
    learned = TanhPolicy(*offline.sizes, replace(settings["td3_bc_policy"], chunk=offline.chunk))
    # The floor is the paper's ε: a dimension that hardly moves must not become the loudest.
    learned.normaliser.fit(offline.features, floor=1e-3)
    train(context, TD3BC(learned, settings["td3_bc"]), offline.transitions, settings["td3_bc_training"], seed)
    return offline.agent.with_policy(learned)


def learn_iql(context: StageContext, offline: Offline, settings: Mapping[str, Any], seed: int) -> Agent:
    """IQL with advantage-weighted extraction of a Gaussian policy."""
    torch.manual_seed(seed)
    learned = GaussianPolicy(*offline.sizes, replace(settings["iql_policy"], chunk=offline.chunk))
    train(context, IQL(learned, settings["iql"]), offline.transitions, settings["iql_training"], seed)
    return offline.agent.with_policy(learned)


LEARNERS = {"td3_bc": learn_td3_bc, "iql": learn_iql}


def advantage_unit(data: Dataset) -> float:
    """The advantage that counts as one where rewards are dense.

    IQL scales the rewards of locomotion so that returns spread over 1000 (arXiv 2110.06169, section 5 and its
    appendix); here rewards stay, and the unit of the advantage is a thousandth of the spread.
    """
    returns = data.judged.episode_return
    spread = float(returns.max() - returns.min())
    return spread / 1000 if spread > 0 else 1.0
