"""What transformers do to let a condition into a block (DiT's adaLN-Zero, arXiv 2212.09748)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def modulated(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """h without mean and scale, then shift + (1 + scale) h; the last dimension is the features'."""
    return torch.addcmul(shift, functional.layer_norm(h, h.shape[-1:], eps=1e-6), 1 + scale)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The same layer, which gives zeros until it has learned."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
