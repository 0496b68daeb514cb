"""Gated recurrent units in layers, for one trunk or several trunks of one shape in one batched call."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class GRUTrunks(nn.Module):
    """`trunks` independent stacks of GRU layers (Cho et al. 2014, arXiv 1406.1078, in PyTorch's form).

    With r, z = σ(W x + U h) and n = tanh(W_n x + r · (U_n h)) the next hidden state is z h + (1 - z) n. Weights are
    stacked, so that one `baddbmm` serves all trunks. A hidden state is (batch, layers, trunks, hidden), zero before
    anything was seen.
    """

    def __init__(self, trunks: int, input_dim: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.trunks, self.hidden, self.layers = trunks, hidden, layers
        self.weight_x, self.weight_h = nn.ParameterList(), nn.ParameterList()
        self.bias_x, self.bias_h = nn.ParameterList(), nn.ParameterList()
        bound = 1 / math.sqrt(hidden)

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(trunks, *shape).uniform_(-bound, bound))

        for layer in range(layers):
            self.weight_x.append(drawn(input_dim if layer == 0 else hidden, 3 * hidden))
            self.weight_h.append(drawn(hidden, 3 * hidden))
            self.bias_x.append(drawn(1, 3 * hidden))
            self.bias_h.append(drawn(1, 3 * hidden))

    def initial(self, batch_size: int) -> Float[Tensor, "B L R H"]:
        """Hidden states that have seen nothing."""
        return self.bias_x[0].new_zeros(batch_size, self.layers, self.trunks, self.hidden)

    def step(self, x: Float[Tensor, "*trunks B I"], hidden: Float[Tensor, "B L R H"]) -> Float[Tensor, "B L R H"]:
        """The hidden state after one more input, shared by all trunks or one for each."""
        following = []
        for layer, h in enumerate(hidden.unbind(1)):
            x = self._advance(layer, self._gates(layer, x), h.transpose(0, 1))
            following.append(x.transpose(0, 1))
        return torch.stack(following, 1)

    def warm(self, x: Float[Tensor, "B T I"], valid: Bool[Tensor, "B T"]) -> Float[Tensor, "B L R H"]:
        """The hidden state after inputs in order, those that are not `valid` left out: padding comes first."""
        keep = valid.to(x.dtype).t()[:, :, None]
        rows, steps = x.shape[:2]
        hidden = self.initial(rows)
        if steps == 0:
            return hidden
        ends, sequence = [], x.transpose(0, 1).flatten(0, 1)
        for layer, h in enumerate(hidden.unbind(1)):
            # Unbound rather than sliced: the gradient of a slice is as large as all of it, once for every step.
            gates = self._gates(layer, sequence).unflatten(1, (steps, rows)).unbind(1)
            h, along = h.transpose(0, 1), []
            for t in range(steps):
                # Before the first valid input the state is zero, so what padding makes of it is only to be undone.
                h = self._advance(layer, gates[t], h) * keep[t]
                along.append(h)
            ends.append(h.transpose(0, 1))
            sequence = torch.stack(along, 1).flatten(1, 2)
        return torch.stack(ends, 1)

    def _gates(self, layer: int, x: Tensor) -> Float[Tensor, "R N gates"]:
        x = x.expand(self.trunks, *x.shape[-2:]) if x.dim() == 2 else x
        return torch.baddbmm(self.bias_x[layer], x, self.weight_x[layer])

    def _advance(self, layer: int, gates: Tensor, h: Float[Tensor, "R B H"]) -> Float[Tensor, "R B H"]:
        parts = [2 * self.hidden, self.hidden]
        both, candidate = gates.split(parts, -1)
        both_h, candidate_h = torch.baddbmm(self.bias_h[layer], h, self.weight_h[layer]).split(parts, -1)
        reset, update = (both + both_h).sigmoid().chunk(2, -1)
        return torch.lerp(torch.addcmul(candidate, reset, candidate_h).tanh(), h, update)
