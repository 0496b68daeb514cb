"""The field's networks with random weights: wiring, names, sizes, and what is said of bad files."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from burnish.errors import InputError
from burnish.evaluation.feature_networks import (
    FeatureNetworks,
    Features,
    Missing,
    WeightFiles,
    load_feature_networks,
    with_weights,
)
from burnish.evaluation.i3d import I3D, pad_same
from burnish.evaluation.inception import InceptionV3
from burnish.evaluation.lpips import LPIPS
from burnish.storage import save_tensors


def noise(*shape, seed=0):
    return torch.randint(0, 256, (*shape, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.fixture(scope="module")
def lpips():
    torch.manual_seed(0)
    network = LPIPS().eval().requires_grad_(False)
    for name, weight in network.named_parameters():
        if name.startswith("lin"):
            weight.abs_()
    return network


def size_of(network):
    return sum(p.numel() for p in network.parameters())


def test_lpips_of_equal_and_of_swapped_pictures(lpips):
    x, y = noise(2, 40, 48, seed=1), noise(2, 40, 48, seed=2)
    assert lpips(x, x).tolist() == [0, 0]
    assert (lpips(x, y) > 0).all()
    torch.testing.assert_close(lpips(x, y), lpips(y, x))
    torch.testing.assert_close(lpips(x, y)[1:], lpips(x[1:], y[1:]))


def test_lpips_against_alexnet_in_a_row(lpips):
    """The same weights in torchvision's order of layers; unit vectors differ by 2 − 2 cos, weighted by ones."""
    conv = lpips.features
    body = nn.Sequential(
        *(conv["0"], nn.ReLU(), nn.MaxPool2d(3, 2), conv["3"], nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(conv["6"], nn.ReLU(), conv["8"], nn.ReLU(), conv["10"], nn.ReLU()),
    )
    state = lpips.state_dict()
    plain = LPIPS()
    plain.load_state_dict({k: torch.ones_like(v) if k.startswith("lin") else v for k, v in state.items()})
    x, y = noise(1, 64, 64, seed=3), noise(1, 64, 64, seed=4)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    a, b = (((p / 255 - mean) / std).permute(0, 3, 1, 2) for p in (x, y))
    expected = 0.0
    for layer in body:
        a, b = layer(a), layer(b)
        if isinstance(layer, nn.ReLU):
            expected += (2 - 2 * functional.cosine_similarity(a, b, dim=1)).mean().item()
    assert plain(x, y).item() == pytest.approx(expected, rel=1e-4)
    # 61,100,840 parameters of AlexNet less the 58,631,144 of its classifier.
    assert size_of(body) == 61_100_840 - 58_631_144


def test_lpips_of_too_small_pictures(lpips):
    assert lpips(noise(1, 31, 31), noise(1, 31, 31)).item() == 0
    with pytest.raises(InputError, match="30×40 pixels, expected at least 31×31"):
        lpips(noise(1, 30, 40), noise(1, 30, 40))


def test_inception_has_the_published_size_and_names():
    """23,834,568 parameters without the auxiliary head, less the 2048 · 1000 + 1000 of the last layer."""
    with torch.device("meta"):
        network = InceptionV3()
    assert size_of(network) == 23_834_568 - 2_049_000
    names = network.state_dict()
    assert sum(name.endswith("conv.weight") for name in names) == 94
    assert names["Mixed_6c.branch7x7dbl_4.conv.weight"].shape == (160, 160, 7, 1)
    assert names["Mixed_7c.branch3x3_2b.conv.weight"].shape == (384, 384, 3, 1)
    assert names["Mixed_7a.branch7x7x3_4.bn.running_var"].shape == (192,)
    blocks = [names[f"Mixed_{b}.branch1x1.conv.weight"].shape[1] for b in ("5b", "5c", "5d", "6b", "6e", "7b", "7c")]
    assert blocks == [192, 256, 288, 768, 768, 1280, 2048]


def test_inception_reads_each_picture_by_itself():
    torch.manual_seed(0)
    network = InceptionV3().eval().requires_grad_(False)
    for module in network.modules():
        # As trained ones do, random layers must keep the scale of what they read.
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    pictures = noise(2, 24, 32, seed=5)
    features = network(pictures)
    assert features.shape == (2, 2048)
    torch.testing.assert_close(features[1:], network(pictures[1:]), atol=1e-4, rtol=1e-4)
    assert (features[0] - features[1]).abs().max() > 0.1


def test_i3d_has_the_published_size_and_reads_videos():
    """12.69 million convolution weights, logits and offsets (the published checkpoint has no scales)."""
    torch.manual_seed(0)
    network = I3D().eval().requires_grad_(False)
    scales = sum(p.numel() for name, p in network.named_parameters() if name.endswith("bn.weight"))
    assert size_of(network) - scales == 12_689_984
    names = network.state_dict()
    assert names["Mixed_5c.b3b.conv3d.weight"].shape == (128, 832, 1, 1, 1)
    assert names["logits.conv3d.bias"].shape == (400,)
    assert network(noise(1, 9, 32, 32)).shape == (1, 400)
    with pytest.raises(InputError, match="videos of 8 frames, expected at least 9"):
        network(noise(1, 8, 32, 32))


def test_padding_as_tensorflow_does_by_hand():
    """Kernel 7, stride 2 on 224: 112 outputs read 111 · 2 + 7 = 229, so 2 before and 3 behind; on 9: 5 read 15."""
    x = torch.ones(1, 1, 9, 224, 4)
    padded = pad_same(x, (7, 7, 2), (2, 2, 2))
    assert padded.shape[2:] == (15, 229, 4)
    assert padded[0, 0, :, 2, 0].nonzero().flatten().tolist() == list(range(3, 12))
    assert padded[0, 0, 3, :, 0].nonzero().flatten()[[0, -1]].tolist() == [2, 225]


def test_pooled_sizes_of_i3d_round_up():
    sizes = [224]
    for _ in range(5):
        sizes.append(pad_same(torch.ones(1, 1, 1, 1, sizes[-1]), (1, 1, 3), (1, 1, 2)).shape[-1] // 2)
    assert [b for _, b in pairwise(sizes)] == [112, 56, 28, 14, 7]


def test_without_weights_every_number_says_so():
    networks = load_feature_networks(WeightFiles())
    assert networks == FeatureNetworks()
    for metric in ("lpips", "fid", "fvd"):
        missing = getattr(networks, metric)
        assert isinstance(missing, Missing)
        expected = f"{metric.upper()}: weights not on this machine; pass --weights.{metric} FILE.safetensors"
        assert missing.reason == expected


def test_weights_are_read_and_what_is_not_used_is_ignored(lpips, tmp_path):
    path = tmp_path / "lpips.safetensors"
    half = {name: tensor.half() for name, tensor in lpips.state_dict().items()}
    save_tensors(path, half | {"classifier.1.weight": torch.ones(2), "scaling_layer.shift": torch.ones(1, 3, 1, 1)})
    own = Features("columns", lambda pictures: pictures.float().mean((1, 3)))
    networks = load_feature_networks(WeightFiles(lpips=path), own=own)
    assert networks.own is own and isinstance(networks.fid, Missing)
    assert own.features(noise(4, 6, 5)).shape == (4, 5)
    x, y = noise(1, 32, 32, seed=1), noise(1, 32, 32, seed=2)
    assert not isinstance(networks.lpips, Missing)
    assert networks.lpips.distance(x, y).item() == pytest.approx(lpips(x, y).item(), rel=1e-2)


def test_wrong_weights_are_input_errors(lpips, tmp_path):
    path, state = tmp_path / "weights.safetensors", lpips.state_dict()
    first = "features.0.weight"
    cases = {
        "found no tensor 'features.0.weight', expected the weights of LPIPS": {
            k: v for k, v in state.items() if k != first
        },
        "found tensor 'features.12.weight'": state | {"features.12.weight": torch.ones(1)},
        r"'features.0.weight': found torch.float32 \(3, 3\), expected floats \(64, 3, 11, 11\)": state
        | {first: torch.ones(3, 3)},
        "found torch.int64": state | {first: state[first].long()},
        "not finite": state | {first: state[first] / 0},
    }
    for message, tensors in cases.items():
        save_tensors(path, tensors)
        with pytest.raises(InputError, match=message):
            with_weights(LPIPS(), path)
    path.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(InputError, match="expected a safetensors file, found a pickle"):
        load_feature_networks(WeightFiles(fvd=path))
    with pytest.raises(InputError, match="no such file"):
        load_feature_networks(WeightFiles(fid=tmp_path / "absent.safetensors"))
