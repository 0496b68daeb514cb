"""Fitted Q evaluation: its loss by hand, and values on a line where the truth can be counted."""

import math
from dataclasses import replace

import pytest
import torch

from burnish.data import STATE
from burnish.errors import InputError
from burnish.evaluation.off_policy import (
    FittedQ,
    FollowedBatch,
    FollowedTransitions,
    FQEConfig,
    OffPolicyValue,
    compare_off_policy,
    decisions,
    evaluate_off_policy,
)
from burnish.policies import TanhPolicy, TanhPolicyConfig
from burnish.training import fit
from tests.imagination.counter_world import dataset
from tests.rl.point_mass import GOAL, STEP, mixed_data

CONFIG = FQEConfig(members=3, hidden=(32, 32), gamma=0.9, steps=1000, batch_size=128, learning_rate=2e-3)


def going(action: float, chunk: int = 1) -> TanhPolicy:
    """The policy that always does the same."""
    policy = TanhPolicy(1, 1, TanhPolicyConfig(chunk=chunk, hidden=(8,)))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
        list(policy.parameters())[-1].fill_(math.atanh(action))
    return policy.eval()


def batch(rows=6, terminal=None, weight=None):
    generator = torch.Generator().manual_seed(5)
    end = torch.zeros(rows, dtype=torch.bool) if terminal is None else torch.tensor(terminal)
    action, next_action = torch.rand(2, rows, 2, generator=generator) * 2 - 1
    return FollowedBatch(
        torch.randn(rows, 3, generator=generator),
        action,
        end.float(),
        end,
        torch.randn(rows, 3, generator=generator),
        next_action,
        torch.ones(rows, 2) if weight is None else weight,
    )


def learner(chunk=1, **settings):
    torch.manual_seed(0)
    return FittedQ(3, 2, chunk, FQEConfig(members=2, hidden=(8,), **settings))


def q(critics, features, action):
    return critics(torch.cat([features, action], 1))[..., 0]


def set_bias(critics, value):
    with torch.no_grad():
        for parameter in critics.parameters():
            parameter.zero_()
        critics.biases[-1].fill_(value)


# -- the loss ----------------------------------------------------------------------------------------------------------


def test_loss_by_hand():
    """Each member against its own target, weighted by its own bootstrap; a success is worth 1 whatever follows."""
    weight = torch.tensor([[0.0, 2.0], [1.0, 1.0], [3.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 2.0]])
    b = batch(terminal=[False, True, False, False, True, False], weight=weight)
    found = learner(gamma=0.9)
    loss, metrics = found.loss(b)
    following = q(found.target_critics, b.next_features, b.next_action)
    assert (following < 0).any(), "the lower bound is at work"
    expected, targets = 0.0, []
    for member in range(2):
        for row in range(6):
            target = 1.0 if b.terminal[row] else max(0.9 * following[member, row].item(), 0.0)
            value = q(found.critics, b.features, b.action)[member, row].item()
            expected += weight[row, member].item() * (value - target) ** 2 / 6
            targets.append(target)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert metrics["target"].item() == pytest.approx(sum(targets) / 12, rel=1e-5)


@pytest.mark.parametrize(("guess", "target"), [(5.0, 1.0), (-5.0, 0.0), (0.5, 0.45)])
def test_targets_are_probabilities(guess, target):
    found = learner(gamma=0.9)
    set_bias(found.target_critics, guess)
    set_bias(found.critics, 0.0)
    loss, metrics = found.loss(batch())
    assert metrics["target"].item() == pytest.approx(target)
    assert loss.item() == pytest.approx(2 * target**2), "two members"
    set_bias(found.critics, guess)
    b = batch()
    assert found.value(b.features, b.action).unique().tolist() == [min(max(guess, 0.0), 1.0)]


def test_a_chunk_is_discounted_action_by_action():
    found = learner(chunk=4, gamma=0.9)
    set_bias(found.target_critics, 1.0)
    assert found.loss(batch())[1]["target"].item() == pytest.approx(0.9**4)


def test_only_critics_learn_and_targets_follow():
    found, b = learner(polyak=0.1), batch()
    found.loss(b)[0].backward()
    assert all(parameter.grad is None for parameter in found.target_critics.parameters())
    before = [parameter.clone() for parameter in found.target_critics.parameters()]
    with torch.no_grad():
        for parameter in found.critics.parameters():
            parameter += 1
    found.loss(b)
    for old, new in zip(before, found.target_critics.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.1)


# -- the data ----------------------------------------------------------------------------------------------------------


def test_followed_transitions_by_hand():
    """What the policy does after each transition, and whole episodes in each member's bootstrap."""
    data = dataset([0.0, 0.5, 1.0, 1.5], [0.2, 0.3], [0.1, 0.4, 0.6])
    found = FollowedTransitions(going(0.25), data.observations[STATE], data, members=50, seed=0)
    assert found.transitions.frames.tolist() == [0, 1, 4, 6, 7]
    assert found.next_action.flatten().tolist() == pytest.approx([0.25] * 5)
    assert torch.equal(found.weight[0], found.weight[1]) and torch.equal(found.weight[3], found.weight[4])
    assert torch.equal(found.weight[[0, 2, 3]].sum(0), torch.full((50,), 3.0)), "three episodes each, with repeats"
    assert len(found.weight.unique(dim=1)[0]) > 5
    drawn = found.sample(64, torch.Generator().manual_seed(0))
    assert drawn.weight.shape == (64, 50) and drawn.next_action.shape == (64, 1)
    row = int(torch.where(drawn.features[:, 0] == 0.5)[0][0])
    assert drawn.terminal[row] and drawn.reward[row] == 1 and torch.equal(drawn.weight[row], found.weight[1])


