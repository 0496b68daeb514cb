"""Numbers of any size as a distribution over bins that grow exponentially (DreamerV3, arXiv 2301.04104)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def symexp(x: Tensor) -> Tensor:
    """sign(x) (exp |x| - 1), which undoes symlog x = sign(x) ln(1 + |x|)."""
    return x.sign() * x.abs().expm1()


class SymlogTwoHot(nn.Module):
    """K bins b = symexp(-limit … limit), evenly spaced before; K is odd, so that one of them is 0.

    The expected value is a weighted sum of bins, so no squared error of a large return ever enters a gradient.
    """

    bins: Tensor

    def __init__(self, bins: int = 127, limit: float = 10.0) -> None:
        super().__init__()
        if bins % 2 == 0:
            raise ValueError(f"found {bins} bins, expected an odd number")
        half = symexp(torch.linspace(0, limit, bins // 2 + 1))
        self.register_buffer("bins", torch.cat([-half.flip(0)[:-1], half]), persistent=False)

    def encode(self, values: Float[Tensor, " *batch"]) -> Float[Tensor, "*batch K"]:
        """Each number shared between its two neighbours, so that the weighted bins are that number again."""
        values = values.clamp(self.bins[0], self.bins[-1])
        above = torch.bucketize(values, self.bins).clamp(1, len(self.bins) - 1)
        low, high = self.bins[above - 1], self.bins[above]
        share = ((values - low) / (high - low)).unsqueeze(-1)
        count = len(self.bins)
        ones = nn.functional.one_hot(above, count).to(values.dtype)
        return share * ones + (1 - share) * nn.functional.one_hot(above - 1, count).to(values.dtype)

    def decode(self, logits: Float[Tensor, "*batch K"]) -> Float[Tensor, " *batch"]:
        """The expected value; exactly 0 for equal logits, as both halves are summed in the same order."""
        probabilities, middle = logits.softmax(-1), len(self.bins) // 2
        upper, lower = probabilities[..., middle + 1 :], probabilities[..., :middle].flip(-1)
        return ((upper - lower) * self.bins[middle + 1 :]).sum(-1)

    def loss(self, logits: Float[Tensor, "*batch K"], values: Float[Tensor, " *batch"]) -> Float[Tensor, " *batch"]:
        """Cross-entropy of the logits to the two-hot of `values`."""
        return -(self.encode(values) * logits.log_softmax(-1)).sum(-1)
