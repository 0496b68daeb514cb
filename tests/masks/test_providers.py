"""Providers on pictures that were made by hand: whose pixels are whose, what is lost, what is found again."""

import colorsys

import numpy as np
import pytest

from burnish.errors import InputError
from burnish.masks import ColourMasks, MaskConfig, Masking, TrackedMasks, TrackerConfig, TruthMasks, View
from burnish.masks.colours import COLOUR_WORDS, hue_saturation_value, of_colour, with_company

GREY, RED, GREEN, BLUE = (150, 150, 148), (205, 50, 45), (50, 160, 70), (45, 85, 200)


def picture(*squares, size=16):
    """Squares of four by four pixels: (row, column, colour)."""
    made = np.full((size, size, 3), GREY, np.uint8)
    for row, column, colour in squares:
        made[row : row + 4, column : column + 4] = colour
    return made


def square(row, column, size=16):
    return picture((row, column, (0, 0, 0)), size=size)[..., 0] == 0


def test_truth_is_the_segmentation():
    segments = np.array([[0, 1, 1], [2, 2, 0]], np.uint8)
    view = View(np.zeros((2, 3, 3), np.uint8), segments, ("red cube", "White Pad"))
    found = TruthMasks().begin(view, ["white pad", "red cube", "cup"])
    assert np.array_equal(found, [segments == 2, segments == 1, np.zeros((2, 3), bool)])
    with pytest.raises(InputError, match=r"'truth' need a segmentation.*info\['segments'\]"):
        TruthMasks().begin(View(view.picture), ["red cube"])


def test_hue_saturation_and_value_are_those_of_the_standard_library():
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    colours[0, 0], colours[0, 1] = (0, 0, 0), (90, 90, 90)
    found = hue_saturation_value(colours)
    for index in np.ndindex(5, 7):
        hue, saturation, value = colorsys.rgb_to_hsv(*(colours[index] / 255))
        assert found[index] == pytest.approx((360 * hue, saturation, value), abs=1e-3)


@pytest.mark.parametrize(
    "word, colour",
    [
        ("red", RED),
        ("red", (255, 0, 30)),
        ("green", GREEN),
        ("blue", BLUE),
        ("yellow", (235, 205, 60)),
        ("purple", (130, 60, 165)),
        ("orange", (240, 135, 40)),
        ("white", (240, 240, 235)),
        ("brown", (115, 75, 45)),
        ("pink", (240, 150, 190)),
        ("cyan", (80, 205, 215)),
        ("magenta", (190, 20, 150)),
        ("black", (20, 20, 24)),
        (None, GREY),
    ],
)
def test_a_colour_has_one_word_at_most(word, colour):
    hsv = hue_saturation_value(np.array([[colour]], np.uint8))
    assert [each for each in COLOUR_WORDS if of_colour(hsv, each).any()] == ([] if word is None else [word])


def test_pixels_without_company_go():
    mask = square(2, 3)
    lonely = mask.copy()
    lonely[12, 12] = lonely[12, 13] = True
    assert np.array_equal(with_company(lonely, 3), mask) and with_company(lonely, 1).sum() == 18


def test_colours_by_word():
    masks = ColourMasks()
    found = masks.begin(View(picture((2, 2, RED), (8, 9, GREEN))), ["red cube", "green disc", "blue bar"])
    assert np.array_equal(found, [square(2, 2), square(8, 9), np.zeros((16, 16), bool)])
    moved = masks.follow(View(picture((5, 2, RED), (8, 9, GREEN), (0, 12, BLUE))))
    assert np.array_equal(moved, [square(5, 2), square(8, 9), square(0, 12)])
    with pytest.raises(InputError, match=r"'round cup' names no colour, expected one of: black, white, red"):
        masks.begin(View(picture()), ["round cup"])


def tracker():
    return TrackedMasks(ColourMasks(), TrackerConfig())


def test_a_tracker_follows_is_lost_and_finds_again():
    masks = tracker()
    masks.begin(View(picture((2, 2, RED), (8, 9, GREEN))), ["red cube"])
    for row in range(3, 7):
        assert np.array_equal(masks.follow(View(picture((row, row, RED), (8, 12, GREEN))))[0], square(row, row))
    assert not masks.follow(View(picture((8, 12, GREEN))))[0].any(), "gone"
    assert np.array_equal(masks.follow(View(picture((1, 11, RED))))[0], square(1, 11)), "far from where it was"


def test_a_tracker_prefers_what_is_near():
    """Of two red squares it stays with its own."""
    masks = tracker()
    masks.begin(View(picture((2, 2, RED))), ["red cube"])
    found = masks.follow(View(picture((3, 3, RED), (11, 11, RED))))[0]
    assert np.array_equal(found, square(3, 3))


def test_a_tracker_learns_the_colour_from_its_prompt_alone():
    """The truth shows it which of the unnamed colours is meant."""
    shown, segments = picture((2, 2, (90, 120, 110)), (8, 9, (150, 110, 130))), np.zeros((16, 16), np.uint8)
    segments[2:6, 2:6] = 1
    masks = TrackedMasks(TruthMasks(), TrackerConfig())
    masks.begin(View(shown, segments, ("thing",)), ["thing"])
    assert np.array_equal(masks.follow(View(np.roll(shown, 1, axis=0)))[0], square(3, 2))


# ---------------------------------------------------------------------------------------------------------------------
# Mask pictures.


def masking(provider="colour", also=None):
    return MaskConfig(provider=provider, skills=("push", "clear"), also=also).make()


@pytest.mark.parametrize("verb, value", [("push", 255), ("clear", 128)])
def test_a_channel_for_each_role_with_the_skills_value(verb, value):
    made = masking(also="blue hand").begin(
        View(picture((2, 2, RED), (8, 9, GREEN), (12, 0, BLUE))), f"{verb} the red cube to the green pad"
    )
    wanted = np.stack([square(2, 2), square(8, 9), square(12, 0)], axis=-1) * np.uint8(value)
    assert made.dtype == np.uint8 and np.array_equal(made, wanted)


def test_a_role_that_nothing_has_is_empty():
    made = masking().begin(View(picture((2, 2, RED))), "push the red cube")
    assert np.array_equal(made[..., 0] > 0, square(2, 2)) and not made[..., 1:].any()


@pytest.mark.parametrize("provider", ["colour", "tracker"])
def test_what_is_named_must_be_there_and_what_is_lost_is_counted(provider):
    made, sentence = masking(provider), "push the red cube to the green pad"
    with pytest.raises(InputError, match=r"names 'green pad', which is not to be seen in the first picture"):
        made.begin(View(picture((2, 2, RED))), sentence)
    made.begin(View(picture((2, 2, RED), (8, 9, GREEN))), sentence)
    assert made.lost == 0
    empty = made.follow(View(picture((2, 2, RED))))
    assert made.lost == 1 and np.array_equal(empty[..., 0] > 0, square(2, 2)) and not empty[..., 1].any()
    made.follow(View(picture()))
    assert made.lost == 2
    made.follow(View(picture((2, 2, RED), (8, 9, GREEN))))
    assert made.lost == 0


def test_settings():
    assert isinstance(MaskConfig(provider="truth").make(), Masking)
    assert isinstance(MaskConfig(prompt="truth").make().provider, TrackedMasks)
    with pytest.raises(InputError, match=r"masks\.skills: found \('push', 'push'\)"):
        MaskConfig(skills=("push", "push"))
