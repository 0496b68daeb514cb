"""Where a given policy comes from, and how it becomes one that a run refines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from burnish.data import STATE, Dataset, Normaliser
from burnish.errors import InputError
from burnish.policies.agent import Agent, load_agent
from burnish.policies.base import Policy
from burnish.policies.given.around import AroundPolicy, FeatureView, GivenConfig, Reads
from burnish.policies.given.base import Given
from burnish.policies.given.chain import ChainPolicy
from burnish.policies.given.checkpoint import is_checkpoint, read_checkpoint
from burnish.policies.given.function import FunctionPolicy, allow, source_file
from burnish.policies.given.lerobot import LeRobotDiffusion
from burnish.policies.given.own import OwnPolicy
from burnish.policies.given.served import ServedPolicy
from burnish.world_models import ObservationHistory

Kind = Literal["folder", "function", "served"]
_HANDED_OUT = ("accepted", "pretrained_model", "checkpoints/last/pretrained_model")


@dataclass(frozen=True)
class Source:
    """What `--policy` names.

    Attributes:
        place: a folder of Burnish's or LeRobot's, `module:factory`, or `ws://host:port`.
    """

    place: str

    @property
    def kind(self) -> Kind:
        """What it is, by how it is written."""
        if self.place.startswith(("ws://", "wss://")):
            return "served"
        return "function" if ":" in self.place and not Path(self.place).exists() else "folder"

    @property
    def code(self) -> str | None:
        """What is called outside of any file; None for folders."""
        return None if self.kind == "folder" else self.place

    def allow(self) -> None:
        """Who names a function or a server wants it called."""
        if self.code is not None:
            allow(self.code)

    @property
    def path(self) -> Path | None:
        """The folder of a policy, or the file of a function, on which results depend.

        Raises:
            InputError: there is no such folder, or no policy in it.
        """
        if self.kind == "served":
            return None
        return source_file(self.place) if self.kind == "function" else policy_folder(Path(self.place).absolute())


def trust(agent: Agent) -> None:
    """Let a policy call what it names outside of its files."""
    for part in agent.policy.modules():
        if isinstance(part, FunctionPolicy):
            allow(part.source)
        if isinstance(part, ServedPolicy):
            allow(part.url)


def policy_folder(path: Path) -> Path:
    """Where in `path` (a run, a LeRobot training, or the policy itself) a policy lies; InputError where none does."""
    if not path.is_dir():
        raise InputError(
            f"--policy {path}: no such folder; expected a run folder, a saved policy, a LeRobot checkpoint, "
            "module:factory or ws://host:port"
        )
    for inside in ("", *_HANDED_OUT):
        if (path / inside / "config.json").is_file():
            return path / inside
    if (path / "recipe.yaml").is_file():
        raise InputError(f"--policy {path}: this run has accepted none yet; name {path}/refined or {path}/policy")
    raise InputError(f"--policy {path}: found no config.json, expected a policy of Burnish's or LeRobot's")


def read_policy(folder: Path, config: GivenConfig) -> Given | Agent:
    """The policy of a folder with a config.json.

    Raises:
        InputError: it is none, or it cannot be read.
    """
    if not is_checkpoint(folder):
        return load_agent(folder)
    if config.sampling_steps is None:
        return read_checkpoint(folder)
    return read_checkpoint(folder, sampling_steps=config.sampling_steps)


def asked_policy(place: str, observation: Mapping[str, Tensor]) -> Given:
    """A function's or a server's policy, with the sizes of what it answers to an `observation` (B, 1, D).

    Raises:
        InputError: there is none, it answers something else than actions, or nobody allowed it.
    """
    asked = FunctionPolicy if Source(place).kind == "function" else ServedPolicy
    return asked.asked(place, observation)


@dataclass(frozen=True)
class Setting:
    """Where a given policy is to work.

    Attributes:
        dataset: that it is refined on.
        normaliser: of the features.
        frames: that features hold.
        columns: of which the data's state was joined, in order.
    """

    dataset: Dataset
    normaliser: Normaliser
    frames: int
    columns: Sequence[str] = (STATE,)


def refinable(given: Given, config: GivenConfig, setting: Setting) -> Policy:
    """A policy on a world model's features that decides as `given` does, and can learn.

    Raises:
        InputError: it reads or gives something else than the data hold, or cannot learn as asked.
    """
    data = setting.dataset
    if data.info.scaling is not None and data.info.scaling.relative_to:
        raise InputError(
            "--action-targets relative: a given policy decides on actions as they were recorded; leave the option out"
        )
    if given.action_dim != data.action_dim:
        raise InputError(f"the policy gives {given.action_dim} numbers an action, the data have {data.action_dim}")
    reads = chosen_reads(given.inputs, config.reads, data, setting.columns)
    view = FeatureView(data.observation_dim, data.action_dim, setting.frames, reads)
    view.fit(setting.normaliser, data.info.scaling)
    if isinstance(given, LeRobotDiffusion) and config.refine != "residual":
        return ChainPolicy(given, view, config)
    return AroundPolicy(given, view, config)


def chosen_reads(
    inputs: Mapping[str, int] | None, said: Sequence[str], data: Dataset, columns: Sequence[str] = (STATE,)
) -> Reads:
    """Which part of the data's state each input of a policy is; InputError which names the option where it is open."""
    size = data.observation_dim
    if said:
        reads = dict(_read(each) for each in said)
        for key, count in (inputs or {}).items():
            found = reads.get(key)
            if found is None or found[1] - found[0] != count:
                what = "nothing" if found is None else f"{found[1] - found[0]} numbers"
                raise InputError(f"given.reads: found {what} for '{key}', of which the policy reads {count}")
        for key in set(reads) - set(inputs or reads):
            raise InputError(f"given.reads: the policy does not read '{key}'; it reads {', '.join(inputs or ())}")
        return reads
    if inputs is None:
        return {STATE: (0, size)}
    if len(inputs) == 1 and size in inputs.values():
        return {key: (0, size) for key in inputs}
    if tuple(columns) == tuple(inputs) and sum(inputs.values()) == size:
        return _in_order(inputs)
    wanted = ", ".join(f"{key} ({count})" for key, count in inputs.items())
    example = " ".join(f"{key}={first}:{last}" for key, (first, last) in _in_order(inputs).items())
    names = f": {', '.join(data.info.state_names)}" if data.info.state_names else ""
    raise InputError(
        f"the policy reads {wanted}; the data's state has {size} numbers{names}. Say which part each is, like "
        f"--config.given.reads {example}, or join the columns when the data are read (--state-key {' '.join(inputs)})"
    )


