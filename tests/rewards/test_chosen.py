"""Which reward a run has: what may be said, how the data are seen, and that it is kept like all that is learned."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from burnish.components import load, save
from burnish.config import from_dict, to_dict
from burnish.data import STATE, Dataset, DatasetInfo, Episode, best_episodes
from burnish.errors import InputError
from burnish.rewards import (
    ClassifierConfig,
    FunctionReward,
    LearnedReward,
    Outcome,
    RewardAndSuccess,
    RewardConfig,
    RewardHead,
    RewardHeadConfig,
    RewardTransitions,
    SuccessClassifier,
    SuccessReward,
    TermConfig,
    WrittenReward,
    as_reward,
    expected,
)
from burnish.rewards.terms import written_term

TERMS = ("-1 distance hand goal", "-0.5 effort", "0 value on ends")
CONFIG = RewardConfig("terms", terms=TERMS)
NAMES = ("hand_x", "hand_y", "goal_x", "goal_y", "on")
WORLD = SimpleNamespace(features=lambda state: state, decode=lambda state: {STATE: state})


def dataset(rewarded=True, success=(False, True)):
    """Two episodes of three frames: the hand goes along x, and the first one ends when it is on."""
    state = np.zeros((3, 5), np.float32)
    state[:, 0], state[2, 4] = (0, 1, 3), 1
    action = np.array([[1.0], [0.0], [9.0]], np.float32)
    reward = np.array([0.0, 5.0, 7.0], np.float32) if rewarded else None
    told = [np.array([False, False, each]) for each in success]
    made = [Episode({STATE: state * (1 - n)}, action, told[n], "someone", n, "reach", reward=reward) for n in range(2)]
    return Dataset.from_episodes(made, DatasetInfo(fps=10, state_names=NAMES))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"kind": "terms"}, "no terms"),
        ({"terms": TERMS}, "'terms'"),
        ({"kind": "function"}, "no function"),
        ({"kind": "learned", "function": "a:b"}, "'function'"),
        ({"kind": "terms", "terms": ("distance hand",)}, 'expected "WEIGHT KIND'),
        ({"kind": "terms", "terms": ("-1 way hand goal",)}, "of the kinds distance, squared"),
        ({"kind": "terms", "terms": ("one distance hand goal",)}, "could not convert"),
        ({"with_success": True}, "with_success is for dense rewards"),
    ],
)
def test_a_reward_that_contradicts_itself_is_refused(wrong, named):
    with pytest.raises(InputError, match=named):
        RewardConfig(**wrong)


def test_terms_are_written_in_words():
    assert written_term("-0.5 effort") == TermConfig("effort", -0.5)
    assert written_term("5 within hand 0,0.6,-0.2 0.05 ends") == TermConfig(
        "within", 5.0, "hand", (0.0, 0.6, -0.2), 0.05, True
    )
    assert written_term("2 tracking hand goal") == TermConfig("tracking", 2.0, "hand", "goal")


def test_it_can_be_written_to_a_file():
    assert from_dict(RewardConfig, to_dict(CONFIG), "recipe.yaml") == CONFIG


# -- the data ----------------------------------------------------------------------------------------------------------


def test_auto_is_success_where_there_is_any():
    assert RewardConfig().of(dataset()) == "success" and RewardConfig().view(dataset()).has_success
    assert RewardConfig().of(dataset(success=(False, False))) == "learned"


def test_a_dense_reward_leaves_success_out_unless_it_is_asked_for():
    assert not RewardConfig("learned").view(dataset()).has_success
    assert RewardConfig("learned", with_success=True).view(dataset()).has_success
    with pytest.raises(InputError, match=r"next\.reward"):
        RewardConfig("learned").view(dataset(rewarded=False))


def test_written_rewards_take_the_place_of_recorded_ones():
    """Distances 1 and 3, efforts 1 and 0; the second transition ends."""
    for data in (dataset(), dataset(rewarded=False)):
        seen = CONFIG.view(data)
        assert seen.reward.tolist() == [0, -1.5, -3, 0, -0.5, 0]
        assert seen.terminated.tolist() == [False, False, True, False, False, False]
        assert seen.episode_return.tolist() == [-4.5, -0.5] and not seen.has_success


def test_a_users_function_may_tell_success(monkeypatch):
    def reach(state, action, following):
        near = following["hand_x"] > 2
        return Outcome(following["hand_x"] - state["hand_x"], near, near)

    monkeypatch.setitem(sys.modules, "my_rewards", SimpleNamespace(reach=reach))
    seen = RewardConfig("function", function="my_rewards:reach").view(dataset())
    assert seen.reward.tolist() == [0, 1, 2, 0, 0, 0]
    assert seen.success.tolist() == [False, False, True, False, False, False]


def test_names_that_are_not_there():
    data = dataset()
    with pytest.raises(InputError, match="no 'hand' in the state"):
        CONFIG.view(replace(data, info=replace(data.info, state_names=None)))


def test_the_best_episodes():
    """The successful ones; without success those of the highest return, in their order."""
    assert best_episodes(dataset(), 0.5).seeds == (1,)
    seen = CONFIG.view(dataset())
    assert best_episodes(seen, 0.5).seeds == (1,) and best_episodes(seen, 1.0).seeds == (0, 1)
    assert best_episodes(seen, 0.01).seeds == (1,)
    with pytest.raises(InputError, match="rewards that vary"):
        best_episodes(replace(seen, reward=torch.zeros(6)), 0.5)


def test_splits_have_their_share_of_every_third_of_the_returns():
    made = [
        Episode({STATE: np.zeros((2, 5), np.float32)}, np.zeros((2, 1), np.float32), np.zeros(2, bool), "a", n, "t",
                reward=np.array([0, n % 9], np.float32))
        for n in range(18)
    ]  # fmt: skip
    data = Dataset.from_episodes(made, DatasetInfo(fps=10))
    assert [len(group) for group in data.groups()] == [6, 6, 6]
    _, held_out = data.split(1 / 3, seed=0)
    thirds = [int(value) // 3 for value in held_out.episode_return]
    assert [thirds.count(third) for third in range(3)] == [2, 2, 2]


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_every_kind_is_kept_and_becomes_the_same_contract(tmp_path):
    before, action, after = torch.zeros(2, 5), torch.tensor([[1.0], [0.0]]), torch.randn(2, 5)
    written = WrittenReward(CONFIG, NAMES)
    head = RewardHead(11, RewardHeadConfig(hidden=(8,)))
    classifier = SuccessClassifier(5, ClassifierConfig(hidden=(8,)))
    kinds = {written: FunctionReward, head: LearnedReward, classifier: SuccessReward}
    kinds |= {RewardAndSuccess(dense, classifier): SuccessReward for dense in (written, head)}
    for number, (kept, kind) in enumerate(kinds.items()):
        save(tmp_path / str(number), kept)
        first, again = (as_reward(WORLD, each) for each in (kept, load(tmp_path / str(number))))
        assert isinstance(first, kind)
        found, repeated = first(before, action, after), again(before, action, after)
        assert torch.equal(found.reward, repeated.reward) and torch.equal(found.terminated, repeated.terminated)
        assert (found.success is None) is (not isinstance(first, SuccessReward))


def test_both_together_earn_the_dense_reward():
    classifier = SuccessClassifier(5, ClassifierConfig(hidden=(8,)))
    classifier.threshold.fill_(0.0)
    reward = as_reward(WORLD, RewardAndSuccess(WrittenReward(CONFIG, NAMES), classifier))
    found = reward(torch.zeros(1, 5), torch.ones(1, 1), torch.tensor([[3.0, 4.0, 0.0, 0.0, 0.0]]))
    assert found.reward.tolist() == [-5.5] and found.success.tolist() == found.terminated.tolist() == [True]


def test_a_world_that_tells_ends_is_believed_beside_the_reward():
    """And a head whose terminations have no weight tells none."""
    world = SimpleNamespace(**vars(WORLD), ended=lambda state: state[:, 0] > 2)
    before, action = torch.zeros(3, 5), torch.ones(3, 1)
    after = torch.tensor([[3.0, 4.0, 0, 0, 0], [1.0, 0, 0, 0, 1], [1.0, 0, 0, 0, 0]])
    ends = WrittenReward(RewardConfig("terms", terms=("-1 distance hand goal", "0 value on ends")), NAMES)
    found = as_reward(world, ends)(before, action, after)
    assert found.terminated.tolist() == [True, True, False] and found.reward.tolist() == [-5.0, -1.0, -1.0]
    assert as_reward(WORLD, ends)(before, action, after).terminated.tolist() == [False, True, False]
    assert expected(as_reward(world, ends), before, action, after)[1].tolist() == [1.0, 1.0, 0.0]
    head = RewardHead(11, RewardHeadConfig(hidden=(8,), termination_weight=0.0))
    head.evaluate(RewardTransitions(before, action, after, torch.arange(3.0), torch.tensor([True, False, False])))
    assert head.threshold > 1
