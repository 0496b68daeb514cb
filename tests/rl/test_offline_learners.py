"""TD3+BC and IQL: their losses by hand, what moves when, and that they find what cloning of mixed data does not."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.data import STATE
from burnish.errors import InputError
from burnish.policies import GaussianPolicy, GaussianPolicyConfig, TanhPolicy, TanhPolicyConfig
from burnish.rl import IQL, TD3BC, IQLConfig, TD3BCConfig, TransitionBatch, Transitions
from burnish.rl.iql import expectile_loss
from burnish.rl.transitions import TwinCritic, follow
from burnish.training import TrainingConfig, fit
from tests.imagination.counter_world import dataset
from tests.rl.point_mass import mixed_data, success_rate

TRAINING = TrainingConfig(
    steps=1500, batch_size=128, learning_rate=1e-3, weight_decay=0.0, gradient_clip=10.0, ema_decay=None
)


def batch(rows=6, terminal=None):
    torch.manual_seed(5)
    end = torch.zeros(rows, dtype=torch.bool) if terminal is None else torch.tensor(terminal)
    return TransitionBatch(torch.randn(rows, 3), torch.rand(rows, 2) * 2 - 1, end.float(), end, torch.randn(rows, 3))


def td3_bc(seed=0, **settings):
    torch.manual_seed(seed)
    policy = TanhPolicy(3, 2, TanhPolicyConfig(hidden=(8,)))
    policy.normaliser.fit(3 + 2 * torch.randn(50, 3))
    return TD3BC(policy, TD3BCConfig(critic_hidden=(8,), **settings))


def iql(seed=0, **settings):
    torch.manual_seed(seed)
    return IQL(GaussianPolicy(3, 2, GaussianPolicyConfig(hidden=(8,))), IQLConfig(critic_hidden=(8,), **settings))


def weights(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def moved(before, module):
    return any(not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))


# -- the data ----------------------------------------------------------------------------------------------------------


def test_transitions_by_hand():
    """Success from position 1 on; what begins in success, and what has no outcome, is left out."""
    data = dataset([0.0, 0.5, 1.0, 1.5], [0.2, 0.3])
    data.actions.copy_(torch.arange(6).float()[:, None] / 10)
    found = Transitions(10 * data.observations[STATE], data)
    assert found.frames.tolist() == [0, 1, 4]
    assert found.features[:, 0].tolist() == pytest.approx([0, 5, 2])
    assert found.next_features[:, 0].tolist() == pytest.approx([5, 10, 3])
    assert found.action[:, 0].tolist() == pytest.approx([0, 0.1, 0.4])
    assert found.terminal.tolist() == [False, True, False], "the second episode merely stops"
    drawn = found.sample(50, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.reward, drawn.terminal.float())
    assert set(drawn.features[:, 0].tolist()) == {0.0, 5.0, 2.0}


def test_transitions_of_chunks():
    """A chunk of two that passes through success has succeeded; it leads two frames on."""
    data = dataset([0.0, 0.5, 1.0, 0.9, 0.8], [0.1, 0.2, 0.3])
    data.actions.copy_(torch.arange(8).float()[:, None])
    found = Transitions(data.observations[STATE], data, chunk=2)
    assert found.frames.tolist() == [0, 1, 5], "the frame of success begins nothing"
    assert found.action.tolist() == [[0, 1], [1, 2], [5, 6]]
    assert found.next_features[:, 0].tolist() == pytest.approx([1.0, 0.9, 0.3])
    assert found.terminal.tolist() == [True, True, False]


def test_transitions_with_rewards_by_hand():
    """Sums over the chunk; the second episode terminates at its last frame, the first merely stops; none succeeds."""
    data = dataset([0.0, 0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
    reward = torch.tensor([0.0, 1.0, 2.0, 4.0, 0.0, -1.0, 8.0])
    data = replace(data, reward=reward, terminated=torch.tensor([False] * 6 + [True]))
    found = Transitions(data.observations[STATE], data, chunk=2)
    assert found.frames.tolist() == [0, 1, 4]
    assert found.reward.tolist() == [3, 6, 7] and found.terminal.tolist() == [False, False, True]
    drawn = found.rows(torch.tensor([2, 0]))
    assert drawn.reward.tolist() == [7, 3] and drawn.terminal.tolist() == [True, False]
    assert not Transitions(data.observations[STATE], replace(data, terminated=None)).terminal.any()


def test_nothing_succeeds():
    data = dataset([0.0, 0.5])
    with pytest.raises(InputError, match="without a single success"):
        Transitions(data.observations[STATE], data)


# -- targets -----------------------------------------------------------------------------------------------------------


def test_follow_by_hand():
    old, new = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    with torch.no_grad():
        for module, value in ((old, 2.0), (new, 6.0)):
            module.weight.fill_(value)
            module.bias.fill_(-value)
    follow(old, new, 0.25)
    assert (old.weight.item(), old.bias.item()) == (3.0, -3.0)
    assert new.weight.item() == 6.0


def test_the_critics_are_two():
    torch.manual_seed(0)
    critic = TwinCritic(3, 2, (8,))
    value = critic(torch.randn(5, 3), torch.randn(5, 2))
    assert value.shape == (2, 5) and not torch.allclose(value[0], value[1])


# -- TD3+BC ------------------------------------------------------------------------------------------------------------


def test_td3_bc_target_by_hand():
    """Without noise: r + γ (1 - d) min Q'; with it, the action stays within 0.5 of the policy's, and within [-1, 1]."""
    learner, b = td3_bc(policy_noise=0.0, gamma=0.9), batch(terminal=[False, True, False, False, True, False])
    action = learner.target_policy.action(b.next_features)
    value = learner.target_critic(learner.policy.normaliser.normalise(b.next_features), action)
    expected = b.reward + 0.9 * torch.where(b.terminal, 0.0, value.amin(0))
    torch.testing.assert_close(learner.target(b), expected)
    assert learner.target(b)[1] == 1 and learner.target(b)[4] == 1, "success is worth 1, and nothing follows it"


def test_td3_bc_target_smoothing_is_bounded(monkeypatch):
    learner, b = td3_bc(policy_noise=5.0, noise_clip=0.5), batch(500)
    seen = []
    monkeypatch.setattr(learner.target_critic, "forward", lambda x, a: seen.append(a) or torch.zeros(2, len(a)))
    learner.target(b)
    action = learner.target_policy.action(b.next_features)
    assert (seen[0].abs() <= 1).all()
    shift = (seen[0] - action).abs()
    assert shift.max() <= 0.5 + 1e-6 and (shift > 0.4).any()


def test_td3_bc_policy_loss_by_hand():
    """λ = α / mean |Q₁|, and mean squared error; no gradient reaches the critic, and λ has none."""
    learner, b = td3_bc(), batch()
    action = learner.policy.action(b.features)
    value = learner.critic(learner.policy.normaliser.normalise(b.features), action)[0]
    weight = 2.5 / float(value.detach().abs().mean())
    expected = -weight * value.mean() + (action - b.action).square().mean()
    loss, metrics = learner.policy_loss(b)
    torch.testing.assert_close(loss, expected)
    assert float(metrics["lambda"]) == pytest.approx(weight)
    loss.backward()
    assert all(parameter.grad is None for parameter in learner.critic.parameters())
    found = [parameter.grad.clone() for parameter in learner.policy.parameters()]
    wanted = torch.autograd.grad(expected, list(learner.policy.parameters()))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_td3_bc_moves_the_policy_every_second_time():
    """And the targets right before the next loss, by the share 0.005."""
    learner = td3_bc(policy_delay=2)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.01, weight_decay=0.1)
    for call in range(1, 6):
        before = {name: weights(getattr(learner, name)) for name in ("policy", "critic", "target_critic")}
        loss, _ = learner.loss(batch())
        assert moved(before["target_critic"], learner.target_critic) == (call in (3, 5))
        if call == 3:
            for old, new, found in zip(
                before["target_critic"], weights(learner.critic), weights(learner.target_critic), strict=True
            ):
                torch.testing.assert_close(found, 0.995 * old + 0.005 * new)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        assert moved(before["critic"], learner.critic)
        assert moved(before["policy"], learner.policy) == (call % 2 == 0)


# -- IQL ---------------------------------------------------------------------------------------------------------------


def test_expectile_loss_by_hand():
    """u = 2 and -1: 0.9 · 4 and 0.1 · 1."""
    assert float(expectile_loss(torch.tensor([2.0, -1.0]), 0.9)) == pytest.approx((3.6 + 0.1) / 2)


@given(st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=20))
def test_half_is_the_mean(values):
    """The 0.5-expectile is the mean: the loss's slope there is zero; higher ones lie above it."""
    data = torch.tensor(values, dtype=torch.float64)
    centre = data.mean().clone().requires_grad_(True)
    expectile_loss(data - centre, 0.5).backward()
    assert abs(float(centre.grad)) < 1e-9
    centre.grad = None
    expectile_loss(data - centre, 0.9).backward()
    assert float(centre.grad) <= 1e-9


