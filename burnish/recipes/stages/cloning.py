"""Behaviour cloning: of the expert, and of every success in the data, which is the cheap alternative to refinement.

Both are candidates for the policy that refinement starts from; which one it is, imagination decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from burnish.components import build
from burnish.data import Dataset, action_chunks, best_episodes, require_outcomes
from burnish.errors import RunError
from burnish.evaluation.back_test import LEAST
from burnish.evaluation.gate import Recorded, RecordedReturn
from burnish.imagination import PessimismConfig
from burnish.pipeline import Reading, Stage, StageContext, stage
from burnish.policies import Agent, Policy
from burnish.recipes.base import Models, RecipeConfig, RunSpec, StartFrom
from burnish.recipes.stages.gate import plays, recorded_outcome, same_weights
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.refining import inside, simulator_steps
from burnish.recipes.stages.training import recorded_features, train
from burnish.report.section import save_sections
from burnish.report.sections_worth import start_section
from burnish.training import TrainingConfig, Validate
from burnish.world_models import HistoryConfig, ObservationHistory

BLIND = 0.5
"""Share of the recorded success below which imagination is said to be blind. On the design seed refinement brought 15
points where it saw 60 % (hammer), 3 where it saw 40 % (coffee-pull), and −5 where it saw 20 % (soccer)."""


SMALL = TrainingConfig(steps=2000, batch_size=256, ema_decay=None, weight_decay=1e-3)
"""Training of a small network on states."""


@dataclass(frozen=True)
class Starts:
    """The candidates for where refinement starts from, and the chosen one; stages in a graph."""

    pretrained: Stage
    filtered: Stage
    chosen: Stage


def starting(
    c: RecipeConfig, run: RunSpec, pretrained: Stage, data: Reading | Stage, models: Models, how: "Cloning"
) -> Starts:
    """Clone all successes of the data beside the `pretrained` policy, and choose one of the two to refine.

    A policy that was brought along is the one that its owner wants refined, unless the configuration says otherwise.
    """
    seed, rule = run.seed, c.start_from
    if run.policy is not None and rule == "auto":
        rule = "bc"
    cloned = run.policy is None
    filtered = stage(clone_successes, "filtered", policy=pretrained, data=data, how=how, seed=seed, cloned=cloned)
    chosen = stage(
        choose_start,
        "start",
        candidates={"pretrained": pretrained, "filtered": filtered},
        models=models,
        data=data,
        rule=rule,
        pessimism=c.imagination.pessimism,
        episodes=c.refine.imagined_episodes,
        seed=seed,
    )
    return Starts(pretrained, filtered, chosen)


@dataclass(frozen=True)
class Cloning:
    """How a policy is cloned.

    Attributes:
        policy: its family's configuration.
        noise: standard deviation of Gaussian noise on the features; 0 for pictures, where the policy's own `augment`
            takes its place.
        samples: versions of the features beside the most likely one, where the observer can draw them.
        best_share: of the episodes, where neither an expert nor success says which to clone.
    """

    policy: Any
    training: TrainingConfig
    noise: float
    samples: int = 0
    best_share: float = 0.25


def cloned_episodes(dataset: Dataset, best_share: float = 0.25) -> Dataset:
    """What the policy is cloned from: the expert's episodes where there are any, else the successful ones, else the
    `best_share` of the highest return."""
    dataset = dataset.judged
    require_outcomes(dataset)
    if "expert" in dataset.sources:
        return dataset.with_sources(["expert"])
    return best_episodes(dataset, best_share)


def clone(
    context: StageContext,
    how: Cloning,
    policy: Policy,
    features: Sequence[Tensor],
    episodes: Dataset,
    seed: int,
    validate: Validate | None = None,
) -> None:
    """Train `policy` on the chunks of actions that `episodes` show at each frame.

    `features` are one or several versions (F, feature_dim) of what the observer makes of the frames.
    """
    frames, chunks = action_chunks(episodes, policy.config.chunk)
    pairs = _Pairs(torch.cat([version[frames] for version in features]), chunks.repeat(len(features), 1, 1), how.noise)
    train(context, policy, pairs, how.training, seed, validate)


def clone_newest(context: StageContext, data: Dataset, world: Any, how: Cloning, seed: int, task: str) -> Agent:
    """The best episodes, cloned by a policy that reads the newest observation alone, normalised as for the world."""
    observer = ObservationHistory(data.observation_dim, data.action_dim, HistoryConfig(frames=1)).to(context.device)
    observer.normaliser.load_state_dict(world.normaliser.state_dict())
    torch.manual_seed(seed)
    policy = build(how.policy, observer.feature_dim, data.action_dim).to(context.device)
    chosen = cloned_episodes(data, how.best_share)
    clone(context, how, policy, [recorded_features(observer, chosen)], chosen, seed)
    return Agent(observer, policy, task, data.info.scaling)


class _Pairs:
    """Uniform batches of (features, action chunk), with noise on the features."""

    def __init__(self, inputs: Tensor, chunks: Tensor, noise: float) -> None:
        self.inputs, self.chunks, self.noise = inputs, chunks, noise

    def sample(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        index = torch.randint(len(self.inputs), (batch_size,), generator=generator, device=self.inputs.device)
        inputs = self.inputs[index]
        if self.noise == 0:
            return inputs, self.chunks[index]
        disturbance = torch.randn(inputs.shape, generator=generator, device=inputs.device)
        return inputs + self.noise * disturbance, self.chunks[index]


def clone_successes(
    context: StageContext, policy: Agent, data: Dataset, how: Cloning, seed: int, cloned: bool = True
) -> Agent:
    """Filtered behaviour cloning: a policy of the recipe's family, cloned in the recipe's way from every successful
    episode, whoever acted, or from the best where nothing succeeds.

    It is the pretrained policy where that was `cloned` from the same episodes, rather than brought along.
    """
    torch.manual_seed(seed)
    agent = inside(policy)
    chosen = best_episodes(data.judged, how.best_share)
    fresh = build(how.policy, agent.policy.feature_dim, agent.policy.action_dim).to(data.device)
    same = cloned and torch.equal(chosen.actions, cloned_episodes(data, how.best_share).actions)
    context.record("episodes", chosen.num_episodes)
    context.record("same_as_pretrained", same)
    if same:
        return policy
    clone(context, how, fresh, feature_versions(agent.observer, chosen, how.samples, seed), chosen, seed)
    fresh.begin_refinement()
    return policy.with_policy(fresh)


def feature_versions(observer: Any, episodes: Dataset, samples: int, seed: int) -> list[Tensor]:
    """The most likely features of every frame, and `samples` drawn ones, each (F, feature_dim)."""
    generator = torch.Generator(device=episodes.device).manual_seed(seed)
    versions = [recorded_features(observer, episodes)]
    return versions + [observer.features(observer.recorded(episodes, generator)) for _ in range(samples)]


def choose_start(
    context: StageContext,
    candidates: Mapping[str, Agent],
    models: Models,
    data: Dataset,
    rule: StartFrom,
    pessimism: PessimismConfig,
    episodes: int,
    seed: int,
) -> Agent:
    """The candidate ("pretrained" or "filtered") that refinement starts from, by `rule`; for "auto" both play in
    imagination from the same starts.

    Cloning more successes is rarely worse, so the pretrained policy is only taken where imagination has it better by
    more than the standard error of the paired difference.
    """
    before = simulator_steps()
    worlds = [imagined(models, pessimism, data)]
    played = {name: plays(inside(agent), worlds, data, episodes, seed)[0] for name, agent in candidates.items()}
    unknown = [play.unknown for play in played.values() if play.unknown is not None]
    known = ~torch.stack(unknown).any(0) if unknown else slice(None)
    found = {name: play.outcome[known].double() for name, play in played.items()}
    lead = found["pretrained"] - found["filtered"]
    error = float(lead.std()) / len(lead) ** 0.5 if len(lead) > 1 else 0.0
    same = same_weights(candidates["pretrained"], candidates["filtered"])
    better = "pretrained" if same or float(lead.mean()) > error else "filtered"
    name = {"auto": better, "bc": "pretrained", "filtered_bc": "filtered"}[rule]
    if simulator_steps() != before:
        raise RunError("the choice of the start touched the simulator; this is a bug: no part of it may")
    scores = {policy: float(outcome.mean()) for policy, outcome in found.items()}
    context.record("start", name)
    context.record("imagined_start", scores)
    if played["pretrained"].success is not None:
        recorded = recorded_outcome(inside(candidates["pretrained"]), data, "success")
        doubt = blindness(scores["pretrained"], recorded)
        context.record("doubts", {} if doubt is None else {"world model": doubt})
    save_sections(context.folder, [start_section(name, rule, scores)])
    return candidates[name]


def blindness(imagined: float, recorded: Recorded | RecordedReturn | None) -> str | None:
    """That imagination misses most of the success that the pretrained policy has in the data, in words; None where it
    does not, or too few episodes tell. What it cannot see, refinement cannot learn from."""
    if not isinstance(recorded, Recorded) or recorded.episodes < LEAST:
        return None
    real = recorded.successes / recorded.episodes
    if imagined >= BLIND * real:
        return None
    return f"in it the pretrained policy succeeds in {imagined:.0%} of the episodes, on record in {real:.0%}"
