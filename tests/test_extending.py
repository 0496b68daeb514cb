"""The parts that docs/extending.md shows work as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.data import STATE
from burnish.data.formats import ReadingRule
from burnish.data.formats import base as formats
from burnish.imagination import imagined_evaluation
from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rl import EnvExperience
from tests.imagination.counter_world import make_env, start_states

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)


def names_of(word):
    """What the block with this word defines."""
    (block,) = [each for each in BLOCKS if word in each]
    names = {"__name__": "extending"}
    exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_the_format(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "_KNOWN", dict(formats._KNOWN))
    names_of("class CsvFolder")
    rng = np.random.default_rng(0)
    values = [np.round(rng.normal(size=(length, 3)), 3) for length in (5, 7)]
    for number, rows in enumerate(values):
        lines = [",".join([*map(str, row), str(int(step == len(rows) - 1))]) for step, row in enumerate(rows)]
        (tmp_path / f"{number}.csv").write_text("\n".join(["state_0,state_1,action_0,success", *lines]))
    found = formats.format_of(tmp_path)
    assert found.name == "csv"
    data = found.read(tmp_path, ReadingRule())
    read = torch.cat([data.observations[STATE], data.actions], dim=1)
    assert torch.equal(read, torch.from_numpy(np.concatenate(values)).float())
    assert data.lengths.tolist() == [5, 7] and data.success.nonzero().flatten().tolist() == [4, 11]


def test_the_reward():
    reach = names_of("def reach")["reach"]
    following = {"x": torch.tensor([3.0, 0.0]), "y": torch.tensor([4.0, 0.0])}
    assert reach({}, {}, following).tolist() == [-5.0, 0.0]


@pytest.mark.parametrize("seed", [0])
def test_the_learner(seed):
    """It learns to walk to the goal, and goes on from its state with the same bits."""
    torch.manual_seed(seed)
    reinforce = names_of("class Reinforce")["Reinforce"]
    policy = GaussianPolicy(1, 1, GaussianPolicyConfig(hidden=(16,), min_std=0.2, max_std=0.6))
    env = make_env(num_envs=64, horizon=8, starts=start_states([0.0, 0.3, 0.6], share=0.3))
    judge = make_env(num_envs=16, horizon=10**9)
    starts = judge.starts.episode_starts(16)
    learner, experience = reinforce(policy), EnvExperience(env, 0)
    before = imagined_evaluation(judge, policy, starts, 8, seed=0).score
    generator = torch.Generator().manual_seed(seed)
    for _ in range(150):
        learner.update(experience, generator)
    assert imagined_evaluation(judge, policy, starts, 8, seed=0).score > max(0.5, before)
    again = reinforce(GaussianPolicy(1, 1, policy.config))
    again.load_state_dict(learner.state_dict())
    rollout = experience.rollout(policy, 8, generator)
    assert torch.equal(again.loss(rollout, generator), learner.loss(rollout, generator))
