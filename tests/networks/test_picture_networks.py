"""U-Net and DiT: published sizes, silence at birth, and the first layer in two halves."""

import pytest
import torch
from torch import nn

from burnish.errors import InputError
from burnish.networks import DIT_PRESETS, UNET_PRESETS, DiT, DiTConfig, StepCondition, UNet, UNetConfig
from burnish.networks.dit import positions
from burnish.networks.unet import AdaptiveGroupNorm, groups_of

ACTIONS = 4 * 21 + 1
SMALL_UNET = UNetConfig((8, 16, 24), (1, 2, 1), (False, False, True), 32)
SMALL_DIT = DiTConfig(patch=4, width=32, depth=2, heads=2)


def build(name, size=16):
    torch.manual_seed(0)
    if name == "unet":
        return UNet(3, 6, 2, 5, SMALL_UNET)
    return DiT(3, 6, 2, 5, size, SMALL_DIT)


def disturbed(network, scale=0.1):
    """The network with arbitrary weights instead of its zeros."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return network.requires_grad_(False)


def inputs(batch=3, size=16):
    generator = torch.Generator().manual_seed(1)
    context, x = (torch.randn(batch, c, size, size, generator=generator) for c in (6, 3))
    action = torch.rand(batch, 2, 5, generator=generator)
    return x, context, action, torch.full((batch,), -0.2), torch.full((batch,), -1.0)


def call(network, x, context, action, c_noise, c_context):
    return network(x, c_noise, network.embed(context, action, c_context))


def parameters(network):
    return sum(p.numel() for p in network.parameters())


# Sizes -------------------------------------------------------------------------------------------------------------


def test_published_sizes():
    """DIAMOND's own counts, 4,405,955 with a table of 4 actions (64 wide) and 330,489,219 with 51 (512 wide)."""
    for preset, own, table in (("diamond", 4_405_955, 4 * 64), ("published", 330_489_219, 51 * 512)):
        with torch.device("meta"):
            network = UNet(3, 12, 4, ACTIONS, UNET_PRESETS[preset])
        action = network.condition.action.weight.numel()
        assert action == ACTIONS * UNET_PRESETS[preset].condition // 4
        assert parameters(network) - action == own - table


@pytest.mark.parametrize(
    ("preset", "millions"),
    [
        ("unet xs", 0.96),
        ("unet medium", 82.7),
        ("dit xs", 1.4),
        ("dit small", 33),
        ("dit base", 130),
        ("dit large", 458),
    ],
)
def test_sizes_of_presets(preset, millions):
    """DiT's S, B and L have 33, 130 and 458 M parameters (its Table 1)."""
    backbone, name = preset.split()
    with torch.device("meta"):
        if backbone == "unet":
            network = UNet(3, 12, 4, ACTIONS, UNET_PRESETS[name])
        else:
            network = DiT(3, 12, 4, ACTIONS, 64, DIT_PRESETS[name])
    assert parameters(network) / 1e6 == pytest.approx(millions, rel=0.02)


