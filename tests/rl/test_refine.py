"""Refinement: the choice of the iterate, and a resume that ends with the same bits."""

import dataclasses
import json
import math

import pytest
import torch

from burnish.errors import InputError
from burnish.imagination import imagined_evaluation
from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rl import PPO, EnvExperience, Judgement, PPOConfig, RefineConfig, refine
from burnish.storage import load_state, load_tensors, save_state
from burnish.training.resume import DamagedResume
from tests.imagination.counter_world import make_env, start_states

PPO_CONFIG = PPOConfig(gamma=0.95, policy_learning_rate=3e-3, anchor_weight=0.01, minibatch_size=128, target_kl=0.1)


class Interrupted(Exception):
    pass


def make_policy(seed=0):
    torch.manual_seed(seed)
    return GaussianPolicy(1, 1, GaussianPolicyConfig(hidden=(16,), min_std=0.2, max_std=0.6))


def make_world(num_envs=32):
    return make_env(num_envs=num_envs, horizon=8, noise=0.05, starts=start_states([0.0, 0.3, 0.6], share=0.5))


def judge(policy):
    env = make_env(num_envs=16, horizon=10**9, noise=0.05)
    return Judgement.of(imagined_evaluation(env, policy, env.starts.episode_starts(16), 8, seed=0))


