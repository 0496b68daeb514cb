"""What to lower where a stage's memory is not enough."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from burnish.errors import RunError

SETTINGS = {
    "autoencoder": "autoencoder_training.batch_size",
    "policy": "pretraining.batch_size",
    "world_model": "world_model_training.batch_size",
    "ensemble": "ensemble_training.batch_size",
    "classifier": "classifier_training.batch_size",
    "refined": "imagination.num_envs (or ppo.minibatch_size, or evaluation.imagined_episodes)",
}
"""Stages, and the settings that decide how much memory they take."""


@contextmanager
def memory_explained(stage: str) -> Iterator[None]:
    """Turn a failed allocation, on a GPU or by PyTorch on the CPU, into a RunError that says which setting to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch.OutOfMemoryError is a RuntimeError; the CPU's allocator raises a plain one.
        words = ("can't allocate memory", "not enough memory")
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(w in str(error) for w in words):
            raise
        lower = f"lower config.{SETTINGS[stage]}" if stage in SETTINGS else "use a machine with more memory"
        raise RunError(f"{stage}: out of memory; {lower}, and run the same command again") from error