def test_iql_losses_by_hand():
    learner, b = iql(gamma=0.9, expectile=0.7), batch(terminal=[False, True, False, False, True, False])
    loss, metrics = learner.loss(b)
    best = torch.minimum(*learner.target_critic(b.features, b.action))
    value, following = learner.value(b.features)[:, 0], learner.value(b.next_features)[:, 0]
    difference = best - value
    expected_value = (torch.where(difference < 0, 0.3, 0.7) * difference**2).mean()
    target = b.reward + 0.9 * torch.where(b.terminal, 0.0, following)
    one, two = learner.critic(b.features, b.action)
    expected_critic = ((one - target) ** 2).mean() + ((two - target) ** 2).mean()
    weight = (3.0 * difference / (1 - 0.9)).exp().clamp(max=100)
    expected_policy = -(weight * learner.policy.log_prob(b.features, b.action)[:, 0]).mean()
    torch.testing.assert_close(metrics["loss/value"], expected_value)
    torch.testing.assert_close(metrics["loss/critic"], expected_critic)
    torch.testing.assert_close(metrics["loss/policy"], expected_policy)
    torch.testing.assert_close(loss, expected_value + expected_critic + expected_policy)


def test_iql_gradients_go_to_their_own_network():
    """Each network's gradient is that of its own loss alone, with everything else held fixed."""
    learner, b = iql(), batch()
    learner.loss(b)[0].backward()
    value = learner.value(b.features)[:, 0]
    with torch.no_grad():
        best = torch.minimum(*learner.target_critic(b.features, b.action))
        target = b.reward + learner.discount * learner.value(b.next_features)[:, 0]
    own = {
        "value": expectile_loss(best - value, 0.9),
        "critic": (learner.critic(b.features, b.action) - target).square().mean(1).sum(),
        "policy": -(learner.weight(best - value.detach()) * learner.policy.log_prob(b.features, b.action)[:, 0]).mean(),
    }
    for name, loss in own.items():
        parameters = list(getattr(learner, name).parameters())
        for found, wanted in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            torch.testing.assert_close(found.grad, wanted)
    assert all(parameter.grad is None for parameter in learner.target_critic.parameters())


