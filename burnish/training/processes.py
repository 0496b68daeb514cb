"""The processes that work on one run together: Fabric starts them, and each takes its share of every batch."""

import atexit
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from burnish.errors import InputError, RunError
from burnish.storage import load_state

Batch = TypeVar("Batch")
_SEED_STRIDE = 1_000_003
# Some waits are as long as another process's work: a whole evaluation in a simulator, say.
_PATIENCE = timedelta(days=30)


class Processes:
    """This process among those of its run: number `rank` of `count`, `local` of them on this machine.

    What a method exchanges, it exchanges with all of them: each must call it, in the same order, with tensors of the
    same shape. Alone (`count` 1) all methods give back what they were given, untouched.

    Nothing that travels is unpickled. Small tensors on the CPU have a gloo group of their own, which waits as long as
    it must; tensors on other devices use the group that Fabric made for them.
    """

    def __init__(self, rank: int = 0, count: int = 1, local: int = 1, patient: Any = None) -> None:
        """Use `current` or `join` instead; `patient` is the gloo group."""
        self.rank, self.count, self.local, self._patient = rank, count, local, patient

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files, shows progress and takes decisions."""
        return self.rank == 0

    # -- shares --------------------------------------------------------------------------------------------------------

    def share(self, total: int, name: str) -> int:
        """This process's part of `total`; InputError, which says `name`, where it cannot be divided evenly."""
        if total % self.count:
            raise InputError(f"{name} is {total}, expected a multiple of {self.count}, the number of processes")
        return total // self.count

    def rows(self, batch: Batch, batch_size: int) -> Batch:
        """This process's rows of a batch: a tensor, or a dataclass, dict, tuple or list of them.

        Tensors have `batch_size` rows, or a multiple k of it; then they are k batches one after another (one for each
        member of an ensemble, say), and every one of them is shared.
        """
        if self.count == 1:
            return batch
        return _map_tensors(batch, lambda tensor: self._rows_of(tensor, batch_size))

    def _rows_of(self, tensor: Tensor, batch_size: int) -> Tensor:
        if len(tensor) % batch_size:
            raise InputError(f"a batch of {batch_size} came with {len(tensor)} rows, expected a multiple of that")
        part = batch_size // self.count
        return tensor.unflatten(0, (-1, batch_size))[:, self.rank * part : (self.rank + 1) * part].flatten(0, 1)

    def seed(self, seed: int) -> int:
        """A seed of this process's own; the first one's is `seed` itself."""
        return seed + _SEED_STRIDE * self.rank

    # -- exchange ------------------------------------------------------------------------------------------------------

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over the processes of a floating-point tensor of any shape."""
        if self.count == 1:
            return tensor
        total = tensor.detach().clone()
        distributed.all_reduce(total, group=self._group(total))
        return total / self.count

    def mean_of(self, numbers: dict[str, float]) -> dict[str, float]:
        """The mean over the processes of every number."""
        means = self.mean(torch.tensor(list(numbers.values()), dtype=torch.float64)) if self.count > 1 else None
        return dict(zip(numbers, means.tolist(), strict=True)) if means is not None else numbers

    def gather(self, tensor: Tensor) -> Tensor:
        """The rows of all processes, one process's after another's."""
        if self.count == 1:
            return tensor
        # gloo has no booleans.
        sent = (tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor).contiguous()
        parts = [torch.empty_like(sent) for _ in range(self.count)]
        distributed.all_gather(parts, sent, group=self._group(sent))
        return torch.cat(parts).to(tensor.dtype)

    def gather_all(self, state: Batch) -> Batch:
        """`gather` for every tensor in nested dicts, lists, tuples and dataclasses."""
        return state if self.count == 1 else _map_tensors(state, self.gather)

    def of_first(self, tensor: Tensor) -> Tensor:
        """What the first process has."""
        if self.count == 1:
            return tensor
        found = tensor.detach().clone()
        distributed.broadcast(found, src=0, group=self._group(found))
        return found

    def message(self, value: Any) -> Any:
        """What the first process says, anything that JSON can hold; the others' `value` is not looked at."""
        if self.count == 1:
            return value
        content = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        size = int(self.of_first(torch.tensor(len(content))))
        said = self.of_first(content if self.first else torch.empty(size, dtype=torch.uint8))
        return json.loads(said.numpy().tobytes())

    def agree(self, flag: bool) -> bool:
        """The first process's decision."""
        return flag if self.count == 1 else bool(self.of_first(torch.tensor(int(flag))))

    def begin_alike(self, module: nn.Module) -> None:
        """Give every process the parameters and buffers that the first one has."""
        if self.count > 1:
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.data.copy_(self.of_first(tensor))

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their means over the processes, in one exchange.

        With equal shares of a batch and a loss that is a mean over rows, these are the gradients of the whole batch.
        """
        gradients = [p.grad for p in parameters if p.grad is not None] if self.count > 1 else []
        if not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat, group=self._group(flat))
        flat /= self.count
        for gradient, mean in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def load_state(self, path: Path) -> Any | None:
        """What `save_state` left at the first process's `path`, or None where there is nothing.

        The other processes need not see the file.
        """
        if self.count == 1:
            return load_state(path) if path.exists() else None
        size = torch.tensor(path.stat().st_size if self.first and path.exists() else -1)
        size = int(self.of_first(size))
        if size < 0:
            return None
        if size == 0:
            raise InputError(f"{path}: expected a safetensors file, found an empty file")
        if self.first:
            self.of_first(torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8))
            return load_state(path)
        content = self.of_first(torch.empty(size, dtype=torch.uint8))
        with tempfile.TemporaryDirectory(prefix="burnish-") as folder:
            copy = Path(folder, path.name)
            copy.write_bytes(content.numpy().tobytes())
            return load_state(copy)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn a lost connection, which is what one sees of another process's end, into a RunError that says so."""
        try:
            yield
        except RuntimeError as error:
            if self.count == 1 or not is_lost(error):
                raise
            raise RunError(
                f"process {self.rank + 1} of {self.count} lost touch with another one, which has ended; "
                "that one's own message says why"
            ) from error

    def _group(self, tensor: Tensor) -> Any:
        return self._patient if tensor.device.type == "cpu" else None


