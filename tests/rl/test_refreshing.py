"""A local model that learns where the policy goes: when, on what, resumable to the bit, and that it helps."""

import pytest
import torch
from torch import nn

from burnish.errors import InputError
from burnish.evaluation.gradients import gradient_agreement
from burnish.imagination import LocalModel
from burnish.rewards import RewardHead, RewardHeadConfig
from burnish.rl import Judgement, RefineConfig, Refreshing, RefreshingConfig, ShortHorizon, ShortHorizonConfig, refine
from burnish.world_models import RSSM, LocalDynamics, LocalDynamicsConfig, RSSMConfig
from tests.imagination.counter_world import at, make_env
from tests.rl.test_ppo import same, weights
from tests.rl.test_short_horizon import SMALL, Near, environment, make_policy, score


def local(family="mlp"):
    torch.manual_seed(1)
    head = RewardHead(3, RewardHeadConfig(members=2, hidden=(16,), termination_weight=0.0))
    if family == "rssm":
        return LocalModel(RSSM(1, 1, RSSMConfig(deterministic=8, groups=2, classes=4, hidden=16)), head)
    dynamics = LocalDynamics(1, 1, LocalDynamicsConfig(hidden=(16, 16), memory=4))
    dynamics.scale.fill_(0.25)
    return LocalModel(dynamics, head)


def parts(family="mlp", **changes):
    config = {"steps": 4, "first_steps": 20, "sequences": 16, "sequence_length": 4, "capacity": 2000}
    first_order = ShortHorizonConfig(**{**vars(SMALL), **changes.pop("policy", {})})
    settings = RefreshingConfig(policy=first_order, **{**config, **changes})
    return Refreshing(ShortHorizon(make_policy(), 1, first_order), local(family), settings)


@pytest.mark.parametrize("family", ["mlp", "rssm"])
def test_it_solves_a_world_that_gives_no_gradients(family):
    """The local models know nothing at first; after thirty updates of 128 steps the policy is near the goal."""
    learner, generator = parts(family, steps=4, first_steps=60), torch.Generator().manual_seed(0)
    experience = learner.experience(environment(), 0)
    before, rows = score(learner.policy), []
    for _ in range(30):
        rows.append(learner.update(experience, generator))
    assert score(learner.policy) > 0.7 * before, (before, score(learner.policy))
    assert rows[-1]["local/dynamics"] < rows[0]["local/dynamics"] and rows[-1]["local/reward"] < rows[0]["local/reward"]
    assert experience.imagined_steps == 30 * 4 * 32


def test_after_learning_its_gradients_are_the_world_s():
    """The value (3 x) of where two pushes of 0.25 lead: 0.75 for each, by finite differences; a fresh one says 0."""
    learner, generator = parts(first_steps=400), torch.Generator().manual_seed(0)
    env, fresh = make_env(num_envs=3, horizon=100, reward=Near()), local().requires_grad_(False)
    learner.update(learner.experience(environment(), 0), generator)

    def compare(model):
        return gradient_agreement(env, model, learner.policy, lambda x: 3 * x[:, 0], at(0.0, 0.1, 0.2), 2, 0)

    found, nothing = compare(learner.local), compare(fresh)
    assert found.starts == 3 and found.cosine.min() > 0.95 and found.ratio == pytest.approx(1, abs=0.2)
    assert nothing.starts == 0 and nothing.to_dict()["cosine"] is None
    exact = found.to_dict()
    assert exact["steps"] == 2 and exact["low"] <= exact["cosine"] <= exact["high"] + 1e-6


def test_when_the_local_model_learns_and_what_it_leaves_alone():
    learner, generator = parts(first_steps=3, steps=0), torch.Generator().manual_seed(0)
    experience, before = learner.experience(environment(), 0), weights(learner.local)
    metrics = learner.update(experience, generator)
    after = weights(learner.local)
    assert "local/dynamics" in metrics and not same(before, after)
    assert "local/dynamics" not in learner.update(experience, generator) and same(after, learner.local.state_dict())
    assert not any(parameter.requires_grad for parameter in learner.local.parameters())
    assert all(torch.equal(before[name], after[name]) for name in ("dynamics.scale", "reward.mean", "reward.scale"))


def test_the_global_random_numbers_do_not_move():
    learner = parts("rssm")
    experience, before = learner.experience(environment(), 0), torch.get_rng_state()
    learner.update(experience, torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("family", ["mlp", "rssm"])
def test_a_killed_refinement_ends_with_the_same_bits(family, tmp_path):
    config = RefineConfig(iterations=6, evaluate_every=3, checkpoint_seconds=0.0, margin=-1.0)

    def run(folder, stop=None):
        learner = parts(family)

        def at_iteration(iteration, row):
            if iteration == stop:
                raise KeyboardInterrupt

        experience = learner.experience(environment(), 0)
        refine(learner, experience, lambda policy: Judgement(0.0), config, folder, 0, at_iteration)
        return learner

    whole = run(tmp_path / "whole")
    for stop in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", stop=stop)
    again = run(tmp_path / "parts")
    for name in ("policy", "local"):
        assert same(weights(getattr(whole, name)), getattr(again, name).state_dict()), name
    assert whole.replay.filled == again.replay.filled


def test_a_local_model_of_other_features_is_refused():
    learner = parts()
    other = LocalModel(LocalDynamics(2, 1, LocalDynamicsConfig(hidden=(8,))), nn.Identity())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="made for 2 features, the policy reads 1"):
        Refreshing(learner.learner, other, learner.config)
