"""Does the stages of a graph that are not done yet, in a run folder, on a device."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from burnish.components import Component, load, save
from burnish.data import ActionScaling, Dataset, Recording, read_dataset, store_dataset
from burnish.errors import InputError
from burnish.pipeline.beside import execute_beside, input_names
from burnish.pipeline.executors import ExecutorConfig
from burnish.pipeline.finished import finished_manifest
from burnish.pipeline.graph import Absent, External, Reading, Stage, map_inputs, ordered
from burnish.pipeline.memory import memory_explained
from burnish.pipeline.outlook import Outlook
from burnish.pipeline.progress import plan_stages, report_outlook
from burnish.pipeline.run_folder import RunFolder
from burnish.pipeline.shared import SharedRun
from burnish.pipeline.stages import StageContext
from burnish.training import current

CPU = torch.device("cpu")
_WORTH_SAYING = 2.0
"""Seconds that a stage took now, after which it is said how long the rest will take."""
SCALING = "action_scaling"
"""The note (`components.notes`) by which what was learned says how the actions of its data were scaled."""


def execute(
    targets: Sequence[Stage], run: SharedRun, device: torch.device = CPU, where: ExecutorConfig | None = None
) -> None:
    """Do the targets and everything that they need; what is up to date stays.

    With an executor, stages that do not wait for each other are trained side by side there (`beside`); else one after
    the other in this process.

    Raises:
        InputError: the graph is none (`ordered`), or a target is absent for a reason in the data.
    """
    stages = ordered(targets)
    if run.run is not None:
        _register(stages, run.run)
        run.run.check_places(each.name for each in stages)
        plan_stages(each.name for each in stages)
    if where is not None and run.run is not None:
        execute_beside(stages, run.run, {each.name: body_of(each, device) for each in stages}, where)
    else:
        outlook = Outlook(stages)
        for each in stages:
            began = time.monotonic()
            run.stage(each.name, each.describe(), input_names(each), body_of(each, device), each.alone)
            if run.run is not None:
                outlook.done(each.name, run.run.stage_info(each.name)["seconds"])
                if time.monotonic() - began > _WORTH_SAYING:
                    report_outlook(outlook.words())
    for target in targets:
        absent = _absent(run.folder / target.name)
        if absent is not None:
            raise InputError(str(absent))


def planned(targets: Sequence[Stage], folder: RunFolder) -> dict[str, str | None]:
    """Why `execute` would do each of the stages, None where it is up to date; changes nothing."""
    stages = ordered(targets)
    _register(stages, folder)
    return folder.plan((each.name, each.describe(), input_names(each), 1) for each in stages)


def _register(stages: Sequence[Stage], folder: RunFolder) -> None:
    for each in stages:
        for outside in each.inputs:
            if isinstance(outside, External):
                folder.external_input(outside.name, outside.path)


def body_of(each: Stage, device: torch.device) -> Any:
    """What `Run.stage` calls: loads the inputs, does the work, and keeps its result."""
    where = CPU if each.alone else device

    def work(context: StageContext) -> None:
        context.device = where
        # A result is the same bit for bit only for the same number of threads and processes.
        context.record("threads", torch.get_num_threads())
        context.record("processes", current().count)
        context.record("device", where.type)
        if each.role is not None:
            context.record("role", each.role)
        try:
            arguments = {
                name: map_inputs(value, lambda found: _loaded(found, context, each.lenient))
                for name, value in each.arguments.items()
            }
            with memory_explained(each.name, each.describe()):
                result = each.body(context, **arguments)
        except Absent as reason:
            context.record("absent", str(reason))
            return
        _keep(context, result, _scaling(arguments))

    return work


def _scaling(value: Any) -> ActionScaling | None:
    """By what the actions of the data among a stage's arguments were scaled."""
    if isinstance(value, Dataset):
        return value.info.scaling
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return next((found for found in map(_scaling, items) if found is not None), None)


def _loaded(found: Stage | Reading | External, context: StageContext, lenient: bool) -> Any:
    if isinstance(found, External):
        return found.path
    source = found.stage if isinstance(found, Reading) else found
    folder = context.inputs[source.name]
    absent = _absent(folder)
    if absent is not None:
        if lenient:
            return absent
        raise absent
    try:
        result = found.function(folder, **found.settings) if isinstance(found, Reading) else read_result(folder)
    except Absent as reason:
        if lenient:
            return reason
        raise
    return placed(result, context.device)


def placed(result: Any, device: torch.device) -> Any:
    """A result, or a tuple of results, on a device."""
    if isinstance(result, tuple) and not hasattr(result, "to"):
        return tuple(placed(each, device) for each in result)
    if isinstance(result, Dataset):
        return result.to(device) if fits(result, device) else result
    return result.to(device) if isinstance(result, Component) else result


def fits(dataset: Dataset, device: torch.device) -> bool:
    """Whether a data set takes at most half of the free memory of a GPU; else its windows are moved batch by batch."""
    if device.type == "cpu":
        return True
    tensors = [dataset.actions, dataset.success, *dataset.observations.values()]
    return 2 * sum(tensor.nbytes for tensor in tensors) <= torch.cuda.mem_get_info(device)[0]


def read_result(folder: Path) -> Any:
    """What a finished stage's body returned; the folder where it left files only."""
    outputs = _outputs(folder)
    kind = outputs.get("result", "files")
    if kind == "component":
        return load(folder, Component)
    return read_dataset(folder, cameras=()) if kind == "dataset" else folder


def _keep(context: StageContext, result: Any, scaling: ActionScaling | None) -> None:
    """What was learned is kept with the scaling of the actions that it learned from."""
    if result is None:
        context.record("result", "files")
    elif isinstance(result, Component):
        save(context.folder, result, {} if scaling is None else {SCALING: scaling})
        context.record("result", "component")
    elif isinstance(result, Recording):
        store_dataset(context.folder, result)
        context.record("result", "dataset")
    elif isinstance(result, Dataset):
        store_dataset(context.folder, Recording(result.to(CPU).episodes(), result.info))
        context.record("result", "dataset")
    else:
        raise TypeError(f"stage '{context.name}' returned a {type(result).__name__}, expected a Component or a Dataset")


def _absent(folder: Path) -> Absent | None:
    reason = _outputs(folder).get("absent")
    return None if reason is None else Absent(str(reason))


def _outputs(folder: Path) -> Mapping[str, Any]:
    manifest = finished_manifest(folder)
    return {} if manifest is None else manifest["outputs"]
