"""DAWM's stages: a trajectory model, inverse dynamics, synthetic transitions, and an offline learner on both kinds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.components import frozen
from burnish.config import within
from burnish.data import STATE, Dataset
from burnish.errors import RunError
from burnish.pipeline import StageContext
from burnish.policies import Agent
from burnish.recipes.stages.data import Split
from burnish.recipes.stages.offline import LEARNERS, LearnerName, Offline, advantage_unit
from burnish.recipes.stages.refining import inside, simulator_steps
from burnish.recipes.stages.training import train, validation
from burnish.report.section import Section, Table, save_sections
from burnish.rl import MixedTransitions, TransitionBatch, Transitions
from burnish.storage import load_tensors, save_tensors
from burnish.training import TrainingConfig
from burnish.world_models import (
    InverseDynamics,
    InverseDynamicsConfig,
    RecordedActions,
    ReturnDiffusion,
    ReturnDiffusionConfig,
    ReturnWindows,
    Trajectory,
    window_return,
)

TRANSITIONS_FILE = "transitions.safetensors"
KEY, TITLE, ORDER = "synthetic", "Synthetic transitions", 42
_WORDS = {"td3_bc": "TD3+BC", "iql": "IQL"}


@dataclass(frozen=True)
class SynthesisConfig:
    """How many transitions are made, and what returns they are asked for."""

    trajectories: int = within(5000, 1)
    """Each begins at a recorded state and action, drawn uniformly."""
    optimism: float = within(0.5)
    """How much more is asked for than what the recorded window earned, in standard deviations of all windows'."""
    batch_size: int = within(1024, 1)


def train_trajectories(
    context: StageContext, data: Split, model: ReturnDiffusionConfig, training: TrainingConfig, seed: int
) -> ReturnDiffusion:
    """Diffusion of states, rewards and ends, given state, action and return."""
    episodes, held_out = data
    torch.manual_seed(seed)
    windows = ReturnWindows(episodes, model.horizon)
    world = ReturnDiffusion(episodes.observation_dim, episodes.action_dim, model).fit(episodes).to(context.device)
    return train(context, world, windows, training, seed, validation(world, episodes, held_out, training, seed))


def train_inverse_dynamics(
    context: StageContext, data: Split, model: InverseDynamicsConfig, training: TrainingConfig, seed: int
) -> InverseDynamics:
    """The action between two observations; how much of held-out actions it explains is recorded."""
    episodes, held_out = data
    torch.manual_seed(seed + 3)
    inverse = InverseDynamics(episodes.observation_dim, episodes.action_dim, model).fit(episodes).to(context.device)
    train(context, inverse, RecordedActions(episodes), training, seed)
    found = inverse.explained(held_out)
    context.record("held_out", found)
    each = ", ".join("–" if value is None else f"{value:.2f}" for value in found["r2_each"])
    whole = "nothing: they never vary" if found["r2"] is None else f"R² = {found['r2']:.3f} of them"
    words = (
        f"Inverse dynamics fill in the actions of synthetic transitions. On {found['transitions']} held-out ones "
        f"they explain {whole} (by dimension: {each}), with a root mean square error of {found['rmse']:.3f}."
    )
    save_sections(context.folder, [Section(KEY, TITLE, ORDER, (words,))])
    return inverse


@torch.no_grad()
def synthesise(
    context: StageContext,
    data: Dataset,
    world: ReturnDiffusion,
    inverse: InverseDynamics,
    how: SynthesisConfig,
    seed: int,
) -> None:
    """Trajectories from recorded states and actions, with the actions that explain them, as transitions in a file."""
    world, inverse = frozen(world), frozen(inverse)
    starts = ReturnWindows(data, world.config.horizon)
    generator = torch.Generator(device=data.device).manual_seed(seed)
    parts, notes = [], []
    with context.progress(how.trajectories, "trajectories") as bar:
        while (done := sum(len(each[0]) for each in notes)) < how.trajectories:
            count = min(how.batch_size, how.trajectories - done)
            asked, action, made = generated(world, starts, count, how.optimism, generator)
            parts.append(as_transitions(made, action, inverse))
            explained = inverse(made.observation[:, 0], made.observation[:, 1])
            notes.append((asked, world.returns(made), (explained - action).square().mean(1)))
            bar.set(done + len(asked))
    found = TransitionBatch(*(torch.cat([vars(part)[name] for part in parts]) for name in vars(parts[0])))
    save_tensors(context.folder / TRANSITIONS_FILE, vars(found))
    asked, met, wrong = (torch.cat(each) for each in zip(*notes, strict=True))
    # Without a simulator: whether first steps call for the actions that they were made for, and later ones for as much.
    summary = {
        "transitions": len(found.reward),
        "terminal": int(found.terminal.sum()),
        "return_asked": float(asked.mean()),
        "return_met": float(met.mean()),
        "first_action_rmse": float(wrong.mean().sqrt()),
        "action_std": float(found.action.std(0).mean()),
        "recorded_action_std": float(data.actions.std(0).mean()),
    }
    context.record("synthetic", summary)
    rows = tuple((name.replace("_", " "), f"{value:.5g}") for name, value in summary.items())
    table = Table(("of synthetic trajectories", "value"), rows, "Synthetic transitions")
    save_sections(context.folder, [Section(KEY, TITLE, ORDER, tables=(table,))])


