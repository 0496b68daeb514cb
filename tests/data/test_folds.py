"""Folds of a dataset: every episode is held out once, and every kind of episode is dealt out evenly."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.data import Dataset, folds
from burnish.errors import InputError
from tests.data.support import INFO, make_episode


def dataset(kinds):
    """One episode of two frames for each (source, success); its seed is its number."""
    episodes = [
        make_episode(2, seed=number, success_at=-1 if success else None, source=source)
        for number, (source, success) in enumerate(kinds)
    ]
    return Dataset.from_episodes(episodes, INFO)


KINDS = [("expert", True)] * 4 + [("policy", False)] * 5 + [("policy", True)] * 3 + [("random", False)] * 2


def test_fourteen_episodes_by_hand():
    """14 episodes in 4 folds: two of 4 and two of 3; the four demonstrations are one in each fold."""
    made = folds(dataset(KINDS), 4, seed=0)
    assert sorted(held_out.num_episodes for _, held_out in made) == [3, 3, 4, 4]
    for training, held_out in made:
        assert held_out.sources.count("expert") == 1 and training.sources.count("expert") == 3
        assert held_out.sources.count("policy") == 2
        assert training.num_episodes + held_out.num_episodes == 14
        assert held_out.num_frames == 2 * held_out.num_episodes


def test_an_episode_goes_as_a_whole_and_in_order():
    data = dataset(KINDS)
    for training, held_out in folds(data, 3, seed=1):
        for part in (training, held_out):
            assert list(part.seeds) == sorted(part.seeds)
            for episode, found in zip(part.seeds, part.to_episodes(), strict=True):
                whole = data.subset([episode]).to_episodes()[0]
                assert (found.action == whole.action).all() and (found.success == whole.success).all()
                assert found.source == KINDS[episode][0]


@given(
    st.lists(st.tuples(st.sampled_from(["expert", "policy", "random"]), st.booleans()), min_size=2, max_size=25),
    st.data(),
)
def test_every_episode_is_held_out_once_and_every_kind_is_spread(kinds, data):
    count, seed = data.draw(st.integers(2, len(kinds))), data.draw(st.integers(0, 2**31))
    made = folds(dataset(kinds), count, seed)
    assert len(made) == count
    everything = list(range(len(kinds)))
    assert sorted(episode for _, held_out in made for episode in held_out.seeds) == everything
    for training, held_out in made:
        assert sorted([*training.seeds, *held_out.seeds]) == everything
    sizes = [held_out.num_episodes for _, held_out in made]
    assert max(sizes) - min(sizes) <= 1
    for kind in set(kinds):
        shares = [sum(kinds[episode] == kind for episode in held_out.seeds) for _, held_out in made]
        assert max(shares) - min(shares) <= 1, kind


def test_the_seed_decides_and_nothing_else():
    def held_out(seed):
        return [held.seeds for _, held in folds(dataset(KINDS), 3, seed)]

    first = held_out(5)
    torch.manual_seed(123)
    assert held_out(5) == first
    assert len({tuple(held_out(seed)) for seed in range(10)}) > 5


@pytest.mark.parametrize("count", [-1, 0, 1, 15])
def test_an_impossible_number_of_folds_is_refused(count):
    with pytest.raises(InputError, match=f"{count} folds were asked for, expected at least 2 and at most the 14"):
        folds(dataset(KINDS), count, seed=0)


def test_as_many_folds_as_episodes_leave_one_out():
    made = folds(dataset(KINDS), 14, seed=0)
    assert [held_out.num_episodes for _, held_out in made] == [1] * 14
