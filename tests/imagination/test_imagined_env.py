"""ImaginedEnv over a world that is known by heart, and what Gymnasium expects of a vector environment."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import ArrayConversion, RecordEpisodeStatistics
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import InputError
from burnish.imagination import ImaginationConfig, ImaginedEnv
from tests.imagination.counter_world import (
    CounterWorld,
    Distance,
    Doubt,
    Goal,
    Position,
    at,
    make_env,
    make_models,
    push,
    start_states,
)


def test_success_ends_with_reward():
    """From 0.8, +0.25 reaches the goal; from 0.5 it does not; the successful one is at a start state again."""
    env = make_env(num_envs=2)
    env.reset(options={"states": at(0.8, 0.5)})
    features, reward, terminated, truncated, info = env.step(push(1.0, 1.0))
    assert reward.tolist() == [1, 0]
    assert terminated.tolist() == [True, False] and truncated.tolist() == [False, False]
    assert info["success"].tolist() == [True, False] and info["halted"].tolist() == [False, False]
    assert features[:, 0].tolist() == pytest.approx([0.0, 0.75])
    assert info["_final_obs"].tolist() == [True, False]
    assert info["final_obs"][0].item() == pytest.approx(1.05)


def test_halting_ends_without_reward():
    """-0.4 - 0.25 passes -0.5, where the data ends; from -0.2 it does not."""
    env = make_env(num_envs=2)
    env.reset(options={"states": at(-0.4, -0.2)})
    features, reward, terminated, truncated, info = env.step(push(-1.0, -1.0))
    assert reward.tolist() == [0, 0]
    assert terminated.tolist() == [True, False] and not truncated.any()
    assert info["halted"].tolist() == [True, False] and not info["success"].any()
    assert features[:, 0].tolist() == pytest.approx([0.0, -0.45])
    assert info["final_obs"][0].item() == pytest.approx(-0.65)


def test_no_success_where_halted():
    """The classifier is sure, but the world model is not to be trusted there."""
    goal = Goal()
    goal.succeeded = lambda features: torch.ones(len(features), dtype=torch.bool)
    env = make_env(num_envs=2, goal=goal, uncertainties=(Distance(0.3, threshold=0.5),))
    env.reset(options={"states": at(0.9, 0.0)})
    _, reward, terminated, _, info = env.step(push(1.0, 1.0))
    assert reward.tolist() == [0, 1]
    assert info["halted"].tolist() == [True, False] and info["success"].tolist() == [False, True]
    assert terminated.all()


def test_an_unknown_disagreement_halts():
    """NaN is no permission."""
    doubt = Doubt()
    doubt.threshold.fill_(torch.nan)
    env = make_env(num_envs=2, uncertainties=(doubt,))
    env.reset(options={"states": at(0.8, 0.0)})
    _, reward, terminated, _, info = env.step(push(1.0, 1.0))
    assert info["halted"].all() and terminated.all() and not reward.any()


def test_too_far_from_the_data_halts():
    """Disagreement has no objection right of zero; the distance to the data, from 0.6 on, has."""
    env = make_env(num_envs=2, uncertainties=(Doubt(), Distance(0.6)))
    env.reset(options={"states": at(0.2, 0.4)})
    _, reward, terminated, _, info = env.step(push(1.0, 1.0))
    assert info["halted"].tolist() == [False, True] and terminated.tolist() == [False, True] and not reward.any()


def test_how_far_from_the_data_by_hand():
    """In thresholds: disagreement -(x + a/4) of 0.5, a distance beyond 0.5 of 0.25; only what there is is told."""
    env = make_env(num_envs=2)
    env.reset(options={"states": at(-0.2, 0.4)})
    *_, info = env.step(push(-1.0, 1.0))
    assert info["disagreement"].tolist() == pytest.approx([0.9, -1.3]) and "distance" not in info
    env = make_env(num_envs=2, uncertainties=(Doubt(), Distance(0.5, threshold=0.25)))
    env.reset(options={"states": at(-0.2, 0.4)})
    *_, info = env.step(push(-1.0, 1.0))
    assert info["disagreement"].tolist() == pytest.approx([0.9, -1.3])
    assert info["distance"].tolist() == pytest.approx([-3.8, 0.6])


def test_a_threshold_of_zero_divides_nothing_by_zero():
    env = make_env(num_envs=2, uncertainties=(Distance(0.5),))
    env.reset(options={"states": at(0.25, 0.5)})
    *_, info = env.step(push(1.0, 1.0))
    assert info["distance"][0] == 0 and torch.isfinite(info["distance"][1]) and info["distance"][1] > 1e9


def test_members_of_the_ensemble_imagine_their_share():
    """The one member moves the other way; each episode follows one model from its beginning to its end."""
    env = make_env(num_envs=400, horizon=2, member_share=0.25)
    env.reset(seed=3)
    first = env.step(torch.full((400, 1), 0.5))[0][:, 0].clone()
    second = env.step(torch.full((400, 1), 0.5))[4]["final_obs"][:, 0]
    assert set(first.tolist()) == {-0.125, 0.125}
    assert 60 < int((first < 0).sum()) < 140
    assert torch.equal(second, 2 * first)
    restarted = env.step(torch.full((400, 1), 0.5))[0][:, 0]
    assert not torch.equal(restarted < 0, first < 0), "drawn anew for each episode"


def test_without_halting_the_episode_goes_on():
    env = make_env(num_envs=1, rule="none")
    env.reset(options={"states": at(-0.4)})
    features, _, terminated, _, info = env.step(push(-1.0))
    assert not terminated.any() and not info["halted"].any()
    assert features.item() == pytest.approx(-0.65)


def test_the_horizon_truncates():
    """Three steps; an episode that restarted in between has its own clock."""
    env = make_env(num_envs=3, horizon=3)
    env.reset(options={"states": at(0.0, 0.8, 0.4)})
    outcomes = [env.step(push(0.0, 1.0 if step == 0 else 0.0, 1.0)) for step in range(4)]
    truncated = [outcome[3].tolist() for outcome in outcomes]
    terminated = [outcome[2].tolist() for outcome in outcomes]
    # Row 0 waits: truncated at its 3rd step. Row 1 succeeds in step 1, so its next episode ends in step 4.
    # Row 2 reaches 1.15 in its 3rd step: success at the horizon is a success, not a truncation.
    assert truncated == [[False] * 3, [False] * 3, [True, False, False], [False, True, False]]
    assert terminated == [[False, True, False], [False] * 3, [False, False, True], [False] * 3]
    assert outcomes[2][4]["_final_obs"].tolist() == [True, False, True]
    assert outcomes[2][1].tolist() == [0, 0, 1]


def test_restarts_are_partial():
    env = make_env(num_envs=3, starts=start_states([0.125, 0.5]))
    env.reset(options={"states": at(0.9, 0.2, -0.45)})
    features, *_ = env.step(push(1.0, 1.0, -1.0))
    assert features[:, 0].tolist() == pytest.approx([0.125, 0.45, 0.125])
    features, *_ = env.step(push(1.0, 1.0, 1.0))
    assert features[:, 0].tolist() == pytest.approx([0.375, 0.7, 0.375])


def test_actions_are_clipped():
    env = make_env(num_envs=2)
    env.reset(options={"states": at(0.0, 0.0)})
    features, *_ = env.step(push(50.0, -1.5))
    assert features[:, 0].tolist() == pytest.approx([0.25, -0.25])


def test_reset_mask():
    env = make_env(num_envs=3, horizon=3)
    env.reset(options={"states": at(0.1, 0.2, 0.3)})
    env.step(push(0.0, 0.0, 0.0))
    mask = torch.tensor([False, True, False])
    features, _ = env.reset(options={"reset_mask": mask})
    assert features[:, 0].tolist() == pytest.approx([0.1, 0.0, 0.3])
    features, _ = env.reset(options={"reset_mask": mask.numpy(), "states": at(0.7, 0.8, 0.9)})
    assert features[:, 0].tolist() == pytest.approx([0.1, 0.8, 0.3])
    env.step(push(0.0, 0.0, 0.0))
    *_, truncated, _ = env.step(push(0.0, 0.0, 0.0))
    assert truncated.tolist() == [True, False, True], "the clock of row 1 began anew"


def test_a_reset_begins_all_anew():
    env = make_env(num_envs=2, horizon=2)
    env.reset(options={"states": at(0.5, 0.5)})
    env.step(push(1.0, 1.0))
    features, _ = env.reset()
    assert features[:, 0].tolist() == [0, 0]
    *_, truncated, _ = env.step(push(0.0, 0.0))
    assert not truncated.any()


def test_step_before_reset():
    with pytest.raises(gymnasium.error.ResetNeeded):
        make_env().step(torch.zeros(4, 1))


def play(env, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    taken = []
    for _ in range(steps):
        features, reward, terminated, truncated, info = env.step(torch.rand(4, 1, generator=generator) * 2 - 1)
        taken.append(torch.stack([features[:, 0], reward, terminated, truncated, info["final_obs"][:, 0]]))
    return torch.stack(taken)


def test_seeds_reproduce():
    starts = start_states([0.0, 0.4, 0.6], [0.1, 0.3, 0.8], share=0.5)
    runs = []
    for seed in (3, 3, 4):
        env = make_env(noise=0.1, starts=starts, horizon=4, seed=17)
        env.reset(seed=seed)
        runs.append(play(env, 20))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    assert runs[0][:, 3].any(), "with episodes that ended in between"


def test_resume_is_bit_exact():
    starts = start_states([0.0, 0.4, 0.6], [0.1, 0.3, 0.8], share=0.5)
    env = make_env(noise=0.1, starts=starts, horizon=4)
    env.reset(seed=1)
    play(env, 7)
    saved = env.state_dict()
    saved["state"] = {name: tensor.clone() for name, tensor in saved["state"].items()}
    saved["age"], saved["generator"] = saved["age"].clone(), saved["generator"].clone()
    expected = play(env, 15, seed=2)
    other = make_env(noise=0.1, starts=starts, horizon=4, seed=99)
    other.load_state_dict(saved)
    assert torch.equal(play(other, 15, seed=2), expected)
    assert other.imagined_steps == env.imagined_steps == 4 * 22


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans())
def test_invariants(seed, horizon, halting):
    """Rewards, endings and restarts fit together in every step."""
    starts = start_states([0.0, 0.4, 0.9], [-0.3, 0.3, 0.8], share=0.5)
    env = make_env(num_envs=6, horizon=horizon, starts=starts, noise=0.2, rule="halt" if halting else "none")
    features, _ = env.reset(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(12):
        actions = torch.randn(6, 1, generator=generator)
        before = features
        features, reward, terminated, truncated, info = env.step(actions)
        success, halted, done = info["success"], info["halted"], info["_final_obs"]
        assert torch.equal(reward, success.float())
        assert not (success & halted).any()
        assert torch.equal(terminated, success | halted)
        assert not (terminated & truncated).any()
        assert torch.equal(done, terminated | truncated)
        assert torch.equal(features[~done], info["final_obs"][~done])
        doubt = -(before + 0.25 * actions.clamp(-1, 1))[:, 0] > 0.5
        assert torch.equal(halted, doubt if halting else torch.zeros_like(doubt))
        known = torch.tensor([0.0, 0.4, 0.9, -0.3, 0.3, 0.8])
        assert all((known - value).abs().min() == 0 for value in features[done][:, 0])


# Gymnasium ---------------------------------------------------------------------------------------------------------


def test_it_is_a_vector_environment():
    env = make_env(num_envs=4)
    assert isinstance(env, VectorEnv) and env.num_envs == 4
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert env.single_observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    assert env.single_action_space == gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    assert env.observation_space.shape == (4, 1) and env.action_space.shape == (4, 1)
    features, info = env.reset(seed=0)
    assert isinstance(info, dict) and env.observation_space.contains(features.numpy())
    assert env.unwrapped is env
    env.close()


def test_shapes_and_types():
    env = make_env(num_envs=4)
    env.reset(seed=0)
    features, reward, terminated, truncated, info = env.step(torch.from_numpy(env.action_space.sample()))
    assert features.shape == (4, 1) and features.dtype == torch.float32
    assert reward.shape == (4,) and reward.dtype == torch.float32
    for flags in (terminated, truncated, info["success"], info["halted"], info["_final_obs"]):
        assert flags.shape == (4,) and flags.dtype == torch.bool
    assert info["final_obs"].shape == (4, 1)
    assert not features.requires_grad


def test_two_environments_do_not_share_metadata():
    assert make_env().metadata is not make_env().metadata
    assert VectorEnv.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP


def test_with_numpy_in_and_out():
    env = ArrayConversion(make_env(num_envs=3, horizon=4), env_xp=torch, target_xp=np)
    features, _ = env.reset(seed=0)
    assert isinstance(features, np.ndarray) and features in env.observation_space
    for _ in range(10):
        features, reward, terminated, truncated, info = env.step(env.action_space.sample())
        for value in (features, reward, terminated, truncated, info["final_obs"], info["success"]):
            assert isinstance(value, np.ndarray)
        assert features in env.observation_space


def test_episode_statistics():
    """Gymnasium's own wrapper counts returns and lengths: four pushes from 0 reach the goal."""
    env = RecordEpisodeStatistics(ArrayConversion(make_env(num_envs=2, horizon=6), env_xp=torch, target_xp=np))
    env.reset(seed=0)
    ends = []
    for _ in range(12):
        *_, info = env.step(np.array([[1.0], [0.0]], np.float32))
        if "episode" in info:
            ends.append([(info["episode"]["r"][i], info["episode"]["l"][i]) for i in np.flatnonzero(info["_episode"])])
    assert ends == [[(1, 4)], [(0, 6)], [(1, 4)], [(1, 4), (0, 6)]]


