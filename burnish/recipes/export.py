"""A model's folder in small files of half precision, to travel where large files cannot, and back."""

import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.errors import InputError
from burnish.storage import load_tensors, read_json, save_tensors, write_json

MAX_BYTES = 16 * 2**20
INDEX = "index.json"
_HEADER_BYTES, _ENTRY_BYTES = 1024, 200  # of a file, and of each tensor in it beside its name
_EXACT = 4096
"""Tensors of at most so many numbers keep their type: norms, biases, and the bins of an action encoding."""
_TYPES = {str(kind): kind for kind in (torch.float16, torch.float32, torch.float64, torch.bfloat16, torch.int64)}
_TYPES |= {str(kind): kind for kind in (torch.int32, torch.uint8, torch.bool)}


def export_half(model: Path, target: Path, max_bytes: int = MAX_BYTES) -> list[Path]:
    """Write model.safetensors and config.json of folder `model` as files of at most `max_bytes`; returns them.

    Large floating-point tensors become float16, and are cut where a file is full.

    Raises:
        InputError: not a model's folder, or a weight beyond float16's range.
    """
    tensors, _ = load_tensors(model / "model.safetensors")
    room = max_bytes - _HEADER_BYTES
    shards: list[dict[str, Tensor]] = [{}]
    free = room
    index: dict[str, Any] = {}
    for name, tensor in tensors.items():
        flat = _packed(name, tensor, model).flatten()
        pieces = []
        start = 0
        while start < len(flat) or not pieces:
            key = f"{name}:{len(pieces)}"
            entry = _ENTRY_BYTES + len(key)
            if free < entry + 8:
                shards.append({})
                free = room
            piece = flat[start : start + (free - entry) // flat.itemsize]
            shards[-1][key] = piece
            pieces.append([_file(len(shards) - 1), key])
            start, free = start + len(piece), free - piece.nbytes - entry
        index[name] = {"shape": list(tensor.shape), "type": str(tensor.dtype), "pieces": pieces}
    written = [target / _file(number) for number in range(len(shards))]
    for path, shard in zip(written, shards, strict=True):
        save_tensors(path, shard)
    for old in target.glob("weights-*.safetensors"):
        if old not in written:
            old.unlink()
    write_json(target / "config.json", read_json(model / "config.json"))
    write_json(target / INDEX, index)
    return [*written, target / "config.json", target / INDEX]


def import_half(source: Path, folder: Path) -> None:
    """Make a model's folder of what `export_half` wrote.

    Raises:
        InputError: it is not that, or a file of it is missing or damaged.
    """
    index = read_json(source / INDEX)
    if not isinstance(index, dict):
        raise InputError(f"{source / INDEX}: expected a list of tensors by name, found {type(index).__name__}")
    shards: dict[str, dict[str, Tensor]] = {}
    tensors = {name: _assembled(source, name, told, shards) for name, told in index.items()}
    save_tensors(folder / "model.safetensors", tensors)
    write_json(folder / "config.json", read_json(source / "config.json"))


def _packed(name: str, tensor: Tensor, model: Path) -> Tensor:
    if str(tensor.dtype) not in _TYPES:
        raise InputError(f"{model}: tensor '{name}' is {tensor.dtype}, expected one of: {', '.join(_TYPES)}")
    if not tensor.is_floating_point() or tensor.numel() <= _EXACT:
        return tensor
    half = tensor.half()
    if not half.isfinite().all():
        raise InputError(f"{model}: tensor '{name}' has values beyond float16's range (or none that are numbers)")
    return half


def _assembled(source: Path, name: str, told: Any, shards: dict[str, dict[str, Tensor]]) -> Tensor:
    where = f"{source / INDEX}: tensor '{name}'"
    try:
        shape, kind = [int(size) for size in told["shape"]], _TYPES[told["type"]]
        pieces = [(str(file), str(key)) for file, key in told["pieces"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: missing or unknown {error}") from None
    found = []
    for file, key in pieces:
        if not re.fullmatch(r"weights-\d{3,}\.safetensors", file):
            raise InputError(f"{where}: found the file '{file}', expected a name like {_file(0)}")
        if file not in shards:
            shards[file] = load_tensors(source / file)[0]
        if key not in shards[file]:
            raise InputError(f"{source / file}: tensor '{key}' is missing")
        found.append(shards[file][key].flatten())
    count = sum(map(len, found))
    if count != math.prod(shape):
        raise InputError(f"{where}: found {count} numbers, expected {math.prod(shape)}")
    return torch.cat(found).to(kind).reshape(shape)


def _file(number: int) -> str:
    return f"weights-{number:03d}.safetensors"
