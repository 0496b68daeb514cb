"""What transitions are worth: by a classifier, by written terms, a user's function, and a head that learned it."""

import sys
from types import SimpleNamespace

import pytest
import torch

from burnish.data import STATE, ActionScaling
from burnish.errors import InputError
from burnish.rewards import (
    FunctionReward,
    LearnedReward,
    Outcome,
    RewardHead,
    RewardHeadConfig,
    RewardTerms,
    RewardTransitions,
    SuccessReward,
    TermConfig,
    TransitionSampler,
    expected,
    reward_function,
)
from burnish.rewards.terms import bodies
from burnish.training import TrainingConfig, fit

NAMES = ("hand_x", "hand_y", "goal_x", "goal_y", "speed")
ACTION = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
BEFORE, AFTER = torch.zeros(2, 5), torch.tensor([[3.0, 4.0, 0.0, 0.0, 2.0], [1.0, 1.0, 1.0, 1.0, -1.0]])

WORLD = SimpleNamespace(features=lambda state: state, decode=lambda state: {STATE: state})


class Threshold:
    """Succeeds where the speed is above 1; is as sure of it as half the speed."""

    def succeeded(self, features):
        return features[:, 4] > 1

    def probability(self, features):
        return (features[:, 4] / 4).clamp(0, 1)


def of_terms(*terms):
    return FunctionReward(WORLD, RewardTerms(terms), NAMES)(BEFORE, ACTION, AFTER)


def test_success_earns_one_and_ends():
    found = SuccessReward(WORLD, Threshold())(BEFORE, ACTION, AFTER)
    assert found.reward.tolist() == [1, 0] and found.reward.dtype == torch.float32
    assert found.terminated.tolist() == found.success.tolist() == [True, False]


def test_dense_reward_beside_success():
    """The reward is the dense one's, success ends the episode, and so may the dense reward."""
    dense = FunctionReward(WORLD, lambda before, action, after: Outcome(after["speed"], after["hand_x"] > 2), NAMES)
    found = SuccessReward(WORLD, Threshold(), dense)(BEFORE, ACTION, AFTER)
    assert found.reward.tolist() == [2, -1] and found.success.tolist() == [True, False]
    assert found.terminated.tolist() == [True, False]


def test_what_a_planner_expects():
    """The probability of success; of rewards that know none, the outcome itself."""
    chance = expected(SuccessReward(WORLD, Threshold()), BEFORE, ACTION, AFTER)
    assert [each.tolist() for each in chance] == [[0.5, 0], [0.5, 0]]
    reward, ends = expected(FunctionReward(WORLD, RewardTerms((TermConfig("value", 2.0, "speed"),)), NAMES),
                            BEFORE, ACTION, AFTER)  # fmt: skip
    assert reward.tolist() == [4, -2] and ends.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("term", "worth"),
    [
        (TermConfig("distance", 1.0, "hand", "goal"), [5.0, 0.0]),
        (TermConfig("squared", -0.5, "hand", "goal"), [-12.5, 0.0]),
        (TermConfig("distance", 1.0, "hand", (3.0, 0.0)), [4.0, 5**0.5]),
        (TermConfig("tracking", 1.0, "speed", (1.0,), scale=2.0), [0.7788008, 0.3678794]),
        (TermConfig("within", 3.0, "hand", "goal", scale=1.0), [0.0, 3.0]),
        (TermConfig("value", 2.0, "speed"), [4.0, -2.0]),
        (TermConfig("distance", 1.0, "speed"), [2.0, 1.0]),
        (TermConfig("effort", -0.1), [-2.5, -0.1]),
    ],
)
def test_terms_by_hand(term, worth):
    found = of_terms(term)
    assert found.reward.tolist() == pytest.approx(worth) and not found.terminated.any() and found.success is None


def test_terms_add_up_and_end():
    near = TermConfig("within", 1.0, "hand", "goal", scale=0.5, ends=True)
    found = of_terms(TermConfig("value", 1.0, "speed"), near)
    assert found.reward.tolist() == [2, 0] and found.terminated.tolist() == [False, True]


def test_names():
    assert bodies(NAMES) == {"hand": [0, 1], "goal": [2, 3]} | {name: i for i, name in enumerate(NAMES)}
    assert bodies(("joint_0", "joint_1", "grip_x")) == {"joint": [0, 1], "joint_0": 0, "joint_1": 1, "grip_x": 2}


@pytest.mark.parametrize(
    ("term", "said"),
    [
        (TermConfig("value", 1.0, "hnad"), "found no 'hnad' in the state, expected one of: observation.state, hand"),
        (TermConfig("value", 1.0, "hand"), r"'value' of 'hand': found \(2, 2\), expected one number"),
        (TermConfig("distance", 1.0, "hand", (1.0, 2.0, 3.0)), "a target of 3 numbers, expected 2"),
    ],
)
def test_terms_that_cannot_be(term, said):
    with pytest.raises(InputError, match=said):
        of_terms(term)


def test_no_terms_are_refused():
    with pytest.raises(InputError, match="found none"):
        RewardTerms(())


