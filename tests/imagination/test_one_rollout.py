"""The one loop: actions, limits, endings, rewards at decisions, members, gradients; on a world known by heart."""

from dataclasses import replace

import pytest
import torch

from burnish.data import STATE, Dataset, DatasetInfo
from burnish.errors import InputError
from burnish.imagination import (
    ImaginationConfig,
    ImaginedEnv,
    Models,
    given,
    imagined_evaluation,
    imagined_frames,
    imagined_play,
    imagined_transitions,
    recorded,
    recorded_transitions,
    rollout,
    transitions,
)
from burnish.policies import Decision
from burnish.rewards import FunctionReward, LearnedReward, RewardHead, RewardHeadConfig, RewardTerms, TermConfig
from tests.data.support import make_episode
from tests.imagination.counter_world import (
    PUSH,
    CounterWorld,
    Distance,
    Doubt,
    at,
    make_env,
    make_models,
    push,
    start_states,
)
from tests.imagination.test_imagined_play import Pairs, always

SEED = torch.Generator()
NEAR = RewardTerms((TermConfig("distance", -1.0, "x", (1.0,)),))


def near(world=None):
    """Minus the distance from 1."""
    return FunctionReward(world or CounterWorld(), NEAR, ("x",))


def positions(moments):
    return [moment.following.position[:, 0].tolist() for moment in moments]


def rewarded(rewards, states=None, terminated=None):
    """An episode at 0, ¼, … that earned `rewards`."""
    episode = make_episode(len(rewards), dim=1, actions=1, success_at=None)
    states = torch.arange(len(rewards))[:, None] * PUSH if states is None else states
    ended = None if terminated is None else torch.tensor(terminated).numpy()
    return replace(
        episode,
        observation={STATE: states.float().numpy()},
        action=torch.ones(len(rewards), 1).numpy(),
        reward=torch.tensor(rewards, dtype=torch.float32).numpy(),
        terminated=ended,
    )


DATA = Dataset.from_episodes([rewarded([0, 1, 2, 3]), rewarded([0, 5])], DatasetInfo(fps=10, state_names=("x",)))


def test_actions_as_given():
    actions = torch.tensor([[[1.0], [1.0], [-1.0]], [[0.0], [2.0], [0.0]]])
    moments = list(rollout(Models(CounterWorld()), at(0.0, 1.0), given(actions), 3, SEED))
    assert positions(moments) == [[0.25, 1.0], [0.5, 1.5], [0.25, 1.5]]
    assert [moment.step for moment in moments] == [0, 1, 2] and all(moment.alive.all() for moment in moments)
    assert moments[1].state.position[:, 0].tolist() == [0.25, 1.0] and moments[0].outcome is None


def test_what_has_two_values_is_carried_out_as_one_of_them():
    actions = torch.tensor([[[0.2], [-0.3]], [[0.9], [0.0]]])
    moments = list(rollout(Models(CounterWorld(), switches=(True,)), at(0.0, 1.0), given(actions), 2, SEED))
    assert torch.stack([moment.action[:, 0] for moment in moments], 1).tolist() == [[1, -1], [1, 1]]
    assert positions(moments) == [[0.25, 1.25], [0.0, 1.5]]


def test_each_episode_has_its_own_limit():
    act = given(torch.ones(2, 3, 1))
    moments = list(rollout(make_models(), at(0.0, 0.5), act, torch.tensor([3, 1]), SEED))
    assert [moment.alive.tolist() for moment in moments] == [[True, True], [True, False], [True, False]]
    assert not any(moment.outcome.success[1] for moment in moments), "the second is over before it gets there"


def test_an_episode_that_ended_earns_nothing_more():
    """From 0.75 it succeeds at once, and once."""
    moments = list(rollout(make_models(), at(0.75, 0.0), given(torch.ones(2, 5, 1)), 5, SEED))
    assert [moment.outcome.reward.tolist() for moment in moments] == [[1, 0], [0, 0], [0, 0], [0, 1], [0, 0]]
    assert [moment.alive.tolist() for moment in moments][1:] == [[False, True]] * 3 + [[False, False]]


@pytest.mark.parametrize(("every", "length"), [(1, 2), (3, 3), (10, 10), (0, 30)])
def test_it_stops_when_nobody_lives(every, length):
    assert (
        len(list(rollout(make_models(), at(0.5), given(torch.ones(1, 30, 1)), 30, SEED, check_every=every))) == length
    )


