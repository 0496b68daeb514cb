"""What a recipe is: a configuration, and a function from it to a graph of stages."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from burnish.config import within
from burnish.data import Dataset
from burnish.errors import InputError
from burnish.evaluation.gate import GateConfig
from burnish.evaluation.settings import EvaluationConfig
from burnish.imagination import ImaginationConfig
from burnish.pipeline import Reading, Stage
from burnish.policies.given import Source
from burnish.recipes.own_data import OwnData
from burnish.recipes.stages.recording import Real
from burnish.rewards import RewardConfig
from burnish.rl import RefineConfig
from burnish.simulators.settings import SimulatorConfig
from burnish.training import TrainingConfig

StartFrom = Literal["auto", "bc", "filtered_bc"]


@dataclass(frozen=True)
class RecipeConfig:
    """What every recipe has; a recipe's own configuration adds its models, policy and learner."""

    simulator: SimulatorConfig = SimulatorConfig()
    held_out: float = within(0.1, 0, 1, open_low=True, open_high=True)
    """Share of the episodes that no model learns from: calibration and validation."""
    reward: RewardConfig = RewardConfig()
    imagination: ImaginationConfig = ImaginationConfig()
    start_from: StartFrom = "auto"
    """The policy that is refined: the pretrained one (bc), the one cloned from every success of the data (filtered_bc),
    or whichever imagination finds better."""
    refine: RefineConfig = RefineConfig()
    gate: GateConfig = GateConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def code(self) -> str | None:
        """`module:name` outside of Burnish that these settings have it import and call; None: nothing."""
        return self.reward.function or None

    def check_data(self, data: Dataset) -> None:
        """Make sure, before anything is learned, that your own data have what settings name.

        Raises:
            InputError: they have not.
        """
        if pushed := self.imagination.disturbances.pushed:
            raise InputError(
                f"imagination.disturbances.pushed: found {', '.join(pushed)}, but this recipe's imagined states cannot "
                "be pushed; expected none (rwm's can)"
            )


Config = TypeVar("Config", bound=RecipeConfig)


@dataclass(frozen=True)
class RunSpec:
    """One run of a recipe: what is asked for beside the configuration.

    Attributes:
        recipe: its name.
        task: the task to learn, as the data name it.
        seed: of the data, of all training and of refinement.
        own: data that were brought along; None where they are recorded in the simulator.
        simulator: the task of the simulator that records and judges (`drawer-open-v3`, `gym:Reacher-v5`); None where
            there is none: then nothing is evaluated for real.
        policy: one that was brought along, to be refined instead of a clone.
    """

    recipe: str
    task: str
    seed: int
    own: OwnData | None = None
    simulator: str | None = None
    policy: Source | None = None

    def real(self, c: "RecipeConfig") -> Real:
        """The simulator with a configuration's settings."""
        assert self.simulator is not None
        return Real(self.simulator, self.seed, c.simulator)


@dataclass(frozen=True)
class Models:
    """Everything that imagines: stages in a graph, and what they left in a stage's body.

    Attributes:
        world: the world model.
        reward: a success classifier, a learned reward, or a written one.
        uncertainties: what tells where imagination is not to be trusted; the first one may have members.
    """

    world: Any
    reward: Any
    uncertainties: tuple[Any, ...] = ()


HeldOut = Callable[[Any, Reading, int], Models]
"""`models(config, data, seed)` for the trust gate: the same models from other episodes."""


@dataclass(frozen=True)
class Plan:
    """The stages of a run that people and other stages ask for by what they are."""

    data: Stage
    policy: Stage
    models: Models
    refined: Stage
    accepted: Stage | None
    evaluation: Stage
    report: Stage
    seen: Any
    """How stages read the data (`stages.data.Recorded`)."""
    encoder: Stage | None = None
    starts: Any = None
    """The candidates that refinement starts from (`stages.cloning.Starts`), where a recipe has more than one."""

    @property
    def commands(self) -> dict[str, tuple[Stage, ...]]:
        """Commands for single stages, and what they do (with what that needs)."""
        return {
            "collect": (self.data,),
            "pretrain": (self.policy,) if self.starts is None else (self.policy, self.starts.filtered),
            "train-world-model": (self.models.world, *self.models.uncertainties),
            "train-classifier": (self.models.reward,),
            "refine": (self.refined,),
            "gate": () if self.accepted is None else (self.accepted,),
            "evaluate": (self.evaluation,),
            "report": (self.report,),
        }


@dataclass(frozen=True)
class Recipe:
    """A published system: the `RECIPE` of each module of `burnish.recipes.presets`, and `module:NAME` of yours.

    Attributes:
        build: `build(config, run)` makes the graph.
        presets: configurations by name; the first is the default.
    """

    name: str
    system: str
    paper: str
    needs: str
    status: str
    build: Callable[[Any, RunSpec], Plan]
    presets: Mapping[str, RecipeConfig] = field(repr=False)

    @property
    def config_class(self) -> type[RecipeConfig]:
        """The dataclass of all its settings."""
        return type(next(iter(self.presets.values())))

    def preset(self, name: str | None = None) -> Any:
        """The configuration of this name, by default the first; InputError where there is none."""
        if name is None:
            return next(iter(self.presets.values()))
        if name not in self.presets:
            raise InputError(f"unknown preset '{name}' of {self.name}, expected one of: {', '.join(self.presets)}")
        return self.presets[name]


def shortened(config: Config, share: float) -> Config:
    """A recipe's configuration with a share of the steps of all its training."""
    changes: dict[str, Any] = {}
    for each in dataclasses.fields(config):
        value = getattr(config, each.name)
        if isinstance(value, TrainingConfig):
            changes[each.name] = replace(value, steps=max(1, round(share * value.steps)))
    return replace(config, **changes)


def extended(kind: type[Config], config: RecipeConfig, **changes: Any) -> Config:
    """The settings of a recipe as another one has them that has further settings."""
    own = {each.name: getattr(config, each.name) for each in dataclasses.fields(config)}
    return kind(**own | changes)
