"""A policy as one ONNX file, checked against the policy itself before it is left anywhere."""

import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from burnish.data import STATE, is_image_key
from burnish.deploy.outside import frames_alone, whole_folder
from burnish.errors import InputError, RunError
from burnish.policies import Agent
from burnish.policies.given import FunctionPolicy, ServedPolicy
from burnish.policies.robot import observation_shapes

CHUNK = "action_chunk"
"""The output (1, T_a, A): actions in the data's units, to be executed one after the other."""
ACTION = "action"
"""For policies with a memory: what was executed since the last call (1, A)."""
BEGINS = "begins"
"""For policies with a memory: whether an episode begins (1,); then memory and action are ignored."""
PREFIX = "state."
"""Of the memory's tensors, in; out they are `next_state.…`."""
TOLERANCE = 1e-5
_CHECKS = 5


class FromFrames(nn.Module):
    """The newest frames of the state (1, frames, D), oldest first, to a chunk of actions."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent

    def forward(self, state: Tensor) -> Tensor:
        """Decide."""
        features = self.agent.observer.normaliser.normalise(state).flatten(1)
        return _outside(self.agent, self.agent.policy.act(features, True, None).action_chunk, state[:, -1:])


class FromMemory(nn.Module):
    """Memory, whether an episode begins, what was executed, and observations, to a chunk and the memory afterwards."""

    def __init__(self, agent: Agent, keys: Sequence[str]) -> None:
        super().__init__()
        self.agent, self.keys = agent, keys
        first = agent.observer.initial(1)
        self.kind, self.names = type(first), list(first.tensors())

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Observe and decide."""
        memory, (begins, action, *seen) = given[: len(self.names)], given[len(self.names) :]
        state = self.kind(**dict(zip(self.names, memory, strict=True)))
        observer, observation = self.agent.observer, dict(zip(self.keys, seen, strict=True))
        if self.agent.scaling is not None:
            steps = (self.agent.observer.action_steps, -1)
            action = self.agent.scaling.to_unit(action.unflatten(1, steps)).flatten(1)
        first = observer.observe(observer.initial(1), None, observation)
        state = observer.observe(state, action, observation).where(begins, first)
        chunk = self.agent.policy.act(observer.features(state), True, None).action_chunk
        return _outside(self.agent, chunk, None), *state.tensors().values()


def export_onnx(agent: Agent, out: Path) -> dict[str, Any]:
    """Write OUT/policy.onnx, and the names and shapes of what it takes and gives.

    All for one observation, the first dimension is 1. A policy that decides from the newest frames alone takes
    `observation.state` (1, frames, D). Any other one takes its memory (`state.…`), whether an episode `begins` (1,),
    the `action` that was executed (1, A) and the observations (1, …), and gives the memory back.

    Returns:
        inputs and outputs by name, the largest difference to the policy itself, and where it is.

    Raises:
        InputError: the extra is missing, the file is there, or the policy calls something outside of itself.
        RunError: what ONNX Runtime computes differs by more than 1e-5 of the actions' magnitude.
    """
    onnx, runtime = _library("onnx"), _library("onnxruntime")
    agent = agent.eval()
    module, inputs, outputs = _module(agent)
    names = list(inputs)
    with whole_folder(out) as folder:
        path = folder / "policy.onnx"
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of tracing: sizes are those of one policy
            torch.onnx.export(
                module,
                tuple(inputs.values()),
                str(path),
                input_names=names,
                output_names=outputs,
                opset_version=17,
                dynamo=False,
            )
        onnx.checker.check_model(str(path))
        error = _difference(runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]), module, inputs)
        if not error <= TOLERANCE:
            raise RunError(
                f"ONNX Runtime differs from the policy by {error:.3g} of its actions, expected {TOLERANCE:g}"
            )
    shapes = {name: list(tensor.shape) for name, tensor in inputs.items()}
    return {"inputs": shapes, "outputs": outputs, "difference": error, "path": str(out / "policy.onnx")}


def _module(agent: Agent) -> tuple[nn.Module, dict[str, Tensor], list[str]]:
    """What is exported, example inputs by name, and the names of its outputs."""
    if any(isinstance(part, FunctionPolicy | ServedPolicy) for part in agent.policy.modules()):
        raise InputError("this policy asks a function or a server at every decision, which cannot be exported")
    observer, frames = agent.observer, frames_alone(agent)
    relative = agent.scaling is not None and bool(agent.scaling.relative_to)
    if relative and (frames is None or agent.policy.config.chunk > 1):
        raise InputError(
            "this policy's actions are relative to the state at each frame (--action-targets relative), which one call "
            "for several of them, or with a memory, does not see: serve it (burnish serve), or train it with "
            "--config.policy.chunk 1"
        )
    shapes = observation_shapes(observer)
    if frames is not None:
        return FromFrames(agent), {STATE: torch.zeros(1, frames, *shapes[STATE])}, [CHUNK]
    module = FromMemory(agent, list(shapes))
    inputs = {f"{PREFIX}{name}": tensor for name, tensor in observer.initial(1).tensors().items()}
    outputs = [CHUNK, *(f"next_{name}" for name in inputs)]
    inputs[BEGINS] = torch.zeros(1, dtype=torch.bool)
    inputs[ACTION] = torch.zeros(1, agent.policy.action_dim * observer.action_steps)
    for key, shape in shapes.items():
        kind = torch.uint8 if is_image_key(key) else torch.float32
        inputs[key] = torch.zeros(1, *shape, dtype=kind)
    return module, inputs, outputs


def _difference(session: Any, module: nn.Module, inputs: dict[str, Tensor]) -> float:
    """The largest one over random inputs, as a share of the largest action (or memory) of the policy."""
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for _ in range(_CHECKS):
        drawn = {name: _drawn(module, name, tensor, generator) for name, tensor in inputs.items()}
        with torch.no_grad():
            expected = module(*drawn.values())
        expected = [expected] if isinstance(expected, Tensor) else list(expected)
        found = session.run(None, {name: tensor.numpy() for name, tensor in drawn.items()})
        for one, other in zip(expected, found, strict=True):
            scale = max(1.0, float(one.abs().max()))
            worst = max(worst, float(np.abs(one.numpy().astype(float) - other.astype(float)).max()) / scale)
    return worst


def _drawn(module: Any, name: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """Inputs as they may come: states around the data's mean, pictures of noise, zeros and ones where those are."""
    if like.dtype == torch.uint8:
        return torch.randint(0, 256, like.shape, generator=generator).to(torch.uint8)
    if like.dtype == torch.bool:
        return torch.rand(like.shape, generator=generator) < 0.5
    values = torch.randn(like.shape, generator=generator)
    return module.agent.observer.normaliser.denormalise(values) if name == STATE else 0.1 * values


def _outside(agent: Agent, chunk: Tensor, state: Tensor | None) -> Tensor:
    return chunk if agent.scaling is None else agent.scaling.to_data(chunk, state)


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"export to ONNX needs the extra export: pip install -e '.[export]' ({error})") from error
