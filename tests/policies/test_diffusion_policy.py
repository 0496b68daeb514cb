"""The diffusion policy's numbers by hand: schedule, sampling steps, log-probabilities, discounts and clip range."""

import math
from dataclasses import replace

import pytest
import torch

from burnish.errors import InputError
from burnish.policies import DiffusionPolicy, DiffusionPolicyConfig
from burnish.policies.denoising import (
    clip_schedule,
    cosine_signal,
    denoising_discounts,
    diffusion_steps,
    flow_steps,
)

SMALL = DiffusionPolicyConfig(chunk=2, denoising_steps=6, fine_tuned_steps=3, width=16, depth=1)
PROCESSES = ["diffusion", "flow"]


def make(config=SMALL, feature_dim=3, action_dim=2, noisy=True):
    torch.manual_seed(0)
    policy = DiffusionPolicy(feature_dim, action_dim, config)
    if noisy:  # the head starts at zero
        for parameter in policy.network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    policy.begin_refinement()
    return policy


def test_cosine_signal_by_hand():
    """ᾱ_k = cos²((k/K + s)/(1 + s) · π/2) / cos²(s/(1 + s) · π/2), with s = 0.008 and β at most 0.999."""
    f = [math.cos((k / 4 + 0.008) / 1.008 * math.pi / 2) ** 2 for k in range(5)]
    expected = [f[1] / f[0], f[2] / f[0], f[3] / f[0], f[3] / f[0] * 0.001]
    assert cosine_signal(4).tolist() == pytest.approx(expected, rel=1e-9)


def test_full_sampling_is_the_ddpm_posterior():
    """With all steps, mean and variance are those of q(x_{t-1} | x_t, x̂_0) (DDPM, Eqs. 6 and 7)."""
    signal = cosine_signal(20)
    found = diffusion_steps(20, 20)
    previous = torch.cat([torch.ones(1, dtype=torch.float64), signal[:-1]])
    alpha = signal / previous
    beta = 1 - alpha
    torch.testing.assert_close(found["std"].flip(0).square(), beta * (1 - previous) / (1 - signal))
    torch.testing.assert_close(found["mean_of_clean"].flip(0), beta * previous.sqrt() / (1 - signal))
    torch.testing.assert_close(found["mean_of_x"].flip(0), (1 - previous) * alpha.sqrt() / (1 - signal))
    assert found["level"].tolist() == pytest.approx([k / 20 for k in range(20, 0, -1)])


def test_fewer_steps_take_every_other_level_and_end_at_the_clean_action():
    found = diffusion_steps(10, 5)
    assert len(found["level"]) == 5 and found["level"][0] == 1
    assert found["std"][-1] == 0 and found["mean_of_x"][-1] == 0 and found["mean_of_clean"][-1] == 1


def test_flow_steps_by_hand():
    """From t = 1, 2/3, 1/3 to the next; x + (t' - t) v with v = (x - clean) / t, clean = x - t v."""
    found = flow_steps(3, 3)
    assert found["level"].tolist() == found["clean_of_output"].tolist() == pytest.approx([1, 2 / 3, 1 / 3])
    assert found["clean_of_x"].tolist() == [1, 1, 1] and found["std"].tolist() == [0, 0, 0]
    assert found["mean_of_x"].tolist() == pytest.approx([2 / 3, 1 / 2, 0])
    assert found["mean_of_clean"].tolist() == pytest.approx([1 / 3, 1 / 2, 1])
    x, velocity, time, target = 0.3, 0.8, 2 / 3, 1 / 3
    clean = x - time * velocity
    assert clean * (1 - target / time) + x * target / time == pytest.approx(x + (target - time) * velocity)


def test_a_flow_follows_a_straight_line_whatever_the_number_of_steps():
    """The true velocity towards (0.5, -0.5, …): every chain ends there, but for the noise of the last step."""
    goal = torch.tensor([0.5, -0.5, 0.25, 0.0])

    class Straight(torch.nn.Module):
        def embed_context(self, features):
            return features

        def forward(self, x, level, context):
            return (x - goal) / level.unsqueeze(-1)

    for steps in (6, 2, 1):
        policy = make(replace(SMALL, process="flow", sampling_steps=steps, fine_tuned_steps=1, min_sampling_std=0.0))
        for name in ("network", "pretrained"):
            policy.register_module(name, Straight())
        found = policy.act(torch.zeros(3, 3), False, torch.Generator().manual_seed(0)).action_chunk
        torch.testing.assert_close(found, goal.view(1, 2, 2).expand(3, 2, 2))


def test_log_prob_of_a_flow_by_hand():
    """Mean over the chunk of log N(x_{i+1}; x_i - v / 6, 0.1²) where the clean chunk is within its range."""
    policy = make(replace(SMALL, process="flow"))
    features, trace = torch.randn(2, 3), 0.2 * torch.randn(2, 4, 2, 2)
    found = policy.log_prob(features, trace)
    compared = 0
    for row in range(2):
        for i, k in enumerate((3, 2, 1)):
            x, following = trace[row, i].flatten(), trace[row, i + 1].flatten()
            context = policy.network.embed_context(features[row : row + 1])
            velocity = policy.network(x[None], torch.tensor([k / 6]), context)[0]
            if (x - k / 6 * velocity).abs().max() < 1:
                element = torch.distributions.Normal(x - velocity / 6, 0.1).log_prob(following).clamp(-5, 2)
                assert found[row, i].item() == pytest.approx(element.mean().item(), abs=1e-4)
                compared += 1
    assert compared > 2


