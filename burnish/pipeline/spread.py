"""A stage's own work spread over a cluster: pieces that do not wait for each other, each of which leaves a file.

As with stages, what is done is read from the folder: started again after any end, the same call does the pieces that
left no file.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from burnish.pipeline.executors import Executor, wait
from burnish.pipeline.own_files import remove_own
from burnish.pipeline.worker import Asked
from burnish.storage import load_state, save_state

_FOLDER = "pieces"
_INTERVAL = 1.0

Work = Callable[[Any], Any]
"""Does one piece, in a worker: what `storage.save_state` can keep. A module's function."""


class Spread:
    """Where the body of a stage may have pieces of its work done (`StageContext.spread`).

    Args:
        executor: whose workers do them.
        asked: what workers need to know; `asked.where.jobs` is into how many shares pieces are divided.
        run_folder: which all workers see.
        folder: the stage's partial folder.
    """

    def __init__(self, executor: Executor, asked: Asked, run_folder: Path, folder: Path) -> None:
        self.executor, self.asked, self.run_folder = executor, asked, run_folder.absolute()
        self.folder = folder.absolute() / _FOLDER

    def run(
        self, work: Work, pieces: dict[str, Any], on_done: Callable[[Sequence[str]], None] | None = None
    ) -> dict[str, Any]:
        """What `work` says of each piece, by the pieces' names, which say all that a result depends on.

        Args:
            work: what is done with a piece.
            pieces: by names that are fit for files.
            on_done: called with the names of those that are done, from time to time.

        Raises:
            BurnishError: of a piece, or RunError where a worker was lost.
        """
        files = {name: self.folder / f"{name}.safetensors" for name in pieces}
        self.folder.mkdir(parents=True, exist_ok=True)
        left = [name for name, file in files.items() if not file.exists()]
        shares = [left[first:last] for first, last in _ranges(len(left), self.asked.where.jobs)]
        calls = [
            (work, [(pieces[name], files[name]) for name in share], self.asked, self.run_folder) for share in shares
        ]
        running = self.executor.submit(do_pieces, calls) if calls else []
        while running:
            for handle in wait(running, _INTERVAL):
                running.remove(handle)
                handle.result()
            if on_done is not None:
                on_done([name for name, file in files.items() if file.exists()])
        return {name: load_state(file) for name, file in files.items()}

    def clear(self) -> None:
        """Remove the pieces' files: the stage has what it needs of them."""
        remove_own(self.folder)


def do_pieces(work: Work, pieces: Sequence[tuple[Any, Path]], asked: Asked, run_folder: Path) -> None:
    """In a worker: the pieces that left no file yet."""
    asked.prepare(run_folder)
    for piece, file in pieces:
        if not file.exists():
            save_state(file, work(piece))


def _ranges(count: int, shares: int) -> list[tuple[int, int]]:
    """So many ranges, none of them empty, whose lengths differ by at most one."""
    shares = min(shares, count)
    return [(count * k // shares, count * (k + 1) // shares) for k in range(shares)]
