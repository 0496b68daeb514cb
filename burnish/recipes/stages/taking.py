"""The stage that takes a policy which was brought along instead of cloning one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.components import build, frozen
from burnish.data import STATE, Dataset, Windows
from burnish.errors import InputError
from burnish.pipeline import External, Reading, Stage, StageContext, stage
from burnish.policies import Agent
from burnish.policies.given import Given, GivenConfig, ShownView, Source
from burnish.policies.given.around import GivenPolicy
from burnish.policies.given.taking import (
    Seen,
    Setting,
    as_given,
    asked_policy,
    chosen_reads,
    fits,
    read_policy,
    refinable,
)
from burnish.world_models import (
    RSSM,
    Encoded,
    HistoryConfig,
    ObservationHistory,
    PixelHistory,
    PixelHistoryConfig,
)

_COMPARED = 256
"""Recorded frames on which a policy's actions are compared."""
_APART = 0.1
"""Half ranges of the actions, root mean square, from which on what models show a policy is doubted."""


@dataclass(frozen=True)
class Seeing:
    """How a run's models see observations; stages in a graph.

    Attributes:
        history: of models without a memory.
        world: a recurrent world model, whose memory is what policies read.
        encoder: of pictures, where one stands before the models.
        recorded: the data with their own observations, where `encoder` has latents in their place.
    """

    history: HistoryConfig | PixelHistoryConfig | None = None
    world: Any = None
    encoder: Any = None
    recorded: Any = None

    def observer(self, data: Dataset) -> Any:
        """What makes features of observations, from `data` as the models see them."""
        if self.world is not None:
            inner = frozen(self.world)
        elif isinstance(self.history, PixelHistoryConfig):
            return PixelHistory(data.action_dim, self.history).to(data.device)
        else:
            assert self.history is not None
            inner = ObservationHistory(data.observation_dim, data.action_dim, self.history).to(data.device).fit(data)
        return inner if self.encoder is None else Encoded(frozen(self.encoder), inner)


def taken(run: Any, given: GivenConfig, data: Reading, seeing: Seeing) -> Stage:
    """The stage of a run's given policy, which counts with the content of its folder, or with its code's file."""
    source = run.policy
    source.allow()
    path = source.path
    return stage(
        take_policy,
        "policy",
        data=data,
        source=None if path is None else External("given_policy", path),
        place=source.code,
        columns=run.own.rule.state_key if run.own is not None else (STATE,),
        given=given,
        task=run.task,
        seeing=seeing,
    )


def take_policy(
    context: StageContext,
    data: Dataset,
    source: Path | None,
    place: str | None,
    columns: tuple[str, ...],
    given: GivenConfig,
    task: str,
    seeing: Seeing,
) -> Agent:
    """The given policy on this run's features, ready to be refined.

    Raises:
        InputError: it reads or gives something else than the data hold.
    """
    observer = seeing.observer(data)
    found = asked(place, data, given, Seen.of(observer)) if place is not None else read_policy(source or Path(), given)
    context.record("given", type(found.policy if isinstance(found, Agent) else found).__name__)
    agent = agent_of(found, observer, data, given, columns, task).to(context.device)
    apart = acts_apart(agent, seeing.recorded or data)
    if apart is not None:
        context.record("acts_apart", apart)
        text = f"what the models show it makes it act otherwise, by {apart:.2f} of half the actions' range"
        context.record("doubts", {"given policy": text} if apart > _APART else {})
    return agent


def agent_of(
    found: Given | Agent, observer: Any, data: Dataset, given: GivenConfig, columns: Sequence[str], task: str
) -> Agent:
    """A given policy as one of this run's; InputError where it cannot be."""
    if isinstance(found, Agent):
        if fits(found, observer, data):
            return Agent(found.observer, found.policy, task, data.info.scaling)
        found = as_given(found)
    policy = refinable(found, given, Setting(data, observer, columns))
    return Agent(observer, policy, task, data.info.scaling)


@torch.no_grad()
def acts_apart(agent: Agent, recorded: Dataset) -> float | None:
    """How far a given policy's actions on what the models show of recorded observations are from those on the
    observations themselves: root mean square, in half ranges of the actions. None where it sees these as they are."""
    policy, observer = agent.policy, agent.observer
    exact = not isinstance(policy, GivenPolicy) or not isinstance(policy.view, ShownView)
    if exact or isinstance(observer, PixelHistory):
        return None
    assert isinstance(policy, GivenPolicy) and isinstance(policy.view, ShownView)
    some = recorded.subset(range(max(1, int((recorded.lengths.cumsum(0) <= _COMPARED).sum()))))
    windows, frames = Windows(some, history=policy.base.frames, horizon=0), policy.base.frames
    seen = {key: each[:, :frames] for key, each in windows.gather(windows.present_frames).observation.items()}
    reads = policy.view.reads
    seen |= {key: seen[STATE][..., first:last] for key, (first, last) in reads.items()}
    shown = policy.observation(observer.features(observer.recorded(some)))
    here, there = (
        policy.view.inside(policy.base.plan({key: each[key] for key in shown})).clamp(-1, 1) for each in (shown, seen)
    )
    return float((here - there).square().mean().sqrt())


def asked(place: str, data: Dataset, given: GivenConfig, seen: Seen) -> Given:
    """A function's or a server's policy, asked about a first state, or about black pictures."""
    observation: dict[str, Tensor] = {
        key: torch.zeros(1, 1, *shape, dtype=torch.uint8) for key, shape in seen.pictures.items()
    }
    if seen.state:
        state = data.observations[STATE][data.starts[:1]].unsqueeze(1)
        reads = chosen_reads(None, given.reads, data)
        observation |= {key: state[..., first:last] for key, (first, last) in reads.items()}
    return asked_policy(place, observation)


def check_given(source: Source, config: Any, data: Dataset | None = None, columns: Sequence[str] = (STATE,)) -> None:
    """Make sure, before anything is done, that a policy can be read, and with `data` that it fits them.

    Raises:
        InputError: it does not, or the recipe takes no policy.
    """
    if not isinstance(getattr(config, "given", None), GivenConfig):
        raise InputError("--policy: this recipe takes no policy that was made elsewhere; expected world4rl or diwa")
    found = None
    if source.kind == "folder":
        assert source.path is not None
        found = read_policy(source.path, config.given)
    if data is None:
        return
    observer = untrained(config, data)
    found = found or asked(source.place, data, config.given, Seen.of(observer))
    agent_of(found, observer, data, config.given, columns, "")


def untrained(config: Any, data: Dataset) -> Any:
    """The observer of a run's models before anything is learned: it has the shapes."""
    with torch.random.fork_rng(devices=[]):
        encoder = None if config.autoencoder is None else build(config.autoencoder, data.action_dim)
        history = getattr(config, "history", None)
        if isinstance(history, PixelHistoryConfig):
            return PixelHistory(data.action_dim, history)
        size = data.observation_dim if encoder is None else encoder.latent_dim
        if history is not None:
            inner: Any = ObservationHistory(size, data.action_dim, history)
        else:
            names = data.info.state_names if encoder is None else None
            inner = RSSM(size, data.action_dim, config.world_model, (), names)
        return inner if encoder is None else Encoded(encoder, inner)
