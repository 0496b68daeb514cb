"""Memory that is not enough: which setting to lower."""

import pytest
import torch
from burnish.recipes.memory import memory_explained

from burnish.errors import RunError


def test_pytorchs_own_failure_names_the_setting():
    with (
        pytest.raises(RunError, match=r"world_model: out of memory; lower config.world_model_training.batch_size"),
        memory_explained("world_model"),
    ):
        torch.empty(2**60)


def test_a_gpus_failure_names_the_setting():
    with (
        pytest.raises(RunError, match=r"refined: out of memory; lower config.imagination.num_envs"),
        memory_explained("refined"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shape") as found, memory_explained("policy"):
        torch.zeros(2).view(3)
    assert not isinstance(found.value, RunError)
    with pytest.raises(RunError, match="evaluation: out of memory; use a machine"), memory_explained("evaluation"):
        raise MemoryError
