"""`burnish data`: a look at somebody's data set, and the same data in the format that Burnish writes."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from burnish.config import check
from burnish.data import write_dataset
from burnish.data.formats import ReadingRule, format_of
from burnish.data.formats.base import SourceFormat
from burnish.data.inspection import Inspection, inspect
from burnish.data.reading import assemble
from burnish.data.success import UNTOLD
from burnish.storage import write_bytes_atomic


@dataclass(frozen=True)
class InspectOptions:
    """What one can say about a look at a data set."""

    json: bool = False
    """Print everything as JSON, for programs."""
    page: Path | None = None
    """Write a page of plots here (HTML)."""
    reading: Annotated[ReadingRule, tyro.conf.OmitArgPrefixes] = field(default_factory=ReadingRule)
    """How the data set is read."""


@dataclass(frozen=True)
class ConvertOptions:
    """What one can say about a conversion."""

    to: Literal["lerobot"] = "lerobot"
    """The format that is written: lerobot (LeRobotDataset v3.0)."""
    cameras: tuple[str, ...] | None = None
    """Cameras to take along; default all."""
    pictures: Literal["image", "video"] = "video"
    """As MP4 (smaller, not exact), or as PNG (exact)."""
    reading: Annotated[ReadingRule, tyro.conf.OmitArgPrefixes] = field(default_factory=ReadingRule)
    """How the data set is read."""


def inspect_data(path: Path, options: InspectOptions) -> Inspection:
    """Look at a data set, print what was found, and write the page that was asked for.

    Raises:
        InputError: nothing of it can be read.
    """
    check(options, "")
    found = inspect(path, options.reading)
    if options.page is not None:
        from burnish.report.data_page import data_page

        write_bytes_atomic(options.page, data_page(found).encode())
    print(json.dumps(found.to_json(), indent=2, ensure_ascii=False) if options.json else summary(found))
    return found


def summary(found: Inspection) -> str:
    """What was found, for a terminal."""
    facts, data = found.to_json(), found.dataset
    lengths = "{min:.0f} to {max:.0f} frames (median {median:.0f})".format(**facts["lengths"])
    lines = [
        f"{found.path}: {found.title}",
        f"  {data.num_episodes} episodes, {data.num_frames} frames at {data.info.fps:g} a second, {lengths}",
        f"  state of {len(facts['state'])}, action of {data.action_dim}",
        f"  cameras: {', '.join(found.cameras) or 'none'}",
        f"  tasks: {', '.join(f'{name} ({episodes})' for name, episodes in facts['tasks'].items())}",
    ]
    for name, each in facts["sources"].items():
        returns = f", mean return {each['mean_return']:.4g}" if "mean_return" in each else ""
        lines.append(f"  {name}: {each['successes']} of {each['episodes']} episodes succeed{returns}")
    lines += [f"{each.level}: {each.text}" for each in found.findings]
    return "\n".join([*lines, "usable" if found.usable else "not usable as it is"])


def convert_data(path: Path, out: Path, options: ConvertOptions) -> str:
    """Write a data set of any known format as a LeRobotDataset v3.0; returns what was done, in words.

    Raises:
        InputError: it cannot be read, or `out` exists.
    """
    check(options, "")
    kind = format_of(path)
    if not isinstance(kind, SourceFormat):
        dataset, labelled = kind.read(path, options.reading, options.cameras), True
    else:
        source, choice = kind.open(path), replace(options.reading.choice())
        labelled = choice.success.last_frames is not None or choice.success.is_told_by(source)
        dataset = assemble(source, choice if labelled else replace(choice, success=UNTOLD), options.cameras)
    write_dataset(out, dataset.episodes(), dataset.info, pictures=options.pictures, labelled=labelled)
    words = [f"{out}: {dataset.num_episodes} episodes, {dataset.num_frames} frames, from {kind.title}"]
    return "\n".join([*words, *dataset.info.notes])