def test_iql_weight_by_hand():
    """One step earlier of a hundred is an advantage of 0.01 at success, a hundredth of what -1 a step would give."""
    learner = iql(gamma=0.99, beta=3.0)
    weight = learner.weight(torch.tensor([0.0, 0.01, -0.01, 1.0]))
    assert weight.tolist() == pytest.approx([1, math.exp(3), math.exp(-3), 100], rel=1e-4)
    weight = iql(gamma=0.99, beta=3.0, advantage_unit=2.0).weight(torch.tensor([0.0, 1.0]))
    assert weight.tolist() == pytest.approx([1, math.exp(1.5)], rel=1e-4), "rewards of their own"


# -- learning ----------------------------------------------------------------------------------------------------------


def learner_of(name, data):
    torch.manual_seed(0)
    if name == "iql":
        return IQL(GaussianPolicy(1, 1, GaussianPolicyConfig(hidden=(32, 32))), IQLConfig(critic_hidden=(32, 32)))
    policy = TanhPolicy(1, 1, TanhPolicyConfig(hidden=(32, 32)))
    policy.normaliser.fit(data.observations[STATE])
    return TD3BC(policy, TD3BCConfig(critic_hidden=(32, 32), polyak=0.02))


class Pairs:
    """For cloning: features and chunks."""

    def __init__(self, transitions):
        self.transitions = transitions

    def sample(self, batch_size, generator):
        drawn = self.transitions.sample(batch_size, generator)
        return drawn.features, drawn.action[:, None]


@pytest.mark.parametrize("name", ["td3_bc", "iql"])
def test_better_than_cloning_the_mixed_data(name, tmp_path):
    data = mixed_data()
    assert data.episode_success.float().mean() < 0.3
    transitions = Transitions(data.observations[STATE], data)
    torch.manual_seed(0)
    cloned = TanhPolicy(1, 1, TanhPolicyConfig(hidden=(32, 32)))
    fit(cloned, Pairs(transitions), TRAINING, tmp_path / "bc", 0)
    learner = learner_of(name, data)
    fit(learner, transitions, TRAINING, tmp_path / name, 0)
    assert success_rate(cloned) < 0.5
    assert success_rate(learner.policy) > 0.9


@pytest.mark.parametrize("name", ["td3_bc", "iql"])
def test_resumed_equals_uninterrupted(name, tmp_path):
    """Targets and the count of updates come back as well."""
    transitions = Transitions(mixed_data(40).observations[STATE], mixed_data(40))
    short = replace(TRAINING, steps=21, batch_size=16, checkpoint_seconds=0.0, log_every=1)

    class Stop(Exception):
        pass

    def stop(step, metrics):
        if step == 12:
            raise Stop

    whole = learner_of(name, mixed_data(40))
    fit(whole, transitions, short, tmp_path / "whole", 0)
    with pytest.raises(Stop):
        fit(learner_of(name, mixed_data(40)), transitions, short, tmp_path / "parts", 0, on_step=stop)
    resumed = learner_of(name, mixed_data(40))
    fit(resumed, transitions, short, tmp_path / "parts", 0)
    assert resumed.updates == whole.updates == 21
    for (key, one), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), key
