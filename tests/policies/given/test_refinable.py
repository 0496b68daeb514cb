"""Given policies as policies of a run: what they read, what they do, and what may change."""

import numpy as np
import pytest
import torch
from checkpoints import SIZES, observations, policy_of

from burnish.components import load, save
from burnish.data import STATE, ActionScaling, Dataset, DatasetInfo, Episode
from burnish.errors import InputError
from burnish.policies import Agent, GaussianPolicy, GaussianPolicyConfig
from burnish.policies.given import AroundPolicy, ChainPolicy, FunctionPolicy, GivenConfig, Source, allow, refinable
from burnish.policies.given.lerobot import ENVIRONMENT
from burnish.policies.given.taking import Setting, as_given, chosen_reads, fits, policy_folder
from burnish.world_models import HistoryConfig, ObservationHistory

READS = (f"{STATE}=0:2", f"{ENVIRONMENT}=2:4")


def data_of(scale=1.0, seed=0, actions=2):
    """A few frames of a state of four numbers; actions in half ranges of 90 and 9, say."""
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((40, 4)).astype(np.float32)
    action = (scale * rng.uniform(-1, 1, (40, actions))).astype(np.float32)
    episode = Episode({STATE: states}, action, np.arange(40) > 35, "unknown", -1, "reach")
    dataset = Dataset.from_episodes([episode], DatasetInfo(fps=10))
    return dataset.scaled(ActionScaling.of(dataset.actions))


def taken(policy, data, frames=1, **config):
    """An agent of the given policy on the data's features."""
    observer = ObservationHistory(4, 2, HistoryConfig(frames=4, feature_frames=frames)).fit(data)
    setting = Setting(data, observer)
    given = GivenConfig(reads=READS if policy.inputs == SIZES else (), **config)
    return Agent(observer, refinable(policy, given, setting), "reach", data.info.scaling).eval()


@pytest.mark.parametrize(("kind", "frames"), [("act", 1), ("act", 2), ("diffusion", 2), ("diffusion", 3)])
def test_an_agent_of_it_does_what_it_does(kind, frames):
    """In the data's units, through normalised features and scaled actions; beyond the data's range it is clipped."""
    data, policy = data_of(scale=90.0), policy_of(kind, scale=60.0)
    agent, seen = taken(policy, data, frames), observations(6)
    agent.begin(1)
    found = torch.cat([agent.act({STATE: row.unsqueeze(0)}) for row in torch.cat(list(seen.values()), dim=1)])
    chunks = []
    for step in range(0, 6, 2):
        rows = [max(0, step - back) for back in range(policy.frames - 1, -1, -1)]
        with torch.no_grad():
            chunks.append(policy.plan({key: each[rows].unsqueeze(0) for key, each in seen.items()})[0])
    low, high = torch.tensor(data.info.scaling.low), torch.tensor(data.info.scaling.high)
    expected = torch.cat(chunks)
    torch.testing.assert_close(found, torch.minimum(torch.maximum(expected, low), high), atol=1e-3, rtol=1e-5)
    inside = ((expected > low) & (expected < high)).float().mean()
    assert inside > 0.3 and found.std() > 5


def test_the_spread_is_learned_and_the_chunk_does_not_change_with_it():
    agent = taken(policy_of("act"), data_of(), std=0.2)
    policy, features = agent.policy, torch.randn(5, 4)
    torch.testing.assert_close(policy.std, torch.full((4,), 0.2), atol=1e-4, rtol=1e-4)
    before = policy.act(features, True, None).action_chunk
    with torch.no_grad():
        policy.raw_std.add_(1.0)
    assert float(policy.std.detach().min()) > 0.2 and torch.equal(policy.act(features, True, None).action_chunk, before)
    drawn = policy.act(features.repeat(2000, 1), False, torch.Generator().manual_seed(0)).trace[:, 0]
    error = drawn - policy.mean(features, policy.planned(features)).repeat(2000, 1)
    assert float(error.std() / policy.std[0]) == pytest.approx(1, abs=0.02)


def test_a_residual_leaves_it_alone():
    """Frozen, the same actions until the residual has learned, and never further from it than `reach`."""
    whole, agent = (taken(policy_of("act"), data_of(), refine=how, reach=0.25) for how in ("whole", "residual"))
    features = torch.randn(50, 4)
    trained = {name for name, each in agent.policy.named_parameters() if each.requires_grad}
    assert trained and not any(name.startswith("base.") for name in trained)
    traces = [each.policy.act(features, True, None).trace.detach() for each in (agent, whole)]
    torch.testing.assert_close(*traces)
    torch.nn.init.normal_(agent.policy.residual.head.weight, std=100.0)
    action, planned = agent.policy.act(features, True, None).trace.unbind(1)
    assert float((action - planned).detach().abs().max()) == pytest.approx(0.25, abs=1e-3)


