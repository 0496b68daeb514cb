"""Flags of a configuration dataclass, read from arguments and listed."""

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
import tyro

from burnish.config import within
from burnish.errors import InputError
from burnish.flags import listing, parse
from burnish.usage import value_of


@dataclass(frozen=True)
class States:
    """A model of states.

    And more of it.
    """

    width: int = within(8, 1)
    """Units of a layer, which is
    said on two lines."""


@dataclass(frozen=True)
class Pictures:
    size: int = 64
    backbone: Literal["unet", "dit"] = "unet"


@dataclass(frozen=True)
class Reading:
    """How it is read."""

    success_column: str | None = None


@dataclass(frozen=True)
class Options:
    """What one can say."""

    model: States | Pictures = States()
    reading: Annotated[Reading, tyro.conf.OmitArgPrefixes] = Reading()
    noise: tuple[float, ...] = (0.1, 0.2)
    fast: bool = False
    seed: int = 0


def test_flags_change_the_default():
    found, rest = parse(Options(), ["--noise", "1", "2", "--fast", "--success_column", "won", "--model.width=3"], "x")
    assert found == Options(States(3), Reading("won"), (1.0, 2.0), True)
    assert rest == []


def test_what_is_no_flag_is_left():
    assert parse(Options(), ["a", "--seed", "2", "b"], "x") == (Options(seed=2), ["a", "b"])


def test_of_several_dataclasses_the_default_s_flags_are_known():
    found, _ = parse(Options(model=Pictures()), ["--model.backbone", "dit"], "x")
    assert found.model == Pictures(backbone="dit")
    with pytest.raises(InputError, match=r"^unknown option '--model\.width'; x --help-all lists all options$"):
        parse(Options(model=Pictures()), ["--model.width", "3"], "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.width", "x"], "--model.width is 'x', expected a whole number, 1 or more"),
        (["--noise", "0", "x"], "--noise is '0 x', expected values, each a number"),
        (["--seed=x"], "--seed is 'x', expected a whole number"),
        (["--fsat"], "unknown option '--fsat'; did you mean --fast?"),
        (["--sede", "1"], "unknown option '--sede'; did you mean --seed?"),
        (["--widht", "1"], "unknown option '--widht'; did you mean --model.width?"),
        (["--success"], "unknown option '--success'; did you mean --success-column?"),
        (["--noise", "0", "--seed"], "--seed needs a value, expected a whole number"),
    ],
)
def test_wrong_flags(arguments, message):
    with pytest.raises(InputError) as error:
        parse(Options(), arguments, "x")
    assert str(error.value) == message


def test_listing():
    assert listing(Options()) == (
        "What one can say.\n"
        "  --noise 0.1 0.2  (values, each a number)\n"
        "  --fast False  (True or False)\n"
        "  --seed 0  (a whole number)\n"
        "\n"
        "A model of states.\n"
        "  --model.width 8  (a whole number, 1 or more)\n"
        "      Units of a layer, which is said on two lines.\n"
        "\n"
        "How it is read.\n"
        "  --success-column None  (text or None)"
    )


def test_a_value_read_ahead():
    assert value_of("--preset", ["--preset", "a", "--preset=b"]) == "b"
    assert value_of("--two-words", ["--two_words", "c"]) == "c"
    assert value_of("--preset", ["--preset"]) is None
