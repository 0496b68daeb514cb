"""What to lower where a stage's memory is not enough."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from burnish.errors import RunError

_SIZES = ("batch_size", "num_envs", "minibatch_size", "imagined_episodes")


@contextmanager
def memory_explained(stage: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """Turn a failed allocation, on a GPU or by PyTorch on the CPU, into a RunError that says which setting to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch.OutOfMemoryError is a RuntimeError; the CPU's allocator raises a plain one.
        words = ("can't allocate memory", "not enough memory")
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(w in str(error) for w in words):
            raise
        sizes = list(_sizes(settings, ""))
        lower = f"lower {' or '.join(sizes)}" if sizes else "use a machine with more memory"
        raise RunError(f"{stage}: out of memory; {lower}, and run the same command again") from error


def _sizes(settings: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """The settings, by their dotted names, that decide how much memory a stage takes."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _sizes(value, f"{prefix}{name}.")
        elif name in _SIZES:
            yield f"{prefix}{name} (now {value})"