def test_a_users_function(monkeypatch):
    """It gets dicts by name, may return a reward alone, and is told where it goes wrong."""
    module = SimpleNamespace(near=lambda before, action, after: -after["hand"].norm(dim=1) + before["speed"], pi=3.14)
    monkeypatch.setitem(sys.modules, "my_rewards", module)
    found = FunctionReward(WORLD, reward_function("my_rewards:near"), NAMES)(BEFORE, ACTION, AFTER)
    assert found.reward.tolist() == pytest.approx([-5, -(2**0.5)]) and not found.terminated.any()
    module.near = lambda before, action, after: after["hand"]
    with pytest.raises(InputError, match=r"found \(2, 2\), expected one number a row, \(2,\)"):
        FunctionReward(WORLD, reward_function("my_rewards:near"), NAMES)(BEFORE, ACTION, AFTER)
    for wrong, said in (
        ("my_rewards", "expected 'module:function'"),
        ("my_rewards:far", "has no attribute 'far'"),
        ("no_such_module_here:f", "No module named"),
        ("my_rewards:pi", "found a float, expected a function"),
    ):
        with pytest.raises(InputError, match=said):
            reward_function(wrong)


# -- learned -----------------------------------------------------------------------------------------------------------


def transitions(count, seed):
    """On a line: the reward is 100 − 10 times how far the position is from 0, after the move; beyond 1 it ends."""
    generator = torch.Generator().manual_seed(seed)
    position, action = (2 * torch.rand(count, 1, generator=generator) - 1 for _ in range(2))
    after = position + 0.5 * action
    return RewardTransitions(position, action, after, 100 - 10 * after.abs()[:, 0], after[:, 0] > 1)


def test_a_head_learns_reward_and_termination(tmp_path):
    data, held_out = transitions(2000, 0), transitions(500, 1)
    head = RewardHead(3, RewardHeadConfig(hidden=(32,))).fit(data.reward)
    assert float(head.mean) == pytest.approx(float(data.reward.mean()))
    config = TrainingConfig(steps=500, batch_size=64, learning_rate=5e-3, ema_decay=None)
    fit(head, TransitionSampler([(1.0, data), (0.0, data)], head.members), config, tmp_path, seed=0)
    found = head.eval().evaluate(held_out)
    assert found["r2"] > 0.93 and found["rmse"] < 0.9 and found["terminations"] > 10
    assert found["precision"] >= 0.9 and found["recall"] > 0.7
    world = SimpleNamespace(features=lambda state: state)
    outcome = LearnedReward(world, head)(torch.tensor([[0.0], [0.9]]), torch.ones(2, 1), torch.tensor([[0.5], [1.4]]))
    assert outcome.reward.tolist() == pytest.approx([95, 86], abs=2)
    assert outcome.terminated.tolist() == [False, True] and outcome.success is None


def test_without_terminations_nothing_ends_and_a_constant_reward_is_itself():
    data = transitions(50, 0)
    constant = RewardTransitions(
        data.features, data.action, data.following, torch.full((50,), 2.0), data.terminated & False
    )
    head = RewardHead(3, RewardHeadConfig(members=2, hidden=(4,))).fit(constant.reward)
    assert float(head.mean) == 2 and float(head.scale) == 1
    found = head.evaluate(constant)
    assert found["r2"] is None and found["terminations"] == 0 and "precision" not in found
    assert not LearnedReward(WORLD, head)(data.features, data.action, data.following).terminated.any()


def test_the_loss_by_hand():
    """One member that says 0 and has a logit of 0: the squares of (2, −1) deviations by 2, and log 2."""
    head = RewardHead(3, RewardHeadConfig(members=1, hidden=()))
    for parameter in head.network.parameters():
        torch.nn.init.zeros_(parameter)
    head.mean.fill_(1.0)
    head.scale.fill_(2.0)
    rows = torch.zeros(2, 1)
    batch = RewardTransitions(rows, rows, rows, torch.tensor([5.0, -1.0]), torch.tensor([True, False]))
    loss, metrics = head.loss(batch)
    assert float(metrics["reward_mse"]) == pytest.approx((4 + 1) / 2)
    assert loss.item() == pytest.approx(2.5 + torch.tensor(2.0).log().item())
    assert head(rows, rows, rows)[0].tolist() == [1, 1]


def test_a_batch_has_rows_for_each_member_and_from_each_source():
    one, other = transitions(5, 0), transitions(7, 1)
    batch = TransitionSampler([(0.25, one), (0.75, other)], members=2).sample(8, torch.Generator().manual_seed(0))
    assert len(batch.reward) == 16
    assert sum(bool((one.reward == value).any()) for value in batch.reward) == 4


def test_written_rewards_see_actions_in_the_datas_units():
    """Imagination's actions in [-1, 1], one or two in a row, are -10 … 10 and 0 … 4 to whoever wrote the reward."""
    seen = []
    scaling = ActionScaling((-10.0, 0.0), (10.0, 4.0))
    reward = FunctionReward(WORLD, lambda before, action, after: seen.append(action) or action[:, 0], NAMES, scaling)
    reward(BEFORE, torch.tensor([[1.0, -1.0], [0.5, 0.5]]), AFTER)
    reward(BEFORE, torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.5, 0.5, -1.0, 1.0]]), AFTER)
    assert seen[0].tolist() == [[10, 0], [5, 3]]
    assert seen[1].tolist() == [[10, 0, 0, 2], [5, 3, -10, 4]]
