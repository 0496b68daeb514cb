import errno
import math
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from burnish import storage
from burnish.errors import InputError, RunError
from burnish.storage import (
    load_state,
    load_tensors,
    read_json,
    save_state,
    save_tensors,
    write_bytes_atomic,
    write_json,
)


def assert_same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert found.numpy().tobytes() == expected.numpy().tobytes()
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype and found.tobytes() == expected.tobytes()
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(found)  # which of the many NaN it was is not kept
    elif isinstance(expected, float):
        assert np.float64(found).tobytes() == np.float64(expected).tobytes()
    else:
        assert found == expected


# --- files that are whole or absent ---------------------------------------------------------------------------------


def test_json_round_trip(tmp_path):
    data = {"a": [1, 2.5, None, True], "ü": {"b": "c"}}
    write_json(tmp_path / "folder" / "a.json", data)
    assert read_json(tmp_path / "folder" / "a.json") == data
    assert os.listdir(tmp_path / "folder") == ["a.json"]


def test_bad_json_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(InputError, match=r"a\.json: not a valid JSON file"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch, code, message, step):
    path = tmp_path / "a.bin"
    write_bytes_atomic(path, b"old")

    def fail(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(RunError, match=message) as error:
        write_bytes_atomic(path, b"new")
    assert str(path) in str(error.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_is_really_full(tmp_path, monkeypatch):
    (tmp_path / f".a.bin.{threading.get_ident()}{storage.TEMPORARY_SUFFIX}").symlink_to("/dev/full")
    with pytest.raises(RunError, match="the disk is full"):
        save_tensors(tmp_path / "a.bin", {"x": torch.zeros(10_000)})
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError):
        write_json(tmp_path / "file" / "a.json", {})


# --- tensors ----------------------------------------------------------------------------------------------------------


def test_tensors_round_trip(tmp_path):
    shared = torch.arange(6.0)
    tensors = {
        "scalar": torch.tensor(3, dtype=torch.int64),
        "empty": torch.zeros(0, 4),
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "tied": shared,
        "view": shared[2:],
        "half": torch.ones(3, dtype=torch.bfloat16).float(),
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
        "flags": torch.tensor([True, False]),
    }
    save_tensors(tmp_path / "a.safetensors", tensors, {"unit": "m"})
    found, metadata = load_tensors(tmp_path / "a.safetensors")
    assert metadata == {"unit": "m"}
    assert_same(dict(sorted(found.items())), {name: tensors[name].contiguous() for name in sorted(tensors)})


def test_loaded_tensors_do_not_depend_on_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"x": torch.ones(4)})
    found, _ = load_tensors(path)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert found["x"].tolist() == [1.0] * 4


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))
    with pytest.raises(InputError, match=r"expected a safetensors file, found a pickle \(PyTorch \.pt\)"):
        load_tensors(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(("zipped", "found"), [(True, "a zip archive with a pickle"), (False, "a pickle")])
def test_a_pytorch_checkpoint_is_refused(tmp_path, zipped, found):
    path = tmp_path / "model.safetensors"
    torch.save({"x": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=f"expected a safetensors file, found {found}"):
        load_tensors(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"\x93NUMPY\x01\x00v\x00", "a NumPy array"),
        (b'{"a": 1, "b": 2}', "a JSON file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"hello world, this is text", "something else"),
    ],
)
def test_other_formats_are_named(tmp_path, content, found):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"expected a safetensors file, found {found}"):
        load_tensors(path)


def test_every_truncation_and_some_damage_is_refused(tmp_path):
    whole, path = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    save_tensors(whole, {"x": torch.arange(4.0), "y": torch.ones(2)})
    content = whole.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut\.safetensors: expected a safetensors file"):
            load_tensors(path)
    path.write_bytes(content[:9] + b"\xff" + content[10:])
    with pytest.raises(InputError, match="a damaged one"):
        load_tensors(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_tensors(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="found a folder"):
        load_tensors(tmp_path)


def make_module(width=4, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


# --- nested state -----------------------------------------------------------------------------------------------------

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.floats(width=32), max_size=3).map(torch.tensor)
    | st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3).map(lambda v: np.array(v, dtype=np.uint32))
)
keys = st.text(max_size=3) | st.integers() | st.booleans() | st.none()
states = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


@given(states)
def test_nested_state_round_trip(tmp_path_factory, state):
    path = tmp_path_factory.getbasetemp() / "state.safetensors"
    save_state(path, state)
    assert_same(load_state(path), state)


def train(module, optimizer, generator, steps):
    for _ in range(steps):
        loss = module(torch.randn(8, 3, generator=generator)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def make_training():
    module = make_module()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    return module, optimizer, torch.Generator().manual_seed(7)


def test_training_resumed_from_a_file_is_bit_identical(tmp_path):
    module, optimizer, generator = make_training()
    train(module, optimizer, generator, 3)
    numbers = np.random.default_rng(3)
    numbers.random(5)
    state = {
        "module": dict(module.state_dict()),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "numbers": numbers.bit_generator.state,
        "step": 3,
    }
    save_state(tmp_path / "resume.safetensors", state)
    train(module, optimizer, generator, 3)

    resumed, resumed_optimizer, resumed_generator = make_training()
    found = load_state(tmp_path / "resume.safetensors")
    assert found["step"] == 3
    resumed.load_state_dict(found["module"])
    resumed_optimizer.load_state_dict(found["optimizer"])
    resumed_generator.set_state(found["generator"])
    train(resumed, resumed_optimizer, resumed_generator, 3)

    assert_same(dict(resumed.state_dict()), dict(module.state_dict()))
    assert_same(resumed_optimizer.state_dict(), optimizer.state_dict())
    other_numbers = np.random.default_rng(0)
    other_numbers.bit_generator.state = found["numbers"]
    assert other_numbers.random() == numbers.random()


def test_state_files_are_reproducible(tmp_path):
    module, optimizer, generator = make_training()
    train(module, optimizer, generator, 1)
    for name in "ab":
        save_state(tmp_path / name, {"o": optimizer.state_dict(), "g": generator.get_state()})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("value", [object(), {1, 2}, np.float32(1), {(1, 2): 3}])
def test_what_cannot_be_saved_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match="saved state"):
        save_state(tmp_path / "a", {"x": value})
    assert os.listdir(tmp_path) == []


def test_tensors_without_a_structure_are_no_state(tmp_path):
    save_tensors(tmp_path / "a", {"x": torch.ones(1)})
    with pytest.raises(InputError, match="expected a training state"):
        load_state(tmp_path / "a")
    save_tensors(tmp_path / "b", {"x": torch.ones(1)}, {"burnish_state": '{"kind": "tensor", "value": "9"}'})
    with pytest.raises(InputError, match="structure is damaged"):
        load_state(tmp_path / "b")
