"""Sections as data: they survive their file, damaged ones are refused, those of one key are joined."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import InputError
from burnish.report.section import (
    Axis,
    Mark,
    Plot,
    Section,
    Series,
    Table,
    Video,
    block_means,
    curve,
    merged,
    numbers,
    read_sections,
    save_sections,
)

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
words = st.text(st.characters(codec="utf-8"), max_size=20)


@st.composite
def series(draw):
    length = draw(st.integers(0, 5))

    def column(values):
        return tuple(draw(st.lists(values, min_size=length, max_size=length)))

    bounded = draw(st.booleans())
    return Series(
        draw(words),
        column(finite),
        column(st.none() | finite),
        column(finite) if bounded else (),
        column(finite) if bounded else (),
        column(words) if draw(st.booleans()) else (),
        colour=draw(st.sampled_from(("blue", "grey"))),
        style=draw(st.sampled_from(("solid", "dashed", "points"))),
    )


axes = st.builds(Axis, words, st.sampled_from(("plain", "share", "count", "wide")), st.none() | finite)
marks = st.builds(Mark, finite, words, st.sampled_from(("x", "y", "diagonal")))
plots = st.builds(
    Plot,
    st.sampled_from(("line", "scatter")),
    words,
    st.lists(series(), max_size=3).map(tuple),
    axes,
    axes,
    words,
    st.lists(marks, max_size=2).map(tuple),
)
tables = st.integers(1, 3).flatmap(
    lambda width: st.builds(
        Table,
        st.tuples(*[words] * width),
        st.lists(st.tuples(*[words] * width), max_size=3).map(tuple),
        words,
    )
)
sections = st.builds(
    Section,
    st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True),
    words,
    st.integers(-5, 100),
    st.lists(words, max_size=2).map(tuple),
    plots=st.lists(plots, max_size=2).map(tuple),
    tables=st.lists(tables, max_size=2).map(tuple),
    videos=st.just((Video("videos/a_1.mp4", "A", "b", "videos/a_1.jpg"),)) | st.just(()),
)


@given(st.lists(sections, max_size=3))
@settings(deadline=None, max_examples=60)
def test_what_is_saved_is_read(tmp_path_factory, found):
    folder = tmp_path_factory.mktemp("sections")
    save_sections(folder, found)
    assert read_sections(folder) == found


def test_no_file_is_no_section(tmp_path):
    assert read_sections(tmp_path) == []


LINE = {"label": "", "x": [0], "y": [1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a valid JSON"),
        ("[]", "expected"),
        ('{"sections": 3}', "sections"),
        ({}, "title"),
        ({"title": "A", "words": "no list"}, "words"),
        ({"title": "A", "script": "x"}, "script"),
        ({"title": "A", "key": "Not A Key"}, "found key"),
        ({"title": "A", "plots": [{"kind": "pie", "title": "", "series": []}]}, "pie"),
        ({"title": "A", "plots": [{"kind": "line", "title": "", "series": [{**LINE, "y": []}]}]}, "found 0 of y"),
        ({"title": "A", "plots": [{"kind": "line", "title": "", "series": [{**LINE, "y": [float("nan")]}]}]}, "finite"),
        ({"title": "A", "plots": [{"kind": "bars", "title": "", "series": [LINE]}]}, "found 0 names"),
        ({"title": "A", "tables": [{"header": ["a"], "rows": [["1", "2"]]}]}, "2 cells in row 0"),
        ({"title": "A", "videos": [{"file": "../../etc/passwd", "title": ""}]}, "plain relative path"),
        ({"title": "A", "videos": [{"file": "/etc/passwd", "title": ""}]}, "plain relative path"),
        ({"title": "A", "videos": [{"file": "a.mp4", "poster": ".hidden", "title": ""}]}, "plain relative path"),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path, content, message):
    text = content if isinstance(content, str) else json.dumps({"sections": [{"key": "a"} | content]})
    (tmp_path / "sections.json").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_sections(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "sections.json"))


def test_sections_of_one_key_are_joined_in_order():
    old, new = (Series(label, (0.0,), (1.0,)) for label in ("imagined", "real"))
    table, newer = (Table(("a",), ((value,),), "Episodes") for value in ("1", "2"))
    found = merged(
        [
            Section(
                "b", "B", 40, ("one",), plots=(Plot("line", "Success", (old,), caption="First."),), tables=(table,)
            ),
            Section("a", "A", 10),
            Section("b", "ignored", 50, ("two",), missing=("three",), tables=(newer,)),
            Section("b", "B", 40, plots=(Plot("line", "Success", (new,), caption="Then."), Plot("line", "More", ()))),
        ]
    )
    assert [section.key for section in found] == ["a", "b"]
    b = found[1]
    assert (b.title, b.order, b.words, b.missing, b.tables) == ("B", 40, ("one", "two"), ("three",), (newer,))
    assert [plot.title for plot in b.plots] == ["Success", "More"]
    assert b.plots[0].series == (old, new) and b.plots[0].caption == "First. Then."


def test_a_curve_takes_the_rows_that_have_both_and_thins_them():
    rows = [{"step": 1, "loss": 2.0}, {"step": 2}, {"step": 3, "loss": None}, {"step": 4, "loss": float("nan")}]
    found = curve(rows, "step", "loss", "training")
    assert found is not None and (found.x, found.y) == ((1.0,), (2.0,))
    assert curve(rows, "step", "other", "") is None
    many = curve([{"step": k, "loss": float(k)} for k in range(1000)], "step", "loss", "")
    assert many is not None and len(many.x) == 300 and many.x == many.y


def test_block_means_by_hand():
    x, y = block_means(np.arange(6.0), np.array([1.0, 3.0, 2.0, 4.0, 10.0, 20.0]), limit=3)
    assert x.tolist() == [0.5, 2.5, 4.5] and y.tolist() == [2.0, 3.0, 15.0]


def test_what_is_no_number_is_a_gap():
    assert numbers([1, None, float("inf"), True, "1", 0.5]) == (1.0, None, None, None, None, 0.5)
