"""Modules that teach a network of video to follow actions."""

import copy

import pytest
import torch

from burnish.networks import ActionBlock, ActionModulesConfig, DiT, DiTConfig, UNet, UNetConfig, follow_actions

FRAMES, CHANNELS, SIZE, ACTION = 2, 3, 8, 5
NETWORKS = {
    "unet": lambda: UNet(CHANNELS, FRAMES * CHANNELS, FRAMES, 1, UNetConfig((16, 32), (1, 1), (False, True), 32)),
    "dit": lambda: DiT(CHANNELS, FRAMES * CHANNELS, FRAMES, 1, SIZE, DiTConfig(patch=2, width=32, depth=2, heads=2)),
}
BLOCKS = {"unet": 8, "dit": 2}


def of_video(name):
    """A network of video with arbitrary weights; it only hears which frames are real."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def followed(name, **settings):
    return follow_actions(of_video(name), FRAMES, ACTION + 1, ActionModulesConfig(width=8, **settings))


def inputs(seed=1):
    generator = torch.Generator().manual_seed(seed)
    x, context = (torch.randn(3, c, SIZE, SIZE, generator=generator) for c in (CHANNELS, FRAMES * CHANNELS))
    valid = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]).unsqueeze(-1)
    action = torch.randn(3, FRAMES, ACTION, generator=generator)
    return x, context, valid, action


def drawn(network, x, context, told, level=1):
    return network(x, torch.full((level,), -0.3), network.embed(context, told, torch.full((1,), -1.0)))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("level", [1, 3])
def test_at_birth_it_is_the_network_of_video_bit_for_bit(name, level):
    x, context, valid, action = inputs()
    before = drawn(of_video(name), x, context, valid, level)
    after = drawn(followed(name), x, context, torch.cat([action, valid], -1), level)
    assert before.abs().max() > 0.01 and torch.equal(before, after)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_block_is_wrapped_and_learns(name):
    network = followed(name, train_base=False)
    blocks = [module for module in network.modules() if isinstance(module, ActionBlock)]
    assert len(blocks) == BLOCKS[name]
    x, context, valid, action = inputs()
    drawn(network, x, context, torch.cat([action, valid], -1)).square().sum().backward()
    for block in blocks:
        assert block.scale.weight.grad.abs().max() > 0 and block.shift.weight.grad.abs().max() > 0
    for name, weight in network.named_parameters():
        own = ".base." not in name and any(part in name for part in (".scale.", ".shift.", "condition.action."))
        assert weight.requires_grad == own and (own or weight.grad is None), name


def test_the_base_may_learn_along():
    assert all(weight.requires_grad for weight in followed("unet").parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_once_learned_actions_change_what_is_drawn(name):
    network = followed(name)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ActionBlock):
                module.shift.weight.normal_()
    x, context, valid, action = inputs()
    one, other = (drawn(network, x, context, torch.cat([a, valid], -1)) for a in (action, -action))
    assert (one - other).abs().max() > 1e-3


def test_scale_and_shift_by_hand():
    """A block that hands on: y + α norm(y) + β, norm over all channels of one group."""

    class Same(torch.nn.Module):
        def forward(self, x, condition):
            assert condition.shape[1] == 1  # the actions are not told to the block
            return x

    block = ActionBlock(Same(), 2, 1, 1)
    with torch.no_grad():
        block.scale.weight.copy_(torch.tensor([[2.0], [0.0]]))
        block.shift.bias.copy_(torch.tensor([0.0, 5.0]))
    y = torch.tensor([[[[1.0]], [[3.0]]]])  # mean 2, deviation 1: normalised -1 and 1
    found = block(y, torch.tensor([[9.0, 1.0]]))
    assert found.flatten().tolist() == pytest.approx([1 + 2 * -1, 3 + 5], abs=1e-4)


def test_it_can_be_copied_and_saved():
    network = followed("unet")
    other = copy.deepcopy(network)
    other.load_state_dict(network.state_dict())
    x, context, valid, action = inputs()
    told = torch.cat([action, valid], -1)
    assert torch.equal(drawn(network, x, context, told), drawn(other, x, context, told))
