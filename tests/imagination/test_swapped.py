"""Values of an environment, gradients of a local model: bit for bit, analytic where both are one, cut at every end."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from burnish.components import Component
from burnish.data import STATE
from burnish.errors import InputError
from burnish.imagination import ImaginationConfig, ImaginedEnv, LocalModel, Models, StartConfig, StartStates, SwappedEnv
from burnish.policies import GaussianPolicy, GaussianPolicyConfig
from burnish.rewards import Outcome, RewardHead, RewardHeadConfig
from burnish.rl import DifferentiableExperience
from burnish.world_models import RSSM, LocalDynamics, LocalDynamicsConfig, RSSMConfig, State
from tests.imagination.counter_world import dataset

A = torch.tensor([[0.9, 0.2], [-0.1, 0.8]])
B = torch.tensor([[0.3, 0.0], [0.1, -0.4]])


@dataclass(frozen=True)
class Point(State):
    x: torch.Tensor


class Linear(Component, register=False):
    """x' = A x + B a; `wrong` is added to what it imagines, so that values tell who made them."""

    action_steps, feature_dim, observation_dim = 1, 2, 2

    def __init__(self, wrong: float = 0.0) -> None:
        super().__init__()
        self.wrong = wrong
        self.a, self.b = nn.Parameter(A.clone()), nn.Parameter(B.clone())

    def initial(self, batch_size):
        return Point(torch.zeros(batch_size, 2))

    def observe(self, state, action, observation):
        return Point(observation[STATE])

    def imagine(self, state, action, generator=None):
        return Point(state.x @ self.a.T + action @ self.b.T + self.wrong)

    def features(self, state):
        return state.x

    def decode(self, state):
        return {STATE: state.x}


class Square(Component, register=False):
    """-|x'|², as a reward of the world and as a local one; an end where x' has left the unit square."""

    members = 1

    def __init__(self, ends: float = 1e9) -> None:
        super().__init__()
        self.ends = ends

    def __call__(self, state, action, following):
        return Outcome(-following.x.square().sum(1), following.x.abs().amax(1) > self.ends)

    def forward(self, features, action, following):
        raise NotImplementedError


class LocalSquare(Square, register=False):
    """Ends with a chance of σ(Σ x')."""

    config = RewardHeadConfig()

    def __call__(self, features, action, following):
        return -following.square().sum(1), following.sum(1).sigmoid()


def local(wrong=0.0):
    return LocalModel(Linear(wrong), LocalSquare()).requires_grad_(False)


def make(rows=5, horizon=100, ends=1e9, wrong=0.0, seed=0):
    """The linear world as an environment, and with the gradients of a local model of it."""
    world = Linear().requires_grad_(False)
    data = dataset([0.0, 0.5], [0.2, 0.6])
    generator = torch.Generator().manual_seed(seed)
    starts = StartStates(data, Point(torch.randn(4, 2, generator=generator) / 2), torch.arange(4), StartConfig())
    config = ImaginationConfig(num_envs=rows, horizon=horizon)
    env = ImaginedEnv(Models(world, Square(ends)), starts, 2, config, seed)
    return env, SwappedEnv(ImaginedEnv(Models(world, Square(ends)), starts, 2, config, seed), local(wrong))


def actions(steps, rows=5, seed=3):
    return torch.randn(steps, rows, 2, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def test_every_value_is_the_environment_s_own():
    """Bit for bit, through ends by themselves and by the time limit, though the local model imagines nonsense."""
    plain, swapped = make(horizon=3, ends=0.9, wrong=7.0)[0], make(horizon=3, ends=0.9, wrong=7.0)[1]
    assert torch.equal(plain.reset(seed=1)[0], swapped.reset(seed=1)[0])
    ended = 0
    for action in actions(12):
        expected, found = plain.step(action), swapped.step(action.clone().requires_grad_(True))
        for one, other in zip(expected[:4], found[:4], strict=True):
            assert torch.equal(one, other)
        assert torch.equal(expected[4]["final_obs"], found[4]["final_obs"])
        ended += int(expected[2].sum())
    assert ended and plain.imagined_steps == swapped.imagined_steps == 60


def test_where_local_and_global_are_one_the_gradient_is_the_analytic_one():
    """Of Σ r over 6 steps with respect to all actions: by plain algebra, by the world itself, and swapped."""
    steps, rows = 6, 5
    given = actions(steps, rows)
    plain, swapped = make()
    found = []
    for env in (plain, swapped):
        env.reset(seed=1)
        leaf = given.clone().requires_grad_(True)
        total = sum(env.step(action)[1].sum() for action in leaf)
        found.append(torch.autograd.grad(total, leaf)[0])
    x, first = plain.reset(seed=1)[0], make()[0]
    first.reset(seed=1)
    expected = torch.zeros(steps, rows, 2)
    along = [x]
    for action in given:
        along.append(along[-1] @ A.T + action @ B.T)
    for t in range(steps):
        jacobian = B.T
        for k in range(t + 1, steps + 1):
            expected[t] += -2 * along[k] @ jacobian.T
            jacobian = jacobian @ A.T
    for gradient in found:
        torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-5)


