"""The trust gate's stages: held-out worlds, and the decision which policy a run hands out."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from burnish import lanes
from burnish.data import STATE, UNLABELLED, Dataset, folds
from burnish.errors import RunError
from burnish.evaluation.agreement import Measure
from burnish.evaluation.back_test import back_test, on_policy
from burnish.evaluation.gate import GateConfig, GateVerdict, Recorded, RecordedReturn, decide
from burnish.evaluation.handing_out import OVER_FILTERED, disputed, handed_out
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
    c: base.RecipeConfig,
    seed: int,
    models: base.HeldOut,
    data: "reading.Recorded",
    policies: Mapping[str, Stage],
    cloned: bool = True,
) -> Stage | None:
    """The policy that the gate lets pass; None where the configuration has no held-out worlds.

    `policies` are "pretrained", "refined" and, where there is one, "filtered". The pretrained one was `cloned` from the
    data, rather than brought along.

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
        policies=dict(policies),
        gate=gate,
        penalty=pessimism if pessimism.rule == "penalty" else None,
        seed=seed,
        cloned=cloned,
    )


def accept(
    context: StageContext,
    worlds: Sequence[base.Models],
    data: Dataset,
    policies: Mapping[str, Agent],
    gate: GateConfig,
    seed: int,
    penalty: PessimismConfig | None = None,
    cloned: bool = True,
) -> Agent:
    """Decide, write gate.json, and leave the policy that the run hands out.

    Held-out worlds halt episodes that leave the data, unless refinement had a `penalty` for it instead. Where they
    vouch for none, a pretrained policy that was `cloned` gives way to one that was cloned from all successes.
    """
    before = simulator_steps()
    reason = next((each.world for each in worlds if isinstance(each.world, Absent)), None)
    if reason is None:
        agents = {name: inside(agent) for name, agent in policies.items()}
        with lanes.opened(STATE in data.observations):
            verdicts, teach = judge(gate, seed, data, agents, worlds, penalty)
        found = {**handed_out(verdicts, fallback=cloned and not _same(policies, "filtered")), "teach": teach}
    else:
        found = {"accepted": False, "handed_out": "pretrained", "vouched": False, "reasons": [str(reason)]}
    write_json(context.folder / GATE_FILE, found)
    save_sections(context.folder, [gate_section(found, not _same(policies, "refined"))])
    for name, value in {"role": "gate", "accepted": found["accepted"], "gate": gate_summary(found)}.items():
        context.record(name, value)
    if simulator_steps() != before:
        raise RunError("the trust gate touched the simulator; this is a bug: no part of it may")
    return policies[found["handed_out"]]


def _same(policies: Mapping[str, Agent], name: str) -> bool:
    """Whether the policy of this name is not there, or is the pretrained one."""
    return name not in policies or same_weights(policies["pretrained"], policies[name])


def same_weights(one: Agent, other: Agent) -> bool:
    """Whether two policies have the same weights: where no iterate was better, the refined one is where it started."""
    mine, theirs = one.policy.state_dict(), other.policy.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


def judge(
    gate: GateConfig,
    seed: int,
    data: Dataset,
    agents: Mapping[str, Agent],
    worlds: Sequence[base.Models],
    penalty: PessimismConfig | None = None,
) -> tuple[dict[str, GateVerdict], list[dict[str, Any]]]:
    """The decision on each policy against the pretrained one, and on "refined over filtered", where there is one; and
    the recorded starts that would teach most (`disputed`).

    It comes from held-out worlds and the `data` that they were trained on folds of.
    """
    pretrained = agents["pretrained"]
    frozen = [imagined(each, penalty, data) for each in worlds]
    held_out = [episodes for _, episodes in folds(data, len(worlds), seed)]
    tested = back_test(pretrained, frozen, held_out, time_limit(data), seed)
    recorded = recorded_outcome(pretrained, data, tested.measure)
    played = {name: plays(agent, frozen, data, gate.episodes, seed) for name, agent in agents.items()}
    found = {
        name: decide(played["pretrained"], each, tested, gate, recorded)
        for name, each in played.items()
        if name != "pretrained"
    }
    if "filtered" in played:
        found[OVER_FILTERED] = decide(played["filtered"], played["refined"], tested, gate)
    begun = data.episode_of_frame[gate_starts(data, gate.episodes, seed)].tolist()
    return found, [
        {**each, "source": data.sources[each["episode"]], "seed": data.seeds[each["episode"]]}
        for each in disputed(played["refined"], begun)
    ]


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
