"""A run that starts from the user's own data: where they lie, what each folder is, and how they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import torch

from burnish.config import from_dict, to_dict
from burnish.data import STATE, UNLABELLED, ActionScaling, Dataset, check_real, check_unit, joined
from burnish.data.checks import bad_input
from burnish.data.formats import ReadingRule, format_of
from burnish.data.formats.base import SourceFormat
from burnish.data.prospects import Finding, prospects, require_prospects
from burnish.data.reading import assemble
from burnish.data.row_store import RowStore
from burnish.data.signals import signals
from burnish.data.success import UNTOLD
from burnish.data.targets import relative_scaling, require_targets
from burnish.errors import InputError
from burnish.pipeline import External
from burnish.rewards import RewardConfig

Role = Literal["demonstrations", "rollouts", "play"]
SOURCES: Mapping[Role, str] = {"demonstrations": "expert", "rollouts": "policy", "play": "play"}
"""Who acts in the episodes of a folder with a role (`Dataset.sources`): experts are cloned, and the trust gate's
back-test prefers a policy's rollouts. Play that tells no success is `UNLABELLED`."""
_BY_DEFAULT = ReadingRule()


@dataclass(frozen=True)
class Folder:
    """One data set on disk, of any format that is known, and what it is; None: its episodes say so themselves."""

    path: Path
    role: Role | None = None