def is_lost(error: Exception) -> bool:
    """Whether this is what one sees of another process's end."""
    return isinstance(error, distributed.DistError) or any(word in str(error) for word in ("gloo", "NCCL"))


ALONE = Processes()
_joined = [ALONE]


def current() -> Processes:
    """The processes that this one has joined; itself alone where it has joined none."""
    return _joined[-1]


def join(count: int | None = None, accelerator: str = "cpu") -> Processes:
    """Become one of `count` processes on this machine; by default of as many as torchrun has started, or alone.

    Without torchrun, Fabric runs the present command again in `count` - 1 further processes. To be called once, early,
    by all of them; the same call later gives the same answer. InputError where `count` contradicts torchrun.
    """
    started = int(os.environ["WORLD_SIZE"]) if distributed.is_torchelastic_launched() else None
    if count is not None and (count < 1 or (started or count) != count):
        raise InputError(
            f"processes is {count}, expected " + (f"{started}, as torchrun says" if started else "1 or more")
        )
    wanted = started or count or 1
    if wanted == 1 or current().count > 1:
        if current().count != wanted and count is not None:
            raise InputError(f"processes is {count}, but {current().count} have been joined already")
        return current()
    local = int(os.environ["LOCAL_WORLD_SIZE"]) if started else wanted
    from lightning_fabric import Fabric  # with TensorBoard and PyTorch's compiler: two seconds that others save

    fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=wanted // local, strategy="ddp")
    fabric.launch()
    # Without it, gloo's threads are still at work when the interpreter goes, and abort it.
    atexit.register(distributed.destroy_process_group)
    patient = distributed.new_group(backend="gloo", timeout=_PATIENCE)
    _joined.append(Processes(fabric.global_rank, wanted, local, patient))
    return current()


def _map_tensors(value: Any, function: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {name: _map_tensors(item, function) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_map_tensors(item, function) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: _map_tensors(getattr(value, f.name), function) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **parts)
    return value
