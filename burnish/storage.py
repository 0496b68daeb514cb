"""Files that are either whole or absent: JSON, tensors and nested training state, written atomically, never pickled.

Everything is written to a temporary name beside the target, flushed to disk and renamed. Tensors use safetensors, so
a file from elsewhere can hold numbers and text but no code.
"""

import contextlib
import errno
import json
import os
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from burnish.errors import InputError, RunError

if TYPE_CHECKING:  # who reads a JSON file does not wait for PyTorch: it is imported where tensors are
    from torch import Tensor

TEMPORARY_SUFFIX = ".burnish-tmp"
_STATE_KEY = "burnish_state"
_ENVIRONMENT_ERRORS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again to resume",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again to resume",
    errno.EROFS: "the file system is read-only; choose a folder that can be written",
    errno.EACCES: "permission denied; choose a folder that you may read and write",
    errno.EPERM: "operation not permitted; choose a folder that you may read and write",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
    errno.EIO: "the disk reports an input/output error",
}


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` so that after a crash the old or the new content is there, never a part.

    Raises RunError where the disk is full or the place cannot be written.
    """
    path = Path(path)
    # Threads (a worker pool's callbacks) may write the same file at the same time; the last one wins.
    temporary = path.with_name(f".{path.name}.{threading.get_ident()}{TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise_run_error(error, path)


def sync_folder(folder: str | Path) -> None:
    """Flush a folder's entries (file names) to disk, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def explain_os_error(error: OSError, path: str | Path | None = None) -> str:
    """Say in one sentence, for the user, what the operating system refused and where."""
    place = path if path is not None else error.filename
    where = f"{place}: " if place is not None else ""
    return where + _ENVIRONMENT_ERRORS.get(error.errno or 0, error.strerror or str(error))


def is_environment_error(error: OSError) -> bool:
    """Whether the machine is at fault (disk, permissions, limits), rather than the code."""
    return error.errno in _ENVIRONMENT_ERRORS


def raise_run_error(error: OSError, path: str | Path | None = None) -> NoReturn:
    """Raise the RunError that explains `error`."""
    raise RunError(explain_os_error(error, path)) from error


def read_bytes(path: str | Path) -> bytes:
    """Read a whole file; InputError where there is no such file, RunError where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: expected a file, found a folder") from None
    except OSError as error:
        raise_run_error(error, path)


def write_json(path: str | Path, data: Any) -> None:
    """Write plain data as indented JSON, atomically."""
    # A lone surrogate (a file name or an argument that is no UTF-8) becomes its own JSON escape.
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    write_bytes_atomic(path, text.encode(errors="backslashreplace"))


def read_json(path: str | Path) -> Any:
    """Read a JSON file; InputError where it is missing or not JSON."""
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a valid JSON file: {error}") from None


def save_tensors(path: str | Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors (any device, any strides) and text metadata as one safetensors file, atomically."""
    from safetensors.torch import save

    storages: set[int] = set()
    ready: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().to("cpu").contiguous()
        # Tied weights and views share memory, which the format cannot say: each name gets its own copy.
        storage = tensor.untyped_storage().data_ptr()
        ready[name] = tensor.clone() if storage in storages else tensor
        storages.add(storage)
    write_bytes_atomic(path, save(ready, dict(metadata or {})))


def load_tensors(path: str | Path) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Read a safetensors file: (tensors on the CPU, text metadata).

    Raises InputError for anything else, saying what the file is instead (a pickle, a zip archive, a cut-off file).
    """
    import safetensors

    path = Path(path)
    _check_is_safetensors(path)
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            # Cloned, so that nothing refers to the mapped file any more when it is replaced or removed.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise InputError(f"{path}: expected a safetensors file, found a damaged one ({error})") from None
    except OSError as error:
        raise_run_error(error, path)


def save_state(path: str | Path, state: Any) -> None:
    """Write nested training state (optimizer and generator states, counters, tensors) as one safetensors file."""
    tensors, structure = flatten_state(state)
    tensors = {name: tensor.cpu() for name, tensor in tensors.items()}
    noted = {"structure": structure, "checksum": _checksum(tensors, structure)}
    save_tensors(path, tensors, {_STATE_KEY: json.dumps(noted)})


def load_state(path: str | Path) -> Any:
    """Read what save_state wrote, bit for bit the same (tensors on the CPU); InputError for a damaged file."""
    tensors, metadata = load_tensors(path)
    if _STATE_KEY not in metadata:
        raise InputError(f"{path}: expected a training state, found tensors only")
    try:
        noted = json.loads(metadata[_STATE_KEY])
        if noted["checksum"] != _checksum(tensors, noted["structure"]):
            raise InputError(f"{path}: the training state is not as it was written")
        return unflatten_state(tensors, noted["structure"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: the training state's structure is damaged ({error})") from None


def _checksum(tensors: "Mapping[str, Tensor]", structure: Any) -> int:
    import torch

    found = zlib.crc32(json.dumps(structure).encode())
    for name, tensor in sorted(tensors.items()):
        found = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), found)
        found = zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data, found)
    return found


def flatten_state(state: Any) -> "tuple[dict[str, Tensor], Any]":
    """Split nested dicts, lists and tuples into tensors by number and a JSON-able structure that refers to them.

    Leaves: None, bool, int, float, str, torch tensors and NumPy arrays; dict keys: str, int, float, bool or None.
    """
    import numpy as np
    import torch

    tensors: dict[str, Tensor] = {}

    def add(kind: str, tensor: "Tensor") -> dict[str, Any]:
        name = str(len(tensors))
        tensors[name] = tensor
        return {"kind": kind, "value": name}

    def visit(value: Any) -> Any:
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, torch.Tensor):
            return add("tensor", value.detach())
        if isinstance(value, np.ndarray):
            return add("array", torch.from_numpy(np.array(value)))
        if isinstance(value, list):
            return [visit(item) for item in value]
        if isinstance(value, tuple):
            return {"kind": "tuple", "value": [visit(item) for item in value]}
        if isinstance(value, Mapping):
            return {"kind": "dict", "value": [[_key(key), visit(item)] for key, item in value.items()]}
        raise TypeError(f"a {type(value).__name__} cannot be part of a saved state")

    structure = visit(state)
    return tensors, structure


def unflatten_state(tensors: "Mapping[str, Tensor]", structure: Any) -> Any:
    """Put together again what flatten_state took apart."""
    if isinstance(structure, list):
        return [unflatten_state(tensors, item) for item in structure]
    if not isinstance(structure, dict):
        return structure
    kind, value = structure["kind"], structure["value"]
    if kind == "tensor":
        return tensors[value]
    if kind == "array":
        return tensors[value].numpy()
    if kind == "tuple":
        return tuple(unflatten_state(tensors, item) for item in value)
    if kind == "dict":
        return {key: unflatten_state(tensors, item) for key, item in value}
    raise ValueError(f"unknown kind {kind!r}")


def _key(key: Any) -> Any:
    if key is None or type(key) in (bool, int, float, str):
        return key
    raise TypeError(f"a {type(key).__name__} cannot be a key of a saved state")


def _check_is_safetensors(path: Path) -> None:
    """Look at a file's first bytes: safetensors starts with its header's length (8 bytes) and an opening brace."""
    try:
        with open(path, "rb") as file:
            head = file.read(64)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: expected a safetensors file, found a folder") from None
    except OSError as error:
        raise_run_error(error, path)
    found = _foreign_format(head, size)
    if found is not None:
        raise InputError(f"{path}: expected a safetensors file, found {found}")


def _foreign_format(head: bytes, size: int) -> str | None:
    signatures = {
        b"PK\x03\x04": "a zip archive with a pickle inside (PyTorch .pt)",
        b"\x93NUMPY": "a NumPy array (.npy)",
        b"\x89HDF": "an HDF5 file",
        b"\x1f\x8b": "a gzip archive",
        b"version https://git-lfs": "a Git LFS pointer (the file itself was not downloaded)",
        b"{": "a JSON file",
    }
    if size == 0:
        return "an empty file"
    if len(head) >= 2 and head[0] == 0x80 and 2 <= head[1] <= 5 and head[8:9] != b"{":
        return "a pickle (PyTorch .pt)"
    if head[8:9] != b"{":
        return next((name for start, name in signatures.items() if head.startswith(start)), "something else")
    if int.from_bytes(head[:8], "little") + 8 > size:
        return f"a truncated one ({size} bytes)"
    return None
