"""Signs of quaternions, against hand-made ones and against a ball that rolls."""

import numpy as np

from burnish.simulators.metaworld import METAWORLD, STATE, MetaWorldEnv
from burnish.simulators.quaternions import with_sign_of

BALL = slice(7, 11)


def test_the_nearer_of_the_two_signs():
    before = np.array([0.6, 0.0, 0.8, 0.0])
    now = np.array([0.8, 0.0, 0.6, 0.0])
    assert np.array_equal(with_sign_of(before, now), now)
    assert np.array_equal(with_sign_of(before, -now), now)
    nothing = np.zeros(4)
    assert np.array_equal(with_sign_of(nothing, -now), -now), "an episode begins as the simulator says"


def test_a_turn_is_followed_past_half_a_revolution():
    """About one axis by 0 … 360°: cos(angle / 2) goes on to −1, whatever sign each quaternion comes with."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 50)
    true = np.stack([np.cos(angles / 2), np.sin(angles / 2), 0 * angles, 0 * angles], axis=1)
    followed = [true[0]]
    for quaternion in true[1:]:
        followed.append(with_sign_of(followed[-1], rng.choice([-1, 1]) * quaternion))
    np.testing.assert_allclose(followed, true)


def test_a_rolling_ball_does_not_jump():
    """Meta-World's own quaternion of soccer's ball flips its sign; the state's never does, and is the same up to it."""
    env, rng, flips = MetaWorldEnv("soccer-v3", 2), np.random.default_rng(0), 0
    expert = METAWORLD.make_expert("soccer-v3", 0, 0.0)
    for seed in range(3):
        state, raw = env.reset(seed)[STATE], env.raw_observation
        for _ in range(100):
            observation, *_ = env.step(expert.act(env) + rng.normal(0, 0.3, 4))
            before, state, raw_before, raw = state, observation[STATE], raw, env.raw_observation
            flips += int(raw_before[BALL] @ raw[BALL] < 0)
            assert before[BALL] @ state[BALL] > 0
            np.testing.assert_array_equal(np.abs(state[BALL]), np.abs(raw[BALL]).astype(np.float32))
            np.testing.assert_array_equal(np.delete(state[:18], BALL), np.delete(raw[:18], BALL).astype(np.float32))
    assert flips > 0, "choose other seeds: here Meta-World's own quaternion must flip"


def test_an_episode_does_not_inherit_the_sign_of_the_one_before():
    env, rng = MetaWorldEnv("soccer-v3", 2), np.random.default_rng(0)
    expert = METAWORLD.make_expert("soccer-v3", 0, 0.0)
    start = env.reset(0)[STATE]
    for _ in range(150):
        observation, *_ = env.step(expert.act(env) + rng.normal(0, 0.3, 4))
    assert observation[STATE][BALL] @ start[BALL] < 0, "choose another seed: the ball must have turned far"
    np.testing.assert_array_equal(env.reset(0)[STATE], start)