@dataclass(frozen=True)
class OwnData:
    """One data set, or several that are read as one."""

    folders: tuple[Folder, ...]
    rule: ReadingRule = ReadingRule()

    def __post_init__(self) -> None:
        if not self.folders or all(folder.role == "play" for folder in self.folders):
            raise InputError("found no data set, or --play alone, expected --demonstrations or --rollouts")
        if len(self.folders) > 1 and (self.rule.labels is not None or self.rule.failed_episodes):
            raise InputError("--labels and --failed-episodes number the episodes of one data set, found several")

    @classmethod
    def of(cls, path: Path, rule: ReadingRule = _BY_DEFAULT) -> Self:
        """A single data set."""
        return cls((Folder(path),), rule)

    @classmethod
    def with_roles(cls, paths: Mapping[Role, Sequence[Path]], rule: ReadingRule = _BY_DEFAULT) -> Self:
        """Several, by what they are."""
        return cls(tuple(Folder(path, role) for role in SOURCES for path in paths.get(role, ())), rule)

    @property
    def where(self) -> str:
        """The folders, for messages."""
        return ", ".join(str(folder.path) for folder in self.folders)

    def to_plain(self) -> dict[str, Any]:
        """Plain data for recipe.yaml."""
        if self.folders[0].role is None:
            return {"path": str(self.folders[0].path), **to_dict(self.rule)}
        roles = {role: [str(each.path) for each in self.folders if each.role == role] for role in SOURCES}
        return {**{role: paths for role, paths in roles.items() if paths}, **to_dict(self.rule)}

    @classmethod
    def from_plain(cls, data: Any, source: str) -> Self:
        """What `to_plain` made; `source` names the file in messages."""
        rule = {k: v for k, v in data.items() if k not in ("path", *SOURCES)} if isinstance(data, dict) else {}
        found = from_dict(ReadingRule, rule, source)
        if isinstance(data, dict) and isinstance(data.get("path"), str):
            return cls.of(Path(data["path"]), found)
        paths: dict[Role, list[Path]] = {}
        for role in SOURCES:
            listed = data.get(role, []) if isinstance(data, dict) else None
            if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed):
                raise InputError(f"{source}: expected the path of a data set, or lists of paths, and how they are read")
            paths[role] = [Path(path) for path in listed]
        return cls.with_roles(paths, found)

    def parts(self, cameras: Sequence[str]) -> dict[str, External]:
        """What a run that looks at `cameras` depends on."""
        found: dict[str, Path] = {}
        for number, folder in enumerate(self.folders):
            prefix = "" if folder.role is None else f"{folder.role}_{number}_"
            parts = format_of(folder.path).parts(folder.path, cameras)
            found |= {f"{prefix}{name}": path for name, path in parts.items()}
        if self.rule.labels is not None:
            found["labels"] = self.rule.labels
        return {name: External(f"own_{name}", path) for name, path in found.items()}

    @property
    def places(self) -> tuple[External, ...]:
        """Where the folders lie, which is of no account."""
        return tuple(External(f"own_path_{n}", each.path, counted=False) for n, each in enumerate(self.folders))

    def read(self, cameras: Sequence[str] = (), store: RowStore | None = None) -> Dataset:
        """Read and check all of it, with the pictures of `cameras`, which are put into `store`.

        Raises:
            InputError: a data set is not what its format and the rule say, or they do not fit together.
        """
        return joined([(folder.path, self._read(folder, cameras, store)) for folder in self.folders])

    def _read(self, folder: Folder, cameras: Sequence[str], store: RowStore | None) -> Dataset:
        kind, role = format_of(folder.path), folder.role
        if role in (None, "demonstrations") or not isinstance(kind, SourceFormat):
            dataset, told = kind.read(folder.path, self.rule, cameras, store), True
        else:
            # That all demonstrations end in success says nothing of what a policy did, or somebody at play.
            source, choice = kind.open(folder.path), self.rule.choice()
            told = choice.success.is_told_by(source)
            if not told and role == "rollouts":
                raise InputError(
                    f"{folder.path}: found no column that says which rollouts succeed, expected one (--success-column, "
                    "--success-above); where nobody knows, they are play (--play)"
                )
            dataset = assemble(source, choice if told else replace(choice, success=UNTOLD), cameras, store)
        check_real(dataset, folder.path)
        if role is None:
            return dataset
        source = SOURCES[role] if told else UNLABELLED
        return replace(dataset, sources=(source,) * dataset.num_episodes)

    def scaling(self, dataset: Dataset, cameras: Sequence[str] = ()) -> ActionScaling | None:
        """How the whole data set's actions are brought into [-1, 1]; None where they are recorded so.

        Raises:
            InputError: they are said to be, or are Burnish's own, and are not; or they are to be learned as differences
                to a state that they are no targets of, or that models which look at `cameras` do not see.
        """
        if dataset.info.scaling is not None:
            raise InputError(f"{self.where}: its actions are those of a run, scaled already; give the data that it had")
        found = self._scaling(dataset, cameras)
        if self.rule.binary_actions == "recorded":
            return found
        if found is None or "binary" not in found.kinds:
            raise InputError(
                f"--binary-actions rounded: {self.where}: found no action in units of its own that has two values, "
                "expected one (burnish data inspect says which have)"
            )
        return replace(found, rounded=True)

    def _scaling(self, dataset: Dataset, cameras: Sequence[str]) -> ActionScaling | None:
        units, targets = self.rule.action_units, self.rule.action_targets
        if targets == "absolute":
            require_targets(dataset, targets)
        if units == "own" or (units == "auto" and dataset.info.simulator is None):
            if targets != "relative":
                return ActionScaling.of(dataset.actions.clone(), dataset.info.action_names)
            if cameras:
                raise InputError(
                    f"--action-targets relative: the models look at {', '.join(cameras)} and see no state; expected a "
                    "preset of states"
                )
            return relative_scaling(dataset)
        if targets == "relative":
            raise InputError(
                "--action-targets relative: these actions are in [-1, 1] of a task, expected them in units of their "
                "own (--action-units own)"
            )
        check_unit(dataset.actions, self.where)
        return None

    def read_task(self, task: str, reward: RewardConfig, dataset: Dataset | None = None) -> Dataset:
        """The data set, as `read` gives it where it was not read yet, for one task: episodes of others teach the world
        model alone, like play (`UNLABELLED`).

        Raises:
            InputError: as `read`; or there is nothing that a policy could be refined by, as `reward` sees it.
        """
        dataset = self.read() if dataset is None else dataset
        play = (SOURCES["play"], UNLABELLED) if self.folders[0].role is not None else ()
        other = [name != task and who not in play for name, who in zip(dataset.tasks, dataset.sources, strict=True)]
        chosen = _unlabelled(dataset, other) if any(other) else dataset
        where = f"{self.where}, task '{task}'"
        require_prospects(reward.view(chosen.judged), where, self.rule.success_last_frames)
        return chosen

    def require_observed(self, dataset: Dataset, cameras: Sequence[str]) -> None:
        """Check that there is what the models look at: a state, where it is not `cameras`.

        Raises:
            InputError: there is not.
        """
        if cameras or STATE in dataset.observations:
            return
        kind, path = format_of(self.folders[0].path), self.folders[0].path
        columns = sorted(kind.open(path).columns) if isinstance(kind, SourceFormat) else []
        expected = "one of them (--state-key NAME), or models of pictures (--preset pixels, with their cameras named)"
        raise bad_input(self.where, f"no state among the columns {', '.join(columns)}", expected, field=STATE)

    def findings(self, chosen: Dataset, reward: RewardConfig) -> list[Finding]:
        """What is to be said of `chosen` before anything trains; `burnish data inspect` says more."""
        seen = prospects(reward.view(chosen.judged), self.rule.success_last_frames)
        return [each for each in [*seen, *signals(chosen)] if each.level == "warning"]

    def task(self, wanted: str | None) -> str:
        """The task to learn: the one that is wanted, or the data set's only one (whatever play is called).

        Raises:
            InputError: the data set has no such task, or several and none was named.
        """
        dataset = self.read()
        play = (SOURCES["play"], UNLABELLED) if self.folders[0].role is not None else ()
        pairs = zip(dataset.tasks, dataset.sources, strict=True)
        names = list(dict.fromkeys(name for name, who in pairs if who not in play))
        if wanted is None and len(names) > 1:
            raise InputError(f"{self.where}: found the tasks {', '.join(names)}; name one with --task")
        if wanted is not None and wanted not in names:
            raise InputError(f"{self.where}: found no task '{wanted}', expected one of: {', '.join(names)}")
        return wanted or names[0]


def _unlabelled(dataset: Dataset, which: Sequence[bool]) -> Dataset:
    """Some episodes as those of which nobody knows how they went: their success is none of this task's."""
    sources = tuple(UNLABELLED if one else who for one, who in zip(which, dataset.sources, strict=True))
    frames = torch.tensor(which, device=dataset.device)[dataset.episode_of_frame]
    return replace(dataset, sources=sources, success=dataset.success & ~frames)
