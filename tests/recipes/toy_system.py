"""A system that nobody has published, in one file: a linear world in closed form, a cloned policy, PPO inside it.

    burnish run toy_system:RECIPE --dataset DATA --task toy_env:make

Nothing in the package knows of it.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from burnish.components import Component, build
from burnish.data import STATE, Dataset, Normaliser
from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.imagination import ImaginationConfig
from burnish.pipeline import Reading, StageContext, stage
from burnish.policies import Agent, GaussianPolicyConfig
from burnish.recipes.base import Models, Plan, Recipe, RecipeConfig, RunSpec
from burnish.recipes.stages.cloning import Cloning, clone, cloned_episodes
from burnish.recipes.stages.data import Recorded, Split, own_data
from burnish.recipes.stages.finish import Parts, finish
from burnish.recipes.stages.refining import refine_policy
from burnish.recipes.stages.training import recorded_features, train_classifier
from burnish.rewards import ClassifierConfig
from burnish.rl import PPOConfig, RefineConfig
from burnish.training import TrainingConfig
from burnish.world_models import State

# The part that is new: a world model. ------------------------------------------------------------------------------


@dataclass(frozen=True)
class PointState(State):
    x: Tensor
    """(B, D), normalised."""


class LinearWorld(Component):
    """x' = x + (x, a, 1) W by least squares, with noise of the residuals' size."""

    action_steps = 1

    def __init__(self, observation_dim: int, action_dim: int) -> None:
        super().__init__()
        self.observation_dim = self.feature_dim = observation_dim
        self.normaliser = Normaliser(observation_dim)
        self.register_buffer("weight", torch.zeros(observation_dim + action_dim + 1, observation_dim))
        self.register_buffer("noise", torch.zeros(observation_dim))

    def fit(self, data: Dataset) -> "LinearWorld":
        self.normaliser.fit(data.observations[STATE])
        inside = torch.ones(data.num_frames, dtype=torch.bool)
        inside[data.starts + data.lengths - 1] = False
        frames = torch.nonzero(inside).flatten()
        x = self.normaliser.normalise(data.observations[STATE])
        rows, change = self._rows(x[frames], data.actions[frames]), x[frames + 1] - x[frames]
        square = rows.double().T @ rows.double() + 1e-6 * torch.eye(rows.shape[1])
        self.weight.copy_(torch.linalg.solve(square, rows.double().T @ change.double()))
        self.noise.copy_((change - rows @ self.weight).std(0))
        return self

    def initial(self, batch_size: int) -> PointState:
        return PointState(torch.zeros(batch_size, self.observation_dim))

    def observe(self, state: PointState, action: Tensor | None, observation: dict[str, Tensor]) -> PointState:
        return PointState(self.normaliser.normalise(observation[STATE]))

    def recorded(self, dataset: Dataset) -> PointState:
        return PointState(self.normaliser.normalise(dataset.observations[STATE]))

    def imagine(self, state: PointState, action: Tensor, generator: torch.Generator | None = None) -> PointState:
        drawn = torch.randn(state.x.shape, generator=generator) * self.noise
        return PointState(state.x + self._rows(state.x, action) @ self.weight + drawn)

    def features(self, state: PointState) -> Tensor:
        return state.x

    def decode(self, state: PointState) -> dict[str, Tensor]:
        return {STATE: self.normaliser.denormalise(state.x)}

    def _rows(self, x: Tensor, action: Tensor) -> Tensor:
        return torch.cat([x, action, torch.ones_like(x[:, :1])], dim=1)


def fit_world(context: StageContext, data: Split) -> LinearWorld:
    return LinearWorld(data[0].observation_dim, data[0].action_dim).fit(data[0])


# The method. ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Toy(RecipeConfig):
    policy: GaussianPolicyConfig = GaussianPolicyConfig(hidden=(32,))
    pretraining: TrainingConfig = TrainingConfig(steps=300, batch_size=64, learning_rate=3e-3, ema_decay=None)
    classifier: ClassifierConfig = ClassifierConfig(hidden=(32,))
    classifier_training: TrainingConfig = TrainingConfig(steps=400, batch_size=64, learning_rate=3e-3, ema_decay=None)
    ppo: PPOConfig = PPOConfig(rollout_steps=8, critic_warmup=1, minibatch_size=128)


def clone_policy(context: StageContext, data: Dataset, world: LinearWorld, how: Cloning, run: RunSpec) -> Agent:
    torch.manual_seed(run.seed)
    policy, chosen = build(how.policy, world.feature_dim, data.action_dim), cloned_episodes(data)
    clone(context, how, policy, [recorded_features(world, chosen)], chosen, run.seed)
    return Agent(world, policy, run.task)


def models(c: Toy, data: Reading, seed: int) -> Models:
    world = stage(fit_world, "world_model", data=data)
    settings = {"model": c.classifier, "training": c.classifier_training, "seed": seed}
    return Models(world, stage(train_classifier, "classifier", data=data, world=world, **settings))


def recipe(c: Toy, run: RunSpec) -> Plan:
    assert run.own is not None
    data = own_data(run.own, run.task, ())
    seen = Recorded(data)
    imagined = models(c, seen.split(c.held_out), run.seed)
    how = Cloning(c.policy, c.pretraining, noise=0.05)
    who = replace(run, own=None)
    policy = stage(clone_policy, "policy", data=seen.whole, world=imagined.world, how=how, run=who)
    settings = {"imagination": c.imagination, "learner": c.ppo, "refinement": c.refine, "seed": run.seed}
    refined = stage(refine_policy, "refined", policy=policy, data=seen.whole, models=imagined, **settings)
    return finish(run, c, models, Parts(data, seen, policy, imagined, refined))


PRESETS = {
    "default": Toy(
        imagination=ImaginationConfig(num_envs=64, horizon=20),
        refine=RefineConfig(iterations=8, imagined_episodes=32, evaluate_every=4, checkpoint_seconds=0.1, margin=-1.0),
        gate=GateConfig(worlds=2, episodes=8),
        evaluation=EvaluationConfig(episodes=10, curve_points=1, curve_episodes=4, videos=0),
    )
}

RECIPE = Recipe(
    name="toy",
    system="A toy",
    paper="none",
    needs="points on a plane",
    status="for tests",
    build=recipe,
    presets=PRESETS,
)
