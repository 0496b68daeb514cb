"""Commands and frames: what is not as it must be is said, and goes no further."""

import numpy as np
import pytest

from burnish.errors import InputError
from burnish.studio.protocol import RAW, Command, file_name, packed, read_command
from tests.studio.studios import unpacked


def test_commands():
    assert read_command('{"do": "open", "run": "a"}') == Command("open", run="a")
    found = read_command('{"do": "input", "seq": 3, "action": [0.5, -7, 1], "on": true}')
    assert found == Command("input", seq=3, action=(0.5, -1.0, 1.0), on=True)
    found = read_command('{"do": "begin", "frame": 4, "drivers": ["you", "refined"], "beside": true, "noise": 2}')
    assert found == Command("begin", frame=4, drivers=("you", "refined"), beside=True, noise=2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"do": "delete"}',
        '{"do": ["open"]}',
        '{"do": "open"}',
        '{"do": "open", "run": 3}',
        '{"do": "open", "run": ""}',
        '{"do": "open", "run": "a", "path": "/etc"}',
        '{"do": "input", "seq": 1, "action": [NaN], "on": true}',
        '{"do": "input", "seq": 1, "action": [1e999], "on": true}',
        '{"do": "input", "seq": 1, "action": [true], "on": true}',
        '{"do": "input", "seq": 1.5, "action": [], "on": true}',
        '{"do": "input", "seq": true, "action": [], "on": true}',
        '{"do": "input", "seq": 99999999999999999999, "action": [], "on": true}',
        '{"do": "input", "seq": 1, "action": [0], "on": 1}',
        '{"do": "begin", "frame": -7}',
        '{"do": "begin", "drivers": []}',
        '{"do": "begin", "drivers": ["a", "b", "c"]}',
        '{"do": "speed", "factor": 1e9}',
        '{"do": "save", "name": "../up"}',
        '{"do": "save", "name": ".hidden"}',
        '{"do": "save", "name": "a/b"}',
        "[" * 50_000,
        "x" * 70_000,
        b"bytes",
        None,
    ],
    ids=range(28),
)
def test_what_is_no_command(text):
    with pytest.raises(InputError):
        read_command(text)


def test_small_pictures_travel_as_they_are():
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (64, 48, 3), dtype=np.uint8)
    large = generator.integers(0, 256, (RAW + 1, RAW, 3), dtype=np.uint8)
    message = packed({"step": 3}, [small, large])
    header = unpacked(message)
    first, second = header["pictures"]
    assert header["step"] == 3 and first == {"h": 64, "w": 48, "raw": True, "at": 0, "bytes": 64 * 48 * 3}
    content = message[4 + int.from_bytes(message[:4], "little") :]
    assert content[: first["bytes"]] == small.tobytes()
    assert (
        not second["raw"]
        and content[second["at"] :].startswith(b"\xff\xd8")
        and len(content) == second["at"] + second["bytes"]
    )


def test_names_of_files():
    assert file_name("name", "drive-1.b_c") == "drive-1.b_c"
    for wrong in ("", "a" * 61, "ä", "a b", "..", "a\n", 3):
        with pytest.raises(InputError):
            file_name("name", wrong)
