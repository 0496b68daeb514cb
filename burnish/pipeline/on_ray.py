"""Stages as tasks of Ray."""

import contextlib
import importlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.errors import BurnishError, InputError, RunError
from burnish.pipeline.executors import LOG_LINES, LOST, ExecutorConfig, Handle

_PATIENCE = 10.0
"""Seconds within which a cluster answers."""


class RayExecutor:
    """Tasks with CPUs, GPUs and resources; one whose node is lost is started again elsewhere, and resumes."""

    def __init__(self, config: ExecutorConfig) -> None:
        """Join the cluster that RAY_ADDRESS names, or start one of this machine.

        Raises:
            InputError: Ray is not installed, the cluster cannot be joined, or no node has what a stage asks for.
        """
        try:
            ray: Any = importlib.import_module("ray")
        except ModuleNotFoundError:
            raise InputError("--executor ray: ray is not installed; pip install -e '.[ray]'") from None
        self._ray, self._refs = ray, list[Any]()
        self._own = not ray.is_initialized()
        if self._own:
            _join(ray, os.environ.get("RAY_ADDRESS"))
        wanted = {"CPU": float(config.cpus), "GPU": float(config.gpus), **config.named}
        wanted = {name: float(value) for name, value in wanted.items() if value}
        lacking = _lacking(wanted, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        if lacking is not None:
            self.close()
            raise InputError(lacking)
        others = {name: value for name, value in wanted.items() if name not in ("CPU", "GPU")}
        environment = {"env_vars": {"OMP_NUM_THREADS": str(config.cpus)}}
        self._options = {"num_cpus": config.cpus, "num_gpus": config.gpus, "resources": others, "max_retries": -1}
        self._options["runtime_env"] = environment

    def submit(self, function: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> list[Handle]:
        """Hand in the same function for several arguments at once."""
        remote = self._ray.remote(**self._options)(function)
        refs = [remote.remote(*arguments) for arguments in calls]
        self._refs += refs
        return [_Task(self._ray, ref) for ref in refs]

    def close(self) -> None:
        """Cancel what still runs, and leave the cluster."""
        pending = self._ray.wait(self._refs, num_returns=len(self._refs), timeout=0)[1] if self._refs else []
        for ref in pending:
            self._ray.cancel(ref, force=True)
        if self._own:
            self._ray.shutdown()


def _join(ray: Any, address: str | None) -> None:
    """Ray's own words in one sentence where there is no cluster, or one of another version of Ray or Python."""
    try:
        _knock(address or "")
        with _own_termination():
            ray.init(address=address, log_to_driver=False, num_cpus=None if address else os.cpu_count())
    except (OSError, RuntimeError, ValueError) as error:  # of OSError: no connection
        where = f"the cluster at RAY_ADDRESS={address} cannot be joined" if address else "no cluster could be started"
        raise InputError(f"--executor ray: {where}: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def _own_termination() -> Iterator[None]:
    """SIGTERM goes on to mean what it meant: Ray would end the process at once, and nobody would hear how to resume."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _knock(address: str) -> None:
    """OSError where nobody listens at HOST:PORT; Ray itself would try for some minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def _lacking(wanted: dict[str, float], nodes: list[dict[str, float]]) -> str | None:
    """What no node has of what a stage asks for; None where some node has it all."""
    if any(all(node.get(name, 0) >= value for name, value in wanted.items()) for node in nodes):
        return None
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in wanted}
    return f"--executor ray: a stage asks for {wanted}, and the most that nodes have is {most}"


@dataclass(frozen=True)
class _Task:
    ray: Any
    ref: Any

    def done(self) -> bool:
        return bool(self.ray.wait([self.ref], timeout=0)[0])

    def result(self) -> None:
        errors = self.ray.exceptions
        try:
            self.ray.get(self.ref)
        except errors.RayTaskError as error:
            if isinstance(error.cause, BurnishError):
                raise error.cause from error  # its own sentence; what Ray raises has the worker's traceback for words
            # Ray's own error as the cause: the worker could not read what it was sent.
            said = str(error.cause if isinstance(error.cause, errors.RayError) else error).strip()
            last = "\n  ".join(said.splitlines()[-LOG_LINES:])
            raise RunError(f"a worker of Ray failed; its last lines:\n  {last}") from error
        except errors.RayError as error:
            raise RunError(f"{LOST} ({' '.join(str(error).split())[:300]})") from error