# Behaviour ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_silent_at_birth(name):
    network, values = build(name), inputs()
    output = call(network, *values)
    assert output.shape == values[0].shape
    assert (output == 0).all()


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_everything_matters(name):
    """Noisy frame, past frames, each frame's action, noise level and the past's noise level, each on its own."""
    network, values = disturbed(build(name)), inputs()
    before = call(network, *values)
    for position in range(5):
        changed = [value.clone() for value in values]
        changed[position][0] += 0.5
        after = call(network, *changed)
        assert (after[0] - before[0]).abs().max() > 1e-3, position
        torch.testing.assert_close(after[1:], before[1:], atol=1e-5, rtol=1e-4)
    for frame in range(2):
        action = values[2].clone()
        action[:, frame] += 0.5
        assert (call(network, values[0], values[1], action, *values[3:]) - before).abs().max() > 1e-3, frame


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_one_level_for_all_rows(name):
    network, (x, context, action, c_noise, c_context) = disturbed(build(name)), inputs()
    each = call(network, x, context, action, c_noise, c_context)
    torch.testing.assert_close(call(network, x, context, action, c_noise[:1], c_context[:1]), each)


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_split_first_layer_equals_the_joined_one(name):
    """conv([context; x]) = conv_context(context) + conv_x(x): embedding the past apart is exact."""
    network, (x, context, action, _, c_context) = disturbed(build(name)), inputs()
    stride, padding = (network.input.stride, network.input.padding)
    joined = nn.Conv2d(9, network.input.out_channels, network.input.kernel_size, stride, padding).requires_grad_(False)
    joined.weight.copy_(torch.cat([network.context.weight, network.input.weight], dim=1))
    joined.bias.copy_(network.context.bias)
    whole = joined(torch.cat([context, x], dim=1))
    if name == "dit":
        whole = whole.flatten(2).transpose(1, 2)
    features = network.embed(context, action, c_context).features
    own = network.input(x)
    own = own.flatten(2).transpose(1, 2) if name == "dit" else own
    torch.testing.assert_close(features + own, whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_every_weight_learns(name):
    network = disturbed(build(name)).requires_grad_(True)
    call(network, *inputs()).square().mean().backward()
    silent = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_sizes_that_do_not_halve_evenly():
    network = disturbed(build("unet"))
    x, context, action, c_noise, c_context = inputs(size=18)
    assert call(network, x, context, action, c_noise, c_context).shape == (3, 3, 18, 18)


def test_dit_puts_patches_where_they_belong():
    """With an output layer that ignores its input, every patch is the same picture, in the same orientation."""
    network = build("dit", size=8)
    with torch.no_grad():
        network.output.bias.copy_(torch.arange(48.0))
    output = call(network, *inputs(size=8))
    tile = torch.arange(48.0).reshape(3, 4, 4)
    assert torch.equal(output[1], tile.repeat(1, 2, 2))


def test_dit_tokens_keep_their_place():
    """With its blocks still silent, an output patch depends on the input patch at the same place alone."""
    network = build("dit", size=8)
    with torch.no_grad():
        nn.init.normal_(network.output.weight)
    values = list(inputs(size=8))
    before = call(network, *values)
    values[0] = values[0].clone()
    values[0][:, :, :4, 4:] += 1  # above, on the right
    changed = (call(network, *values) - before).abs().amax((0, 1)) > 1e-4
    assert changed[:4, 4:].all() and changed.sum() == 16


def test_positions_differ():
    table = positions(4, 16)
    assert table.shape == (16, 16)
    assert len(torch.unique((table * 1e4).round(), dim=0)) == 16
    assert table[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1] * 2


def test_adaptive_group_norm_by_hand():
    """(1, 3) normalises to (-1, 1); scale 1, shift 0.5 give (-1.5, 2.5)."""
    norm = AdaptiveGroupNorm(1, 2).requires_grad_(False)
    norm.modulation.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.5]]))
    norm.modulation.bias.zero_()
    out = norm(torch.tensor([[[[1.0, 3.0]]]]), torch.ones(1, 2))
    torch.testing.assert_close(out.flatten(), torch.tensor([-1.5, 2.5]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_one_pass_over_the_pixels_is_the_same(dtype, tolerance):
    """Two groups of 32 channels far from zero: as group_norm in float64, and in the same layout."""
    torch.manual_seed(0)
    norm = disturbed(AdaptiveGroupNorm(64, 8))
    x, condition = (3 + torch.randn(2, 64, 6, 10)).to(dtype, memory_format=torch.channels_last), torch.randn(2, 8)
    expected = nn.functional.silu(norm.double()(x.double(), condition.to(dtype).double()))
    norm.to(dtype).one_pass = True
    found = norm.activated(x, condition.to(dtype))
    assert found.dtype == dtype and found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=tolerance)


def test_groups():
    assert [groups_of(c) for c in (8, 32, 64, 80, 96, 112, 1024)] == [1, 1, 2, 2, 3, 2, 32]


def test_two_hot_actions_are_rows_of_a_table():
    condition = StepCondition(2, 3, 8).requires_grad_(False)
    table = condition.action.weight.T
    action = torch.tensor([[[0.0, 1.0, 0.0], [0.25, 0.0, 0.75]]])
    c = torch.tensor([0.3])
    expected = torch.cat([table[1], 0.25 * table[0] + 0.75 * table[2]]) + condition.context_noise(c)[0]
    torch.testing.assert_close(condition.embed(action, c)[0], expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: UNetConfig((8, 8), (1,), (False, False), 32),
        lambda: UNetConfig((8, 12), (1, 1), (False, False), 32),
        lambda: UNetConfig((8, 8), (1, 0), (False, False), 32),
        lambda: UNetConfig((8, 8), (1, 1), (False, False), 33),
        lambda: DiTConfig(width=30),
        lambda: DiTConfig(width=32, heads=5),
        lambda: DiT(3, 12, 4, 5, 18, SMALL_DIT),
    ],
)
def test_impossible_sizes(make):
    with pytest.raises(InputError, match="expected"):
        make()
