"""Selecting and splitting episodes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.data import STATE, Dataset, Episode
from burnish.errors import InputError
from tests.data.support import INFO, assert_same, episode_lists, make_episode


@settings(max_examples=50, deadline=None)
@given(episodes=episode_lists(), data=st.data())
def test_subset_is_the_chosen_episodes(episodes: list[Episode], data: st.DataObject) -> None:
    dataset = Dataset.from_episodes(iter(episodes), INFO)
    chosen = data.draw(st.lists(st.integers(0, len(episodes) - 1), min_size=1, max_size=8))
    subset = dataset.subset(chosen)
    assert subset.num_frames == sum(len(episodes[index]) for index in chosen)
    for found, index in zip(subset.to_episodes(), chosen, strict=True):
        assert_same(found, episodes[index])
    assert subset.episode_success.tolist() == [episodes[index].succeeded for index in chosen]


def test_split_is_stratified_and_reproducible() -> None:
    kinds = [("expert", -1)] * 10 + [("noisy", -1)] * 20 + [("noisy", None)] * 30
    episodes = [make_episode(3, seed=i, source=source, success_at=at) for i, (source, at) in enumerate(kinds)]
    dataset = Dataset.from_episodes(episodes, INFO)
    training, held_out = dataset.split(0.1, seed=5)
    assert (training.num_episodes, held_out.num_episodes) == (54, 6)
    assert sorted(training.seeds + held_out.seeds) == list(range(60))
    found = list(zip(held_out.sources, held_out.episode_success.tolist(), strict=True))
    assert sorted(found) == [("expert", True)] + [("noisy", False)] * 3 + [("noisy", True)] * 2
    assert dataset.split(0.1, seed=5)[1].seeds == held_out.seeds
    assert any(dataset.split(0.1, seed=seed)[1].seeds != held_out.seeds for seed in range(6, 12))


@settings(max_examples=50, deadline=None)
@given(episodes=episode_lists(), held_out=st.floats(0.001, 0.999), seed=st.integers(0, 100))
def test_split_loses_nothing_and_empties_no_side(episodes: list[Episode], held_out: float, seed: int) -> None:
    numbered = [Episode(e.observation, e.action, e.success, e.source, i, e.task) for i, e in enumerate(episodes)]
    dataset = Dataset.from_episodes(numbered, INFO)
    if len(episodes) < 2:
        with pytest.raises(InputError, match="expected at least 2"):
            dataset.split(held_out, seed)
        return
    training, held = dataset.split(held_out, seed)
    assert training.num_episodes >= 1
    assert held.num_episodes >= 1
    assert sorted(training.seeds + held.seeds) == list(range(len(episodes)))


def test_properties_and_sources() -> None:
    episodes = [
        make_episode(2, seed=1, dim=4, source="expert", task="a"),
        make_episode(3, seed=2, dim=4, source="random", task="b", success_at=None),
        make_episode(4, seed=3, dim=4, source="expert", task="a"),
    ]
    dataset = Dataset.from_episodes(episodes, INFO).to("cpu")
    assert (dataset.num_episodes, dataset.num_frames, dataset.observation_dim, dataset.action_dim) == (3, 9, 4, 2)
    assert dataset.starts.tolist() == [0, 2, 5]
    assert dataset.episode_of_frame.tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert dataset.task_names == ("a", "b")
    assert dataset.device == torch.device("cpu")
    assert dataset.with_sources(["expert"]).seeds == (1, 3)
    with pytest.raises(InputError, match=r"\['expert', 'random'\], expected one of \['policy'\]"):
        dataset.with_sources(["policy"])
    for wrong in ([], [3], [-1]):
        with pytest.raises(InputError, match="episodes from 0 to 2"):
            dataset.subset(wrong)
    with pytest.raises(InputError, match="between 0 and 1"):
        dataset.split(1.0, 0)
    with pytest.raises(InputError, match="found no episode"):
        Dataset.from_episodes([], INFO)
    with pytest.raises(InputError, match=r"episode 1, field 'observation.state'"):
        Dataset.from_episodes([episodes[0], make_episode(2, dim=3)], INFO)


def test_a_dataset_does_not_share_memory_with_its_episodes() -> None:
    episode = make_episode(3)
    dataset = Dataset.from_episodes([episode], INFO)
    dataset.observations[STATE].zero_()
    assert np.abs(episode.observation[STATE]).max() > 0
