"""ResNets: sizes and names as torchvision has them, and pretrained weights folded without changing the function."""

import pytest
import torch
from torch import nn

from burnish.errors import InputError
from burnish.networks import ResNet, load_torchvision, resnet
from burnish.networks.resnet import IMAGENET_MEAN, IMAGENET_STD, NORMS, WIDTHS
from burnish.storage import save_tensors

TINY = (8, 8, 16, 16)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameter_counts():
    """torchvision's ResNet-18 has 11,689,512, of which 513,000 are its head of 1,000 classes."""
    assert count(resnet("resnet18")) == 11_689_512 - 513_000
    assert count(resnet("resnet18", norm="folded")) == 11_176_512
    assert 0.6e6 < count(resnet("small")) < 0.8e6


def original(widths=TINY, seed=0):
    """A network with batch normalisation, as torchvision's, with arbitrary statistics."""
    torch.manual_seed(seed)
    network = ResNet(3, widths, nn.BatchNorm2d).eval()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
                layer.weight.normal_(1, 0.3)
                layer.bias.normal_()
    return network


def exported(network):
    """The weights under torchvision's names, with a head."""
    weights = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("input_")}
    return weights | {"fc.weight": torch.zeros(1000, 16), "fc.bias": torch.zeros(1000)}


def test_names_are_those_of_torchvision():
    """122 tensors, among them the ones that everybody's files have."""
    names = set(exported(ResNet(3, WIDTHS["resnet18"], nn.BatchNorm2d)))
    assert len(names) == 122
    assert {
        "conv1.weight",
        "bn1.running_mean",
        "bn1.num_batches_tracked",
        "layer1.0.conv1.weight",
        "layer1.1.bn2.bias",
        "layer2.0.downsample.0.weight",
        "layer4.0.downsample.1.running_var",
        "layer4.1.conv2.weight",
        "fc.bias",
    } <= names


def standardised(pictures):
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((pictures + 1) / 2 - mean) / std


def test_folding_keeps_the_function(tmp_path):
    """What the network with batch normalisation says of a standardised picture, ours says of the one in [-1, 1]."""
    network, folded = original(), resnet_of("folded")
    save_tensors(tmp_path / "r.safetensors", exported(network))
    load_torchvision(folded, tmp_path / "r.safetensors")
    pictures = torch.rand(4, 3, 48, 48) * 2 - 1
    expected = network(standardised(pictures))
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(folded(pictures), expected, rtol=1e-4, atol=1e-4)


def test_several_pictures_share_the_first_convolution(tmp_path):
    """The same picture twice gives what it gives once."""
    save_tensors(tmp_path / "r.safetensors", exported(original()))
    one, two = resnet_of("folded"), resnet_of("folded", channels=6)
    for network in (one, two):
        load_torchvision(network, tmp_path / "r.safetensors")
    picture = torch.rand(2, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(two(torch.cat([picture, picture], 1)), one(picture), rtol=1e-4, atol=1e-4)


def resnet_of(norm, channels=3):
    return ResNet(channels, TINY, NORMS[norm])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: w.pop("layer3.0.bn1.running_var"), r"'layer3\.0\.bn1\.running_var' is missing"),
        (lambda w: w.update({"layer5.weight": torch.zeros(1)}), r"'layer5\.weight' is unknown"),
        (
            lambda w: w.update({"conv1.weight": torch.zeros(8, 3, 3, 3)}),
            r"expected \(8, 3, 7, 7\)",
        ),
        (lambda w: w.update({"bn1.weight": torch.full((8,), torch.nan)}), "no finite numbers"),
        (lambda w: w.update({"bn1.bias": torch.zeros(8, dtype=torch.int64)}), "no finite numbers"),
        (lambda w: w.update({"bn1.running_var": torch.full((8,), -1.0)}), "negative variances"),
    ],
)
def test_another_network_is_refused(tmp_path, damage, message):
    weights = exported(original())
    damage(weights)
    save_tensors(tmp_path / "r.safetensors", weights)
    with pytest.raises(InputError, match=rf"r\.safetensors.*{message}"):
        load_torchvision(resnet_of("folded"), tmp_path / "r.safetensors")


def test_no_file_and_a_pickle_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_torchvision(resnet_of("folded"), tmp_path / "r.safetensors")
    (tmp_path / "r.pt").write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(InputError, match="pickle inside"):
        load_torchvision(resnet_of("folded"), tmp_path / "r.pt")


def test_rows_do_not_see_each_other():
    network = resnet_of("group")
    pictures = torch.rand(5, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(network(pictures)[2:3], network(pictures[2:3]), rtol=1e-4, atol=1e-5)
    assert network(pictures).shape == (5, 16)
