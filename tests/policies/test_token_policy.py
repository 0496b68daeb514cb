"""Action tokens: bins by hand, the temperature, and what the sentence changes. The rest are contracts."""

import pytest
import torch

from burnish.errors import InputError
from burnish.networks import InstructedConfig
from burnish.policies import TokenPolicy, TokenPolicyConfig

PIXELS, TEXT = 3 * 16**2, 2
CONFIG = TokenPolicyConfig(
    chunk=2, bins=5, image_size=16, network=InstructedConfig(width=16, depth=1, heads=2), shift=0
)


def policy(**changes):
    torch.manual_seed(0)
    return TokenPolicy(PIXELS + TEXT, 1, TokenPolicyConfig(**{**vars(CONFIG), **changes})).eval()


def features(sentence, rows=1):
    pictures = torch.rand(rows, PIXELS, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return torch.cat([pictures, torch.eye(TEXT)[sentence].expand(rows, -1)], dim=1)


def test_tokens_are_bins(monkeypatch):
    """Five bins over [-1, 1]: -1, -0.5, 0, 0.5, 1."""
    found = policy()
    logits = torch.full((1, 2, 5), -50.0)
    logits[0, 0, 3] = logits[0, 1, 0] = 50.0
    monkeypatch.setattr(found, "logits", lambda features: logits)
    decision = found.act(features(0), True)
    assert decision.action_chunk.tolist() == [[[0.5], [-1.0]]] and decision.trace.tolist() == [[3.0, 0.0]]
    loss, metrics = found.loss((features(0), torch.tensor([[[0.3], [-0.9]]])))
    assert float(loss) == pytest.approx(0, abs=1e-5), "0.3 is in the bin of 0.5, -0.9 in that of -1"
    assert float(metrics["rmse"]) == pytest.approx(((0.2**2 + 0.1**2) / 2) ** 0.5, abs=1e-6)


def test_the_temperature_flattens_what_is_explored_and_scored(monkeypatch):
    found = policy(temperature=2.0)
    monkeypatch.setattr(found, "logits", lambda features: torch.tensor([[[4.0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]]))
    log_prob = found.log_prob(features(0), torch.tensor([[0.0, 2.0]]))
    expected = torch.tensor([2.0, 0, 0, 0, 0]).log_softmax(0)[0]
    torch.testing.assert_close(log_prob, torch.stack([expected, torch.tensor(0.2).log()])[None])


def test_a_policy_tells_sentences_apart():
    """The same picture, two sentences, opposite actions."""
    found = policy()
    optimizer = torch.optim.AdamW(found.parameters(), 3e-3)
    rows = torch.cat([features(0), features(1)])
    wanted = torch.tensor([1.0, -1.0]).view(2, 1, 1).expand(2, 2, 1)
    for _ in range(60):
        loss, _ = found.loss((rows, wanted))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(found.act(rows, True).action_chunk, wanted)


def test_features_without_a_sentence():
    with pytest.raises(InputError, match="found 768 features, expected more than"):
        TokenPolicy(PIXELS, 1, CONFIG)
