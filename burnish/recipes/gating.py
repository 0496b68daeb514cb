"""The trust gate's stages: held-out worlds, and the decision which policy a run hands out."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from burnish.data import Dataset, folds
from burnish.errors import RunError
from burnish.evaluation.agent import Agent, load_agent, save_agent
from burnish.evaluation.back_test import back_test, on_policy
from burnish.evaluation.frozen import FrozenModels, load_frozen
from burnish.evaluation.gate import GateConfig, GateVerdict, Recorded, decide
from burnish.evaluation.imagined_play import ImaginedPlay, imagined_play
from burnish.evaluation.off_policy import OffPolicyDifference, compare_off_policy, evaluate_off_policy
from burnish.pipeline import StageContext
from burnish.recipes.evaluating import simulator_steps
from burnish.recipes.parts import Split, recorded_features
from burnish.recipes.steps import Step
from burnish.recipes.views import StateView
from burnish.report.section import save_sections
from burnish.report.sections_gate import gate_section, gate_summary
from burnish.storage import write_json
from burnish.training import TrainingConfig

WORLDS = "held_out_worlds"
ACCEPTED = "accepted"
GATE_FILE = "gate.json"
_SEED_STRIDE = 7919
_TRAINED = ("world_model_training", "ensemble_training", "classifier_training")
TrainWorld = Callable[[Any, int, Split, StageContext], None]


def gate_steps(
    config: Any,
    task: str,
    seed: int,
    view: StateView,
    models: Mapping[str, Any],
    inputs: tuple[str, ...],
    train: TrainWorld,
) -> list[Step]:
    """The two stages; none where the configuration has no held-out worlds.

    `config` is a recipe's, with `gate` and the training settings; `models` is what the models depend on besides;
    `inputs` are the stages that `train` reads.
    """
    gate = config.gate
    if gate.worlds == 0:
        return []
    training = {name: getattr(config, name) for name in _TRAINED}
    settings = {"worlds": gate.worlds, "share": gate.training_share, "seed": seed, **models, **training}
    return [
        Step(
            WORLDS,
            settings,
            inputs,
            lambda s: train_held_out_worlds(config, gate, seed, view.vectors(view.dataset(s)), train, s),
        ),
        Step(
            ACCEPTED,
            {"gate": gate, "seed": seed},
            ("dataset", "policy", "refined", WORLDS, *view.inputs),
            lambda s: accept(gate, seed, view, task, s),
        ),
    ]


def train_held_out_worlds(
    config: Any, gate: GateConfig, seed: int, dataset: Dataset, train: TrainWorld, stage: StageContext
) -> None:
    """Worlds that refinement never sees: each with its own episodes, its own seed and its own success classifier.

    `train(config, seed, split, stage)` leaves world_model/, ensemble/ and classifier/ in the stage's folder.  Where not
    every world would have a success to learn from and another to be calibrated by, none is trained.
    """
    stage.record("role", "gate")
    if lacking(dataset, gate.worlds, seed) is not None:
        return  # the gate will say so
    shorter = _shortened(config, gate.training_share)
    for number, split in enumerate(folds(dataset, gate.worlds, seed)):
        train(shorter, seed + _SEED_STRIDE * (number + 1), split, stage.part(f"world_{number}"))


def lacking(dataset: Dataset, worlds: int, seed: int) -> str | None:
    """Why the data is too little for so many held-out worlds; None where it is enough."""
    if dataset.num_episodes < worlds:
        return f"the data has {dataset.num_episodes} episodes, too few for {worlds} held-out worlds"
    if len(gate_starts(dataset, 2, seed)) < 2:
        return "fewer than 2 episodes of the data do not begin in success, too few to play from"
    if not all(bool(part.success.any()) for split in folds(dataset, worlds, seed) for part in split):
        successes = int(dataset.episode_success.sum())
        return f"the data has {successes} successful episodes, too few for {worlds} held-out worlds"
    return None


def _shortened(config: Any, share: float) -> Any:
    """A recipe's configuration with a share of its training steps."""

    def fewer(training: TrainingConfig) -> TrainingConfig:
        return replace(training, steps=max(1, round(share * training.steps)))

    return replace(config, **{name: fewer(getattr(config, name)) for name in _TRAINED})


def held_out_worlds(folder: Path) -> list[FrozenModels]:
    """What `train_held_out_worlds` left."""
    worlds = sorted(folder.glob("world_*"), key=lambda path: int(path.name.removeprefix("world_")))
    return [load_frozen(path / "world_model", path / "classifier", path / "ensemble") for path in worlds]