def test_gradients_of_whole_reach_its_weights():
    for kind, family in (("act", AroundPolicy), ("diffusion", ChainPolicy)):
        policy = taken(policy_of(kind), data_of(), 2).policy
        assert type(policy) is family
        features = torch.randn(3, 8)
        trace = policy.act(features, False, torch.Generator().manual_seed(0)).trace.detach()
        policy.log_prob(features, trace).sum().backward()
        grad = policy.base.network.state_dict(keep_vars=True)
        assert any(each.grad is not None and bool(each.grad.any()) for each in grad.values() if each.requires_grad)


def test_what_was_saved_is_the_same(tmp_path):
    for kind in ("act", "diffusion"):
        agent = taken(policy_of(kind, scale=60.0), data_of(90.0), 2)
        save(tmp_path / kind, agent)
        loaded, features = load(tmp_path / kind, Agent), torch.randn(4, 8)
        for deterministic in (True, False):
            one, two = (
                each.policy.act(features, deterministic, torch.Generator().manual_seed(1)) for each in (agent, loaded)
            )
            assert torch.equal(one.trace, two.trace) and torch.equal(one.action_chunk, two.action_chunk)
        assert loaded.policy.base.said == agent.policy.base.said and loaded.scaling == agent.scaling


# ---------------------------------------------------------------------------------------------------------------------
# What it reads.


def test_parts_of_the_state():
    data = data_of()
    expected = {STATE: (0, 2), ENVIRONMENT: (2, 4)}
    assert chosen_reads(SIZES, READS, data) == expected
    assert chosen_reads(SIZES, (), data, (STATE, ENVIRONMENT)) == expected, "the columns that were joined"
    assert chosen_reads({ENVIRONMENT: 4}, (), data) == {ENVIRONMENT: (0, 4)}
    assert chosen_reads(None, (), data) == {STATE: (0, 4)}


@pytest.mark.parametrize(
    ("inputs", "said", "message"),
    [
        (SIZES, (), rf"reads {STATE} \(2\), {ENVIRONMENT} \(2\); the data's state has 4 numbers.*--config.given.reads"),
        ({STATE: 3}, (), r"reads observation.state \(3\); the data's state has 4"),
        (SIZES, ("observation.state=0:2",), "found nothing for 'observation.environment_state'"),
        (SIZES, ("observation.state=0:3", READS[1]), "found 3 numbers for 'observation.state', of which"),
        (SIZES, (*READS, "goal=0:2"), "does not read 'goal'"),
        (SIZES, ("observation.state",), "expected 'KEY=FIRST:LAST'"),
    ],
)
def test_what_does_not_fit_names_the_option(inputs, said, message):
    with pytest.raises(InputError, match=message):
        chosen_reads(inputs, said, data_of())


def test_other_sizes_are_refused():
    with pytest.raises(InputError, match=r"gives 2 numbers an action, the data have 3"):
        taken(policy_of("act"), data_of(actions=3))
    with pytest.raises(InputError, match=r"reads the last 2 observations.*--config.history.feature-frames 2"):
        taken(policy_of("diffusion"), data_of())
    with pytest.raises(InputError, match=r"given.chunk: found 3, but the policy decides on 2"):
        taken(policy_of("act"), data_of(), chunk=3)
    with pytest.raises(InputError, match=r"reads 2:5 of a state of 4"):
        refinable(
            policy_of("act", {STATE: 2, ENVIRONMENT: 3}),
            GivenConfig(reads=(READS[0], f"{ENVIRONMENT}=2:5")),
            Setting(data_of(), ObservationHistory(4, 2, HistoryConfig())),
        )


# ---------------------------------------------------------------------------------------------------------------------
# Functions.


class Reacher:
    """Acts as people's objects do: one observation at a time, a single action, NumPy."""

    def act(self, observation):
        assert set(observation) == {STATE} and observation[STATE].shape == (4,)
        return 90 * np.tanh(observation[STATE][:2])


class Batched(Reacher):
    def act_batch(self, observation):
        return np.stack([90 * np.tanh(observation[STATE][:, :2])] * 3, axis=1)


