"""The report at the top of the run folder: a copy of a stage's files, where people look for it."""

import hashlib
from pathlib import Path

from burnish.errors import InputError
from burnish.pipeline.own_files import check_own, remove_if_empty
from burnish.pipeline.run_folder import PUBLISHED_FILE, RunFolder
from burnish.storage import read_bytes, read_json, write_bytes_atomic, write_json


def publish_stage(run: RunFolder, name: str) -> None:
    """Copy a finished stage's files to the run folder's top level, and remove those of an earlier copy.

    What is removed is only what was published before and is still as it was: never a file of the user's.
    """
    run.check_links()
    before = _published(run.folder / PUBLISHED_FILE)
    wanted = {file: noted["sha256"] for file, noted in run.stage_info(name)["files"].items()}
    # Noted first: after a kill in the middle the next time knows of both.
    write_json(run.folder / PUBLISHED_FILE, before | wanted)
    # The report's data come last: who finds them finds the page.
    for file, content in sorted(wanted.items(), key=lambda item: item[0].endswith(".json")):
        target = run.folder / file
        for parent in [*target.parents][: file.count("/")]:
            check_own(parent, folder=True)
        check_own(target, folder=False)
        if not target.exists() or _hash(target) != content:
            write_bytes_atomic(target, read_bytes(run.folder / name / file))
    for file, content in before.items():
        target = run.folder / file
        if file not in wanted and _inside(target, run.folder) and _hash(target) == content:
            target.unlink()
            remove_if_empty(target.parent)
    write_json(run.folder / PUBLISHED_FILE, wanted)


def _published(path: Path) -> dict[str, str]:
    try:
        found = read_json(path)
    except InputError:
        return {}
    found = found if isinstance(found, dict) else {}
    return {name: content for name, content in found.items() if isinstance(content, str) and name}


def _inside(path: Path, folder: Path) -> bool:
    """Whether a path leads to a file inside of the folder, by no link."""
    try:
        return path.is_file() and path.resolve() == folder.resolve() / path.relative_to(folder)
    except (OSError, ValueError):
        return False


def _hash(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()