def test_jacobians_are_the_local_model_s_and_the_global_gets_none():
    env = make()[1]
    env.env.models.world_model.requires_grad_(True)
    env.local.requires_grad_(True)
    env.reset(seed=1)
    action = actions(1)[0].requires_grad_(True)
    env.step(action)[0].sum().backward()
    torch.testing.assert_close(action.grad, B.sum(0).expand(5, 2))
    assert env.env.models.world_model.a.grad is None and env.local.dynamics.b.grad is not None


def test_an_end_has_the_local_chance_s_gradient():
    """1 - σ(Σ x') backward, 0 or 1 forward; none where the local model learns no ends."""
    env = make(ends=0.5)[1]
    env.reset(seed=1)
    action = actions(1)[0].requires_grad_(True)
    _, _, terminated, _, info = env.step(action)
    assert torch.equal(info["goes_on"], (~terminated).float()) and terminated.any() and not terminated.all()
    chance = info["final_obs"].detach().sum(1).sigmoid()
    found = torch.autograd.grad(info["goes_on"].sum(), action)[0]
    torch.testing.assert_close(found, -(chance * (1 - chance))[:, None] * B.sum(0))
    env.local.reward.config = RewardHeadConfig(termination_weight=0.0)
    assert not env.step(action)[4]["goes_on"].requires_grad


def test_nothing_leaks_over_an_end():
    """With episodes of three steps the fourth one's reward does not know the actions before, nor does its feature."""
    env = make(horizon=3)[1]
    env.reset(seed=1)
    given = actions(4).requires_grad_(True)
    steps = [env.step(action) for action in given]
    for value in (steps[3][1].sum(), steps[3][0].sum()):
        gradient = torch.autograd.grad(value, given, retain_graph=True)[0]
        assert not gradient[:3].any() and gradient[3].any()
    assert (
        not steps[2][0].requires_grad or not torch.autograd.grad(steps[2][0].sum(), given, retain_graph=True)[0].any()
    )
    last = torch.autograd.grad(steps[2][4]["final_obs"].sum(), given)[0]
    assert last[:3].abs().sum(-1).gt(0).all(), "the last step of an episode still has its gradient"


def test_nothing_leaks_from_one_environment_to_another():
    """Some rows end by themselves, others go on; each row's later reward depends on its own actions alone."""
    env = make(ends=0.5)[1]
    env.reset(seed=1)
    given = actions(3).requires_grad_(True)
    steps = [env.step(action) for action in given]
    ended = steps[0][2]
    assert ended.any() and not ended.all()
    gradient = torch.autograd.grad(steps[1][1].sum(), given)[0]
    assert not gradient[0, ended].any() and gradient[0, ~ended].abs().sum(1).gt(0).all()


def test_memory_begins_anew_where_an_episode_ends():
    torch.manual_seed(0)
    dynamics = LocalDynamics(2, 2, LocalDynamicsConfig(hidden=(8,), memory=4))
    nn.init.normal_(dynamics.head.weight)
    env = make(ends=0.5)[1]
    env.local = LocalModel(dynamics, LocalSquare()).requires_grad_(False)
    env.reset(seed=1)
    assert not env._state.memory.any()
    ended = env.step(actions(1)[0])[2]
    assert ended.any() and not env._state.memory[ended].any() and env._state.memory[~ended].any()