def plays(agent: Agent, worlds: list[FrozenModels], dataset: Dataset, episodes: int, seed: int) -> list[ImaginedPlay]:
    """One play from each of the same `episodes` recorded episode starts in every world."""
    frames = gate_starts(dataset, episodes, seed)
    observation = {key: values[frames] for key, values in dataset.observations.items()}
    limit = time_limit(dataset)
    return [
        imagined_play(agent, world, world.world_model.recorded(dataset).rows(frames), observation, limit, seed + number)
        for number, world in enumerate(worlds)
    ]


def time_limit(dataset: Dataset) -> int:
    """Actions after which an episode has failed."""
    return dataset.info.max_steps or int(dataset.lengths.max())


def held_out_splits(dataset: Dataset, worlds: int, seed: int) -> list[Dataset]:
    """The episodes that each held-out world did not learn from."""
    return [episodes for _, episodes in folds(dataset, worlds, seed)]


def gate_starts(dataset: Dataset, episodes: int, seed: int) -> torch.Tensor:
    """First frames of recorded episodes that do not begin in success, drawn without replacement (as far as they go)."""
    first = dataset.starts[~dataset.success[dataset.starts]]
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(first), generator=generator)[:episodes]
    return first[order.to(first.device)]


def accept(config: GateConfig, seed: int, view: StateView, task: str, stage: StageContext) -> None:
    """Decide, write gate.json, and leave the policy that the run hands out: refined or pretrained."""
    before = simulator_steps()
    pretrained, refined = (load_agent(stage.inputs[name], task) for name in ("policy", "refined"))
    dataset = view.vectors(view.dataset(stage))
    reason = lacking(dataset, config.worlds, seed)
    if reason is None:
        worlds, agents = held_out_worlds(stage.inputs[WORLDS]), (view.inside(pretrained), view.inside(refined))
        opinion = second_opinion(config, seed, dataset, *agents, stage)
        found = judge(config, seed, dataset, *agents, worlds, opinion).to_dict()
    else:
        found = {"accepted": False, "reasons": [reason]}
    write_json(stage.folder / GATE_FILE, found)
    # The refined policy is the pretrained one where no iterate was better.
    chosen = any(not torch.equal(a, b) for a, b in zip(_weights(pretrained), _weights(refined), strict=True))
    save_sections(stage.folder, [gate_section(found, chosen)])
    stage.record("role", "gate")
    stage.record("gate", gate_summary(found))
    save_agent(stage.folder, refined if found["accepted"] else pretrained, task)
    stage.record("accepted", found["accepted"])
    if simulator_steps() != before:
        raise RunError("the trust gate touched the simulator; this is a bug: no part of it may")


def _weights(agent: Agent) -> list[torch.Tensor]:
    return list(agent.policy.state_dict().values())


def judge(
    config: GateConfig,
    seed: int,
    dataset: Dataset,
    pretrained: Agent,
    refined: Agent,
    worlds: list[FrozenModels],
    opinion: OffPolicyDifference | None = None,
) -> GateVerdict:
    """The gate's decision on two agents, from held-out worlds and the `dataset` that they were trained on folds of."""
    limit, held_out = time_limit(dataset), held_out_splits(dataset, len(worlds), seed)
    return decide(
        plays(pretrained, worlds, dataset, config.episodes, seed),
        plays(refined, worlds, dataset, config.episodes, seed),
        back_test(pretrained, worlds, held_out, limit, seed),
        config,
        recorded_success(pretrained, dataset),
        opinion,
    )


def second_opinion(
    config: GateConfig, seed: int, dataset: Dataset, pretrained: Agent, refined: Agent, stage: StageContext
) -> OffPolicyDifference | None:
    """Fitted Q evaluation of both agents; None where the configuration does without."""
    fqe = config.second_opinion
    if fqe.steps == 0:
        return None
    values = []
    for name, agent in (("pretrained", pretrained), ("refined", refined)):
        features = recorded_features(agent.observer, dataset)
        part = stage.part(f"second_opinion/{name}")
        with stage.progress(fqe.steps, "steps") as bar:
            values.append(evaluate_off_policy(agent.policy, features, dataset, fqe, part.folder, seed, bar.at))
        (part.folder / "resume.safetensors").unlink(missing_ok=True)
    return compare_off_policy(*values)


def recorded_success(agent: Agent, dataset: Dataset) -> Recorded | None:
    """How often the agent succeeded in those recorded episodes in which it acted, without noise; None without any."""
    own = on_policy(agent, dataset)
    return Recorded(int(dataset.episode_success[own].sum()), int(own.sum())) if bool(own.any()) else None