def verdict(rate):
    """A judgement of a given rate."""
    return Judgement(rate, {"success": rate})


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(policy):
    return {name: tensor.clone() for name, tensor in policy.state_dict().items()}


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def run(folder, evaluate=judge, policy=None, on_iteration=None, seed=3, **settings):
    policy = policy or make_policy()
    steps = {name: settings.pop(name) for name in ("rollout_steps", "critic_warmup") if name in settings}
    torch.manual_seed(seed)
    learner = PPO(policy, 1, dataclasses.replace(PPO_CONFIG, **({"rollout_steps": 8, "critic_warmup": 1} | steps)))
    config = RefineConfig(**({"iterations": 8, "evaluate_every": 2} | settings))
    return policy, refine(learner, EnvExperience(make_world(), seed), evaluate, config, folder, seed, on_iteration)


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ([0.2, 0.3, 0.8, 0.5, 0.6], 4),  # the highest of iterations 0, 2, 4, 6, 8
        ([0.2, 0.8, 0.3, 0.8, 0.8], 2),  # the earliest among equals
        ([0.5, 0.5, 0.4, 0.3, 0.5], 0),  # nothing better: the pretrained policy stays
        ([0.1, 0.2, 0.3, 0.4, 0.5], 8),
        ([0.0, 0.0, 0.0, 0.0, 0.0], 0),
    ],
)
def test_the_choice(tmp_path, rates, chosen):
    answers = iter(rates)
    judged = []

    def evaluate(policy):
        judged.append(weights(policy))
        return verdict(next(answers))

    policy, result = run(tmp_path, evaluate)
    assert len(judged) == 5
    assert result["iteration"] == chosen
    assert result["score_pretrained"] == pytest.approx(rates[0])
    assert result["score_refined"] == pytest.approx(max(rates))
    assert same(judged[chosen // 2], policy.state_dict())
    assert same(judged[0], make_policy().state_dict())
    for i, iterate in enumerate(judged):
        found, _ = load_tensors(tmp_path / "iterates" / f"{2 * i:04d}.safetensors")
        assert same(iterate, found)
    assert not same(judged[1], judged[2]), "the iterates differ at all"
    logged = {row["step"]: row["eval/success"] for row in rows(tmp_path) if "eval/success" in row}
    assert logged == pytest.approx(dict(zip((0, 2, 4, 6, 8), rates, strict=True)))


def test_a_better_one_must_be_better_by_the_margin(tmp_path):
    """Of 0.2, 0.6, 0.65, 0.8, 0.85 the third and the last are no more than 0.1 above the best before them."""
    answers = iter([0.2, 0.6, 0.65, 0.8, 0.85])
    _, result = run(tmp_path, lambda policy: verdict(next(answers)), margin=0.1)
    assert result["iteration"] == 6


def test_the_running_average_is_what_is_judged(tmp_path):
    """With share 1 the average never moves; with 0.5 it is half of the old and half of the new, every time."""
    for keep in (1.0, 0.5):
        judged = []
        policy = make_policy()

        def evaluate(averaged, judged=judged):
            judged.append(weights(averaged))
            return verdict(0.1 * len(judged))

        followed = [weights(policy)]
        run(
            tmp_path / str(keep),
            evaluate,
            policy,
            lambda iteration, row, policy=policy, followed=followed: followed.append(weights(policy)),
            average=keep,
            critic_warmup=0,
            iterations=3,
            evaluate_every=1,
        )
        expected = followed[0]
        for found, raw in zip(judged, followed[1:], strict=True):
            expected = {name: keep * expected[name] + (1 - keep) * raw[name] for name in expected}
            for name in expected:
                torch.testing.assert_close(found[name], expected[name])
        assert not same(followed[0], followed[-1])


def test_warm_up_is_not_judged_and_does_not_move_the_policy(tmp_path):
    judged = []

    def evaluate(policy):
        judged.append(weights(policy))
        return verdict(0.1 * len(judged))

    run(tmp_path, evaluate, iterations=6, critic_warmup=4)
    assert len(judged) == 2, "iterations 0 and 6"
    snapshots = []
    policy = make_policy()
    run(
        tmp_path / "other",
        lambda _: verdict(0.1),
        policy,
        on_iteration=lambda step, row: snapshots.append(weights(policy)),
        critic_warmup=4,
    )
    assert all(same(snapshots[0], snapshot) for snapshot in snapshots[:5])
    assert not same(snapshots[0], snapshots[5])


def test_patience(tmp_path):
    answers = iter([0.2, 0.5, 0.4, 0.5, 0.9, 0.9])
    _, result = run(tmp_path, lambda _: verdict(next(answers)), iterations=10, patience=2)
    assert result["iteration"] == 2 and [row["step"] for row in rows(tmp_path)] == list(range(7))


def test_why_it_stopped(tmp_path):
    """Iterations or patience, and patience where both end at the same judgement."""
    _, result = run(tmp_path / "all", lambda _: verdict(0.5), patience=5)
    assert result["stopped"] == "iterations were over"
    for name, iterations in (("early", 8), ("end", 4)):
        _, result = run(tmp_path / name, lambda _: verdict(0.5), iterations=iterations, patience=2)
        assert result["stopped"] == "no better iterate for 2 judgements"
        assert [row["step"] for row in rows(tmp_path / name)] == list(range(5))


def far(rate, distance=None, disagreement=None):
    """A judgement of a given rate, so far from the data."""
    measured = {"distance": distance, "disagreement": disagreement}
    return Judgement(rate, {name: value for name, value in measured.items() if value is not None})


@pytest.mark.parametrize("measure", ["distance", "disagreement"])
def test_leaving_the_data_ends_it(tmp_path, measure):
    """Limit 1.5 of 0.4: 0.6 is allowed, 0.61 at iteration 6 is not, however well that iterate does."""
    answers = iter([far(0.2, **{measure: 0.4}), far(0.3, **{measure: 0.1}), far(0.5, **{measure: 0.6})])
    judged = []

    def evaluate(policy):
        judged.append(weights(policy))
        return next(answers, far(1.0, **{measure: 0.61}))

    policy, result = run(tmp_path, evaluate, max_distance_growth=1.5)
    assert [row["step"] for row in rows(tmp_path)] == list(range(7))
    assert result["iteration"] == 4 and result["score_refined"] == pytest.approx(0.5)
    assert same(judged[2], policy.state_dict()) and not same(judged[3], policy.state_dict())
    assert result["stopped"] == (
        f"left the data: at iteration 6 the mean {measure} is 0.61 of its threshold, more than 1.5 times the "
        "pretrained policy's 0.4"
    )
    logged = {row["step"]: row[f"eval/{measure}"] for row in rows(tmp_path) if f"eval/{measure}" in row}
    assert logged == {0: 0.4, 2: 0.1, 4: 0.6, 6: 0.61}


def test_the_distance_goes_before_the_disagreement(tmp_path):
    """Where both are told, the ensemble's doubts may grow; both are logged."""
    answers = iter([(0.4, 0.1), (0.4, 0.9), (0.9, 0.1)])
    _, result = run(tmp_path, lambda _: far(0.5, *next(answers)), max_distance_growth=2)
    assert result["stopped"].startswith("left the data: at iteration 4 the mean distance is 0.9")
    assert rows(tmp_path)[2]["eval/distance"] == 0.4 and rows(tmp_path)[2]["eval/disagreement"] == 0.9


def test_an_unknown_distance_has_left_the_data(tmp_path):
    answers = iter([0.4, math.nan])
    _, result = run(tmp_path, lambda _: far(0.5, next(answers)), max_distance_growth=2)
    assert result["iteration"] == 0 and result["stopped"].startswith("left the data: at iteration 2")


def test_without_a_limit_the_distance_ends_nothing(tmp_path):
    answers = iter([0.1, 0.2, 0.4, 0.8, 1.6])
    _, result = run(tmp_path, lambda _: far((d := next(answers)) / 2, d))
    assert result["iteration"] == 8 and result["stopped"] == "iterations were over"


def test_a_limit_needs_a_measure(tmp_path):
    with pytest.raises(InputError, match=r"refine.max_distance_growth is 2, but .* neither a distance to the data nor"):
        run(tmp_path, lambda _: verdict(0.5), max_distance_growth=2)


def test_it_counts_imagined_steps(tmp_path):
    """8 iterations of 8 steps in 32 environments; judging is not counted."""
    _, result = run(tmp_path)
    assert result["imagined_steps"] == 8 * 8 * 32
    assert [row["imagined_steps"] for row in rows(tmp_path)] == [256 * i for i in range(9)]


def test_it_refines(tmp_path):
    """From a policy that hardly ever gets there to one that does."""
    policy, result = run(tmp_path, iterations=60, critic_warmup=2, evaluate_every=5, rollout_steps=16)
    assert result["score_pretrained"] < 0.2
    assert result["score_refined"] > 0.9
    assert judge(policy).score == pytest.approx(result["score_refined"])
    # Successes per ended episode, while training:
    assert rows(tmp_path)[-1]["train/success"] > rows(tmp_path)[1]["train/success"]
    assert all(0 <= row["train/success"] <= 1 and 0 <= row["train/halted"] <= 1 for row in rows(tmp_path)[1:])


def interrupt(folder, at, settings):
    def on_iteration(iteration, row):
        if iteration == at:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(folder, on_iteration=on_iteration, **settings)


@pytest.mark.parametrize("key", ["learner", "averaged", "best", "best_weights", "iteration", "first", "explored"])
def test_a_damaged_state_is_named(tmp_path, key):
    interrupt(tmp_path, 5, {"checkpoint_seconds": 0.0})
    path = tmp_path / "resume.safetensors"
    state = load_state(path)
    del state[key]
    save_state(path, state)
    with pytest.raises(DamagedResume, match=rf"the resume state is damaged \(field '{key}' is missing\)"):
        run(tmp_path, checkpoint_seconds=0.0)


@pytest.mark.parametrize("at", [(0,), (1,), (5,), (8,), (2, 3, 7)])
def test_resume_equals_uninterrupted(tmp_path, at):
    settings = {"checkpoint_seconds": 0.0}
    expected, result = run(tmp_path / "whole", **settings)
    for iteration in at:
        interrupt(tmp_path / "parts", iteration, settings)
    torch.rand(13)
    resumed, again = run(tmp_path / "parts", **settings)
    assert again == result
    assert same(weights(expected), resumed.state_dict())
    assert [row["step"] for row in rows(tmp_path / "parts")] == list(range(9)), "no row is missing or doubled"
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


@pytest.mark.parametrize("at", [(1,), (5,), (6,), (2, 4, 6)])
def test_leaving_the_data_resumes(tmp_path, at):
    """The pretrained policy's distance and the best iterate survive a stop; it ends at iteration 6 all the same."""

    def evaluate_in(folder):
        def evaluate(policy):
            iteration = rows(folder)[-1]["step"] + 1 if rows(folder) else 0
            return far(0.1 * (iteration + 1), {0: 0.4, 2: 0.5, 4: 0.6, 6: 0.7, 8: 0.4}[iteration])

        return evaluate

    settings = {"checkpoint_seconds": 0.0, "max_distance_growth": 1.5}
    expected, result = run(tmp_path / "whole", evaluate_in(tmp_path / "whole"), **settings)
    assert result["iteration"] == 4 and result["stopped"].startswith("left the data: at iteration 6")
    for iteration in at:
        interrupt(tmp_path / "parts", iteration, settings | {"evaluate": evaluate_in(tmp_path / "parts")})
    resumed, again = run(tmp_path / "parts", evaluate_in(tmp_path / "parts"), **settings)
    assert again == result and same(weights(expected), resumed.state_dict())
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_the_seed_decides(tmp_path):
    one, _ = run(tmp_path / "one", lambda p: verdict(0.0))
    final = [load_tensors(tmp_path / name / "iterates" / "0008.safetensors")[0] for name in ("one",)]
    run(tmp_path / "two", lambda p: verdict(0.0))
    final.append(load_tensors(tmp_path / "two" / "iterates" / "0008.safetensors")[0])
    assert same(final[0], final[1]) and not same(final[0], one.state_dict())
    run(tmp_path / "three", lambda p: verdict(0.0), seed=4)
    assert not same(final[0], load_tensors(tmp_path / "three" / "iterates" / "0008.safetensors")[0])
