"""The trust gate's stages: held-out worlds, and the decision which policy a run hands out."""

from collections.abc import Sequence

import torch

from burnish.data import UNLABELLED, Dataset, folds
from burnish.errors import RunError
from burnish.evaluation.back_test import Measure, back_test, on_policy
from burnish.evaluation.gate import GateConfig, GateVerdict, Recorded, RecordedReturn, decide
from burnish.imagination import ImaginedEvaluation, Models, PessimismConfig, imagined_play
from burnish.pipeline import Absent, Stage, StageContext, naming, stage
from burnish.policies import Agent
from burnish.recipes import base
from burnish.recipes.stages import data as reading
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.refining import inside, simulator_steps, time_limit
from burnish.report.section import save_sections
from burnish.report.sections_gate import gate_section, gate_summary
from burnish.storage import write_json

GATE_FILE = "gate.json"
_SEED_STRIDE = 7919


def gated(
    c: base.RecipeConfig, seed: int, models: base.HeldOut, data: "reading.Recorded", policy: Stage, refined: Stage
) -> Stage | None:
    """The policy that the gate lets pass; None where the configuration has no held-out worlds.

    Each world learns from other episodes with another seed and a reward of its own, never used in
    refinement.
    """
    gate, pessimism = c.gate, c.imagination.pessimism
    if gate.worlds == 0:
        return None
    shorter, worlds = base.shortened(c, gate.training_share), []
    for number in range(gate.worlds):
        with naming(f"gate/world_{number}", role="gate"):
            fold = data.fold(number, gate.worlds, seed)
            worlds.append(models(shorter, fold, seed + _SEED_STRIDE * (number + 1)))
    return stage(
        accept,
        "accepted",
        lenient=True,
        worlds=tuple(worlds),
        data=data.whole,
        policy=policy,
        refined=refined,
        gate=gate,
        penalty=pessimism if pessimism.rule == "penalty" else None,
        seed=seed,
    )


def accept(
    context: StageContext,
    worlds: Sequence[base.Models],
    data: Dataset,
    policy: Agent,
    refined: Agent,
    gate: GateConfig,
    seed: int,
    penalty: PessimismConfig | None = None,
) -> Agent:
    """Decide, write gate.json, and leave the policy that the run hands out: refined or pretrained.

    Held-out worlds halt episodes that leave the data, unless refinement had a `penalty` for it instead.
    """
    before = simulator_steps()
    reason = next((each.world for each in worlds if isinstance(each.world, Absent)), None)
    if reason is None:
        found = verdict(gate, seed, data, (inside(policy), inside(refined)), worlds, penalty).to_dict()
    else:
        found = {"accepted": False, "reasons": [str(reason)]}
    write_json(context.folder / GATE_FILE, found)
    # The refined policy is the pretrained one where no iterate was better.
    pairs = zip(policy.policy.state_dict().values(), refined.policy.state_dict().values(), strict=True)
    chosen = any(not torch.equal(one, other) for one, other in pairs)
    save_sections(context.folder, [gate_section(found, chosen)])
    for name, value in {"role": "gate", "accepted": found["accepted"], "gate": gate_summary(found)}.items():
        context.record(name, value)
    if simulator_steps() != before:
        raise RunError("the trust gate touched the simulator; this is a bug: no part of it may")
    return refined if found["accepted"] else policy


def verdict(
    gate: GateConfig,
    seed: int,
    data: Dataset,
    agents: tuple[Agent, Agent],
    worlds: Sequence[base.Models],
    penalty: PessimismConfig | None = None,
) -> GateVerdict:
    """The decision on (pretrained, refined), from held-out worlds and the `data` that they were trained on folds of."""
    pretrained, refined = agents
    frozen = [imagined(each, penalty, data) for each in worlds]
    held_out = [episodes for _, episodes in folds(data, len(worlds), seed)]
    tested = back_test(pretrained, frozen, held_out, time_limit(data), seed)
    return decide(
        plays(pretrained, frozen, data, gate.episodes, seed),
        plays(refined, frozen, data, gate.episodes, seed),
        tested,
        gate,
        recorded_outcome(pretrained, data, tested.measure),
    )


def plays(agent: Agent, worlds: Sequence[Models], data: Dataset, episodes: int, seed: int) -> list[ImaginedEvaluation]:
    """One play from each of the same `episodes` recorded episode starts in every world."""
    frames = gate_starts(data, episodes, seed)
    observation = {key: values[frames] for key, values in data.observations.items()}
    limit = time_limit(data)
    return [
        imagined_play(agent, world, world.world_model.recorded(data).rows(frames), observation, limit, seed + number)
        for number, world in enumerate(worlds)
    ]


def gate_starts(dataset: Dataset, episodes: int, seed: int) -> torch.Tensor:
    """First frames of recorded episodes that do not begin in success, drawn without replacement (as far as they go)."""
    known = torch.tensor([source != UNLABELLED for source in dataset.sources], device=dataset.device)
    first = dataset.starts[known & ~dataset.success[dataset.starts]]
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(first), generator=generator)[:episodes]
    return first[order.to(first.device)]


def recorded_outcome(agent: Agent, dataset: Dataset, measure: Measure) -> Recorded | RecordedReturn | None:
    """How the agent did in those recorded episodes in which it acted, without noise; None without any."""
    dataset = dataset.judged
    own = on_policy(agent, dataset)
    if not bool(own.any()):
        return None
    if measure == "success":
        return Recorded(int(dataset.episode_success[own].sum()), int(own.sum()))
    return RecordedReturn(float(dataset.episode_return[own].mean()), int(own.sum()))
