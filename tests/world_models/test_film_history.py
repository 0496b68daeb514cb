"""The state with a film and an instruction: filled as it is recorded, and told what was asked for."""

import dataclasses

import pytest
import torch

from burnish.errors import InputError
from burnish.world_models import INSTRUCTION, FilmConfig, FilmHistory, instructions_of, with_instructions
from tests.world_models.moving_dot import CAMERA, KEY, SIZE, moving_dot

FILM = FilmConfig((CAMERA,), SIZE, frames=2, film=3, every=4)


@pytest.fixture
def data():
    made = moving_dot(2)
    return with_instructions(dataclasses.replace(made, tasks=("push", "lift")))


@pytest.fixture
def history(data):
    return FilmHistory(2, FILM, instructions_of(data), "push")


def rows(state, index):
    return {name: tensor[index] for name, tensor in state.tensors().items()}


def test_observing_an_episode_frame_by_frame_is_what_is_recorded(data, history):
    whole, state = history.recorded(data), history.initial(2)
    for step in range(12):
        frames = data.starts + step
        observation = {key: values[frames] for key, values in data.observations.items()}
        state = history.observe(state, data.actions[frames - 1] if step else None, observation)
        expected = rows(whole, frames)
        for name, tensor in state.tensors().items():
            assert torch.equal(tensor, expected[name]), (name, step)
    assert state.age.tolist() == [11, 11]


@pytest.mark.parametrize(
    ("age", "shown"), [(0, [0, 0, 0]), (3, [0, 3, 3]), (4, [0, 4, 4]), (7, [0, 4, 7]), (11, [0, 4, 11])]
)
def test_the_film_holds_every_fourth_frame_and_the_newest(data, history, age, shown):
    pictures = history.pictures_of.pictures(data.observations)
    assert torch.equal(history.recorded(data).film[age], pictures[torch.tensor(shown)])


def test_the_sentence_is_the_datas_or_the_one_that_it_is_told(data, history):
    assert history.instructions == ("lift", "push")
    assert data.observations[INSTRUCTION][:, 0].tolist() == [1.0] * 12 + [0.0] * 12
    observation = {key: values[:1] for key, values in data.observations.items()}
    first = history.observe(history.initial(1), None, observation)
    del observation[INSTRUCTION]
    asked = history.asking("lift")
    other = asked.observe(asked.initial(1), None, observation)
    one, two = history.features(first), asked.features(other)
    assert one[0, -2:].tolist() == [0, 1] and two[0, -2:].tolist() == [1, 0]
    assert torch.equal(one[:, :-2], two[:, :-2])
    assert history.decode(first)[INSTRUCTION].tolist() == [[1.0]] and KEY in history.decode(first)


def test_vectors_of_a_text_encoder_take_the_place_of_the_table(data):
    vectors = torch.tensor([[0.5, -1.0, 2.0], [3.0, 4.0, 5.0]])
    history = FilmHistory(2, FILM, instructions_of(data), "push", 3).fit(vectors)
    state = history.recorded(data)
    assert history.features(state)[0, -3:].tolist() == [3.0, 4.0, 5.0]
    assert history.asking("lift").table.equal(vectors)
    with pytest.raises(InputError, match=r"vectors of shape \(2, 2\), expected \(2, 3\)"):
        history.fit(vectors[:, :2])


def test_an_instruction_without_data(data, history):
    with pytest.raises(InputError, match="'dance': found no episode of it in the data, expected one of 'lift', 'push'"):
        history.asking("dance")
    with pytest.raises(InputError, match="found the tasks fly"):
        history.numbers(("push", "fly"))
