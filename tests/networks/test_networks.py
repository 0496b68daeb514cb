"""Networks: an ensemble is its members, a fresh denoiser is silent, contexts and noise levels matter."""

import math

import pytest
import torch
from torch import nn

from burnish.networks import MLP, ConditionalResidualMLP, EnsembleMLP, FourierFeatures


def single(ensemble: EnsembleMLP, member: int) -> nn.Sequential:
    """Member `member` as an ordinary torch network."""
    layers: list[nn.Module] = []
    for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        with torch.no_grad():
            linear.weight.copy_(weight[member].T)
            linear.bias.copy_(bias[member, 0])
        layers += [linear, nn.SiLU()]
    return nn.Sequential(*layers[:-1])


def test_an_ensemble_equals_its_members():
    torch.manual_seed(0)
    ensemble = EnsembleMLP(3, 4, (8, 6), 2)
    shared, own = torch.randn(5, 4), torch.randn(3, 5, 4)
    for member in range(3):
        alone = single(ensemble, member)
        torch.testing.assert_close(ensemble(shared)[member], alone(shared), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(ensemble(own)[member], alone(own[member]), atol=1e-6, rtol=1e-5)


def test_members_start_different_and_learn_apart():
    torch.manual_seed(0)
    ensemble = EnsembleMLP(3, 4, (8,), 2)
    output = ensemble(torch.randn(5, 4))
    assert output.shape == (3, 5, 2)
    assert not torch.allclose(output[0], output[1])
    output[1].sum().backward()
    for parameter in ensemble.parameters():
        assert parameter.grad is not None
        assert (parameter.grad[[0, 2]] == 0).all() and (parameter.grad[1] != 0).any()


def test_mlp_head():
    """The head starts `output_scale` times as large, without a bias."""
    torch.manual_seed(0)
    full = MLP(4, (16, 16), 3)
    torch.manual_seed(0)
    small = MLP(4, (16, 16), 3, output_scale=0.1)
    x = torch.randn(2, 5, 4)
    assert full(x).shape == (2, 5, 3)
    torch.testing.assert_close(small(x), 0.1 * full(x))


def test_fourier_features():
    features = FourierFeatures(8)
    c = torch.tensor([0.0, 0.3])
    out = features(c)
    assert out[0].tolist() == [1.0] * 4 + [0.0] * 4
    weight = features.weight[2].item()
    assert out[1, 2].item() == pytest.approx(math.cos(2 * math.pi * 0.3 * weight), abs=1e-5)
    assert out[1, 6].item() == pytest.approx(math.sin(2 * math.pi * 0.3 * weight), abs=1e-5)


def perturbed() -> ConditionalResidualMLP:
    torch.manual_seed(0)
    network = ConditionalResidualMLP(3, 5, width=16, depth=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def test_a_fresh_denoiser_outputs_zero():
    network = ConditionalResidualMLP(3, 5, width=16, depth=2)
    out = network(torch.randn(4, 3), torch.randn(4), network.embed_context(torch.randn(4, 5)))
    assert torch.equal(out, torch.zeros(4, 3))


def test_a_shared_noise_level_is_one_for_each_row():
    network = perturbed()
    x, context = torch.randn(4, 3), network.embed_context(torch.randn(4, 5))
    torch.testing.assert_close(network(x, torch.tensor([0.2]), context), network(x, torch.full((4,), 0.2), context))


def test_the_denoiser_reads_input_noise_level_and_context():
    network = perturbed()
    x, context = torch.randn(4, 3), torch.randn(4, 5)
    out = network(x, torch.zeros(1), network.embed_context(context))
    assert not torch.allclose(out, network(x + 1, torch.zeros(1), network.embed_context(context)), atol=1e-3)
    assert not torch.allclose(out, network(x, torch.ones(1), network.embed_context(context)), atol=1e-3)
    assert not torch.allclose(out, network(x, torch.zeros(1), network.embed_context(context + 1)), atol=1e-3)
