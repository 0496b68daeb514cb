"""GRPO: advantages and clipping by hand, groups from one start, verdicts that are missing, and a world to solve."""

import dataclasses
import importlib

import pytest
import torch

from burnish.errors import InputError, RunError
from burnish.imagination import imagined_evaluation
from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rewards import Outcome
from burnish.rl import GRPO, GRPOConfig, Judgement, RefineConfig, Rollout, group_advantages, refine
from burnish.rl.grpo import episodes_of
from tests.imagination.counter_world import at, make_env, start_states
from tests.rl.test_ppo import same, weights

SMALL = GRPOConfig(members=4, epochs=2, minibatch_size=16, learning_rate=1e-2)


def make_policy():
    torch.manual_seed(0)
    return GaussianPolicy(1, 1, GaussianPolicyConfig(hidden=(16,), min_std=0.3, max_std=0.8))


def learner(**changes):
    return GRPO(make_policy(), 1, GRPOConfig(**{**vars(SMALL), **changes}))


def environment(num_envs=16, **more):
    starts = start_states([0.4, 0.5, 1.0], [0.5, 0.5, 1.0], [0.6, 0.75, 1.0])
    return make_env(num_envs=num_envs, horizon=6, starts=starts, uncertainties=(), rule="none", **more)


def test_advantages_by_hand():
    """Of 1, 0, 0, 1: mean ½, unbiased standard deviation √(1/3); of 1, 0, 0 (one unknown): 1/3 and √(1/3)."""
    returns = torch.tensor([[1.0, 0, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    known = torch.ones(4, 4, dtype=torch.bool)
    known[1, 3] = False
    found, used = group_advantages(returns, known, 0.1, 0.9)
    root = 3**0.5
    expected = torch.tensor([[root / 2, -root / 2, -root / 2, root / 2], [2 / root, -1 / root, -1 / root, 0]])
    torch.testing.assert_close(found[:2], expected, atol=1e-5, rtol=1e-5)
    assert used.tolist() == [True, True, False, False] and not found[2:].any()


@pytest.mark.parametrize(("low", "high", "used"), [(0.1, 0.9, True), (0.3, 0.9, False), (0.0, 0.2, False)])
def test_the_filter(low, high, used):
    assert group_advantages(torch.tensor([[1.0, 0, 0, 0]]), torch.ones(1, 4, dtype=torch.bool), low, high)[1] == used


def test_a_group_of_one_keeps_its_return():
    found, used = group_advantages(torch.tensor([[1.0], [0.0]]), torch.tensor([[True], [False]]), 0.1, 0.9)
    assert found.tolist() == [[1], [0]] and used.tolist() == [True, False]


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [(1.5, 1.0, 1.28), (0.5, 1.0, 0.5), (1.5, -1.0, -1.5), (0.5, -1.0, -0.8), (1.1, 1.0, 1.1)],
)
def test_the_clip_is_wider_above_than_below(ratio, advantage, expected):
    found = learner(clip_low=0.2, clip_high=0.28)
    features, trace = torch.zeros(1, 1), torch.zeros(1, 1)
    now = found.policy.log_prob(features, trace).detach()
    old = now - torch.tensor(ratio).log()
    batch = {"features": features, "trace": trace, "log_prob": old, "advantage": torch.tensor([advantage])}
    loss, metrics = found.policy_loss(batch)
    assert float(loss.detach()) == pytest.approx(-expected, abs=1e-5)
    assert float(metrics["clipped"]) == (not 0.8 <= ratio <= 1.28)


def test_only_the_first_episode_of_a_group_counts():
    """It earns 1 at its second decision, ends, and what begins then is another one."""
    ends = torch.tensor([[False], [True], [True]])
    zeros = torch.zeros(3, 1, 1)
    reward = torch.tensor([[0.0], [1.0], [5.0]])
    rollout = Rollout(zeros, zeros, zeros, reward, ends, torch.zeros_like(ends), zeros)
    alive, returns, known = episodes_of(rollout)
    assert alive.flatten().tolist() == [True, True, False] and returns.tolist() == [1] and known.all()
    rollout = dataclasses.replace(rollout, unknown=torch.tensor([[False], [True], [False]]))
    assert not episodes_of(rollout)[2].any()


def test_groups_begin_at_the_same_start():
    found, env = learner(), environment()
    rollout = found.experience(env, 0).rollout(found.policy, 2, torch.Generator().manual_seed(0))
    first = rollout.features[0, :, 0].view(4, 4)
    assert bool((first == first[:, :1]).all()) and len(first[:, 0].unique()) > 1
    assert found.decisions == 6
    with pytest.raises(InputError, match=r"num_envs is 16 in each process, expected a multiple of learner.members, 3"):
        learner(members=3).experience(environment(), 0)


class Mute:
    """A judge that never answers."""

    def __call__(self, state, action, following):
        over = torch.ones(len(action), dtype=torch.bool)
        return Outcome(torch.zeros(len(action)), over, ~over, over)


def test_verdicts_that_are_missing_change_nothing_and_are_told():
    found, env = learner(patience=2), environment(reward=Mute())
    before, experience = weights(found.policy), None
    experience = found.experience(env, 0)
    generator = torch.Generator().manual_seed(0)
    told = found.update(experience, generator)
    assert told["groups/unanswered"] == 1 and told["groups/used"] == 0 and same(before, weights(found.policy))
    with pytest.raises(
        RunError, match=r"in the first 2 iterations no group had a success rate .* 100% of the verdicts were missing"
    ):
        found.update(experience, generator)
    with pytest.raises(RunError, match="the judge did not answer about any of 16"):
        Judgement.of(imagined_evaluation(env, found.policy, at(*[0.5] * 16), 3, 0))


def test_groups_whose_returns_never_vary_are_said():
    """From a start that no six actions lead to success from."""
    env = make_env(num_envs=16, horizon=2, starts=start_states([0.0, 0.5, 1.0]), uncertainties=(), rule="none")
    found = learner(patience=3)
    experience, generator = found.experience(env, 0), torch.Generator().manual_seed(0)
    for _ in range(2):
        found.update(experience, generator)
    with pytest.raises(
        RunError, match=r"no group had a success rate from 0.1 to 0.9 \(the last ones' mean return is 0\)"
    ):
        found.update(experience, generator)


def refined(folder, iterations=12, checkpoint_seconds=1e9):
    found, env, scored_in = learner(), environment(), environment(num_envs=12)
    starts = at(*[0.2, 0.4, 0.6] * 4)

    def score(policy):
        return Judgement.of(imagined_evaluation(scored_in, policy, starts, 6, 0))

    config = RefineConfig(iterations, evaluate_every=4, checkpoint_seconds=checkpoint_seconds)
    return refine(found, found.experience(env, 0), score, config, folder, 0), weights(found.policy)


def test_it_solves_a_world(tmp_path):
    result, _ = refined(tmp_path, iterations=24)
    assert result["score_pretrained"] < 0.5 and result["score_refined"] > 0.9, result


class Killed(Exception):
    """The process is gone."""


def test_killed_after_two_iterations_it_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    _, whole = refined(tmp_path / "whole")
    module = importlib.import_module("burnish.rl.refine")
    save_state, count = module.save_state, []

    def stopping(*arguments, **more):
        save_state(*arguments, **more)
        count.append(1)
        if len(count) == 3:
            raise Killed

    monkeypatch.setattr(module, "save_state", stopping)
    with pytest.raises(Killed):
        refined(tmp_path / "killed", checkpoint_seconds=0.0)
    monkeypatch.undo()
    _, again = refined(tmp_path / "killed")
    assert same(whole, again)