def test_denoising_discounts_and_clip_schedule_by_hand():
    assert denoising_discounts(3, 0.9).tolist() == pytest.approx([0.81, 0.9, 1.0])
    middle = 0.1 + 0.9 * (math.exp(1.5) - 1) / (math.exp(3) - 1)
    assert clip_schedule(3, 0.1, 3.0).tolist() == pytest.approx([0.1, middle, 1.0])
    assert clip_schedule(1, 0.1, 3.0).tolist() == [1.0]


def test_log_prob_by_hand():
    """Mean over the chunk of log N(x_{i+1}; μ_i(x_i), max(σ_i, 0.1)²), each element clamped to [-5, 2]."""
    policy = make()
    features = torch.randn(2, 3)
    trace = torch.randn(2, 4, 2, 2)
    found = policy.log_prob(features, trace)
    assert found.shape == (2, 3)
    signal = cosine_signal(6).float()
    for row in range(2):
        for i, k in enumerate((3, 2, 1)):  # the last three of steps 6 … 1
            x, following = trace[row, i].flatten(), trace[row, i + 1].flatten()
            context = policy.network.embed_context(features[row : row + 1])
            noise = policy.network(x[None], torch.tensor([k / 6]), context)[0]
            here, target = signal[k - 1], signal[k - 2] if k > 1 else torch.tensor(1.0)
            clean = ((x - (1 - here).sqrt() * noise) / here.sqrt()).clamp(-1, 1)
            beta = 1 - here / target
            mean = beta * target.sqrt() / (1 - here) * clean + (1 - target) * (1 - beta).sqrt() / (1 - here) * x
            std = max(math.sqrt(beta * (1 - target) / (1 - here)), 0.1)
            element = torch.distributions.Normal(mean, std).log_prob(following).clamp(-5, 2)
            assert found[row, i].item() == pytest.approx(element.mean().item(), abs=1e-4)


def test_the_trace_is_the_chain_and_ends_in_the_action():
    policy = make()
    decision = policy.act(torch.randn(5, 3), False, torch.Generator().manual_seed(1))
    assert decision.trace.shape == (5, 4, 2, 2) and decision.action_chunk.shape == (5, 2, 2)
    assert torch.equal(decision.trace[:, -1].clamp(-1, 1), decision.action_chunk)


@pytest.mark.parametrize("process", PROCESSES)
def test_every_step_of_a_sampled_chain_is_as_noisy_as_it_says(process):
    """Standardised residuals of 4000 chains have unit variance at every step (noise is clamped at 3 σ)."""
    policy = make(replace(SMALL, process=process))
    features = torch.zeros(4000, 3)
    trace = policy.act(features, False, torch.Generator().manual_seed(2)).trace.flatten(2)
    tuned = slice(3, 6)
    mean = policy._mean(policy.network, trace[:, :-1], tuned, policy.network.embed_context(features).unsqueeze(1))
    residual = (trace[:, 1:] - mean) / policy.std[tuned].clamp(min=0.1).unsqueeze(-1)
    assert residual.std((0, 2)).tolist() == pytest.approx([1, 1, 1], abs=0.04)
    assert residual.mean((0, 2)).abs().max() < 0.05


def test_refinement_changes_the_last_steps_only():
    """The chain's first stored element comes from the pretrained network, whatever the tuned one has become."""
    policy = make()
    features = torch.randn(3, 3)
    before = policy.act(features, False, torch.Generator().manual_seed(1)).trace
    with torch.no_grad():
        for parameter in policy.network.parameters():
            parameter.add_(0.1)
    after = policy.act(features, False, torch.Generator().manual_seed(1)).trace
    assert torch.equal(before[:, 0], after[:, 0]) and not torch.allclose(before[:, 1:], after[:, 1:])
    assert not any(p.requires_grad for p in policy.pretrained.parameters())


@pytest.mark.parametrize("process", PROCESSES)
def test_cloning_learns_a_two_valued_target(process):
    """What a Gaussian cannot: two opposite chunks for the same features; samples are near one or the other."""
    torch.manual_seed(0)
    config = DiffusionPolicyConfig(chunk=1, denoising_steps=10, fine_tuned_steps=5, width=64, depth=1, process=process)
    policy = DiffusionPolicy(1, 1, config)
    optimizer = torch.optim.Adam(policy.network.parameters(), lr=3e-3)
    for _ in range(400):
        action = torch.randint(2, (256, 1, 1)).float() * 1.2 - 0.6
        loss, _ = policy.loss((torch.zeros(256, 1), action))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    policy.begin_refinement()
    sampled = policy.act(torch.zeros(500, 1), False, torch.Generator().manual_seed(0)).action_chunk.flatten()
    near = (sampled.abs() - 0.6).abs() < 0.3
    assert near.float().mean() > 0.9
    assert 0.3 < (sampled > 0).float().mean() < 0.7


@pytest.mark.parametrize("wrong", [{"fine_tuned_steps": 7}, {"sampling_steps": 7}, {"fine_tuned_steps": 0}])
def test_impossible_numbers_of_steps_are_refused(wrong):
    with pytest.raises(InputError, match="denoising_steps 6"):
        make(DiffusionPolicyConfig(**{**vars(SMALL), **wrong}))


def test_an_unknown_process_is_refused():
    with pytest.raises(InputError, match="found process 'magic', expected diffusion or flow"):
        make(replace(SMALL, process="magic"))
