"""Sentences: skill and things, and what is refused."""

import pytest

from burnish.errors import InputError
from burnish.masks import Instruction, read_instruction, skill_value

SKILLS = ("push", "clear", "open")


@pytest.mark.parametrize(
    "sentence, found",
    [
        ("push the red cube to the green disc", Instruction("push", ("red cube", "green disc", None))),
        ("  Push a red  cube onto the disc.", Instruction("push", ("red cube", "disc", None))),
        ("clear the can off the white pad", Instruction("clear", ("can", "white pad", None))),
        ("open the drawer", Instruction("open", ("drawer", None, None))),
        ("push the cup away from an orange bar", Instruction("push", ("cup", "orange bar", None))),
        ("push red to blue", Instruction("push", ("red", "blue", None))),
    ],
    ids=["two-things", "spaces-and-case", "off", "one-thing", "away-from", "no-articles"],
)
def test_what_is_understood(sentence, found):
    assert read_instruction(sentence, SKILLS) == found


def test_the_third_role_is_always_the_same():
    assert read_instruction("open the drawer", SKILLS, also="black hand").things == ("drawer", None, "black hand")


@pytest.mark.parametrize(
    "sentence, told",
    [
        ("lift the cube", "'lift the cube' begins with 'lift', expected one of: push, clear, open"),
        ("push", "names nothing, expected 'push the THING'"),
        ("push the", "names nothing"),
        ("", "begins with ''"),
    ],
    ids=["verb", "no-thing", "article-alone", "empty"],
)
def test_what_is_not_understood(sentence, told):
    with pytest.raises(InputError, match=told):
        read_instruction(sentence, SKILLS)


def test_values_of_skills():
    """Thirds of the range for three verbs, and never 0, which is no mask."""
    assert [skill_value(verb, SKILLS) for verb in SKILLS] == pytest.approx([1, 2 / 3, 1 / 3])
