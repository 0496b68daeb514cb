"""Adapters from true actions to latent ones, against numbers by hand."""

import pytest
import torch

from burnish.errors import InputError
from burnish.networks import AdapterConfig, action_adapter


def codebook(codes=4):
    adapter = action_adapter(AdapterConfig("codebook", codes=codes), 2, 3)
    actions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    latents = torch.tensor([[1.0, 0, 0], [0.0, 2, 0], [3.0, 0, 4], [0.0, 0, 1]])
    adapter.tell(actions, latents)
    return adapter


def test_a_codebook_has_the_mean_latent_of_each_action():
    """(1, 0) twice: the mean of (1, 0, 0) and (3, 0, 4). What was never seen is the nearest that was."""
    asked = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.2], [5.0, 0.0], [0.0, 0.1]])
    expected = [[2, 0, 2], [0, 2, 0], [2, 0, 2], [2, 0, 2], [0, 0, 1]]
    assert codebook()(asked).tolist() == expected
    assert codebook()(asked.view(1, 5, 2)).shape == (1, 5, 3)


def test_codes_that_were_never_told_are_nobodys():
    assert codebook(codes=30)(torch.tensor([[0.0, 0.02]])).tolist() == [[0, 0, 1]]


def test_a_codebook_of_continuous_actions_is_refused():
    with pytest.raises(InputError, match=r"3 different actions, expected at most codes = 2; .* mlp"):
        codebook(codes=2)


def test_the_network_learns_the_latents_and_clamps_what_it_is_told():
    generator = torch.Generator().manual_seed(0)
    actions = torch.rand(256, 2, generator=generator) * 2 - 1
    latents = torch.stack([actions[:, 0], -actions[:, 1], actions.prod(1)], 1) / 2
    torch.manual_seed(0)
    adapter = action_adapter(AdapterConfig(hidden=32), 2, 3)
    adapter.tell(actions, latents)
    optimizer = torch.optim.Adam(adapter.parameters(), 1e-2)
    first = adapter.loss((actions, latents))[1]["adapter_mse"]
    for _ in range(300):
        loss, _ = adapter.loss((actions, latents))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.detach() < 0.02 * first
    far = torch.tensor([[9.0, -9.0]])
    assert torch.equal(adapter(far), adapter(far.clamp(-1, 1)))


def test_padding_counts_as_nothing_and_sizes_are_the_latents():
    adapter = codebook()
    rows = adapter.rows(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), torch.tensor([[False, True]]))
    assert rows.tolist() == [[[0, 0, 0], [0, 2, 0]]] and adapter.output_dim(2, 2) == 6