def test_a_reward_at_decisions():
    """Success on the way, at 1, does not count where the decision leads back to 0.75."""
    actions = torch.tensor([[[1.0], [-1.0]], [[0.0], [1.0]]])
    moments = list(rollout(make_models(), at(0.75, 0.75), given(actions), 2, SEED, reward_every=2))
    assert [moment.outcome.reward.tolist() for moment in moments] == [[0, 0], [0, 1]]
    env = ImaginedEnv(make_models(), start_states(), 1, ImaginationConfig(2, chunk=2, reward_at="decision"))
    env.reset(options={"states": at(0.75, 0.75)})
    assert env.step(actions)[1].tolist() == [0, 1]


def test_recorded_actions():
    """Of the first episode, chunks of two from frame 0 and 1; beyond the last executed one nothing changes."""
    data = replace(DATA, actions=torch.arange(6.0)[:, None])
    act = recorded(data, torch.tensor([0, 1]), action_steps=2)
    assert act(None, 0).tolist() == [[0, 1], [1, 2]] and act(None, 1).tolist() == [[2, 2], [2, 2]]
    assert recorded(data, torch.tensor([4]))(None, 7).tolist() == [[4]]
    assert transitions(Pairs(), 3) == 2 and transitions(CounterWorld(), 3) == 3


# -- rewards and pessimism in the environment -------------------------------------------------------------------------


def test_dense_rewards_flow_and_do_not_end():
    env = make_env(num_envs=2, reward=near(), horizon=3, uncertainties=(Doubt(),))
    env.reset(options={"states": at(0.0, 0.9)})
    _, reward, terminated, truncated, info = env.step(push(1.0, 1.0))
    assert reward.tolist() == pytest.approx([-0.75, -0.15]) and not terminated.any() and not truncated.any()
    assert "success" not in info and not info["halted"].any()


def test_a_chunk_earns_the_sum_of_its_transitions():
    env = ImaginedEnv(make_models(reward=near()), start_states(), 1, ImaginationConfig(2, chunk=2))
    env.reset(options={"states": at(0.0, 0.5)})
    assert env.step(torch.ones(2, 2, 1))[1].tolist() == pytest.approx([-0.75 - 0.5, -0.25])


def test_a_penalty_in_the_environment():
    """Beyond 0.5, by thresholds of 0.25: one threshold costs 0.1; nothing halts."""
    models = {"reward": near(), "uncertainties": (Distance(0.5, threshold=0.25),), "rule": "penalty", "weight": 0.1}
    env = make_env(num_envs=2, **models)
    env.reset(options={"states": at(0.0, 0.5)})
    _, reward, terminated, _, info = env.step(push(1.0, 1.0))
    assert reward.tolist() == pytest.approx([-0.75, -0.25 - 0.1]) and not terminated.any()
    assert info["distance"].tolist() == pytest.approx([-1, 1])


def test_what_is_no_number_halts_and_earns_what_was_said():
    class Unknown(Distance):
        def __call__(self, state, action):
            return torch.tensor([torch.nan, 0.0])

    for rule in ("halt", "penalty"):
        env = make_env(num_envs=2, reward=near(), uncertainties=(Unknown(0.0, 1.0),), rule=rule, halt_reward=-9.0)
        env.reset(options={"states": at(0.0, 0.0)})
        _, reward, terminated, _, info = env.step(push(1.0, 1.0))
        assert reward.tolist() == pytest.approx([-9, -0.75]) and terminated.tolist() == [True, False]
        assert info["halted"].tolist() == [True, False]


def test_a_learned_reward_in_the_environment():
    """A head that says 3 everywhere, and ends nothing or everything."""
    head = RewardHead(3, RewardHeadConfig(members=2, hidden=(4,)))
    head.mean.fill_(3.0)
    head.scale.fill_(0.0)
    env = make_env(num_envs=2, reward=LearnedReward(CounterWorld(), head))
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(push(1.0, 1.0))
    assert reward.tolist() == [3, 3] and not terminated.any() and "success" not in info
    head.threshold.fill_(0.0)
    assert env.step(push(1.0, 1.0))[2].all()


def test_entries_of_info_have_masks():
    env = make_env(num_envs=3, uncertainties=(Doubt(), Distance(0.5, 1.0)))
    env.reset(seed=0)
    info = env.step(push(1.0, 0.0, -1.0))[4]
    for name in ("success", "halted", "disagreement", "distance"):
        assert info[name].shape == (3,) and info[f"_{name}"].tolist() == [True] * 3
    assert set(info) == {f"{mask}{name}" for mask in ("", "_") for name in ("success", "halted", "disagreement",
                                                                             "distance", "final_obs")}  # fmt: skip


