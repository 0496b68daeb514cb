"""Small policies of all kinds, in units of their own."""

from dataclasses import replace

import torch
from checkpoints import policy_of

from burnish.data import STATE, ActionScaling
from burnish.policies import Agent, DiffusionPolicy, DiffusionPolicyConfig, GaussianPolicy, GaussianPolicyConfig
from burnish.policies.given import AroundPolicy, ChainPolicy, FeatureView, GivenConfig
from burnish.policies.given.lerobot import ENVIRONMENT
from burnish.world_models import RSSM, RSSM_PRESETS, HistoryConfig, ObservationHistory

UNITS = ActionScaling((-90.0, 0.0), (90.0, 3.0))
READS = {STATE: (0, 2), ENVIRONMENT: (2, 4)}


def history(frames=1):
    observer = ObservationHistory(4, 2, HistoryConfig(frames=4, feature_frames=frames))
    observer.normaliser.mean.copy_(torch.tensor([1.0, -2.0, 0.3, 40.0]))
    observer.normaliser.std.copy_(torch.tensor([1.0, 0.2, 3.0, 9.0]))
    return observer


def disturbed(policy):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return policy


def gaussian(chunk=2, frames=1):
    policy = GaussianPolicy(4 * frames, 2, GaussianPolicyConfig(chunk=chunk, hidden=(16,)))
    return Agent(history(frames), disturbed(policy), "reach", UNITS).eval()


def diffusion():
    config = DiffusionPolicyConfig(chunk=3, denoising_steps=4, fine_tuned_steps=2, width=16)
    return Agent(history(2), disturbed(DiffusionPolicy(8, 2, config)), "reach", UNITS).eval()


def recurrent(cell="gru"):
    torch.manual_seed(0)
    world = RSSM(4, 2, replace(RSSM_PRESETS["tiny"], cell=cell))
    policy = GaussianPolicy(world.feature_dim, 2, GaussianPolicyConfig(chunk=2, hidden=(16,)))
    return Agent(world, disturbed(policy), "reach", UNITS).eval()


def given(kind, frames=1, changes=None, **config):
    observer = history(frames)
    view = FeatureView(4, 2, frames, READS).fit(observer.normaliser, UNITS)
    family = AroundPolicy if kind == "act" else ChainPolicy
    return Agent(
        observer, family(policy_of(kind, scale=60.0, **(changes or {})), view, GivenConfig(**config)), "reach", UNITS
    ).eval()
