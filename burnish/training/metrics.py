"""metrics.jsonl and TensorBoard, side by side, both consistent after a resume."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from burnish.storage import write_bytes_atomic

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class MetricsLog:
    """Appends rows {"step": …, name: value, …} to metrics.jsonl and to TensorBoard events in the same folder.

    A silent one writes nothing: of several processes only one keeps the log.
    """

    def __init__(self, folder: Path, silent: bool = False) -> None:
        self.silent = silent
        if not silent:
            folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        self.folder = folder
        self.writer: SummaryWriter | None = None

    def rewind(self, step: int) -> None:
        """Forget what was logged after `step`: a resumed run writes it again."""
        if self.silent:
            return
        rows = []
        if self.path.exists():
            for line in self.path.read_text(errors="replace").splitlines():
                try:
                    row = json.loads(line)
                    if row["step"] <= step:
                        rows.append(json.dumps(row))
                except (ValueError, TypeError, LookupError):  # a line cut short by a kill, or damaged
                    continue
        write_bytes_atomic(self.path, "".join(row + "\n" for row in rows).encode())
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self.writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log one row."""
        if self.silent:
            return
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self.writer:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush the TensorBoard events."""
        if self.writer:
            self.writer.close()
