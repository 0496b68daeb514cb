"""Policy-guided denoising: a linear-Gaussian system whose on-policy moments are known, and each safeguard by itself."""

from dataclasses import replace

import pytest
import torch

from burnish.config import from_dict, to_dict
from burnish.data import STATE
from burnish.errors import InputError, RunError
from burnish.imagination import GuidanceConfig, guided
from burnish.imagination.guidance import BAND, check_deviation, check_scored, tuned
from burnish.policies import DiffusionPolicy, DiffusionPolicyConfig, GaussianPolicy, GaussianPolicyConfig
from burnish.world_models import SamplerConfig
from tests.world_models import linear_gaussian as toy

ROWS = 1500
POLICIES = {"gentle": ((-0.2, -0.5), 0.15), "firm": ((-0.5, -0.7), 0.3)}


@pytest.fixture(scope="module")
def world():
    """Of the causal network."""
    return toy.learned(toy.dataset(), replace(toy.CONFIG, network="causal", width=48, depth=3), steps=500)


def starts(world, generator, rows=ROWS):
    start = 0.8 * torch.randn(rows, 2, generator=generator)
    return start, world.observe(world.initial(rows), None, {STATE: start})


def tuned_scale(world, policy, config, generator):
    """The scale after twenty passes of tuning."""
    scale = torch.tensor(config.scale)
    for _ in range(20):
        _, states = starts(world, generator, 100)
        scale = tuned(scale, guided(world, states, policy, config, scale, generator).deviation, config)
    return scale


@pytest.mark.parametrize("name", POLICIES)
def test_guided_samples_have_the_moments_of_the_policy(world, name):
    """Deviations of states and actions within 10 % at every step, actions standardised to 0.9 … 1.1, their correlation
    with the state within 0.08 of the policy's in the mean, and the states are those that the actions lead to."""
    generator = torch.Generator().manual_seed(1)
    config = GuidanceConfig(sampler=SamplerConfig(steps=32, sigma_max=80.0), scale=0.05)
    policy = toy.LinearPolicy(*POLICIES[name], world.normaliser)
    scale = tuned_scale(world, policy, config, generator)
    start, states = starts(world, generator)
    found = guided(world, states, policy, config, scale, generator)
    reached = world.normaliser.denormalise(found.features)
    true_states, true_actions = toy.on_policy(policy, start, toy.CONFIG.horizon, generator)
    assert BAND[0] <= float(found.deviation) <= BAND[1]
    torch.testing.assert_close(reached.std(0), true_states.std(0), rtol=0.1, atol=0)
    torch.testing.assert_close(found.action.std(0), true_actions.std(0), rtol=0.1, atol=0)
    correlations = []
    for step in range(toy.CONFIG.horizon):
        mine, theirs = (
            torch.corrcoef(torch.cat([action[:, step], state[:, step]], 1).t())[0, 1:]
            for action, state in ((found.action, reached), (true_actions, true_states))
        )
        correlations.append((mine - theirs).abs().max())
    assert max(correlations) < 0.2 and sum(correlations) / len(correlations) < 0.08
    replayed = start
    for step in range(toy.CONFIG.horizon):
        replayed = replayed @ toy.A.T + found.action[:, step].clamp(-1, 1) @ toy.B.T
        assert (replayed - reached[:, step + 1]).square().mean().sqrt() < 0.08
    assert (found.reward + reached[:, 1:].square().sum(-1)).abs().mean() < 0.1 and not found.over.any()
    assert torch.equal(found.features[:, 0], states.observation), "in-painted"


def test_without_guidance_actions_are_not_the_policy_s(world):
    """They stay draws for the first state: later ones lie too far from the policy's mean."""
    generator, policy = torch.Generator().manual_seed(1), toy.LinearPolicy(*POLICIES["gentle"], world.normaliser)
    _, states = starts(world, generator)
    found = guided(world, states, policy, GuidanceConfig(mode="none"), 0.05, generator)
    assert found.standardised[:, 0].std() == pytest.approx(1, abs=0.05) and found.standardised[:, -1].std() > 1.2


