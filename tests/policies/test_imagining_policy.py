"""The policy that imagines what follows from its proposal: rounds, what they see, and what it learns from that."""

import dataclasses

import pytest
import torch

from burnish.errors import InputError
from burnish.networks import Denoised, InteractiveDiTConfig
from burnish.policies import DiffusionPolicyConfig, ImaginingPolicy, ImaginingPolicyConfig, spread
from burnish.training import TrainingConfig, fit
from burnish.world_models import HistoryConfig, LatentDiffusion, LatentDiffusionConfig, ObservationHistory

ACTIONS, LATENTS, HORIZON = 2, 3, 4
DENOISER = DiffusionPolicyConfig(chunk=HORIZON, denoising_steps=6, fine_tuned_steps=3, width=32)
CONFIG = ImaginingPolicyConfig(DENOISER, executed=2, rounds=2)


def world(scale=0.3):
    torch.manual_seed(0)
    history = ObservationHistory(LATENTS, ACTIONS, HistoryConfig(frames=2, feature_frames=2, inertia=False))
    config = LatentDiffusionConfig(HORIZON, sampling_steps=2, network=InteractiveDiTConfig(width=8, depth=2, heads=2))
    made = LatentDiffusion(history, ((1, 1), (1, 2)), config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return made


def policy_of(config=CONFIG, scale=0.1, of=None):
    policy = ImaginingPolicy(of or world(), config)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.denoiser.network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    policy.begin_refinement()
    return policy.eval()


def features(rows=6):
    return torch.rand(rows, 2 * LATENTS, generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_each_round_sees_what_follows_from_the_proposal_before():
    policy, x = policy_of(), features()
    decision = policy.act(x, True, None)
    told, chunk = torch.zeros(6, policy.told_dim), None
    for _ in range(3):
        if chunk is not None:
            told = torch.cat([policy.world.foresee(x, chunk, True).flatten(1), torch.ones(6, 1)], dim=1)
        chunk = policy.denoiser.act(torch.cat([x, told], dim=1), True, None).action_chunk
    assert torch.equal(decision.action_chunk, chunk[:, :2]) and policy.told_dim == HORIZON * LATENTS + 1
    torch.testing.assert_close(decision.trace[:, -policy.told_dim :], told)


def test_without_rounds_nothing_is_imagined():
    policy = policy_of(dataclasses.replace(CONFIG, rounds=0))
    policy.world.network = None  # whoever asked it would fail
    assert not policy.act(features(), False, torch.Generator()).trace[:, -policy.told_dim :].any()


def test_another_number_of_rounds_has_the_same_weights():
    policy = policy_of()
    other = policy.with_rounds(0)
    assert other.config.rounds == 0 and other.world is policy.world
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), other.parameters(), strict=True))
    assert not torch.equal(
        policy.act(features(), True, None).action_chunk, other.act(features(), True, None).action_chunk
    )


def test_the_world_model_is_no_part_of_what_learns(tmp_path):
    policy, before = policy_of(), {name: each.clone() for name, each in world().state_dict().items()}
    assert not any("world" in name for name in policy.state_dict())
    fit(policy, Follows(policy.world), TrainingConfig(steps=5, batch_size=8), tmp_path, 0)
    assert all(torch.equal(each, before[name]) for name, each in policy.world.state_dict().items())


class Follows:
    """Chunks of any actions, from features that say nothing of them: only imagination could tell."""

    def __init__(self, of):
        self.of = of

    def sample(self, batch_size, generator):
        chunk = (
            torch.rand(batch_size, HORIZON, ACTIONS, generator=generator).mul(2).sub(1)[:, :1].expand(-1, HORIZON, -1)
        )
        return torch.zeros(batch_size, 2 * LATENTS), chunk


class MovesWithActions(torch.nn.Module):
    """A world that is known: latents change by the action's two numbers and by their difference."""

    def memory(self, past):
        return past

    def forward(self, x, level, action, memory):
        clean = torch.cat([action, action[..., :1] - action[..., 1:]], dim=-1)
        t = level.view(-1, 1, 1)
        return Denoised(clean, clean, (x - (1 - t) * clean) / t)


def test_it_learns_to_read_its_imagination(tmp_path):
    """Told what a chunk leads to, it proposes that chunk; of another one, another."""
    exact = world()
    exact.network = MovesWithActions()
    policy = policy_of(dataclasses.replace(CONFIG, feature_noise=0.0, unguided_share=0.2), of=exact)
    fit(policy, Follows(policy.world), TrainingConfig(steps=200, batch_size=64, learning_rate=3e-3), tmp_path, 0)
    policy.eval().begin_refinement()
    x, chunk = Follows(None).sample(64, torch.Generator().manual_seed(9))
    told = policy.foreseen(x, chunk, True)
    guided = policy.denoiser.act(torch.cat([x, told], dim=1), True, None).action_chunk
    blind = policy.denoiser.act(torch.cat([x, torch.zeros_like(told)], dim=1), True, None).action_chunk
    assert (guided - chunk).square().mean() < 0.5 * (blind - chunk).square().mean()


def test_spread_by_hand():
    """Decisions that repeat have none; those of a fresh denoiser, of clamped noise, have one."""
    policy = policy_of(scale=0.0)
    found = spread(policy, features(), 16, 0)
    assert found.shape == (6,) and (found > 0.2).all()

    class Same(torch.nn.Module):
        def act(self, x, deterministic, generator):
            return policy.act(x, True, None)

    assert not spread(Same(), features(), 4, 0).any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"config.policy.executed is 5, expected at most denoiser.chunk = 4"):
        ImaginingPolicyConfig(DENOISER, executed=5)
    longer = ImaginingPolicyConfig(dataclasses.replace(DENOISER, chunk=5))
    with pytest.raises(InputError, match=r"denoiser.chunk is 5, expected at most config.world_model.frames = 4"):
        ImaginingPolicy(world(), longer)
