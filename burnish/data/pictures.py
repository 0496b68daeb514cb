"""The pictures of a data set: which are read, whether there is room for them, and where they are when it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from burnish.data.checks import EpisodeFault, Faults, bad_input
from burnish.data.decoding import Target, decode
from burnish.data.episodes import image_key
from burnish.data.frames import Frames, Shown, Source
from burnish.data.framing import Framing
from burnish.data.lerobot_format import ColumnError
from burnish.data.mapped import MappedRows
from burnish.data.row_store import RowKind, RowStore
from burnish.data.striding import Stride

Spans = Mapping[int, range]
"""By an episode's number: the rows that its pictures have in a file."""


@dataclass(frozen=True)
class Gallery:
    """How pictures are read, and where they go."""

    framing: Framing
    stride: Stride
    store: RowStore


def read_pictures(
    source: Source, frames: Frames, cameras: Sequence[str], gallery: Gallery, faults: Faults
) -> dict[str, Tensor]:
    """The pictures of some cameras by name, uint8 (F, H, W, 3): of the frames that the stride keeps.

    Nothing is decoded before it is known that there is room for all. Episodes with bad pictures are `faults`; pictures
    are those of the others.

    Raises:
        InputError: a picture is missing, broken or of another size, or there is no room.
        RunError: the disk cannot be written.
    """
    shown = {name: _shown(source, frames, name, gallery, faults) for name in cameras}
    frames = frames.without(faults.found)
    kept = {
        number: gallery.stride.kept(length)
        for number, length in zip(frames.numbers.tolist(), frames.lengths.tolist(), strict=True)
    }
    kept = {number: each for number, each in kept.items() if each}
    stored = {name: _stored(source, frames, name, shown[name], kept) for name in cameras}
    due = [name for name in cameras if stored[name] is None and kept]
    spans = _decoded(source, frames, {name: shown[name] for name in due}, kept, gallery.store, faults)
    good = [number for number in kept if number not in faults.found]
    whole = len(good) == len(kept)
    found: dict[str, Tensor] = {}
    for name in cameras:
        rows = stored[name]
        if rows is not None:
            index = None if whole else _rows(_behind(kept), good)
            found[name] = rows if index is None else rows.choose(index)
        elif good:
            found[name] = gallery.store.finish(image_key(name), _rows(spans[name], good), whole)
    return found


def _decoded(
    source: Source, frames: Frames, shown: Mapping[str, Shown], kept: Spans, store: RowStore, faults: Faults
) -> dict[str, Spans]:
    """Decode what is not there yet; where each camera's pictures are then."""
    total, targets, spans, room = sum(map(len, kept.values())), [], {}, {}
    for name, each in shown.items():
        kind = RowKind((*each.view.shape(*each.size), 3))
        first = store.begin(image_key(name), total, kind, f"{each} {source.picture_identity(name, frames)}")
        spans[name] = _behind(kept, first or 0)
        if first is not None:
            room[name] = total * kind.bytes
            jobs = partial(source.picture_jobs, name, frames, shown=each)
            targets.append(Target(image_key(name), spans[name], jobs))
    store.check_room(room)
    decode(targets, store, faults)
    return spans


def _shown(source: Source, frames: Frames, camera: str, gallery: Gallery, faults: Faults) -> Shown:
    """What becomes of a camera's pictures; an episode that does not even tell their size is a fault."""
    while True:
        left = frames.without(faults.found)
        if not len(left.numbers):
            raise bad_input(source.where, "no episode whose pictures are whole", "one", field=source.cameras[camera])
        try:
            shown = Shown(source.picture_size(camera, left), gallery.framing.of(camera), gallery.stride)
            shown.view.shape(*shown.size)
            return shown
        except ColumnError as error:
            raise bad_input(source.where, error.found, error.expected, field=source.cameras[camera]) from error
        except EpisodeFault as fault:
            faults.add(fault)


def _stored(source: Source, frames: Frames, camera: str, shown: Shown, kept: Spans) -> MappedRows | None:
    """Pictures that lie there as they are wanted."""
    rows = source.stored_pictures(camera, frames) if shown.view.keeps(*shown.size) else None
    if rows is None or sum(map(len, kept.values())) == frames.total:
        return rows
    starts = dict(zip(frames.numbers.tolist(), frames.starts.tolist(), strict=True))
    index = [starts[number] + np.array(each) for number, each in kept.items()]
    return rows.choose(torch.from_numpy(np.concatenate(index) if index else np.zeros(0, np.int64)))


def _behind(kept: Spans, first: int = 0) -> Spans:
    """The rows of episodes one behind the other."""
    lengths = [len(each) for each in kept.values()]
    ends = list(accumulate(lengths, initial=first))
    return {number: range(begin, begin + count) for number, begin, count in zip(kept, ends, lengths, strict=False)}


def _rows(spans: Spans, numbers: Sequence[int]) -> Tensor | None:
    """The rows of some episodes, None where they are all that there are and the file has no others."""
    wanted = [spans[number] for number in numbers]
    if len(wanted) == len(spans) and wanted[0].start == 0:
        return None
    return torch.from_numpy(np.concatenate([np.arange(each.start, each.stop) for each in wanted]))
