"""The supervised loop: anything with `loss(batch) -> (loss, metrics)` trains here, and resumes where it was killed."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from burnish.config import within
from burnish.data.rows import RowSampler
from burnish.errors import InputError, RunError
from burnish.storage import save_state
from burnish.training.ema import ExponentialMovingAverage
from burnish.training.metrics import MetricsLog
from burnish.training.processes import ALONE, Processes, current
from burnish.training.resume import RESUME_FILE, taking_up
from burnish.training.validation import Validate, Validation


@dataclass(frozen=True)
class TrainingConfig:
    """Optimiser and length of one training run."""

    steps: int = within(2000, 1)
    batch_size: int = within(256, 1)
    """Rows of one step, all processes together."""
    learning_rate: float = within(1e-3, 0, open_low=True)
    """Peak of a schedule that warms up linearly over 2 % of the steps and falls along a cosine to zero."""
    weight_decay: float = within(1e-4, 0)
    gradient_clip: float = within(1.0, 0, open_low=True)
    ema_decay: float | None = within(0.995, 0, 1, open_high=True)
    log_every: int = within(50, 1)
    checkpoint_seconds: float = within(10.0, 0)
    validate_every: int | None = within(None, 1)
    """Steps between two validations on held-out data; None: none. Only some stages have something to validate."""
    patience: int | None = within(None, 1)
    """Stop after this many validations without a better one, and end with the best validated weights. None: all
    steps, and the last weights. The learning rate falls along a cosine over all planned steps, so weights from before
    its end are worse by construction: patience saves time where a model overfits, or where too many steps are planned,
    and is no way to better weights."""
    stop_by: str | None = None
    """The number of the validation that patience goes by; None: its first. World models of vectors have
    `open_loop_error` and `outcome_error`."""


class Sampler(Protocol):
    """Draws training batches; all its randomness comes from the generator, so that a resumed run sees the same.

    A sampler with a place of its own (`Streams`) also has `state_dict` and `load_state_dict`; tensors in that state
    have one row for each row of a batch.
    """

    def sample(self, batch_size: int, generator: torch.Generator) -> Any:
        """Draw a batch."""
        ...


OnStep = Callable[[int, dict[str, float]], None]


def fit(
    model: nn.Module,
    sampler: Sampler,
    config: TrainingConfig,
    folder: Path,
    seed: int,
    on_step: OnStep | None = None,
    validate: Validate | None = None,
) -> dict[str, float]:
    """Train `model` in place and return its last metrics.

    `folder` receives metrics.jsonl, TensorBoard events and `resume.safetensors`; with the latter present, training
    goes on from it and ends, on a CPU, with the same bits as if it had never stopped. `on_step(step, metrics)` is for
    progress bars. Raises RunError where the loss is no longer finite,
    DamagedResume (a RunError) where the resume state cannot be taken up.

    `validate()` measures `model` on held-out data, where the configuration asks for it: with averaged weights where
    there are any, in evaluation mode, without gradients, and without a trace in the training's random numbers. What it
    finds is logged as "validation/…"; by its first number, or `stop_by`, of which less is better, `patience` counts.
    InputError where the configuration asks and there is nothing to validate.

    Where this process has joined others (`processes.join`), all of them call this together. Each draws the same
    batch, gathers its share of the rows (of a `RowSampler`; of other samplers it has all, and keeps its share),
    computes the loss of these, and gradients are averaged: for a loss that is a mean over rows they are those of one
    process. What the loss itself draws at random differs from process to process. A model whose
    loss compares rows says `loss_compares_rows = True`; then every process computes the whole batch. Only the first
    process validates, writes into `folder` and calls `on_step`; a resume may have another number of processes. Raises
    InputError where they cannot share the batch evenly.
    """
    device = next(model.parameters()).device
    processes = current()
    processes.share(config.batch_size, f"{folder.name}: batch_size")
    shared = not getattr(model, "loss_compares_rows", False)
    torch.manual_seed(processes.seed(seed))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    processes.begin_alike(model)
    ema = ExponentialMovingAverage(model, config.ema_decay) if config.ema_decay else None
    generator = torch.Generator(device=device).manual_seed(seed)
    log = MetricsLog(folder, silent=not processes.first)
    rows = config.batch_size if shared else None
    validation = _validation(config, folder.name, model, ema, validate, processes)
    path = folder / RESUME_FILE
    run = _Resumable(path, model, optimizer, ema, validation, generator, sampler, rows)
    with taking_up(path, processes):
        start = run.restore(seed)
    log.rewind(start)

    loss_of = cast(Callable[[Any], tuple[Tensor, dict[str, Tensor]]], model.loss)
    model.train()
    last: dict[str, float] = {}
    saved_at = time.monotonic()
    for step in range(start, config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * schedule(step, config.steps)
        loss, metrics = loss_of(_share(sampler, config.batch_size, generator, processes if shared else ALONE))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        processes.average_gradients(model.parameters())
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        optimizer.step()
        if ema:
            ema.update()
        done = step + 1
        judged = validation is not None and (done % validation.every == 0 or done == config.steps)
        if judged or done % config.log_every == 0 or done == config.steps:
            last = {"loss": float(loss.detach()), "gradient_norm": float(norm)}
            last |= {name: float(value) for name, value in metrics.items()}
            last = processes.mean_of(last)
            if not math.isfinite(last["loss"]):
                raise RunError(
                    f"{folder.name}: the training loss is {last['loss']} at step {done}; lower learning_rate"
                )
            if validation and judged:
                last |= validation.measure()
            log.write(done, last)
            if on_step and processes.first:
                on_step(done, last)
        if validation and validation.over:
            break
        due = time.monotonic() - saved_at > config.checkpoint_seconds and done < config.steps
        # Several processes go by the first one's clock; they ask it, which is an exchange, at some steps only.
        asked = processes.count == 1 or done % config.log_every == 0
        if asked and processes.agree(due):
            run.save(done)
            saved_at = time.monotonic()
    if ema:
        ema.copy_to_module()
    if validation and validation.weights is not None:
        model.load_state_dict(validation.weights)
    model.eval()
    log.close()
    return last


def _share(sampler: Sampler, batch_size: int, generator: torch.Generator, processes: Processes) -> Any:
    """This process's rows of a batch, the same bits whether all rows were gathered or these alone."""
    if processes.count > 1 and isinstance(sampler, RowSampler):
        return sampler.gather(processes.rows(sampler.draw(batch_size, generator), batch_size))
    return processes.rows(sampler.sample(batch_size, generator), batch_size)


