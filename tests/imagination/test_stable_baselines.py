"""The scripts of docs/policies.md run as they stand, on a world model that is known by heart."""

import contextlib
import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import burnish
from tests.imagination.counter_world import make_env, start_states

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"


def script(with_):
    """The page's only script with these words in it."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    return next(block for block in blocks if with_ in block)


@pytest.fixture
def counter(monkeypatch):
    """`burnish.load(...)` gives the counter world; episodes that arbitrary actions seldom end well."""

    def load(run):
        return SimpleNamespace(
            env=lambda num_envs: make_env(num_envs, horizon=10, starts=start_states([0.0, 0.5, 1.0]))
        )

    monkeypatch.setattr(burnish, "load", load)


def run(text):
    torch.manual_seed(0)  # the script leaves that to its user
    said, place = io.StringIO(), {}
    with contextlib.redirect_stdout(said):
        exec(compile(text, str(PAGE), "exec"), place)
    return place, said.getvalue()


def rewards(env, act, steps=40):
    """The mean reward a step: 0.25 at best."""
    features, total = env.reset(), 0.0
    for _ in range(steps):
        features, reward, _, _ = env.step(act(features))
        total += reward.mean() / steps
    return total


def test_ppo_as_in_cleanrl_improves(counter):
    place, said = run(script("Normal(actor(obs)"))
    assert len(said.splitlines()) == 30
    env = place["env"]
    features, total = env.reset(seed=1)[0], 0.0
    for _ in range(40):
        features, reward, *_ = env.step(place["actor"](features).detach())
        total += float(reward.mean()) / 40
    assert total > 0.15


def test_ppo_of_stable_baselines_improves(counter):
    pytest.importorskip("stable_baselines3")
    place, _ = run(script("stable_baselines3"))
    env, model = place["env"], place["model"]
    env.seed(1)
    found = rewards(env, lambda features: model.predict(features, deterministic=True)[0])
    env.seed(1)
    rng = np.random.default_rng(0)
    by_chance = rewards(env, lambda features: rng.uniform(-1, 1, (len(features), 1)))
    assert found > 0.15 > by_chance


def test_the_ends_of_episodes_are_where_stable_baselines_looks():
    pytest.importorskip("stable_baselines3")
    from burnish.imagination.stable_baselines import ImaginedVecEnv

    env = ImaginedVecEnv(make_env(3, horizon=2, starts=start_states([0.0, 0.5, 0.75])))
    env.reset()
    env.env.reset(options={"states": env.env.starts.states.rows(torch.tensor([0, 2, 1]))})
    features, reward, done, infos = env.step(np.array([[1.0], [1.0], [-1.0]], np.float32))
    assert done.tolist() == [False, True, False] and reward.tolist() == [0, 1, 0] and features.shape == (3, 1)
    assert infos[1]["terminal_observation"].tolist() == [1.0] and infos[1]["is_success"]
    assert infos[1]["TimeLimit.truncated"] is False and "terminal_observation" not in infos[0]
    _, _, done, infos = env.step(np.array([[0.0], [0.0], [0.0]], np.float32))
    assert done.tolist() == [True, False, True]
    assert infos[0]["TimeLimit.truncated"] is True and infos[0]["terminal_observation"].tolist() == [0.25]
    assert env.get_attr("num_envs") == [3, 3, 3] and env.env_method("state_dict", indices=[0])[0]["imagined_steps"] == 6
