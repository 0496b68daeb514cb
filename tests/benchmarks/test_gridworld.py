"""The gridworld in several styles: moves do the same in each, and every recorded move shows."""

import numpy as np
import pytest

from burnish.data import image_key
from gridworld import CAMERA, CELLS, MOVES, PIXELS, SIZE, STYLES, Room, record


def walker_at(picture, style):
    """The cells that hold the walker's colour."""
    found = np.argwhere((picture == style.walker).all(-1))
    return {tuple(place) for place in (found // PIXELS).tolist()}


@pytest.mark.parametrize("name", list(STYLES))
def test_a_recorded_move_is_what_the_next_picture_shows(name):
    for episode in record([name], 3, 15, seed=7):
        pictures = episode.observation[image_key(CAMERA)]
        assert pictures.shape == (15, SIZE, SIZE, 3)
        places = [walker_at(picture, STYLES[name]) for picture in pictures]
        assert all(len(each) == 1 for each in places)
        for before, after, action in zip(places, places[1:], episode.action, strict=False):
            moved = np.array(next(iter(after))) - next(iter(before))
            assert moved.tolist() == MOVES[int(action.argmax())].tolist() and action.sum() == 1


def test_the_same_seed_walks_the_same_way_in_every_style():
    walks = [record([name], 1, 10, seed=3)[0].action for name in STYLES]
    assert all(np.array_equal(walks[0], walk) for walk in walks)


def test_walls_and_the_border_stop_the_walker():
    room = Room(STYLES["plain"], 0, walls=0)
    room.place = np.array([0, CELLS - 1])
    assert room.legal().tolist() == [1, 2, 4]
    room.move(0)
    assert room.place.tolist() == [0, CELLS - 1]
    room.walls[1, CELLS - 1] = True
    room.move(1)
    assert room.place.tolist() == [0, CELLS - 1]
    room.move(2)
    assert room.place.tolist() == [0, CELLS - 2]
