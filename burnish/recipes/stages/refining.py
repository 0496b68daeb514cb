"""Refinement in imagination: the learner, the start states of the data, and the choice of the iterate."""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from burnish import lanes
from burnish.data import STATE, Dataset
from burnish.errors import InputError, RunError
from burnish.imagination import (
    GuidedConfig,
    ImaginationConfig,
    ImaginedEnv,
    StartConfig,
    StartStates,
    imagined_evaluation,
)
from burnish.pipeline import StageContext
from burnish.policies import Agent, Policy, check_same_features
from burnish.recipes.base import Models
from burnish.recipes.stages.imagining import imagined
from burnish.report.compose import read_rows
from burnish.report.section import Section, save_sections
from burnish.report.sections_policies import refinement_section
from burnish.report.sections_rewards import judge_use
from burnish.rewards import Judge, JudgedReward, VideoJudge
from burnish.rl import (
    A2C,
    GRPO,
    PPO,
    SAC,
    A2CConfig,
    Dreamer,
    DreamerConfig,
    EnvExperience,
    Experience,
    GeneratedExperience,
    GRPOConfig,
    Judgement,
    Learner,
    PPOConfig,
    RefineConfig,
    SACConfig,
    ShortHorizon,
    ShortHorizonConfig,
    refine,
)
from burnish.training import current
from burnish.world_models import Encoded, TrajectoryDenoiser, WorldModel

_LEARNERS: dict[type, Any] = {
    PPOConfig: PPO,
    DreamerConfig: Dreamer,
    A2CConfig: A2C,
    SACConfig: SAC,
    ShortHorizonConfig: ShortHorizon,
    GRPOConfig: GRPO,
}
Makes = Callable[[Policy, ImaginedEnv], Learner]
"""The learner of a policy, before the first episode of the environment begins."""


def refine_policy(
    context: StageContext,
    policy: Agent,
    data: Dataset,
    models: Models,
    imagination: ImaginationConfig,
    learner: PPOConfig | DreamerConfig | A2CConfig | SACConfig | ShortHorizonConfig | GRPOConfig,
    refinement: RefineConfig,
    seed: int,
) -> Agent:
    """Start states from the data, actions from the policy, consequences from the world model, reward from `models`."""
    if imagination.starts.priority and not isinstance(learner, PPOConfig):
        found = f"{imagination.starts.priority} with {type(learner).__name__}"
        raise InputError(f"imagination.starts.priority: found {found}, expected 0: only PPO tells its TD errors")

    may_be_mute = isinstance(models.reward, Judge) and not isinstance(models.reward, VideoJudge)
    if may_be_mute and not isinstance(learner, GRPOConfig):
        found = f"{type(models.reward).__name__} with {type(learner).__name__}"
        raise InputError(f"a judge that may not answer: found {found}, expected GRPO, which leaves such episodes out")

    def make(policy: Policy, env: ImaginedEnv) -> Learner:
        return _LEARNERS[type(learner)](policy, env.feature_dim, learner, current())

    return refine_with(context, policy, data, models, imagination, make, refinement, seed)


