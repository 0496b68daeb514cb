"""What a finished run has to give: the policy for the robot, the world model, its environment, and the report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from burnish.components import frozen
from burnish.data import ActionScaling, Dataset
from burnish.errors import InputError
from burnish.imagination import ImaginedEnv, Models
from burnish.pipeline import External, Reading, Stage, placed, read_result
from burnish.pipeline.finished import finished_manifest
from burnish.pipeline.graph import map_inputs
from burnish.pipeline.run_folder import read_settings
from burnish.policies import Agent, RobotPolicy, load_agent
from burnish.policies.given import Source, trust
from burnish.recipes.base import Plan
from burnish.recipes.how import chosen_device
from burnish.recipes.own_data import OwnData
from burnish.recipes.runs import Resolved, reopen
from burnish.recipes.stages.imagining import imagined
from burnish.recipes.stages.recording import Real
from burnish.recipes.stages.refining import imagined_env, inside
from burnish.report.summary import read_report
from burnish.world_models import Encoded


@dataclass(frozen=True)
class Imagination:
    """What a run imagines with, for whoever wants to act in it.

    Attributes:
        models: world model, reward and pessimism of the refinement; frozen.
        outer: the world model with its encoder, if it has one: `decode` gives pictures, `observe` takes them.
        data: the episodes as the models read them, actions in [-1, 1].
        folder: of the data set as it was recorded, which has the pictures.
        cameras: whose pictures the models look at.
        policies: those that the run has so far, in their order: folders by name.
        real: the simulator; None where the run has none.
    """

    models: Models
    outer: Any
    data: Dataset
    folder: Path
    cameras: tuple[str, ...]
    policies: dict[str, Path]
    real: Real | None


class Loaded:
    """A run folder, read piece by piece when a piece is asked for; nothing in it is changed.

    Attributes:
        folder: the run folder.
        device: where models are put.
    """

    def __init__(self, folder: Path, device: torch.device, trust_code: bool = False) -> None:
        self.folder, self.device, self._trust_code = folder, device, trust_code
        self.settings = read_settings(folder)

    @cached_property
    def policy(self) -> RobotPolicy:
        """The policy that the run hands out: what the trust gate accepted; the refined one in a run without a gate.

        Raises:
            InputError: the run has not come so far, or the folder is damaged.
        """
        names = ("accepted", "refined")
        name = next((each for each in names if (self.folder / each).exists()), names[0])
        self._require(name)
        agent = load_agent(self.folder / name).to(self.device)
        if self._trust_code:
            trust(agent)
        return RobotPolicy(agent)

    @cached_property
    def world_model(self) -> Any:
        """The frozen world model (`burnish.world_models.WorldModel`); it knows actions in [-1, 1], see `scaling`."""
        return frozen(self._result(self._plan.models.world))

    @property
    def scaling(self) -> ActionScaling | None:
        """What [-1, 1] is in the data's units; None where the data's actions are in [-1, 1] themselves."""
        return self.policy.agent.scaling

    @property
    def report(self) -> dict[str, Any]:
        """The content of report.json."""
        return read_report(self.folder / "report.json")

    def env(self, num_envs: int, seed: int = 0) -> ImaginedEnv:
        """The imagined environment in which the policy was refined, with the run's reward, pessimism and starts.

        Observations are the world model's features, actions lie in [-1, 1].

        Args:
            num_envs: episodes side by side.
            seed: of everything random in it.

        Raises:
            InputError: the run has not come so far, or its recipe refines in another way.
        """
        refined = self._plan.refined
        needed = ("policy", "data", "models", "imagination")
        if not set(needed) <= set(refined.arguments):
            raise InputError(f"{self.folder}: this recipe's '{refined.name}' knows no imagined environment to make")
        policy, data, models, rules = (map_inputs(refined.arguments[name], self._result) for name in needed)
        assert isinstance(policy, Agent)
        return imagined_env(inside(policy), data, models, replace(rules, num_envs=num_envs), seed)

    def imagination(self) -> Imagination:
        """Everything that one imagines with by hand; the policies are those that are there already.

        Raises:
            InputError: the models are not trained yet, or the recipe refines in another way.
        """
        plan, resolved = self._plan, self._resolved
        needed = ("data", "models", "imagination")
        if not set(needed) <= set(plan.refined.arguments):
            raise InputError(f"{self.folder}: this recipe's '{plan.refined.name}' imagines nothing to act in")
        data, models, rules = (map_inputs(plan.refined.arguments[name], self._result) for name in needed)
        found = imagined(models, rules.pessimism, data)
        encoder = None if plan.encoder is None else frozen(self._result(plan.encoder))
        stages = {"pretrained": plan.policy, "refined": plan.refined, "accepted": plan.accepted}
        if plan.starts is not None:
            stages = {"pretrained": plan.policy, "filtered": plan.starts.filtered, **stages}
        folders = {name: self.folder / each.name for name, each in stages.items() if each is not None}
        return Imagination(
            found,
            found.world_model if encoder is None else Encoded(encoder, found.world_model).eval(),
            data,
            self._require(plan.data.name),
            tuple(getattr(resolved.config, "cameras", ())),
            {name: folder for name, folder in folders.items() if finished_manifest(folder) is not None},
            None if resolved.run.simulator is None else resolved.run.real(resolved.config),
        )

    @cached_property
    def _resolved(self) -> Resolved:
        return reopen(self.folder, self._trust_code)

    @cached_property
    def _plan(self) -> Plan:
        resolved = self._resolved
        if resolved.run.own is not None:
            # The data that were brought along need not be there any more: the run has its copy.
            resolved = replace(resolved, run=replace(resolved.run, own=_Elsewhere(resolved.run.own.folders)))
        if resolved.run.policy is not None:
            resolved = replace(resolved, run=replace(resolved.run, policy=_Taken(resolved.run.policy.place)))
        return resolved.plan

    def _result(self, found: Stage | Reading | External) -> Any:
        if isinstance(found, External):
            return found.path
        source = found.stage if isinstance(found, Reading) else found
        folder = self._require(source.name)
        result = found.function(folder, **found.settings) if isinstance(found, Reading) else read_result(folder)
        return placed(result, self.device)

    def _require(self, name: str) -> Path:
        folder = self.folder / name
        if finished_manifest(folder) is None:
            raise InputError(f"{folder}: found no finished stage, expected it; burnish report {self.folder} does it")
        return folder


def load(run: str | Path, device: str = "cpu", trust_code: bool = False) -> Loaded:
    """A finished run's policy, world model, environment and report; see `burnish.load`."""
    return Loaded(Path(run), chosen_device(device), trust_code)


class _Elsewhere(OwnData):
    """A data set that is not looked at."""

    def parts(self, cameras: Sequence[str]) -> dict[str, External]:
        return {}


class _Taken(Source):
    """A given policy that is not looked at: the run has its copy."""

    @property
    def path(self) -> None:
        return None
