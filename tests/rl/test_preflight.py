"""The pre-flight check: a hopeless refinement is stopped by one sentence that says why, and a slow one is not."""

import pytest
import torch

from burnish.errors import RunError
from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rl import PPO, EnvExperience, Judgement, PPOConfig, RefineConfig, refine
from burnish.rl.preflight import check_signal, preflight
from burnish.rl.watched import Signal, Watched
from burnish.training import ALONE
from tests.imagination.counter_world import make_env, make_models, start_states


def make(policy=None, config=None, **env):
    torch.manual_seed(0)
    policy = policy or GaussianPolicy(1, 1, GaussianPolicyConfig(hidden=(8,)))
    starts = start_states([0.0, 0.3, 0.6], share=0.5)
    experience = EnvExperience(make_env(**({"num_envs": 16, "horizon": 4, "noise": 0.05, "starts": starts} | env)), 3)
    return PPO(policy, 1, config or PPOConfig(critic_warmup=1, rollout_steps=4)), experience


def check(learner, experience):
    preflight(learner, experience, 3, ALONE)


def wrong(experience, **changes):
    """The environment tells something else in its steps."""
    step = experience.env.step

    def changed(actions):
        told = dict(zip(("features", "reward", "terminated", "truncated", "info"), step(actions), strict=True))
        return tuple((told | {name: change(told) for name, change in changes.items()}).values())

    experience.env.step = changed
    return experience


def test_a_sound_beginning_passes_and_leaves_no_trace():
    learner, experience = make()
    before, drawn = experience.state_dict(), torch.get_rng_state()
    weights = {name: tensor.clone() for name, tensor in learner.policy.state_dict().items()}
    check(learner, experience)
    after = experience.state_dict()
    assert torch.equal(drawn, torch.get_rng_state())
    assert torch.equal(before["features"], after["features"])
    for name in ("age", "generator", "imagined_steps"):
        assert bool((torch.as_tensor(before["env"][name]) == torch.as_tensor(after["env"][name])).all())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in learner.policy.state_dict().items())
    assert learner.updates == 0 and all(parameter.grad is None for parameter in learner.policy.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": lambda told: told["reward"] * torch.nan}, "the first imagined rewards are not finite"),
        ({"features": lambda told: told["features"] * torch.inf}, "the first imagined features are not finite"),
    ],
)
def test_numbers_that_are_none(changes, message):
    learner, experience = make(horizon=100)
    with pytest.raises(RunError, match=message):
        check(learner, wrong(experience, **changes))


def test_log_probabilities_of_another_policy():
    """One that drops out half of its features, say: its ratios would not begin at one."""

    class Forgetful(GaussianPolicy):
        def distribution(self, features):
            return super().distribution(features * (torch.rand(features.shape) > 0.5))

    torch.manual_seed(1)
    learner, experience = make(Forgetful(1, 1, GaussianPolicyConfig(hidden=(8,))))
    with torch.no_grad():
        for parameter in learner.policy.parameters():
            parameter.add_(torch.randn_like(parameter))
    with pytest.raises(RunError, match="ratios do not begin at 1"):
        check(learner, experience)


def test_episodes_that_are_all_the_same():
    """One start, no noise in the world, and none in the policy."""

    class Settled(GaussianPolicy):
        def act(self, features, deterministic=False, generator=None):
            return super().act(features, True, generator)

    learner, experience = make(Settled(1, 1, GaussianPolicyConfig(hidden=(8,))), noise=0.0, starts=start_states([0, 0]))
    with pytest.raises(RunError, match="all imagined episodes are the same"):
        check(learner, experience)


def test_gradients():
    learner, experience = make()
    zero, learner.loss = learner.loss, lambda *_: 0 * sum(p.sum() for p in learner.policy.parameters())
    with pytest.raises(RunError, match="all gradients of the first loss are zero"):
        check(learner, experience)
    learner.loss = lambda *arguments: zero(*arguments) * torch.nan
    with pytest.raises(RunError, match="the first loss or its gradients are not finite"):
        check(learner, experience)
    learner.policy.requires_grad_(False)
    with pytest.raises(RunError, match="the policy has no parameter that may change"):
        check(learner, experience)


@pytest.mark.parametrize(
    ("signal", "score", "hopeless"),
    [
        (Signal(100, 0, 0, 100), 0.0, True),
        (Signal(99, 0, 0, 99), 0.0, False),  # too few to tell
        (Signal(100, 0, 1, 1), 0.0, False),  # one success
        (Signal(100, 0, 0, 100), 0.1, False),  # the policy gets there when it does not explore
        (Signal(100, 1, 1, 0), 300.0, True),  # whatever it does earns 1
        (Signal(100, 1, 1, 3), 300.0, False),  # but falling down ends it
    ],
)
def test_whether_anything_makes_a_difference(signal, score, hopeless):
    if not hopeless:
        return check_signal(signal, score)
    with pytest.raises(RunError, match="every decision of the first 100 imagined episodes earned the same"):
        check_signal(signal, score)


class Far:
    """Success where no episode reaches."""

    def succeeded(self, features):
        return features[:, 0] > 100


def test_a_hopeless_refinement_stops_before_the_policy_is_lost(tmp_path):
    """Success lies where no episode reaches; with the check off, refinement goes on."""

    def run(folder, **settings):
        learner, experience = make(config=PPOConfig(critic_warmup=4, rollout_steps=16, minibatch_size=256))
        experience.env.models = make_models(goal=Far())
        score = lambda policy: Judgement(0.0)  # noqa: E731
        return refine(learner, experience, score, RefineConfig(iterations=8, **settings), folder, 3)

    with pytest.raises(RunError, match=r"refinement cannot learn: .* scores 0; clone a better policy"):
        run(tmp_path / "stopped")
    assert len((tmp_path / "stopped" / "metrics.jsonl").read_text().splitlines()) == 5, "the critic's warm-up"
    assert run(tmp_path / "off", preflight=False)["iteration"] == 0


def test_rates_by_hand():
    """Two rollouts of the same kind: shares of the episodes that ended, the mean reward, and its range."""
    learner, experience = make(starts=start_states([0.0, 0.3], [0.9, 0.8]))
    policy, watched, generator = learner.policy, Watched(experience), torch.Generator().manual_seed(0)
    seen = [watched.rollout(policy, steps, generator) for steps in (8, 12)]
    found = watched.rates(ALONE)
    ended = sum(int((rollout.terminated | rollout.truncated).sum()) for rollout in seen)
    reward = torch.cat([rollout.reward for rollout in seen])
    assert found["train/episodes"] == ended > 0
    assert found["train/success"] == pytest.approx(sum(int(rollout.success.sum()) for rollout in seen) / ended)
    assert found["train/halted"] == pytest.approx(sum(int(rollout.halted.sum()) for rollout in seen) / ended)
    assert found["train/reward"] == pytest.approx(float(reward.mean()))
    assert (watched.signal.lowest, watched.signal.highest) == (0, 1) and watched.signal.episodes == ended
    assert watched.rates(ALONE) == {}