def chunked_env(chunk=3):
    """A decision is three pushes."""
    config = ImaginationConfig(num_envs=4, horizon=6, chunk=chunk)
    return ImaginedEnv(make_models(uncertainties=(Doubt(),)), start_states([0.0, 0.5, 1.0]), 1, config)


def test_a_decision_executes_its_whole_chunk():
    """Three pushes by hand: sums of quarters; a success or a halt on the way ends the episode there."""
    env = chunked_env()
    env.reset(options={"states": at(0.0, 0.5, 0.5, -0.25)})
    chunks = torch.tensor([[1, 1, 1], [1, 1, -1], [1, 1, 0], [-1, -1, 1]], dtype=torch.float32).unsqueeze(-1)
    _, reward, terminated, truncated, info = env.step(chunks)
    # 0.75; 0.75 after having been at 1; 1.0; -0.5 after having been at -0.75, left of all data.
    assert info["final_obs"][:, 0].tolist() == [0.75, 0.75, 1.0, -0.5]
    assert reward.tolist() == [0, 1, 1, 0] and info["halted"].tolist() == [False, False, False, True]
    assert terminated.tolist() == [False, True, True, True] and not truncated.any()
    assert env.imagined_steps == 12 and env.single_action_space.shape == (3, 1)
    # Row 0 was led to 0.25, 0.5 and 0.75, row 3 to -0.5, -0.75 and -0.5: the mean of the transitions, by 0.5.
    assert info["disagreement"][[0, 3]].tolist() == pytest.approx([-1.0, 3.5 / 3])
    _, _, _, truncated, _ = env.step(torch.zeros(4, 3, 1))
    assert truncated.tolist() == [True, False, False, False]  # six actions


def test_a_world_model_of_chunks_is_asked_once():
    """Its transition takes both actions of a decision of two, flattened."""

    class Jumping(CounterWorld):
        action_steps = 2

        def imagine(self, state, action, generator=None):
            assert action.shape == (4, 2)
            return Position(state.position + 0.25 * action.sum(-1, keepdim=True))

    config = ImaginationConfig(num_envs=4, horizon=6, chunk=2)
    env = ImaginedEnv(make_models(Jumping()), start_states([0.0, 0.5, 1.0]), 1, config)
    env.reset(options={"states": at(0.0, 0.0, 0.0, 0.5)})
    _, reward, _, _, info = env.step(torch.ones(4, 2, 1))
    assert info["final_obs"][:, 0].tolist() == [0.5, 0.5, 0.5, 1.0] and reward.tolist() == [0, 0, 0, 1]
    with pytest.raises(InputError, match="3 actions"):
        ImaginedEnv(make_models(Jumping()), start_states(), 1, ImaginationConfig(num_envs=4, chunk=3))