def refine_with(
    context: StageContext,
    policy: Agent,
    data: Dataset,
    models: Models,
    imagination: ImaginationConfig,
    make: Makes,
    refinement: RefineConfig,
    seed: int,
) -> Agent:
    """As `refine_policy`, with a learner that `make` makes; iterates are compared in `models` as they are at first.

    Without any interaction: the simulator's steps are counted, and one is an error.
    """
    before = simulator_steps()
    agent, imagines = inside(policy), imagined(models, imagination.pessimism, data)
    check_same_features(agent, imagines.world_model, {k: v[data.starts[:8]] for k, v in data.observations.items()})
    chunk = agent.policy.config.chunk
    shared = current().share(imagination.num_envs, "imagination.num_envs")
    rules = replace(imagination, chunk=chunk, num_envs=shared)
    unhurried = replace(rules, num_envs=refinement.imagined_episodes, horizon=10**9)
    starts = start_states(imagination.starts, data, imagines.world_model)
    env = ImaginedEnv(imagines, starts, data.action_dim, rules, seed)
    scored_in = ImaginedEnv(imagines, starts, data.action_dim, unhurried, seed + 1)
    scored_from = starts.episode_starts(refinement.imagined_episodes)
    limit = -(-time_limit(data) // chunk)
    # The same on every process: the critic begins with the same weights.
    torch.manual_seed(seed)
    learns = make(agent.policy, env)
    experience = experience_of(learns, agent, env, starts, current().seed(seed))
    with lanes.opened(STATE in data.observations), context.progress(refinement.iterations, "iterations") as bar:
        result = refine(
            learns,
            experience,
            lambda candidate: Judgement.of(imagined_evaluation(scored_in, candidate, scored_from, limit, seed)),
            refinement,
            context.folder,
            seed,
            on_iteration=bar.at,
        )
    if simulator_steps() != before:
        raise RunError("refinement touched the simulator; this is a bug: no part of it may")
    action = data.actions.new_zeros(refinement.imagined_episodes, data.action_dim * imagines.world_model.action_steps)
    measure = "success" if imagines.tell_success(scored_from, action) else "return"
    imagined_scores = {measure: {"pretrained": result["score_pretrained"], "refined": result["score_refined"]}}
    noted = {"role": "refinement", "simulator_steps": 0, "imagined": imagined_scores, **result}
    for name, value in noted.items():
        context.record(name, value)
    rows = read_rows(context.folder)
    section = refinement_section(rows, int(result["iteration"]), imagined_scores, result["stopped"])
    sections, reward = [section], imagines.reward
    if isinstance(reward, JudgedReward):
        use = reward.judge.use.numbers()
        context.record("judge", use)
        sections.append(Section("judge", "Judge of whole episodes", 50, (f"In refinement: {judge_use(use)}",)))
    save_sections(context.folder, sections)
    return policy


def experience_of(learns: Learner, agent: Agent, env: ImaginedEnv, starts: StartStates, seed: int) -> Experience:
    """What a learner learns from: what it makes of the environment itself (with gradients, say), the environment as it
    is, or whole trajectories where imagination is guided."""
    if (own := getattr(learns, "experience", None)) is not None:
        return own(env, seed)
    rules, world = env.config, env.models.world_model
    if not isinstance(rules, GuidedConfig):
        return EnvExperience(env, seed)
    if not isinstance(world, TrajectoryDenoiser):
        raise InputError(f"guided imagination denoises whole trajectories: found a {type(world).__name__}")
    return GeneratedExperience(world, starts, agent.policy, rules.num_envs, rules.guidance, seed)


def imagined_env(agent: Agent, data: Dataset, models: Models, imagination: ImaginationConfig, seed: int) -> ImaginedEnv:
    """The environment of a refinement, for decisions of this agent's policy."""
    imagines = imagined(models, imagination.pessimism, data)
    rules = replace(imagination, chunk=agent.policy.config.chunk)
    return ImaginedEnv(
        imagines, start_states(imagination.starts, data, imagines.world_model), data.action_dim, rules, seed
    )


def simulator_steps() -> int:
    """Control steps of real simulators since this process began; 0 where none was ever imported."""
    counter = sys.modules.get("burnish.simulators.counter")
    return counter.simulator_use().control_steps if counter is not None else 0


def inside(agent: Agent) -> Agent:
    """The agent as imagination knows it: without its encoder, since what models of vectors imagine are its
    observations, and with actions in [-1, 1]."""
    if not isinstance(agent.observer, Encoded) and agent.scaling is None:
        return agent
    observer = agent.observer.inner if isinstance(agent.observer, Encoded) else agent.observer
    return Agent(observer, agent.policy, agent.task).eval()


def time_limit(dataset: Dataset) -> int:
    """Actions after which an episode has failed."""
    return dataset.info.max_steps or int(dataset.judged.lengths.max())


def start_states(config: StartConfig, dataset: Dataset, world: WorldModel) -> StartStates:
    """The state at every recorded frame of an episode whose outcome is known: play begins and ends anywhere."""
    dataset = dataset.judged
    frames = torch.arange(dataset.num_frames, device=dataset.device)
    return StartStates(dataset, world.recorded(dataset), frames, config)