def schedule(step: int, steps: int, warmup_share: float = 0.02) -> float:
    """Learning-rate factor at `step`: linear warm-up, then a cosine to zero."""
    warmup = max(1, round(warmup_share * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _validation(
    config: TrainingConfig,
    name: str,
    model: nn.Module,
    ema: ExponentialMovingAverage | None,
    validate: Validate | None,
    processes: Processes,
) -> Validation | None:
    """None where nothing is asked for; InputError where it cannot be done."""
    every, patience = config.validate_every, config.patience
    if config.stop_by is not None and patience is None:
        raise InputError(f"{name}: stop_by is '{config.stop_by}', but without patience training does not stop")
    if every is None and patience is None:
        return None
    if every is None or every < 1 or (patience is not None and patience < 1):
        raise InputError(f"{name}: validate_every is {every} and patience {patience}, expected 1 or more")
    if validate is None:
        raise InputError(f"{name}: validate_every is {every}, but here nothing is validated")
    return Validation(model, ema, validate, every, patience, processes, config.stop_by)


class _Resumable:
    """Everything that the rest of a training run depends on, in one safetensors file of the first process.

    `rows` is the number of rows of a batch that the processes share, None where each has them all.
    """

    def __init__(
        self,
        path: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        ema: ExponentialMovingAverage | None,
        validation: Validation | None,
        generator: torch.Generator,
        sampler: Any,
        rows: int | None,
    ) -> None:
        self.path, self.model, self.optimizer, self.ema, self.generator = path, model, optimizer, ema, generator
        self.sampler = sampler if hasattr(sampler, "state_dict") else None
        self.validation, self.rows, self.processes = validation, rows, current()

    def save(self, step: int) -> None:
        """All processes together: the sampler's rows and the random states are gathered."""
        sampler = self.sampler.state_dict() if self.sampler else None
        state = {
            "step": step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "generator": self.generator.get_state(),
            "sampler": self.processes.gather_all(sampler) if self.rows else sampler,
            "global_rng": self.processes.gather(torch.get_rng_state()[None]),
        }
        if self.validation:
            state["validation"] = self.validation.state_dict()
        if torch.cuda.is_available():
            state["cuda_rng"] = self.processes.gather(torch.cuda.get_rng_state()[None])
        if self.processes.first:
            save_state(self.path, state)

    def restore(self, seed: int) -> int:
        """Go to the saved step, 0 where nothing was saved; the number of processes may be another one now."""
        state = self.processes.load_state(self.path)
        if state is None:
            return 0
        step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        _lay_out_alike(self.optimizer)
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        if self.validation and "validation" in state:
            self.validation.load_state_dict(state["validation"])
        self.generator.set_state(state["generator"])
        if self.sampler:
            saved = state["sampler"]
            self.sampler.load_state_dict(self.processes.rows(saved, self.rows) if self.rows else saved)
        rank, states = self.processes.rank, torch.atleast_2d(state["global_rng"])
        if rank >= len(states):
            # A process that was not there before: what it draws now, none has drawn yet.
            torch.manual_seed(self.processes.seed(seed) + step)
            return step
        # Cloned: a generator reads a view's memory from its beginning.
        torch.set_rng_state(states[rank].clone())
        if torch.cuda.is_available() and "cuda_rng" in state:
            torch.cuda.set_rng_state(torch.atleast_2d(state["cuda_rng"])[rank].clone())
        return step


def _lay_out_alike(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimiser's tensors the memory layout of their parameters: files keep none, and a fused step pairs them
    as they lie in memory."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter).copy_(value)
