"""Episodes played on a cluster: ranges of seeds as pieces of a stage's work, with the bits of any other division."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from burnish.data import Episode
from burnish.pipeline import StageContext
from burnish.pipeline.spread import Spread
from burnish.simulators.collect import Chunk
from burnish.simulators.counter import SimulatorUse, count_use, simulator_use
from burnish.simulators.parallel import Progress, WorkerPool

_ARRAYS = ("action", "success", "reward", "terminated")


def pool_in(context: StageContext, usual: WorkerPool) -> WorkerPool:
    """What plays a stage's episodes: a cluster's workers where the stage has them, else the usual processes."""
    return usual if context.spread is None else SpreadPool(context.spread)


class SpreadPool(WorkerPool):
    """A pool whose chunks are played by a cluster's workers; a chunk that was played stays played."""

    def __init__(self, spread: Spread) -> None:
        super().__init__(0)
        self.spread = spread

    def run(
        self,
        function: Callable[[Any], Any],
        chunks: Sequence[Any],
        progress: Progress | None = None,
        sizes: Sequence[int] | None = None,
    ) -> Iterator[Any]:
        """`WorkerPool.run`, for chunks of episodes."""
        pieces: dict[str, tuple[Callable[[Chunk], list[Episode]], Chunk]] = {
            chunk.digest(): (function, chunk) for chunk in chunks
        }
        counts = dict(zip(pieces, sizes or [1] * len(chunks), strict=True))

        def on_done(names: Sequence[str]) -> None:
            if progress is not None:
                progress(sum(counts[name] for name in names), sum(counts.values()))

        for state in self.spread.run(played, pieces, on_done).values():
            count_use(SimulatorUse(**state["use"]))
            yield [_episode(each) for each in state["episodes"]]


def played(piece: tuple[Callable[[Chunk], list[Episode]], Chunk]) -> dict[str, Any]:
    """In a worker: the episodes of a chunk, and what the simulator did for them."""
    function, chunk = piece
    before = simulator_use()
    episodes = function(chunk)
    return {"episodes": [_state(each) for each in episodes], "use": asdict(simulator_use() - before)}


def _state(episode: Episode) -> dict[str, Any]:
    arrays = {name: getattr(episode, name) for name in _ARRAYS}
    return {
        "observation": {key: _tensor(values) for key, values in episode.observation.items()},
        "arrays": {name: _tensor(values) for name, values in arrays.items() if values is not None},
        "said": {"source": episode.source, "seed": episode.seed, "task": episode.task},
    }


def _episode(state: dict[str, Any]) -> Episode:
    observation = {key: values.numpy() for key, values in state["observation"].items()}
    return Episode(observation, **{name: values.numpy() for name, values in state["arrays"].items()}, **state["said"])


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))