def _in_order(inputs: Mapping[str, int]) -> Reads:
    reads, first = {}, 0
    for key, count in inputs.items():
        reads[key] = (first, first + count)
        first += count
    return reads


def _read(text: str) -> tuple[str, tuple[int, int]]:
    key, _, part = text.partition("=")
    first, _, last = part.partition(":")
    if not key or not first.isdigit() or not last.isdigit():
        raise InputError(f"given.reads: found '{text}', expected 'KEY=FIRST:LAST', like 'observation.state=0:2'")
    return key, (int(first), int(last))


def fits(agent: Agent, observer: Any, data: Dataset) -> bool:
    """Whether a policy of Burnish's own reads what this run's models give, and knows actions as its data do."""
    found = agent.observer
    same = type(found) is type(observer) and found.config == observer.config
    return same and found.feature_dim == observer.feature_dim and agent.scaling == data.info.scaling


def as_given(agent: Agent) -> OwnPolicy:
    """A policy of Burnish's own as any other one: its features and units stay its own.

    Raises:
        InputError: it does not read states alone.
    """
    if not isinstance(agent.observer, ObservationHistory):
        kind = type(agent.observer).__name__
        raise InputError(
            f"the policy reads the features of its own {kind}, which this run's models do not give; expected one on "
            "states (world4rl's), or the same pictures (config.history) and action units as in the run that it is from"
        )
    if agent.scaling is not None and agent.scaling.relative_to:
        raise InputError(
            "the policy learned actions relative to the state, with other ranges than this run's data; expected the "
            "same data and --action-targets relative, or a policy of actions as they were recorded"
        )
    return OwnPolicy(agent)
