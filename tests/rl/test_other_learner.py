"""`refine` knows no PPO and no success: another learner, on another experience, by mean return, resumed to the bit."""

import copy
import json

import pytest
import torch

from burnish.imagination import ImaginedEvaluation
from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rl import Judgement, RefineConfig, Rollout, refine

ENVS = 64


class Reinforce:
    """REINFORCE by plain gradient steps, two rollouts an update; it owns a model, too: the mean reward."""

    def __init__(self, policy):
        self.policy, self.optimizer = policy, torch.optim.SGD(policy.parameters(), lr=0.05)
        self.baseline = torch.zeros(())

    def update(self, experience, generator):
        for _ in range(2):
            rollout = experience.rollout(self.policy, 4, generator)
            self.optimizer.zero_grad()
            self.loss(rollout, generator).backward()
            self.optimizer.step()
            self.baseline = 0.5 * self.baseline + 0.5 * rollout.reward.mean()
        return {"baseline": float(self.baseline)}

    def loss(self, rollout, generator):
        log_prob = self.policy.log_prob(rollout.features.flatten(0, 1), rollout.trace.flatten(0, 1))
        return -(log_prob[:, 0] * (rollout.reward.flatten() - self.baseline)).mean()

    def state_dict(self):
        return {"policy": self.policy.state_dict(), "baseline": self.baseline}

    def load_state_dict(self, state):
        self.policy.load_state_dict(state["policy"])
        self.baseline = state["baseline"]


class Targets:
    """No environment: numbers to be hit; the reward is minus the squared distance, and nothing succeeds or halts."""

    device = torch.device("cpu")

    def __init__(self, num_envs=ENVS, seed=0):
        self.num_envs, self.imagined_steps = num_envs, 0
        self.generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def rollout(self, policy, steps, generator):
        x = torch.rand(steps, self.num_envs, 1, generator=self.generator) * 2 - 1
        decision = policy.act(x.flatten(0, 1), False, generator)
        trace = decision.trace.unflatten(0, (steps, -1))
        self.imagined_steps += steps * self.num_envs
        ends = torch.ones(steps, self.num_envs, dtype=torch.bool)
        log_prob = policy.log_prob(x.flatten(0, 1), decision.trace).unflatten(0, (steps, -1))
        return Rollout(x, trace, log_prob, -(trace - x / 2)[..., 0].square(), ends, ~ends, x)

    def learned(self, rollout, error):
        raise AssertionError("starts have no priorities here")

    def state_dict(self):
        return {"generator": self.generator.get_state(), "imagined_steps": self.imagined_steps}

    def load_state_dict(self, state):
        self.generator.set_state(state["generator"])
        self.imagined_steps = state["imagined_steps"]


class Interrupted(Exception):
    pass


def played(returns, distance):
    """Imagined episodes of one step that earned these returns, so far from the data."""
    return ImaginedEvaluation(
        outcome=returns,
        success=None,
        returns=returns,
        halted=torch.zeros(len(returns), dtype=torch.bool),
        uncertainty={"distance": torch.full_like(returns, distance)},
        lived=torch.ones_like(returns),
    )


def score(policy):
    x = torch.linspace(-1, 1, 41)[:, None]
    with torch.no_grad():
        returns = -(policy.act(x, True).trace - x / 2)[:, 0].square()
    return Judgement.of(played(returns, 0.5))


def make_policy():
    torch.manual_seed(0)
    policy = GaussianPolicy(1, 1, GaussianPolicyConfig(hidden=(16,), min_std=0.1, max_std=0.4))
    with torch.no_grad():
        policy.network.head.bias.add_(0.5)
    return policy


def run(folder, stop_at=None, judged=score, **settings):
    policy = make_policy()

    def stop(iteration, row):
        if iteration == stop_at:
            raise Interrupted

    config = RefineConfig(**({"iterations": 40, "evaluate_every": 10, "checkpoint_seconds": 0.0} | settings))
    return policy, refine(Reinforce(policy), Targets(), judged, config, folder, 3, stop)


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_is_refined_and_resumed(tmp_path):
    policy, result = run(tmp_path / "whole")
    assert result["score_pretrained"] < -0.2 and result["score_refined"] > -0.05
    assert score(policy).score == result["score_refined"] and result["iteration"] > 0
    assert result["imagined_steps"] == 40 * 2 * 4 * ENVS
    found = rows(tmp_path / "whole")
    assert {"baseline", "train/reward", "train/episodes"} <= set(found[1]) and "train/success" not in found[1]
    assert found[0]["eval/score"] == found[0]["eval/return"] == result["score_pretrained"]
    assert found[1]["train/episodes"] == 2 * 4 * ENVS
    for at in (3, 11, 30):
        with pytest.raises(Interrupted):
            run(tmp_path / "parts", stop_at=at)
    torch.rand(7)
    again, same_result = run(tmp_path / "parts")
    assert same_result == result and rows(tmp_path / "parts") == found
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in policy.state_dict().items())


@pytest.mark.parametrize(("margin", "chosen"), [(0.0, 4), (0.5, 3), (2.5, 0)])
def test_the_margin_is_in_units_of_the_scale(tmp_path, margin, chosen):
    """Returns of -10, -8, -8, -6, -5.5 with a scale of 2: better by more than 0, 1 and 5."""
    answers = iter([-10.0, -8.0, -8.0, -6.0, -5.5])
    _, result = run(
        tmp_path,
        judged=lambda _: Judgement(next(answers), scale=2.0),
        iterations=4,
        evaluate_every=1,
        margin=margin,
    )
    assert result["iteration"] == chosen
    assert result["score_pretrained"] == -10.0


def test_judgements_by_hand():
    """Returns 1, 2, 3: mean 2, standard deviation 1, standard error 1/√3; a single one has none."""
    found = Judgement.of(played(torch.tensor([1.0, 2.0, 3.0]), 0.25))
    assert found.score == 2.0 and found.scale == pytest.approx(3**-0.5)
    assert found.metrics == {"return": 2.0, "return_error": pytest.approx(3**-0.5), "distance": 0.25, "halted": 0.0}
    assert Judgement.of(played(torch.tensor([4.0]), 0.25)).scale == 0.0
    some = torch.tensor([True, False, True, True])
    succeeded = ImaginedEvaluation(some.float(), some, 5 * some.float(), ~some)
    assert Judgement.of(succeeded) == Judgement(0.75, {"success": 0.75, "halted": 0.25}), "the scale of a rate is 1"


def test_a_policy_that_has_not_moved_is_not_judged_again(tmp_path):
    """But for the last one: a learner may take its time, with a critic or with the model that it learns in."""

    class Slow(Reinforce):
        begun = 0

        def update(self, experience, generator):
            self.begun += 1
            state = copy.deepcopy(self.policy.state_dict())
            metrics = super().update(experience, generator)
            if self.begun <= 5:
                self.policy.load_state_dict(state)
            return metrics

    for iterations, expected in ((8, [0, 6, 8]), (4, [0, 4])):
        policy = make_policy()
        config = RefineConfig(iterations=iterations, evaluate_every=2)
        refine(Slow(policy), Targets(), score, config, tmp_path / str(iterations), 3)
        assert [row["step"] for row in rows(tmp_path / str(iterations)) if "eval/score" in row] == expected
