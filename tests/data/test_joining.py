"""Several data sets as one: what must be the same, and what of it nobody judged."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from burnish.data import UNLABELLED, Dataset, DatasetInfo, joined
from burnish.errors import InputError
from tests.data.support import make_episode

INFO = DatasetInfo(fps=10, max_steps=50)


def rewarded(source, seeds):
    episodes = []
    for seed in seeds:
        reward = np.arange(5, dtype=np.float32)
        episodes.append(replace(make_episode(seed=seed, source=source), reward=reward, terminated=reward > 3))
    return Dataset.from_episodes(episodes, INFO)


def plain(source, seeds, **changes):
    episodes = [make_episode(4, seed=seed, source=source, success_at=None) for seed in seeds]
    return Dataset.from_episodes(episodes, replace(INFO, **changes))


def test_episodes_follow_each_other():
    first, second = rewarded("expert", [0, 1]), rewarded("policy", [2])
    both = joined([("a", first), ("b", second)])
    assert both.sources == ("expert", "expert", "policy") and both.lengths.tolist() == [5, 5, 5]
    assert torch.equal(both.actions, torch.cat([first.actions, second.actions]))
    assert torch.equal(both.subset([2]).observations["observation.state"], second.observations["observation.state"])
    assert both.reward is not None and both.episode_return.tolist() == [10, 10, 10]
    assert joined([("a", first)]) is first and both.judged is both


def test_play_tells_nothing():
    both = joined([("a", rewarded("expert", [0])), ("b", plain(UNLABELLED, [1, 2], max_steps=None))])
    assert both.reward is not None and both.episode_return.tolist() == [10, 0, 0]
    assert both.info.max_steps is None and both.num_judged == 1
    assert both.judged.sources == ("expert",) and both.judged.num_frames == 5
    # Rewards that only some of the judged episodes have are no rewards.
    assert joined([("a", rewarded("expert", [0])), ("b", plain("policy", [1]))]).reward is None
    with pytest.raises(InputError, match="one of"):
        plain(UNLABELLED, [0]).judged  # noqa: B018


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (plain("policy", [1], fps=30), "b: found frames per second 30, expected 10 as in a"),
        (plain("policy", [1], simulator="gym"), "found simulator gym, expected None"),
        (plain("policy", [1], action_names=("x", "z")), r"found action_names \('x', 'z'\), expected \('x', 'y'\)"),
        (Dataset.from_episodes([make_episode(dim=4)], INFO), "found observations .*4.*, expected .*3"),
        (Dataset.from_episodes([make_episode(actions=1)], INFO), "found actions of 1, expected 2"),
    ],
)
def test_parts_that_do_not_fit(other, said):
    with pytest.raises(InputError, match=said):
        joined([("a", plain("expert", [0], action_names=("x", "y"))), ("b", other)])
