"""Denoisers of whole trajectories: shapes, and that every step hears of level, condition and the other steps."""

import pytest
import torch

from burnish.networks import TrajectoryNetwork, TrajectoryNetworkConfig
from burnish.networks.conditional_unet import ConditionalUNetConfig

STEPS, CHANNELS, CONDITION, ROWS = 4, 3, 5, 2
UNET = ConditionalUNetConfig(down_dims=(8, 16), kernel_size=3, diffusion_step_embed_dim=8)


@pytest.fixture(params=["mlp", "unet"])
def network(request):
    torch.manual_seed(0)
    made = TrajectoryNetwork(STEPS, CHANNELS, CONDITION, TrajectoryNetworkConfig(request.param, 16, 2, UNET))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval()


def call(network, x, level, condition):
    return network(x, level, network.condition(condition))


def test_every_input_counts_for_every_step(network):
    x, level, condition = torch.randn(ROWS, STEPS, CHANNELS), torch.randn(ROWS), torch.randn(ROWS, CONDITION)
    out = call(network, x, level, condition)
    assert out.shape == x.shape
    first = x.clone()
    first[:, 0] += 1
    for other in (
        call(network, first, level, condition),
        call(network, x, level + 0.3, condition),
        call(network, x, level, condition + 1),
    ):
        assert ((other - out).abs().amax((0, 2)) > 1e-5).all()


def test_one_level_is_the_same_for_all_rows(network):
    x, condition = torch.randn(ROWS, STEPS, CHANNELS), torch.randn(ROWS, CONDITION)
    shared = call(network, x, torch.full((1,), 0.2), condition)
    torch.testing.assert_close(shared, call(network, x, torch.full((ROWS,), 0.2), condition))
    torch.testing.assert_close(shared[:1], call(network, x[:1], torch.full((1,), 0.2), condition[:1]))
