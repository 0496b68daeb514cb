"""Video without actions, and the few steps whose actions are known."""

import numpy as np
import pytest
import torch

from burnish.data import STATE, Dataset, DatasetInfo, Episode, image_key, labelled_steps, unlabelled_video
from burnish.errors import InputError

VIEW = image_key("view")


def episode(seed, frames=6, source="random", change=40, pictures=True):
    observation = {STATE: np.zeros((frames, 3), np.float32)}
    if pictures:
        observation[VIEW] = np.full((frames, 8, 8, 3), 100, np.uint8)
        observation[VIEW][1::2, 0, 0] += np.uint8(change)
    action = np.full((frames, 2), seed, np.float32)
    return Episode(observation, action, np.zeros(frames, bool), source, seed, "task")


def dataset(*episodes):
    return Dataset.from_episodes(episodes, DatasetInfo(fps=10, state_names=("x", "y", "z")))


def test_a_video_has_pictures_and_actions_of_no_size():
    data = dataset(episode(0), episode(1))
    video = unlabelled_video(data)
    assert list(video.observations) == [VIEW] and video.actions.shape == (12, 0) and video.action_dim == 0
    assert torch.equal(video.observations[VIEW], data.observations[VIEW])
    assert video.info.state_names is None and video.reward is None
    assert video.split(0.5, 0)[0].num_episodes == 1  # an ordinary data set in every other way


@pytest.mark.parametrize(
    "one, told",
    [
        ({"change": 8}, r"no pixel changes by more than 8 of 255.*something moves"),
        ({"pictures": False}, r"observation\.state.*camera's pictures"),
    ],
    ids=["still", "no-pictures"],
)
def test_what_shows_no_motion_is_refused(one, told):
    with pytest.raises(InputError, match=told):
        unlabelled_video(dataset(episode(0, **one), episode(1, **one)), "here")


def test_labelled_steps_are_whole_episodes_the_expert_first_and_the_beginning_of_the_last():
    data = dataset(*[episode(seed, source="expert" if seed in (2, 5) else "random") for seed in range(8)])
    part = labelled_steps(data, 13, seed=0)  # five actions an episode: two whole ones and three steps of a third
    assert part.lengths.tolist() == [6, 6, 4] and set(part.seeds[:2]) == {2, 5} and part.num_frames == 16
    assert part.actions[:, 0].tolist() == np.repeat(part.seeds, (6, 6, 4)).tolist()
    assert labelled_steps(data, 13, seed=0).seeds == part.seeds
    assert {labelled_steps(data, 13, seed).seeds[2] for seed in range(6)} > {part.seeds[2]}


def test_at_most_so_many_of_the_experts_episodes():
    data = dataset(*[episode(seed, source="expert" if seed < 4 else "random") for seed in range(8)])
    part = labelled_steps(data, 12, seed=0, most=1)
    assert [source == "expert" for source in part.sources] == [True, False, False]
    assert part.seeds[0] == labelled_steps(data, 12, seed=0).seeds[0]
    with pytest.raises(InputError, match=r"25 steps with an action.*at least 26"):
        labelled_steps(data, 26, seed=0, most=1)


def test_more_labels_than_there_are_is_an_error_unless_fewer_will_do():
    data = dataset(episode(0), episode(1))
    assert labelled_steps(data, 11, 0, fewer=True).num_frames == 12
    assert labelled_steps(data, 10, 0).num_frames == 12
    with pytest.raises(InputError, match=r"labelled_steps.*10 steps with an action.*at least 11"):
        labelled_steps(data, 11, 0)
