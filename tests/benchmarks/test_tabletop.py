"""The table top: seeded, drawn as it is, solved by its script; sentences that lie, and words in the place of masks."""

import numpy as np
import pytest

pytest.importorskip("mujoco")

from benchmarks.tabletop_env import BOUNDS, CAMERA, TASK, VOCABULARY, Tabletop, tabletop, words_picture
from benchmarks.tabletop_scene import HAND, SEEN, SEEN_PADS, UNSEEN, UNSEEN_PADS, Placed, draw
from benchmarks.tabletop_script import wanted
from burnish.masks import mask_camera, read_instruction
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.tasks import resolve

MASK = mask_camera(CAMERA)


def play(env, steps=30):
    """Whether the script succeeds."""
    table = env.unwrapped
    return any(env.step(BOUNDS * wanted(table))[4]["success"] for _ in range(steps))


def test_what_is_drawn_is_where_it_lies():
    """A cube of 54 mm in the middle of 400 mm: 4.3 of 32 pixels, whose middle is the corner of four."""
    cube, pad = Placed("red cube", np.zeros(2)), Placed("white pad", np.array([0.1, 0.1]))
    picture, owner = draw([pad, cube], 32)
    assert np.array_equal(np.argwhere(owner == 2).min(0), [14, 14])
    assert np.array_equal(np.argwhere(owner == 2).max(0), [17, 17]) and (picture[15, 15] == (205, 50, 45)).all()
    rows, columns = np.argwhere(owner == 1).mean(0)
    assert (rows, columns) == pytest.approx((7.5, 23.5), abs=0.3), "up and to the right"
    assert (picture[0, 0] == (150, 150, 148)).all() and owner[0, 0] == 0


@pytest.mark.parametrize("settings", [{}, {"objects": "unseen", "distractors": 2}], ids=["seen", "unseen"])
def test_the_script_does_what_the_sentence_says(settings):
    env = tabletop(**settings)
    said = set()
    for seed in range(8):
        said.add(env.reset(seed=seed)[1]["instruction"].split()[0])
        assert play(env), env.unwrapped.instruction
    assert said == {"bring", "clear"}


def test_it_is_seeded_and_names_what_it_shows():
    env = Tabletop(distractors=1)
    first, told = env.reset(seed=4)
    env.reset(seed=5)
    again, _ = env.reset(seed=4)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert set(told["labels"]) >= {*SEEN, *SEEN_PADS, HAND} and len(set(told["labels"]) & set(UNSEEN)) == 1
    asked = read_instruction(told["instruction"], ("bring", "clear"))
    assert asked.things[0] in SEEN and asked.things[1] in SEEN_PADS
    other = Tabletop(objects="unseen").reset(seed=0)[1]["labels"]
    assert set(other) == {*UNSEEN, *UNSEEN_PADS, HAND}
    assert resolve(TASK, SimulatorConfig(max_steps=9)).success_key == "success"


def test_gripping_holds_one_thing_and_letting_go_leaves_it():
    env = Tabletop()
    env.reset(seed=0)
    while env.held is None:
        env.step(BOUNDS * wanted(env))
    offset, at = env.place(0) - env.hand, env.place(0)
    for _ in range(3):
        env.step(np.array([0.01, 0.0, 1.0]))
    assert np.linalg.norm(env.place(0) - at) > 0.015
    assert env.place(0) - env.hand == pytest.approx(offset, abs=4e-3)
    env.step(np.array([0.0, 0.0, -1.0]))
    left = env.place(0)
    for _ in range(4):
        env.step(np.array([0.02, 0.0, -1.0]))
    assert env.held is None and env.place(0) == pytest.approx(left, abs=3e-3)


def test_a_sentence_that_lies():
    """The same table; the sentence names another thing, and success is of what is meant or of what is said."""
    honest = Tabletop()
    honest.reset(seed=1)
    for judge, number in (("meant", 0), ("said", 1)):
        env = Tabletop(said="other_thing", judge=judge)
        _, info = env.reset(seed=1)
        assert env.things == honest.things and env.things[1] in info["instruction"]
        env._data.qpos[2 + 3 * number : 4 + 3 * number] = env.pad_places[0] + (0.0 if env.kind == "bring" else 0.3)
        assert env.success
    assert Tabletop(said="other_skill").reset(seed=1)[1]["instruction"].split()[0] != honest.kind


def test_words_light_up_fields():
    """`bring the red cube to the white pad`: five by five fields in the order of the vocabulary."""
    made = words_picture("bring the red cube to the white pad", 30)
    fields = made[3::6, 3::6] == 255
    for channel, words in enumerate((("red", "cube"), ("white", "pad"), ("bring",))):
        assert {VOCABULARY[k] for k in np.flatnonzero(fields[..., channel])} == set(words)
    assert len(VOCABULARY) <= 25


@pytest.mark.parametrize("masks, shown", [("truth", True), ("words", True), ("none", False)])
def test_what_is_beside_the_picture(masks, shown):
    env = tabletop(masks=masks)
    first, _ = env.reset(seed=2)
    assert first[MASK].shape == first[CAMERA].shape and first[MASK].any() == shown
    assert env.observation_space.contains(first)


def test_masks_drop_out_by_the_seed():
    env = tabletop(dropout=0.5)

    def missing():
        frames = [env.reset(seed=7)[0]] + [env.step(np.zeros(3))[0] for _ in range(9)]
        return np.array([[frame[MASK][..., role].any() for role in range(3)] for frame in frames])

    first = missing()
    assert np.array_equal(first, missing()) and 0 < first.mean() < 1