def test_decisions_are_flattened_chunks_in_order():
    torch.manual_seed(0)
    policy = TanhPolicy(1, 2, TanhPolicyConfig(chunk=3, hidden=(8,)))
    features = torch.linspace(-1, 1, 7)[:, None]
    found = decisions(policy, features, batch_size=3)
    assert found.shape == (7, 6)
    torch.testing.assert_close(found, policy.action(features))


# -- values ------------------------------------------------------------------------------------------------------------


def truth(data, action):
    """γ^(n - 1), n the steps of 0.2 a from each start to 1."""
    distance = GOAL - data.observations[STATE][data.starts, 0]
    steps = (distance / (STEP * action) - 1e-5).ceil()
    return float((CONFIG.gamma ** (steps - 1)).mean())


def test_values_are_near_the_truth_and_rank_policies(tmp_path):
    data = mixed_data()
    features = data.observations[STATE]
    right, left = (
        evaluate_off_policy(going(action), features, data, CONFIG, tmp_path / str(action), seed=0)
        for action in (0.6, -0.4)
    )
    assert right.values.shape == (3, 120)
    assert right.mean == pytest.approx(truth(data, 0.6), abs=0.05)
    assert left.mean == pytest.approx(0, abs=0.05)
    change = compare_off_policy(left, right)
    assert change.mean == pytest.approx(right.mean - left.mean) and change.mean > 3 * change.spread > 0
    assert (change.members > 0.15).all()
    torch.testing.assert_close(change.members, right.members - left.members)


def test_the_same_policy_is_worth_the_same(tmp_path):
    """Initialisation, bootstraps and batches belong to the seed, not to the policy."""
    data, short = mixed_data(20), replace(CONFIG, steps=20)
    one, two, other = (
        evaluate_off_policy(going(0.6), data.observations[STATE], data, short, tmp_path / str(number), seed)
        for number, seed in enumerate((0, 0, 1))
    )
    assert torch.equal(one.values, two.values) and not torch.equal(one.values, other.values)
    assert compare_off_policy(one, two).mean == compare_off_policy(one, two).spread == 0


def test_summaries_by_hand():
    """Members 0.2 and 0.4: mean 0.3, standard deviation 0.1 √2."""
    one = OffPolicyValue(torch.tensor([[0.1, 0.3], [0.4, 0.4]]))
    two = OffPolicyValue(torch.tensor([[0.3, 0.5], [0.9, 0.9]]))
    assert one.summary() == {
        "mean": pytest.approx(0.3),
        "spread": pytest.approx(0.1 * math.sqrt(2)),
        "members": pytest.approx([0.2, 0.4]),
        "starts": 2,
    }
    change = compare_off_policy(one, two).summary()
    assert change == {
        "mean": pytest.approx(0.35),
        "spread": pytest.approx(0.15 * math.sqrt(2)),
        "members": pytest.approx([0.2, 0.5]),
    }
    with pytest.raises(InputError, match=r"found \(2, 1\) \(critics, starts\), expected \(2, 2\)"):
        compare_off_policy(one, OffPolicyValue(torch.zeros(2, 1)))


def test_starts_in_success_are_left_out(tmp_path):
    data, short = dataset([0.0, 0.5, 1.0], [1.2, 0.9, 0.8]), replace(CONFIG, steps=2)
    found = evaluate_off_policy(going(0.5), data.observations[STATE], data, short, tmp_path, seed=0)
    assert found.values.shape == (3, 1)
    data = dataset([1.0, 0.5, 1.0])
    with pytest.raises(InputError, match="start in success"):
        evaluate_off_policy(going(0.5), data.observations[STATE], data, short, tmp_path, seed=0)


def test_resumed_equals_uninterrupted(tmp_path):
    """Targets and the count of updates come back as well."""
    data = mixed_data(40)
    sampler = FollowedTransitions(going(0.6), data.observations[STATE], data, 2, seed=0)
    config = FQEConfig(members=2, hidden=(8,), steps=21, batch_size=16)
    training = replace(config.training, checkpoint_seconds=0.0, log_every=1)

    class Stop(Exception):
        pass

    def stop(step, metrics):
        if step == 12:
            raise Stop

    def fresh():
        torch.manual_seed(0)
        return FittedQ(1, 1, 1, config)

    whole = fresh()
    fit(whole, sampler, training, tmp_path / "whole", 0)
    with pytest.raises(Stop):
        fit(fresh(), sampler, training, tmp_path / "parts", 0, on_step=stop)
    resumed = fresh()
    fit(resumed, sampler, training, tmp_path / "parts", 0)
    assert resumed.updates == whole.updates == 21
    for (key, one), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), key