def generated(
    world: ReturnDiffusion, starts: ReturnWindows, count: int, optimism: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Trajectory]:
    """Trajectories from so many recorded states and actions: the returns (B,) that were asked for, the actions (B, A),
    and what was made for them."""
    batch = starts.sample(count, generator)
    observation, action = batch.observation[STATE][:, 0], batch.action[:, 0]
    asked = window_return(batch, world.config.gamma) + optimism * world.return_std
    return asked, action, world.generate(observation, action, asked, generator)


def as_transitions(made: Trajectory, action: Tensor, inverse: InverseDynamics) -> TransitionBatch:
    """Every transition of trajectories up to their ends; `features` are observations in the data's units.

    The first action is the recorded one that the trajectory was made for; inverse dynamics tell the others.
    """
    before, after = made.observation[:, :-1], made.observation[:, 1:]
    actions = inverse(before.flatten(0, 1), after.flatten(0, 1)).unflatten(0, made.reward.shape).clone()
    actions[:, 0] = action
    alive = torch.ones_like(made.ended)
    alive[:, 1:] = ~made.ended[:, :-1]
    return TransitionBatch(before[alive], actions[alive], made.reward[alive], made.ended[alive], after[alive])


def learn_on_both(
    context: StageContext,
    policy: Agent,
    data: Dataset,
    synthetic: Path,
    share: float,
    learner: LearnerName,
    settings: Mapping[str, Any],
    seed: int,
) -> Agent:
    """The offline learner, on batches of which a share is synthetic; no simulator has a part in it."""
    before = simulator_steps()
    offline = Offline.of(policy, data)
    tensors, _ = load_tensors(synthetic / TRANSITIONS_FILE)
    made = with_features(TransitionBatch(**{name: rows.to(data.device) for name, rows in tensors.items()}), policy)
    assert isinstance(offline.transitions, Transitions)
    mixed = MixedTransitions(offline.transitions, made, share)
    if learner == "iql" and settings["iql"].advantage_unit is None:
        settings = {**settings, "iql": replace(settings["iql"], advantage_unit=advantage_unit(data))}
    agent = LEARNERS[learner](context, replace(offline, transitions=mixed), settings, seed)
    steps = settings[f"{learner}_training"].steps
    if simulator_steps() != before:
        raise RunError("refinement touched the simulator; this is a bug: no part of it may")
    used = len(made.reward) if share > 0 else 0
    noted = {"role": "refinement", "simulator_steps": 0, "iteration": steps, "imagined_steps": used}
    for name, value in noted.items():
        context.record(name, value)
    words = (
        f"{_WORDS[learner]} made {steps} updates on batches of which {share:.0%} were "
        f"synthetic: {len(offline.transitions)} real transitions and {len(made.reward)} made ones to draw from. The "
        "last weights are the refined policy: an offline learner has no iterates that imagination chooses from."
    )
    save_sections(context.folder, [Section("refinement", "Offline learning", 40, (words,))])
    return agent


def with_features(transitions: TransitionBatch, agent: Agent) -> TransitionBatch:
    """Transitions between observations as the agent's policy reads them."""
    observer = inside(agent).observer

    def features(rows: Tensor) -> Tensor:
        return observer.features(observer.observe(observer.initial(len(rows)), None, {STATE: rows}))

    with torch.no_grad():
        both = features(transitions.features), features(transitions.next_features)
    return replace(transitions, features=both[0], next_features=both[1])
