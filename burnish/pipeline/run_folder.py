"""A run folder as it is read: what it is a run of, which stages are done, and why the others are not."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from burnish.config import config_hash, load_yaml, to_dict
from burnish.errors import InputError
from burnish.pipeline.differences import difference
from burnish.pipeline.finished import STAGE_FILE, Finding, Inspector, Manifest, check_stage_name, stage_folders
from burnish.pipeline.manifest import hash_files
from burnish.pipeline.outside import OUTSIDE_FILE, OutsideHashes
from burnish.pipeline.own_files import check_own, list_files
from burnish.pipeline.stages import PARTIAL, TRASH
from burnish.storage import raise_run_error

RECIPE_FILE = "recipe.yaml"
MANIFEST_FILE = "manifest.json"
LOCK_FILE = ".lock"
PUBLISHED_FILE = ".published.json"
_OWN_FILES = (RECIPE_FILE, MANIFEST_FILE, LOCK_FILE, PUBLISHED_FILE, OUTSIDE_FILE, "report.html", "report.json")
_OWN_FOLDERS = (PARTIAL, TRASH, "videos")

Planned = tuple[str, Any, Sequence[str], int]
"""A stage's name, configuration, inputs and version."""


class RunFolder:
    """The stages of a run folder; reading it changes nothing and needs no lock. The folder may still be missing.

    Attributes:
        folder: The folder.
    """

    def __init__(self, folder: str | Path, verify: bool = False) -> None:
        """`verify` hashes every file of a stage that is looked at, not only those whose time moved."""
        self.folder = Path(folder)
        self._inspector = Inspector(verify)
        self._outside = OutsideHashes(self.folder, verify)
        self._external: dict[str, tuple[Path, str]] = {}

    def external_input(self, name: str, path: str | Path) -> Path:
        """Make a file or folder from outside (a user's dataset) known as an input, by its content."""
        path = Path(path)
        if name in self._external and self._external[name][0] == path:
            return path
        try:
            self._external[name] = (path, hash_files(path, self._outside))
        except OSError as error:
            raise_run_error(error, path)
        return path

    def reason(self, name: str, config: Any, inputs: Sequence[str], version: int = 1) -> str | None:
        """Why a stage would be done (again), in words; None where its result is up to date."""
        return self._reason(name, config, {key: self._content(key) for key in inputs}, version)

    def plan(self, stages: Iterable[Planned]) -> dict[str, str | None]:
        """`reason` for many stages (inputs come first); what a stage depends on and is done first may change it."""
        reasons: dict[str, str | None] = {}
        for name, config, inputs, version in stages:
            contents = {key: None if reasons.get(key) else self._content(key) for key in inputs}
            reasons[name] = self._reason(name, config, contents, version)
        return reasons

    def stage_info(self, name: str) -> Manifest:
        """The manifest of a finished stage: identity, config, inputs, seconds, outputs, files, versions."""
        finding = self._look(name)
        if finding.manifest is None:
            problem = f"this stage must be done again ({finding.problem})" if finding.problem else "not done yet"
            raise InputError(f"{self.folder / name}: {problem}; run it first")
        return finding.manifest

    def stages(self) -> dict[str, Manifest]:
        """The manifests of all finished stages by name, in the order in which they were finished."""
        found = {name: self._look(name).manifest for name in stage_folders(self.folder)}
        done = {name: manifest for name, manifest in found.items() if manifest is not None}
        return dict(sorted(done.items(), key=lambda item: item[1]["finished"]))

    def seconds(self) -> dict[str, float]:
        """Seconds of work of every finished stage, resumed attempts added up."""
        return {name: manifest["seconds"] for name, manifest in self.stages().items()}

    def check_links(self) -> None:
        """Refuse links in the place of Burnish's own files and folders, before any of them is used.

        Raises:
            InputError: Naming the link and what to do.
        """
        for name in _OWN_FILES:
            check_own(self.folder / name, folder=False)
        for name in _OWN_FOLDERS:
            check_own(self.folder / name, folder=True)
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else []:
            if path.is_symlink() and (path / STAGE_FILE).exists():
                check_own(path, folder=True)
        for name in (PARTIAL, TRASH, *stage_folders(self.folder)):
            if (self.folder / name).is_dir():
                list_files(self.folder / name)

    def check_places(self, names: Iterable[str]) -> None:
        """Refuse, before any of these stages is done, what is in the way of one's folder.

        Raises:
            InputError: Where there is a link, a file, or another stage's folder above or below it.
        """
        for name in names:
            self._look(name)

    def _look(self, name: str) -> Finding:
        """Look at a stage; InputError where something else is in its place."""
        check_stage_name(name)
        final = self.folder / name
        for parent in [*final.parents][: name.count("/")]:
            check_own(parent, folder=True)
            if (parent / STAGE_FILE).exists():
                raise InputError(f"{parent}: this is a stage of its own, so '{name}' finds no place; use another --out")
        finding = self._inspector.look(final)
        if finding.manifest is None and finding.problem and stage_folders(final):
            raise InputError(f"{final}: other stages lie in this folder, so it can be none itself; use another --out")
        return finding

    def _content(self, name: str) -> str | None:
        if name in self._external:
            return self._external[name][1]
        manifest = self._look(name).manifest
        return None if manifest is None else manifest["content"]

    def _reason(self, name: str, config: Any, contents: dict[str, str | None], version: int) -> str | None:
        finding = self._look(name)
        if finding.manifest is None:
            return finding.problem or "not done yet"
        if finding.manifest["identity"] == identity(name, config, contents, version):
            return None
        changed = difference(finding.manifest, config, version, contents)
        return changed or "it was made by another version of Burnish"


def identity(name: str, config: Any, contents: dict[str, str | None], version: int) -> str:
    """What a result depends on, in one hash: the stage's name, its code's version, its settings and inputs."""
    return config_hash({"name": name, "version": version, "config": config, "inputs": contents})


def read_settings(folder: str | Path) -> dict[str, Any]:
    """Read a run folder's recipe.yaml: {"recipe": str, "task": str | None, "seed": int, "config": dict}."""
    folder = Path(folder)
    path = folder / RECIPE_FILE
    if not path.exists():
        raise InputError(f"{folder}: not a run folder ({RECIPE_FILE} is missing)")
    check_own(path, folder=False)
    settings = load_yaml(path)
    expected = {"recipe": str, "task": (str, type(None)), "seed": int, "config": dict}
    for name, kind in expected.items():
        value = settings.get(name)
        if name not in settings or not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"{path}: field '{name}' is missing or wrong, found {value!r}")
    try:
        to_dict(settings["config"])
    except (TypeError, RecursionError) as error:
        raise InputError(f"{path}: field 'config': {error}") from None
    return settings
