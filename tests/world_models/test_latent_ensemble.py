"""Bootstrapped priors: mutual information by hand, learning, calibration, files."""

import math

import pytest
import torch

from burnish.training import TrainingConfig, fit
from burnish.world_models import BootstrapTransitions, LatentEnsemble, LatentEnsembleConfig
from burnish.world_models.latent_ensemble import mutual_information
from tests.world_models.test_rssm import make, moving

CONFIG = LatentEnsembleConfig(members=3, hidden=(32,))


def test_mutual_information_by_hand():
    """Members that agree on a coin know of its noise: zero. Two sure members of opposite opinion: ln 2."""
    coin = torch.zeros(2, 1, 1, 2)
    sure = torch.tensor([[[[50.0, 0.0]]], [[[0.0, 50.0]]]])
    both = torch.cat([coin, sure], dim=2)
    found = [mutual_information(x).item() for x in (coin, sure, both)]
    assert found == pytest.approx([0, math.log(2), math.log(2) / 2], abs=1e-5)


@pytest.mark.parametrize("classes", [5, 20], ids=["few-classes", "many-classes"])
def test_mutual_information_is_that_of_the_softmax(classes):
    logits = 3 * torch.randn(4, 7, 3, classes, generator=torch.Generator().manual_seed(0))
    p = logits.double().softmax(-1)
    entropies = [-(each * each.log()).sum(-1) for each in (p.mean(0), p)]
    expected = (entropies[0] - entropies[1].mean(0)).mean(-1)
    torch.testing.assert_close(mutual_information(logits), expected.float(), atol=1e-6, rtol=1e-5)


def test_transitions_stay_within_episodes():
    data = moving(3, 5)
    world = make(data)
    transitions = LatentEnsemble(world, CONFIG).transitions(data)
    assert len(transitions.inputs) == 3 * 4 and transitions.episode.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    states = world.recorded(data)
    torch.testing.assert_close(transitions.inputs[4, :64], states.h[5])
    assert transitions.inputs[4, -1] == data.actions[5, 0]
    assert torch.equal(transitions.following[4], states.z[6].unflatten(-1, (8, 8)).argmax(-1))


def test_a_bootstrap_takes_whole_episodes():
    data = moving(10, 4)
    transitions = LatentEnsemble(make(data), CONFIG).transitions(data)
    pools = BootstrapTransitions(transitions, members=3, seed=0).pools
    counts = [torch.bincount(transitions.episode[pool], minlength=10) for pool in pools]
    assert all((count % 3 == 0).all() and count.sum() == 30 for count in counts)
    assert not torch.equal(counts[0], counts[1])


def test_it_learns_and_doubts_what_it_has_not_seen(tmp_path):
    data, held_out = moving(40, 12), moving(10, 12, seed=5)
    world = make(data)
    ensemble = LatentEnsemble(world, CONFIG)
    sampler = BootstrapTransitions(ensemble.transitions(data), 3, seed=0)
    last = fit(ensemble, sampler, TrainingConfig(steps=300, batch_size=64, ema_decay=None), tmp_path / "fit", seed=0)
    assert last["accuracy"] > 0.5
    found = ensemble.calibrate(held_out)
    states = world.recorded(held_out)
    rows = states.rows(torch.arange(60))
    known = ensemble(rows, held_out.actions[:60])
    strange = ensemble(type(rows)(3 * torch.randn_like(rows.h), rows.z.roll(1, -1)), held_out.actions[:60])
    assert found["threshold"] > found["median"] > 0
    assert (known <= ensemble.threshold).float().mean() > 0.9
    assert strange.median() > 3 * known.median()
    doubt, believed = ensemble.predict_member(rows, held_out.actions[:60], torch.arange(60) % 3, torch.Generator())
    torch.testing.assert_close(doubt, known)
    torch.testing.assert_close(believed.h, world.imagine(rows, held_out.actions[:60]).h)
    assert (believed.z.unflatten(-1, (8, 8)).sum(-1) == 1).all()
