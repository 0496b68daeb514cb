"""The stage that takes a policy which was brought along instead of cloning one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.data import STATE, Dataset
from burnish.errors import InputError
from burnish.pipeline import External, Reading, Stage, StageContext, stage
from burnish.policies import Agent
from burnish.policies.given import Given, GivenConfig, Source
from burnish.policies.given.taking import (
    Setting,
    as_given,
    asked_policy,
    chosen_reads,
    fits,
    read_policy,
    refinable,
)
from burnish.world_models import HistoryConfig, ObservationHistory, PixelHistory, PixelHistoryConfig


def taken(source: Source, data: Reading, columns: Sequence[str], **settings: Any) -> Stage:
    """The stage of a given policy, which counts with the content of its folder, or with its code's file."""
    source.allow()
    path = source.path
    return stage(
        take_policy,
        "policy",
        data=data,
        source=None if path is None else External("given_policy", path),
        place=source.code,
        columns=tuple(columns),
        **settings,
    )


def take_policy(
    context: StageContext,
    data: Dataset,
    source: Path | None,
    place: str | None,
    columns: tuple[str, ...],
    history: HistoryConfig | PixelHistoryConfig,
    given: GivenConfig,
    task: str,
) -> Agent:
    """The given policy on this run's features, ready to be refined.

    Raises:
        InputError: it reads or gives something else than the data hold.
    """
    found = asked(place, data, given) if place is not None else read_policy(source or Path(), given)
    context.record("given", type(found.policy if isinstance(found, Agent) else found).__name__)
    return agent_of(found, data, history, given, columns, task).to(context.device)


def agent_of(
    found: Given | Agent,
    data: Dataset,
    history: HistoryConfig | PixelHistoryConfig,
    given: GivenConfig,
    columns: Sequence[str],
    task: str,
) -> Agent:
    """A given policy as one of this run's; InputError where it cannot be."""
    observer = observer_of(data, history)
    if isinstance(found, Agent):
        if fits(found, observer, data):
            return Agent(found.observer, found.policy, task, data.info.scaling)
        found = as_given(found)
    if not isinstance(observer, ObservationHistory):
        raise InputError("this policy reads states, this run's models see pictures; expected a preset of states")
    setting = Setting(data, observer.fit(data).normaliser, observer.config.feature_frames, columns)
    return Agent(observer, refinable(found, given, setting), task, data.info.scaling)


def observer_of(data: Dataset, history: HistoryConfig | PixelHistoryConfig) -> ObservationHistory | PixelHistory:
    """What this run's models observe, not fitted yet."""
    if isinstance(history, PixelHistoryConfig):
        return PixelHistory(data.action_dim, history)
    return ObservationHistory(data.observation_dim, data.action_dim, history).to(data.device)


def asked(place: str, data: Dataset, given: GivenConfig) -> Given:
    """A function's or a server's policy, asked about the first frames."""
    state = data.observations[STATE][data.starts[:1]].unsqueeze(1)
    reads = chosen_reads(None, given.reads, data)
    return asked_policy(place, {key: state[..., first:last] for key, (first, last) in reads.items()})


def check_given(source: Source, config: Any, data: Dataset | None = None, columns: Sequence[str] = (STATE,)) -> None:
    """Make sure, before anything is done, that a policy can be read, and with `data` that it fits them.

    Raises:
        InputError: it does not, or the recipe takes no policy.
    """
    if not isinstance(getattr(config, "given", None), GivenConfig):
        raise InputError("--policy: this recipe's policies read what its own models learn; refine it with world4rl")
    if source.kind == "folder":
        assert source.path is not None
        found = read_policy(source.path, config.given)
    elif data is None:
        return
    else:
        found = asked(source.place, data, config.given)
    if data is not None and not getattr(config, "cameras", ()):
        agent_of(found, data, config.history, config.given, columns, "")
