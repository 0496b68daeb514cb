"""Recurrent trunks: PyTorch's own GRU as the judge, padding, and independence."""

import torch
from torch import nn

from burnish.networks import GRUTrunks

INPUT, HIDDEN, LAYERS, ROWS, STEPS = 3, 4, 2, 5, 6


def trunks(count=1):
    torch.manual_seed(0)
    return GRUTrunks(count, INPUT, HIDDEN, LAYERS)


def reference(made, trunk):
    """torch.nn.GRU with the weights of one trunk."""
    gru = nn.GRU(INPUT, HIDDEN, LAYERS, batch_first=True)
    with torch.no_grad():
        for layer in range(LAYERS):
            getattr(gru, f"weight_ih_l{layer}").copy_(made.weight_x[layer][trunk].t())
            getattr(gru, f"weight_hh_l{layer}").copy_(made.weight_h[layer][trunk].t())
            getattr(gru, f"bias_ih_l{layer}").copy_(made.bias_x[layer][trunk, 0])
            getattr(gru, f"bias_hh_l{layer}").copy_(made.bias_h[layer][trunk, 0])
    return gru


def test_every_trunk_is_a_gru():
    made, x = trunks(2), torch.randn(ROWS, STEPS, INPUT)
    hidden = made.warm(x, torch.ones(ROWS, STEPS, dtype=torch.bool))
    for trunk in range(2):
        expected = reference(made, trunk)(x)[1].transpose(0, 1)
        torch.testing.assert_close(hidden[:, :, trunk], expected)
    stepped = made.initial(ROWS)
    for t in range(STEPS):
        stepped = made.step(x[:, t], stepped)
    torch.testing.assert_close(stepped, hidden)


def test_padding_leaves_no_trace():
    """What comes before the first valid input is as if it had not been, for values and gradients."""
    made, x = trunks(), torch.randn(ROWS, STEPS, INPUT, requires_grad=True)
    valid = torch.ones(ROWS, STEPS, dtype=torch.bool)
    valid[1, :2], valid[2, :] = False, False
    hidden = made.warm(x, valid)
    torch.testing.assert_close(hidden[1], made.warm(x[1:2, 2:], valid[1:2, 2:])[0])
    assert not hidden[2].any() and not made.warm(x[:, :0], valid[:, :0]).any()
    hidden.sum().backward()
    assert not x.grad[1, :2].any() and not x.grad[2].any() and x.grad[1, 2:].any()


def test_each_trunk_reads_its_own_rows():
    made, x = trunks(3), torch.randn(3, ROWS, INPUT)
    hidden = made.step(x, made.initial(ROWS))
    changed = x.clone()
    changed[1] += 1
    differs = (made.step(changed, made.initial(ROWS)) != hidden).flatten(3).any(-1).any(0).any(0)
    assert differs.tolist() == [False, True, False]
