"""Memory that is not enough: which setting to lower."""

import pytest
import torch

from burnish.errors import RunError
from burnish.pipeline.memory import memory_explained


def test_pytorchs_own_failure_names_the_setting():
    with (
        pytest.raises(RunError, match=r"world_model: out of memory; lower training.batch_size \(now 256\), and run"),
        memory_explained("world_model", {"training": {"batch_size": 256, "steps": 10}}),
    ):
        torch.empty(2**60)


def test_a_gpus_failure_names_the_setting():
    with (
        pytest.raises(RunError, match=r"num_envs \(now 64\) or refinement.imagined_episodes \(now 9\), and"),
        memory_explained("refined", {"imagination": {"num_envs": 64}, "refinement": {"imagined_episodes": 9}}),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shape") as found, memory_explained("policy", {}):
        torch.zeros(2).view(3)
    assert not isinstance(found.value, RunError)
    with pytest.raises(RunError, match="evaluation: out of memory; use a machine"), memory_explained("evaluation", {}):
        raise MemoryError