def test_an_environment_needs_a_reward():
    with pytest.raises(InputError, match="found no reward"):
        ImaginedEnv(Models(CounterWorld()), start_states(), 1, ImaginationConfig(2))


def test_gradients_flow_where_actions_have_them():
    """d(reward)/d(action) is a quarter per transition that follows; without gradients in actions there is no graph."""
    env = make_env(num_envs=2, reward=near(), horizon=10)
    env.reset(options={"states": at(0.0, 0.0)})
    action = torch.zeros(2, 1, requires_grad=True)
    first = env.step(action)[1]
    second = env.step(push(0.0, 0.0) + 0 * action)[1]
    (first + second).sum().backward()
    assert action.grad.flatten().tolist() == pytest.approx([2 * PUSH, 2 * PUSH])
    env.detach()
    features, reward, *_ = env.step(push(0.0, 0.0))
    assert not features.requires_grad and not reward.requires_grad


# -- evaluations -----------------------------------------------------------------------------------------------------


class Ahead:
    """Full speed."""

    def act(self, features, deterministic, generator):
        return Decision(torch.ones(len(features), 1, 1), torch.ones(len(features), 1))


def test_returns_of_an_evaluation_by_hand():
    """−0.75 − 0.5 from 0 and −0.25 − 0 from 0.5 in two decisions; the score is their mean."""
    found = imagined_evaluation(make_env(num_envs=2, reward=near(), horizon=9), Ahead(), at(0.0, 0.5), 2, seed=0)
    assert found.success is None and found.outcome.tolist() == found.returns.tolist() == [-1.25, -0.25]
    assert found.score == -0.75 and found.hopeful is found.returns


def test_returns_of_a_play_by_hand():
    """What was earned to the end, and what pessimism leaves: beyond 0.5 all is worth −2 at once."""
    models = make_models(reward=near(), uncertainties=(Distance(0.5, 0.1),), halt_reward=-2.0)
    starts = at(0.0, -0.5)
    found = imagined_play(always(1.0), models, starts, {STATE: starts.position}, 3, seed=0)
    assert found.success is None and found.returns.tolist() == [-1.5, -1.25 - 1.0 - 0.75]
    assert found.halted.tolist() == [True, False]
    assert found.outcome.tolist() == [-0.75 - 0.5 - 2.0, -3.0]


def test_each_episode_plays_as_long_as_it_may():
    starts = at(0.0, 0.0)
    found = imagined_play(
        always(1.0), make_models(reward=near()), starts, {STATE: starts.position}, torch.tensor([1, 2]), seed=0
    )
    assert found.returns.tolist() == [-0.75, -1.25] and found.lived.tolist() == [1, 2]


# -- what rewards learn from -----------------------------------------------------------------------------------------


def test_recorded_transitions_by_hand():
    found = recorded_transitions(CounterWorld(), DATA)
    assert found.features[:, 0].tolist() == [0, 0.25, 0.5, 0]
    assert found.following[:, 0].tolist() == [
        0.25,
        0.5,
        0.75,
        0.25,
    ]
    assert found.reward.tolist() == [1, 2, 3, 5] and found.action.flatten().tolist() == [1] * 4
    assert not found.terminated.any(), "nobody said"


def test_transitions_of_chunks_add_up():
    data = Dataset.from_episodes([rewarded([0, 1, 2, 3], terminated=[False] * 3 + [True])], DatasetInfo(fps=10))
    found = recorded_transitions(Pairs(), data)
    assert found.reward.tolist() == [3, 5] and found.terminated.tolist() == [False, True]


def test_imagined_transitions_have_what_was_really_earned():
    """The counter world is right here, so that what is imagined looks as it was recorded."""
    found = imagined_transitions(CounterWorld(), DATA, seed=0, steps=2, limit=40)
    assert len(found.reward) == 40
    worth = {0.0: 1.0, 0.25: 2.0, 0.5: 3.0}
    assert [worth[value] for value in found.features[:, 0].tolist()] == found.reward.tolist()
    torch.testing.assert_close(found.following, found.features + PUSH)


def test_without_rewards_there_is_nothing_to_learn():
    data = replace(DATA, reward=None)
    with pytest.raises(InputError, match=r"no rewards, expected a column 'next\.reward'"):
        recorded_transitions(CounterWorld(), data)


def test_imagined_frames_are_labelled_by_what_happened():
    data = replace(DATA, success=torch.tensor([False, False, False, True, False, False]))
    features, success = imagined_frames(CounterWorld(), data, seed=0, steps=3, limit=30)
    assert len(features) == 30 and torch.equal(success, features[:, 0] == 0.75) and success.any()
