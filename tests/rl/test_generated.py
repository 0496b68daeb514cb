"""Generated trajectories as a rollout: what a learner gets of them, where one ends, and that they go on as saved."""

import pytest
import torch

from burnish.data import STATE
from burnish.errors import InputError, RunError
from burnish.imagination import GuidanceConfig, StartConfig, StartStates
from burnish.imagination.guidance import BAND
from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rl import A2C, A2CConfig, GeneratedExperience
from burnish.rl.generated import _filled
from burnish.world_models import SamplerConfig
from tests.world_models import linear_gaussian as toy

GUIDANCE = GuidanceConfig(sampler=SamplerConfig(steps=12, sigma_max=80.0), scale=0.1)
ROWS = 200


@pytest.fixture(scope="module")
def system():
    data = toy.dataset(end=toy.END)
    return data, toy.learned(data, steps=300)


def policy_of(seed=0):
    torch.manual_seed(seed)
    return GaussianPolicy(2, 1, GaussianPolicyConfig(hidden=(16,)))


def upward():
    """One that pushes both numbers up, the first one over its end."""
    policy = policy_of()
    with torch.no_grad():
        policy.network.head.bias[0] = 1.0
    return policy


def made(system, policy, guidance=GUIDANCE, seed=0, rows=ROWS):
    data, world = system
    frames = torch.arange(data.num_frames)
    starts = StartStates(data, world.recorded(data), frames, StartConfig(episode_start_share=0.1))
    return GeneratedExperience(world, starts, policy, rows, guidance, seed)


def test_what_a_learner_gets(system):
    """T rows of N: steps lead to the next row's features while an episode goes on, and the last is cut off."""
    data, world = system
    policy, generator = upward(), torch.Generator().manual_seed(0)
    experience = made(system, policy)
    assert BAND[0] <= experience.deviation <= BAND[1]
    before = experience.imagined_steps
    rollout = experience.rollout(policy, 4, generator)
    assert experience.imagined_steps == before + ROWS * toy.CONFIG.horizon
    assert rollout.features.shape == (4, ROWS, 2) and rollout.trace.shape == (4, ROWS, 1)
    flat = policy.log_prob(rollout.features.flatten(0, 1), rollout.trace.flatten(0, 1))
    torch.testing.assert_close(rollout.log_prob.flatten(0, 1), flat)
    ended = rollout.terminated | rollout.truncated
    assert rollout.terminated.any() and not (rollout.terminated & rollout.truncated).any() and ended[-1].all()
    assert torch.equal(rollout.features[1:][~ended[:-1]], rollout.next_features[:-1][~ended[:-1]])
    recorded = world.normaliser.normalise(data.observations[STATE])
    assert torch.cdist(rollout.features[0], recorded).amin(1).max() < 1e-3, "begun at recorded frames"
    lives = ~rollout.terminated
    reached = world.normaliser.denormalise(rollout.next_features)
    assert (rollout.reward + reached.square().sum(-1))[lives].abs().mean() < 0.3


def test_slots_after_an_end_hold_single_transitions_of_others():
    """Of two trajectories of three steps the first ends with its first one: two slots are nobody's."""
    number = torch.tensor([[10.0, 11, 12], [20, 21, 22]])
    over = torch.tensor([[True, True, True], [False, False, False]])
    cut = torch.tensor([[False, False, False], [False, False, True]])
    gone = torch.tensor([[False, True, True], [False, False, False]])
    columns = {"number": number, "terminated": over, "truncated": cut}
    for seed in range(20):
        found = _filled(columns, gone, torch.Generator().manual_seed(seed))
        assert torch.equal(found["number"][~gone], number[~gone])
        assert set(found["number"][gone].tolist()) <= {10.0, 20.0, 21.0, 22.0}
        assert torch.equal(found["terminated"], found["number"] == 10) and not found["truncated"][1, :2].any()
        assert (found["terminated"] ^ found["truncated"])[gone].all() and found["truncated"][1, 2]


def test_it_goes_on_from_a_saved_state(system):
    policy, generator = policy_of(), torch.Generator().manual_seed(0)
    one, two = made(system, policy), made(system, policy, seed=9)
    one.rollout(policy, 6, generator)
    state, drawn = one.state_dict(), generator.get_state()
    expected = one.rollout(policy, 6, generator)
    two.load_state_dict(state)
    generator.set_state(drawn)
    found = two.rollout(policy, 6, generator)
    assert torch.equal(found.features, expected.features) and torch.equal(found.trace, expected.trace)
    assert one.scale == two.scale and one.imagined_steps == two.imagined_steps


def test_a_policy_learns_from_them(system):
    """The reward is -|s'|²: A2C raises what a policy that pushes upward earns."""
    policy, generator = upward(), torch.Generator().manual_seed(0)
    experience = made(system, policy)
    a2c = A2C(policy, 2, A2CConfig(rollout_steps=6, policy_learning_rate=3e-2, target_change=0.05, critic_warmup=5))

    def earned():
        return float(experience.rollout(policy, 6, generator).reward.mean())

    before = earned()
    for _ in range(25):
        found = a2c.update(experience, generator)
    assert earned() > before + 0.1 and 0.8 < found["standardised_deviation"] < 1.2


def test_what_cannot_be_generated(system):
    policy = policy_of()
    with pytest.raises(InputError, match=r"rollout_steps: found 7, but world_model\.horizon is 6"):
        made(system, policy, rows=20).rollout(policy, 7, torch.Generator())
    untuned = GuidanceConfig(scale=0.9, tuning_rate=0.0)
    with pytest.raises(RunError, match=r"standardised deviation of 0\.\d+, expected 0.9 to 1.1"):
        made(system, policy, untuned, rows=20)
