"""Where a given policy comes from, and how it becomes one that a run refines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from burnish.components import allow
from burnish.data import STATE, Dataset, is_image_key
from burnish.errors import InputError
from burnish.policies.agent import Agent, load_agent
from burnish.policies.base import Policy
from burnish.policies.given.around import AroundPolicy, GivenConfig
from burnish.policies.given.base import Given
from burnish.policies.given.chain import ChainPolicy
from burnish.policies.given.checkpoint import is_checkpoint, read_checkpoint
from burnish.policies.given.function import FunctionPolicy, source_file
from burnish.policies.given.lerobot import LeRobotDiffusion
from burnish.policies.given.own import OwnPolicy
from burnish.policies.given.served import ServedPolicy
from burnish.policies.given.views import FeatureView, Reads, ShownView, View
from burnish.policies.robot import observation_shapes
from burnish.world_models import Encoded, ObservationHistory, PixelHistory

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
    """A function's or a server's policy, with the sizes of what it answers to an `observation` (B, 1, …).

    Raises:
        InputError: there is none, it answers something else than actions, or nobody allowed it.
    """
    asked = FunctionPolicy if Source(place).kind == "function" else ServedPolicy
    return asked.asked(place, observation)


@dataclass(frozen=True)
class Seen:
    """What a given policy can see of what a run's models see.

    Attributes:
        frames: of each observation.
        state: whether the state is among them.
        pictures: the shape (H, W, 3) of each camera's pictures, by its key.
    """

    frames: int
    state: bool = True
    pictures: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, observer: Any) -> "Seen":
        """By an observer of a run."""
        shapes = observation_shapes(observer)
        pictures = {key: shape for key, shape in shapes.items() if is_image_key(key)}
        return cls(observer.shown_frames, STATE in shapes, pictures)


@dataclass(frozen=True)
class Setting:
    """Where a given policy is to work.

    Attributes:
        dataset: that it is refined on.
        observer: what makes features of observations in this run.
        columns: of which the data's state was joined, in order.
    """

    dataset: Dataset
    observer: Any
    columns: Sequence[str] = (STATE,)


def refinable(given: Given, config: GivenConfig, setting: Setting) -> Policy:
    """A policy on a world model's features that decides as `given` does, and can learn.

    Raises:
        InputError: it reads or gives something else than the data hold, or cannot learn as asked.
    """
    data, observer = setting.dataset, setting.observer
    reads = fitting_reads(given, config, data, Seen.of(observer), setting.columns)
    view: View
    if isinstance(observer, ObservationHistory):
        view = FeatureView(data.observation_dim, data.action_dim, observer.shown_frames, reads)
        view.fit(observer.normaliser, data.info.scaling)
    else:
        view = ShownView(observer, data.action_dim, reads).in_units(data.info.scaling)
    if isinstance(given, LeRobotDiffusion) and config.refine != "residual":
        return ChainPolicy(given, view, config)
    return AroundPolicy(given, view, config)


def fitting_reads(
    given: Given, config: GivenConfig, data: Dataset, seen: Seen, columns: Sequence[str] = (STATE,)
) -> Reads:
    """Which part of the state each input of a policy is, once it is sure that it fits.

    Raises:
        InputError: it reads something else than the run's models see, or gives other actions than the data hold.
    """
    if data.info.scaling is not None and data.info.scaling.relative_to:
        raise InputError(
            "--action-targets relative: a given policy decides on actions as they were recorded; leave the option out"
        )
    if given.action_dim != data.action_dim:
        raise InputError(f"the policy gives {given.action_dim} numbers an action, the data have {data.action_dim}")
    for key, shape in given.pictures.items():
        if seen.pictures.get(key) != shape:
            there = ", ".join(f"{name} {each}" for name, each in seen.pictures.items()) or "no pictures"
            raise InputError(
                f"the policy looks at '{key}' {shape}, this run's models at {there}; expected the same cameras and "
                "size (a preset of pictures, --config.autoencoder.cameras and --config.autoencoder.image-size)"
            )
    if given.frames > seen.frames:
        raise InputError(
            f"the policy reads the last {given.frames} observations, the features hold {seen.frames}; set "
            f"--config.history.feature-frames {given.frames} (world4rl; a recurrent world model tells of one alone)"
        )
    if seen.state:
        return chosen_reads(given.inputs, config.reads, data, columns)
    if given.inputs or config.reads:
        wanted = ", ".join(given.inputs or config.reads)
        raise InputError(f"the policy reads {wanted}, this run's models see pictures; expected a preset of states")
    return {}


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
    if type(found) is not type(observer) or not isinstance(observer, ObservationHistory | PixelHistory):
        return False  # what is behind an encoder, or a memory, is another run's
    same = found.config == observer.config and found.feature_dim == observer.feature_dim
    return same and agent.scaling == data.info.scaling


def as_given(agent: Agent) -> OwnPolicy:
    """A policy of Burnish's own as any other one: its features and units stay its own.

    Raises:
        InputError: it has a memory, or learned actions as differences to a state.
    """
    observer = agent.observer.inner if isinstance(agent.observer, Encoded) else agent.observer
    if not isinstance(observer, ObservationHistory | PixelHistory):
        raise InputError(
            f"the policy reads the memory of its own {type(observer).__name__}, which this run's models do not have; "
            "expected one that decides from the newest observations (world4rl's)"
        )
    if agent.scaling is not None and agent.scaling.relative_to:
        raise InputError(
            "the policy learned actions relative to the state, with other ranges than this run's data; expected the "
            "same data and --action-targets relative, or a policy of actions as they were recorded"
        )
    return OwnPolicy(agent)