def test_without_gradients_asked_for_there_is_no_graph():
    env = make()[1]
    env.reset(seed=1)
    features, reward, *_ = env.step(actions(1)[0])
    assert not features.requires_grad and not reward.requires_grad
    with torch.no_grad():
        assert not env.step(actions(1)[0].requires_grad_(True))[0].requires_grad


@pytest.mark.parametrize("family", ["mlp", "rssm"])
def test_any_differentiable_model_of_features_can_be_the_local_one(family):
    """A latent one's state follows the world: it is what the model makes of the true features, with its own gradient;
    and a copy that takes up the state goes on to the same bits."""
    torch.manual_seed(0)
    if family == "mlp":
        dynamics = LocalDynamics(2, 2, LocalDynamicsConfig(hidden=(16,), memory=4))
        nn.init.normal_(dynamics.head.weight)
    else:
        dynamics = RSSM(2, 2, RSSMConfig(deterministic=8, groups=4, classes=4, hidden=16))
    reward = RewardHead(6, RewardHeadConfig(members=1, hidden=(8,)))
    plain, env = make(horizon=3)
    env.local = LocalModel(dynamics, reward).requires_grad_(False)
    plain.reset(seed=1), env.reset(seed=1)
    given = actions(4).requires_grad_(True)
    state = env.local.begin(env._features)
    for t, action in enumerate(given[:2]):
        found = env.step(action)
        assert torch.equal(found[0], plain.step(action.detach())[0])
        state = dynamics.observe(state, action.detach(), {STATE: found[0].detach()})
        for name, tensor in env._state.tensors().items():
            torch.testing.assert_close(tensor.detach(), state.tensors()[name], msg=f"{name} at {t}")
    gradient = torch.autograd.grad(found[0].sum() + found[1].sum(), given)[0]
    assert gradient[:2].abs().sum((1, 2)).gt(0).all() and not gradient[2:].any()
    env.detach()
    saved = env.state_dict()
    after = [env.step(action)[1].detach() for action in given[2:]]
    other = make(horizon=3)[1]
    other.local = env.local
    other.reset(seed=9)
    other.load_state_dict(saved)
    for action, expected in zip(given[2:], after, strict=True):
        assert torch.equal(other.step(action)[1].detach(), expected)


def test_a_differentiable_rollout_knows_its_policy_and_where_gradients_grow():
    torch.manual_seed(0)
    policy = GaussianPolicy(2, 2, GaussianPolicyConfig(hidden=(8,), max_std=0.2))
    experience = DifferentiableExperience(make()[1], 0)
    rollout = experience.rollout(policy, 4, torch.Generator().manual_seed(0))
    nothing = torch.autograd.grad(
        rollout.features[0].sum(), list(policy.parameters()), allow_unused=True, retain_graph=True
    )
    assert all(gradient is None or not gradient.any() for gradient in nothing), "the graph is cut before the first one"
    rollout.reward[-1].sum().backward()
    assert rollout.gradients.squares.gt(0).all() and not rollout.gradients.lost.any()
    again = experience.rollout(policy, 1, torch.Generator().manual_seed(0))
    assert torch.equal(again.features[0], rollout.next_features[-1].detach())


def test_a_gradient_that_is_no_number_is_counted_and_left_out():
    torch.manual_seed(0)
    policy = GaussianPolicy(2, 2, GaussianPolicyConfig(hidden=(8,), max_std=0.2))
    env = make()[1]
    rollout = DifferentiableExperience(env, 0).rollout(policy, 3, torch.Generator().manual_seed(0))
    wrong = torch.ones(5)
    wrong[2] = torch.inf
    (rollout.reward[-1] * wrong).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in policy.parameters())
    assert rollout.gradients.lost.tolist() == [2.0, 2.0, 2.0]
    assert "6 numbers are not finite, first (backward) at decision 3" in rollout.gradients.where()


def test_features_of_another_size_are_refused():
    env = make()[0]
    with pytest.raises(InputError, match="made for 3 features, the environment gives 2"):
        SwappedEnv(env, LocalModel(LocalDynamics(3, 2, LocalDynamicsConfig(hidden=(8,))), LocalSquare()))