class Anywhere:
    """A denoiser that believes what it is told: clean entries are `there`, whatever the actions."""

    action_dim, entry, observation_dim = 1, 3, 1
    feature_dim = 1

    def __init__(self, there=0.0, horizon=2):
        self.there, self.config = there, toy.TrajectoryConfig(horizon=horizon, width=8)

    def context(self, first, action, known):
        return None

    def denoise(self, x, sigma, context):
        return torch.full_like(x, self.there)

    def bounded(self, entries):
        return entries

    def state(self, entries):
        return toy.TrajectoryDenoiser(1, 1, self.config).state(entries)

    def features(self, state):
        return state.observation

    def ended(self, state):
        return state.over > 0


class Standing:
    """N(0, 1) everywhere."""

    def distribution(self, features):
        return torch.zeros_like(features), torch.ones_like(features)


def passed(config, scale, world=None, rows=4000):
    world = world or Anywhere()
    states = toy.TrajectoryDenoiser(1, 1, world.config).initial(rows)
    return guided(world, states, Standing(), config, scale, torch.Generator().manual_seed(0))


def test_actions_by_hand():
    """Levels 2 → 1 → 0, one guided step of scale s: u' = (1 - s) u + b ε with DDPM's b² = β̃ = (1 - ᾱ') / (1 - ᾱ) ·
    (1 - ᾱ / ᾱ'), here ᾱ = 1/5 and ᾱ' = 1/2: b² = 5/8 · 3/5 = 3/8."""
    config = GuidanceConfig(sampler=SamplerConfig(steps=2, sigma_max=2.0, sigma_min=1.0), clip_std=50.0)
    for scale in (0.1, 0.9):
        expected = ((1 - scale) ** 2 + 3 / 8) ** 0.5
        assert float(passed(config, scale).deviation) == pytest.approx(expected, rel=0.03)


def test_no_action_lies_beyond_the_clip():
    free, clipped = (passed(GuidanceConfig(clip_std=most), 0.01) for most in (50.0, 0.5))
    assert clipped.standardised.abs().max() <= 0.5 < 2 < free.standardised.abs().max()


def test_changes_are_clipped_on_the_last_levels():
    """All levels lie below 1, so an entry that wants to 9 moves by a quarter at each of four levels at most."""
    sampler = SamplerConfig(steps=4, sigma_max=0.9, sigma_min=0.001)
    free = GuidanceConfig(sampler=sampler, clip_below=0.0)
    assert passed(free, 0.05, Anywhere(9.0)).features[:, 1:].mean() == pytest.approx(9.0)
    clipped = replace(free, clip_below=1.0)
    assert passed(clipped, 0.05, Anywhere(9.0)).features[:, 1:].mean() == pytest.approx(1.0, abs=0.05)


def test_the_scale_is_tuned_on_its_logarithm():
    """20 % too wide at a rate of 1: times e^0.2; far too wide: at most e^0.5; a rate of 0: as it was."""
    scale, config = torch.tensor(0.1), GuidanceConfig(tuning_rate=1.0)
    assert float(tuned(scale, torch.tensor(1.2), config)) == pytest.approx(0.1 * 2.718281828**0.2)
    assert float(tuned(scale, torch.tensor(9.0), config)) == pytest.approx(0.1 * 2.718281828**0.5)
    assert tuned(scale, torch.tensor(1.2), replace(config, tuning_rate=0.0)) == scale


@pytest.mark.parametrize(
    ("deviation", "told"), [(0.4, "a smaller .*scale than 0.9"), (1.4, "a larger")], ids=["narrow", "wide"]
)
def test_actions_of_another_spread_are_told(deviation, told):
    with pytest.raises(RunError, match=told):
        check_deviation(deviation, GuidanceConfig(scale=0.9))
    check_deviation(deviation, GuidanceConfig(mode="none"))


def test_policies_that_guidance_cannot_follow():
    with pytest.raises(InputError, match="found a DiffusionPolicy, which has no mean"):
        check_scored(DiffusionPolicy(2, 1, DiffusionPolicyConfig(width=16)))
    with pytest.raises(InputError, match=r"policy\.chunk: found 2, expected 1"):
        check_scored(GaussianPolicy(2, 1, GaussianPolicyConfig(chunk=2)))


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"scale": 5.0}, "scale"), ({"sampler": SamplerConfig(method="heun")}, "expected 'euler'")],
    ids=["large", "heun"],
)
def test_impossible_guidance(settings, told):
    with pytest.raises(InputError, match=told):
        from_dict(GuidanceConfig, to_dict(settings), "guidance")