class Wrong:
    def act(self, observation):
        return np.full(2, np.nan)


HERE = __name__


@pytest.mark.parametrize(("name", "chunk"), [("Reacher", 1), ("Batched", 3)])
def test_a_function_of_ones_own(name, chunk, tmp_path):
    place, data = f"{HERE}:{name}", data_of(90.0)
    allow(place)
    policy = FunctionPolicy.asked(place, {STATE: data.observations[STATE][:1].unsqueeze(1)})
    assert (policy.chunk, policy.action_dim, policy.learns) == (chunk, 2, False)
    agent = taken(policy, data)
    save(tmp_path, agent)
    loaded, row = load(tmp_path, Agent), torch.tensor([[0.3, -0.2, 1.0, 2.0]])
    loaded.begin(1)
    torch.testing.assert_close(loaded.act({STATE: row}), 90 * row[:, :2].tanh(), atol=1e-3, rtol=1e-4)
    features = torch.randn(6, 4)
    trace = agent.policy.act(features, False, torch.Generator().manual_seed(0)).trace
    assert agent.policy.log_prob(features, trace).shape == (6, 1)
    with pytest.raises(InputError, match="no weights to learn"):
        taken(policy, data, refine="whole")


def test_what_a_file_names_is_not_called(tmp_path, monkeypatch):
    place = f"{HERE}:Reacher"
    allow(place)
    agent = taken(FunctionPolicy(place, 2, 1), data_of(90.0))
    save(tmp_path, agent)
    monkeypatch.setenv("BURNISH_ALLOWED_POLICIES", "")
    loaded = load(tmp_path, Agent)
    loaded.begin(1)
    with pytest.raises(InputError, match=r"where it is yours, allow it: --trust-code"):
        loaded.act({STATE: torch.zeros(1, 4)})


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (f"{HERE}:Wrong", "expected finite actions"),
        (f"{HERE}:Missing", "expected a function or class"),
        ("no_such_module:x", "expected a function or class"),
        ("builtins:dict", "expected an object with act"),
    ],
)
def test_what_is_no_policy(place, said):
    allow(place)
    with pytest.raises(InputError, match=said):
        FunctionPolicy.asked(place, {STATE: torch.zeros(1, 1, 4)})


# ---------------------------------------------------------------------------------------------------------------------
# Burnish's own, and where policies lie.


def test_a_policy_of_another_run_keeps_its_units():
    """Trained on data of other ranges, it does in the world the same as there."""
    there, here = data_of(90.0, seed=1), data_of(120.0)
    observer = ObservationHistory(4, 2, HistoryConfig(frames=4, feature_frames=1)).fit(there)
    agent = Agent(observer, GaussianPolicy(4, 2, GaussianPolicyConfig(hidden=(8,))), "t", there.info.scaling).eval()
    torch.nn.init.normal_(agent.policy.network.head.weight)
    own = ObservationHistory(4, 2, HistoryConfig(frames=4, feature_frames=1))
    assert fits(agent, own, there) and not fits(agent, own, here)
    other, row = taken(as_given(agent), here), torch.tensor([[0.3, -0.2, 1.0, 2.0]])
    for each in (agent, other):
        each.begin(1)
    torch.testing.assert_close(agent.act({STATE: row}), other.act({STATE: row}), atol=1e-3, rtol=1e-4)


def test_where_a_policy_lies(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        policy_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"found no config.json"):
        policy_folder(tmp_path)
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(InputError, match=r"accepted none yet; name .*/refined or"):
        policy_folder(tmp_path)
    for inside in ("checkpoints/last/pretrained_model", "accepted"):
        (tmp_path / inside).mkdir(parents=True)
        (tmp_path / inside / "config.json").write_text("{}")
        assert policy_folder(tmp_path) == tmp_path / inside
        assert policy_folder(tmp_path / inside) == tmp_path / inside


def test_kinds_of_sources(tmp_path):
    kinds = {"ws://localhost:8000": "served", "my.module:make": "function", str(tmp_path): "folder", "runs/x": "folder"}
    assert {place: Source(place).kind for place in kinds} == kinds
    assert [Source(place).code for place in kinds] == ["ws://localhost:8000", "my.module:make", None, None]


def test_settings_are_checked():
    with pytest.raises(InputError, match=r"given.std: found 0.9"):
        taken(policy_of("act"), data_of(), std=0.9)
