"""The two-stream network: who sees what, and the attention's weights by hand."""

import torch
from torch import nn

from burnish.networks import TwoStreamNetwork
from burnish.networks.two_stream import BlockAttention, SpatialSoftmax, moments


def make(frames=2, masks=3):
    torch.manual_seed(0)
    network = TwoStreamNetwork((frames, 6, 32, 32), masks, (8, 8), 16, ((16,), 5))
    nn.init.normal_(network.head.head.weight)
    return network


def test_the_attention_by_hand():
    """Zero weights and biases: each channel and each place has the weight σ(0) = 1/2, twice."""
    attention = BlockAttention(4)
    for parameter in attention.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(attention(x), x / 4)
    # A bias of the channels' last layer counts once for the mean and once for the maximum.
    bias = torch.tensor([0.0, 1.0, -1.0, 3.0])
    attention.channels[2].bias.data.copy_(bias)  # type: ignore[union-attr]
    torch.testing.assert_close(attention(x), x * (2 * bias).sigmoid()[None, :, None, None] / 2)


def test_moments_of_masks_by_hand():
    """Five by five: two pixels at half value in one mask, none in the other."""
    masks = torch.full((1, 2, 5, 5), -1.0)
    masks[0, 0, 1, 3] = masks[0, 0, 1, 4] = 0.0
    x, y, size, value = moments(masks).view(4, 2)
    torch.testing.assert_close(x, torch.tensor([0.75, 0.0]))
    torch.testing.assert_close(y, torch.tensor([-0.5, 0.0]))
    torch.testing.assert_close(size, torch.tensor([8 * 1 / 25, 0.0]))
    torch.testing.assert_close(value, torch.tensor([0.5, 0.0]))


def test_the_place_of_a_map_by_hand():
    """A sharp peak is where it is; a flat map is in the middle; of two equal peaks the place is between them."""
    maps = torch.zeros(1, 3, 5, 5)
    maps[0, 0, 4, 1] = maps[0, 2, 0, 0] = maps[0, 2, 0, 2] = 20.0
    x, y, mean = SpatialSoftmax(3)(maps).view(3, 3)
    torch.testing.assert_close(x, torch.tensor([-0.5, 0.0, -0.5]))
    torch.testing.assert_close(y, torch.tensor([1.0, 0.0, -1.0]))
    torch.testing.assert_close(mean, torch.tensor([0.8, 0.0, 1.6]))


def test_one_stream_sees_colours_alone_the_other_all():
    network, rows = make(), torch.rand(3, 2, 6, 32, 32) * 2 - 1
    masked = rows.clone()
    masked[:, :, 3:] = -1
    seen = []
    network.colours.register_forward_hook(lambda *given: seen.append(given[1][0]))
    network.both.register_forward_hook(lambda *given: seen.append(given[1][0]))
    with torch.no_grad():
        outputs = [network(each.flatten(1)) for each in (rows, masked)]
    assert seen[0].shape == (3, 2 * 3, 32, 32) and seen[1].shape == (3, 2 * 6, 32, 32)
    assert torch.equal(seen[0], seen[2]) and not torch.equal(seen[1], seen[3])
    assert torch.equal(seen[0].unflatten(1, (2, 3)), rows[:, :, :3]), "each frame's first three channels"
    assert not torch.allclose(*outputs)


def test_shapes_and_slices_agree():
    """(T, N, F) as rows; rows one by one as in a batch."""
    network, features = make(), torch.rand(2, 3, 2 * 6 * 32 * 32)
    with torch.no_grad():
        found = network(features)
        assert found.shape == (2, 3, 5)
        torch.testing.assert_close(network(features[1, 2]), found[1, 2], atol=1e-5, rtol=1e-5)
    network(features).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
