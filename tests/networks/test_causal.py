"""The causal denoiser's network: no step sees a later one, every earlier one is seen, and fewer steps are the same."""

import torch

from burnish.networks import CausalResidualMLP

ENTRY, FIRST, CONDITION, STEPS = 3, 2, 4, 10


def made():
    torch.manual_seed(0)
    network = CausalResidualMLP(ENTRY, FIRST, CONDITION, STEPS, 16, 4)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x, first, conditions = torch.randn(2, STEPS, ENTRY), torch.randn(2, FIRST), torch.randn(2, STEPS, CONDITION)
    return network, x, first, conditions


def call(network, x, first, conditions):
    context = network.embed_context(torch.cat([first, conditions.flatten(1)], 1))
    return network(x.flatten(1), torch.zeros(2), context).unflatten(1, (-1, ENTRY))


def test_what_each_step_sees():
    network, x, first, conditions = made()
    before = call(network, x, first, conditions)
    for step in (0, 4, 9):
        for which in ("x", "conditions"):
            given = {"x": x.clone(), "conditions": conditions.clone()}
            given[which][:, step] += 1
            changed = (call(network, first=first, **given) - before).abs().amax((0, 2)) > 1e-6
            assert changed.tolist() == [place >= step for place in range(STEPS)], (step, which)
    assert ((call(network, x, first + 1, conditions) - before).abs().amax((0, 2)) > 1e-6).all()


def test_fewer_steps_are_the_first_ones():
    network, x, first, conditions = made()
    torch.testing.assert_close(
        call(network, x[:, :3], first, conditions[:, :3]), call(network, x, first, conditions)[:, :3]
    )


def test_a_fresh_one_says_nothing():
    network = CausalResidualMLP(ENTRY, FIRST, CONDITION, STEPS, 16, 4)
    assert (call(network, *made()[1:]) == 0).all()
