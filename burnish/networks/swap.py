"""One thing's value with another's gradient: what couples an exact forward model to a differentiable one."""

from typing import Any

import torch
from torch import Tensor


class _Swap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, imagined: Tensor, true: Tensor) -> Tensor:
        return true.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def swap(imagined: Tensor, true: Tensor) -> Tensor:
    """`true`, to the last bit; its gradient goes to `imagined` as if that had been returned, and none to `true`.

    imagined + (true - imagined).detach() is the same but for rounding (arXiv 2602.06219 and 2509.00215 describe it).

    Raises:
        ValueError: the two differ in shape or type.
    """
    if imagined.shape != true.shape or imagined.dtype != true.dtype:
        raise ValueError(
            f"swap: found {tuple(imagined.shape)} of {imagined.dtype} and {tuple(true.shape)} of {true.dtype}, "
            "expected two of a kind"
        )
    return _Swap.apply(imagined, true)
