import hashlib
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.config import check, config_hash, from_dict, load_yaml, save_yaml, to_dict, within
from burnish.errors import InputError


class Kind(Enum):
    BIG = "big"
    SMALL = "small"


@dataclass(frozen=True)
class Model:
    width: int
    sizes: tuple[int, ...] = (64, 64)
    actions: Literal["two_hot", "linear"] = "two_hot"


@dataclass(frozen=True)
class Config:
    model: Model
    learning_rate: float = 1e-3
    name: str = "run"
    clip: float | None = None
    data: Path | None = None
    kind: Kind = Kind.BIG
    range: tuple[float, float] = (-1.0, 1.0)
    use_ema: bool = True
    models: tuple[Model, ...] = ()
    weights: dict[str, float] = field(default_factory=dict)


models = st.builds(
    Model,
    width=st.integers(),
    sizes=st.lists(st.integers(), max_size=3).map(tuple),
    actions=st.sampled_from(["two_hot", "linear"]),
)
finite = st.floats(allow_nan=False)
configs = st.builds(
    Config,
    model=models,
    learning_rate=finite,
    name=st.text(),
    clip=st.none() | finite,
    data=st.none() | st.sampled_from([Path("a/b"), Path("/data")]),
    kind=st.sampled_from(Kind),
    range=st.tuples(finite, finite),
    use_ema=st.booleans(),
    models=st.lists(models, max_size=2).map(tuple),
    weights=st.dictionaries(st.text(), finite, max_size=2),
)


@given(configs)
def test_round_trip_through_plain_data(config):
    assert from_dict(Config, to_dict(config), "config.json") == config


@given(configs)
def test_round_trip_through_yaml(tmp_path_factory, config):
    path = tmp_path_factory.mktemp("yaml") / "config.yaml"
    save_yaml(path, to_dict(config))
    assert from_dict(Config, load_yaml(path), str(path)) == config


def test_plain_data_is_as_expected():
    config = Config(Model(8), data=Path("x/y"), kind=Kind.SMALL, models=(Model(1, sizes=()),))
    assert to_dict(config) == {
        "model": {"width": 8, "sizes": [64, 64], "actions": "two_hot"},
        "learning_rate": 1e-3,
        "name": "run",
        "clip": None,
        "data": "x/y",
        "kind": "small",
        "range": [-1.0, 1.0],
        "use_ema": True,
        "models": [{"width": 1, "sizes": [], "actions": "two_hot"}],
        "weights": {},
    }


def test_an_object_without_a_plain_form_is_refused():
    with pytest.raises(TypeError, match=r"dict\.a\[1\]: a object"):
        to_dict({"a": [1, object()]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {}}, "f.yaml: field 'model.width' is missing"),
        ({"model": {"width": "8"}}, "f.yaml: field 'model.width': expected int, found '8' (str)"),
        ({"model": {"width": True}}, "f.yaml: field 'model.width': expected int, found True (bool)"),
        ({"model": {"width": 8.5}}, "f.yaml: field 'model.width': expected int, found 8.5 (float)"),
        ({"model": 3}, "f.yaml: field 'model': expected Model, found 3 (int)"),
        ({"model": {"width": 8, "depth": 2}}, "f.yaml: unknown field 'model.depth'; expected one of: width, sizes"),
        ({"speed": 1}, "f.yaml: unknown field 'speed'; expected one of: model, learning_rate"),
        ({"learning_rate": "fast"}, "f.yaml: field 'learning_rate': expected float, found 'fast' (str)"),
        ({"learning_rate": None}, "f.yaml: field 'learning_rate': expected float, found None (NoneType)"),
        ({"clip": True}, "f.yaml: field 'clip': expected float, found True (bool)"),
        ({"range": [1.0]}, "f.yaml: field 'range': expected tuple[float, float], found [1.0] (list)"),
        ({"range": "ab"}, "f.yaml: field 'range': expected tuple[float, float], found 'ab' (str)"),
        (
            {"model": {"width": 1, "actions": "one_hot"}},
            "f.yaml: field 'model.actions': expected one of 'two_hot', 'linear', found 'one_hot' (str)",
        ),
        ({"kind": "huge"}, "f.yaml: field 'kind': expected one of 'big', 'small', found 'huge' (str)"),
    ],
)
def test_wrong_fields_are_named(change, message):
    data = {"model": {"width": 8}} | change
    with pytest.raises(InputError) as error:
        from_dict(Config, data, "f.yaml")
    assert str(error.value).startswith(message)


def test_a_list_is_no_configuration():
    with pytest.raises(InputError, match=r"f\.yaml: expected a mapping of Config's fields, found \[1\] \(list\)"):
        from_dict(Config, [1], "f.yaml")


def test_an_integer_becomes_a_float():
    config = from_dict(Config, {"model": {"width": 8}, "learning_rate": 1, "range": [0, 1]}, "f.yaml")
    assert isinstance(config.learning_rate, float)
    assert all(isinstance(bound, float) for bound in config.range)


def test_hash_is_stable():
    # The canonical JSON, written by hand: sorted keys, no spaces, integral floats as integers.
    assert config_hash({"b": 1.0, "a": [True, None]}) == hashlib.sha256(b'{"a":[true,null],"b":1}').hexdigest()


