"""Generalised advantages by hand, and against their definition as a sum."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.rl import generalised_advantages


def column(*values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype).unsqueeze(1)


def flags(*values):
    return column(*values, dtype=torch.bool)


NEVER = flags(False, False, False)


def test_three_steps_by_hand():
    """γ = 0.5, λ = 0.5: δ = (1 + 0.5·4 - 2, 0 + 0.5·2 - 4, 2 + 0.5·6 - 2) = (1, -3, 3); γλ = 1/4."""
    arguments = column(1.0, 0, 2), column(2.0, 4, 2), column(4.0, 2, 6)
    found = generalised_advantages(*arguments, NEVER, NEVER, 0.5, 0.5)
    assert found.flatten().tolist() == [1 + (-3 + 3 / 4) / 4, -3 + 3 / 4, 3]


def test_termination_by_hand():
    """The second step ends its episode: no bootstrap (δ₁ = 0 - 4), and nothing of the third leaks in."""
    arguments = column(1.0, 0, 2), column(2.0, 4, 2), column(4.0, 2, 6)
    found = generalised_advantages(*arguments, flags(False, True, False), NEVER, 0.5, 0.5)
    assert found.flatten().tolist() == [1 - 4 / 4, -4, 3]


def test_truncation_by_hand():
    """The second step is cut: it bootstraps from its own next state (δ₁ = -3), and nothing leaks in."""
    arguments = column(1.0, 0, 2), column(2.0, 4, 2), column(4.0, 2, 6)
    found = generalised_advantages(*arguments, NEVER, flags(False, True, False), 0.5, 0.5)
    assert found.flatten().tolist() == [1 - 3 / 4, -3, 3]


def test_environments_are_apart():
    one, two = torch.randn(4, 1), torch.randn(4, 1)
    never = torch.zeros(4, 1, dtype=torch.bool)

    def of(x):
        dead = never.expand_as(x)
        return generalised_advantages(x, 2 * x, 3 * x, dead, dead, 0.9, 0.8)

    torch.testing.assert_close(of(torch.cat([one, two], 1)), torch.cat([of(one), of(two)], 1))


@settings(deadline=None)
@given(st.integers(1, 12), st.floats(0, 1), st.floats(0, 1), st.integers(0, 10_000))
def test_equals_the_definition(steps, gamma, lam, seed):
    """A_t = Σ_l (γλ)^l δ_{t+l}, up to and with the step that ends the episode."""
    generator = torch.Generator().manual_seed(seed)
    reward, value, next_value = torch.randn(3, steps, 2, generator=generator, dtype=torch.float64)
    ends = torch.rand(2, steps, 2, generator=generator)
    terminated = ends[0] < 0.2
    truncated = (ends[1] < 0.2) & ~terminated
    found = generalised_advantages(reward, value, next_value, terminated, truncated, gamma, lam)
    for env in range(2):
        for t in range(steps):
            expected, weight = 0.0, 1.0
            for k in range(t, steps):
                future = 0.0 if terminated[k, env] else next_value[k, env].item()
                expected += weight * (reward[k, env].item() + gamma * future - value[k, env].item())
                weight *= gamma * lam
                if terminated[k, env] or truncated[k, env]:
                    break
            assert abs(found[t, env].item() - expected) < 1e-9
