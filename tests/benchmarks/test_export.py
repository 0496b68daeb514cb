"""Models in small files of half precision: there and back."""

import pytest
import torch
from torch import nn

from burnish.errors import InputError
from burnish.storage import load_tensors, read_json, save_tensors, write_json
from studies.export import INDEX, export_half, import_half


def kept(folder, module):
    """A folder of a model's weights and description."""
    save_tensors(folder / "model.safetensors", dict(module.state_dict()))
    write_json(folder / "config.json", {"width": 200})


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(300, 200), nn.Linear(200, 3))
    module.register_buffer("count", torch.tensor(2**40 + 1))
    module.register_buffer("empty", torch.zeros(0, 4))
    kept(tmp_path / "model", module)
    return tmp_path / "model"


def test_there_and_back(model, tmp_path):
    files = export_half(model, tmp_path / "small", max_bytes=20_000)
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert len(weights) == 7  # 300 · 200 · 2 bytes in pieces of less than 20,000
    assert all(path.stat().st_size <= 20_000 for path in files)
    import_half(tmp_path / "small", tmp_path / "again")
    before, after = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("model", "again"))
    assert set(before) == set(after)
    assert after["0.weight"].equal(before["0.weight"].half().float()) and not after["0.weight"].equal(
        before["0.weight"]
    )
    for name in ("0.bias", "1.weight", "1.bias", "count", "empty"):  # small ones, and what is no weight
        assert after[name].equal(before[name]) and after[name].dtype == before[name].dtype
    assert read_json(tmp_path / "again/config.json") == read_json(model / "config.json")


def test_many_small_tensors_and_a_smaller_second_export(tmp_path):
    kept(tmp_path / "many", nn.ModuleList(nn.Linear(40, 40) for _ in range(60)))
    files = export_half(tmp_path / "many", tmp_path / "small", max_bytes=16_384)
    assert max(path.stat().st_size for path in files if path.suffix == ".safetensors") <= 16_384
    kept(tmp_path / "few", nn.Linear(2, 2))
    export_half(tmp_path / "few", tmp_path / "small")
    assert [path.name for path in (tmp_path / "small").glob("weights*")] == ["weights-000.safetensors"]
    import_half(tmp_path / "small", tmp_path / "again")
    assert set(load_tensors(tmp_path / "again/model.safetensors")[0]) == {"weight", "bias"}


def test_weights_beyond_half_precision_are_refused(tmp_path):
    module = nn.Linear(100, 100)
    nn.init.constant_(module.weight, 1e5)
    kept(tmp_path / "large", module)
    with pytest.raises(InputError, match="tensor 'weight' has values beyond float16's range"):
        export_half(tmp_path / "large", tmp_path / "small")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [300, 201]}, "found 60000 numbers, expected 60300"),
        ({"type": "torch.complex64"}, "missing or unknown 'torch.complex64'"),
        ({"pieces": [["../model/model.safetensors", "0.weight"]]}, "found the file '../model/model.safetensors'"),
        ({"pieces": [["weights-000.safetensors", "other"]]}, "tensor 'other' is missing"),
        ({"pieces": [["weights-999.safetensors", "0.weight:0"]]}, "no such file"),
    ],
)
def test_what_was_tampered_with(change, message, model, tmp_path):
    export_half(model, tmp_path / "small")
    index = read_json(tmp_path / "small" / INDEX)
    index["0.weight"] |= change
    write_json(tmp_path / "small" / INDEX, index)
    with pytest.raises(InputError, match=message):
        import_half(tmp_path / "small", tmp_path / "again")