def test_hash_tells_changes_and_nothing_else():
    config = Config(Model(8), weights={"a": 1.0, "b": 2.0})
    assert config_hash(config) == config_hash(replace(config, weights={"b": 2, "a": 1}))
    assert config_hash(config) == config_hash(from_dict(Config, to_dict(config), ""))
    assert config_hash(config) != config_hash(replace(config, model=Model(9)))
    assert config_hash({"x": 1}) != config_hash({"x": "1"})
    assert config_hash({"x": 1}) != config_hash({"x": True})


def test_yaml_reads_exponents_as_numbers(tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1e-4\nb: 1.0e-4\nc: 3e5\nd: e5\n")
    assert load_yaml(tmp_path / "a.yaml") == {"a": 1e-4, "b": 1e-4, "c": 3e5, "d": "e5"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not a valid YAML file"),
        ("- 1", "expected a YAML mapping, found [1] (list)"),
        ("", "expected a YAML mapping, found None"),
        ("a: !!python/object/apply:os.getcwd []", "not a valid YAML file: could not determine a constructor"),
        ("a: \x00", "not a valid YAML file"),
        ("a: 2024-99-99", "not a valid YAML file"),
        ("[" * 5000, "not a valid YAML file"),
    ],
)
def test_bad_yaml_is_refused(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_yaml(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        load_yaml(tmp_path / "none.yaml")


@dataclass(frozen=True)
class Ranged:
    gamma: float = within(0.99, 0, 1)
    rate: float = within(1e-3, 0, open_low=True)
    held_out: float = within(0.1, 0, 1, open_low=True, open_high=True)
    envs: int = within(4, 1)
    patience: int | None = within(None, 1)
    hidden: tuple[int, ...] = within((8, 8), 1)
    method: Literal["euler", "heun"] = "euler"
    methods: tuple[Literal["a", "b"], ...] = ()


@dataclass(frozen=True)
class Outer:
    part: Ranged = Ranged()
    parts: tuple[Ranged, ...] = ()
    model: Model | Ranged = Ranged()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"gamma": 2}, "gamma is 2, expected a number from 0 to 1 (--config.part.gamma)"),
        ({"gamma": float("nan")}, "gamma is nan, expected a number from 0 to 1 (--config.part.gamma)"),
        ({"gamma": True}, "gamma is True, expected a number from 0 to 1 (--config.part.gamma)"),
        ({"rate": 0.0}, "rate is 0, expected more than 0 (--config.part.rate)"),
        ({"rate": float("inf")}, "rate is inf, expected more than 0 (--config.part.rate)"),
        ({"held_out": 1.0}, "held_out is 1, expected more than 0 and less than 1 (--config.part.held-out)"),
        ({"envs": 0}, "envs is 0, expected 1 or more (--config.part.envs)"),
        ({"envs": "4"}, "envs is '4', expected 1 or more (--config.part.envs)"),
        ({"patience": 0}, "patience is 0, expected 1 or more (--config.part.patience)"),
        ({"hidden": (8, 0)}, "hidden is (8, 0), expected 1 or more (--config.part.hidden)"),
        ({"method": "rk4"}, "method is 'rk4', expected one of 'euler', 'heun' (--config.part.method)"),
        ({"methods": ("a", "c")}, "methods is ('a', 'c'), expected one of 'a', 'b' (--config.part.methods)"),
    ],
)
def test_settings_have_ranges(change, found):
    bad = replace(Ranged(), **change)
    with pytest.raises(InputError) as error:
        check(Outer(part=bad))
    assert str(error.value) == f"config.part.{found}"
    with pytest.raises(InputError, match=r"^config\.parts\.1\."):
        check(Outer(parts=(Ranged(), bad)))
    with pytest.raises(InputError, match=r"^config\.model\."):
        check(Outer(model=bad))


def test_settings_in_their_ranges_pass():
    check(Outer(part=Ranged(gamma=0, held_out=0.5, patience=None, hidden=(), methods=("a",)), parts=(Ranged(gamma=1),)))


def test_ranges_hold_for_files():
    with pytest.raises(InputError, match=r"^f\.yaml: field 'part\.gamma' is 2, expected a number from 0 to 1$"):
        from_dict(Outer, {"part": {"gamma": 2}}, "f.yaml")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"width": 3}, Model(3)),
        ({"gamma": 0.5}, Ranged(gamma=0.5)),
        ({}, "f.yaml: field 'model.width' is missing"),
        ({"width": 3, "size": 1}, "f.yaml: unknown field 'model.size'; expected one of: width, sizes, actions"),
        ({"gamma": "x"}, "f.yaml: field 'model.gamma': expected float, found 'x' (str)"),
        (3, "f.yaml: field 'model': expected Model or Ranged, found 3 (int)"),
    ],
)
def test_of_several_dataclasses_the_one_that_fits_is_built(data, expected):
    if isinstance(expected, str):
        with pytest.raises(InputError) as error:
            from_dict(Outer, {"model": data}, "f.yaml")
        assert str(error.value).startswith(expected)
    else:
        assert from_dict(Outer, {"model": data}, "f.yaml").model == expected


def test_yaml_aliases_are_refused(tmp_path):
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"bomb.yaml: not a valid YAML file: found the alias \*a0, expected it"):
        load_yaml(tmp_path / "bomb.yaml")


def test_texts_that_look_like_numbers_stay_texts(tmp_path):
    save_yaml(tmp_path / "a.yaml", {"0E0": 1.0, "b": "1e-4"})
    assert load_yaml(tmp_path / "a.yaml") == {"0E0": 1.0, "b": "1e-4"}
