"""Writing a result so that a reader finds either the old file or the whole new one."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from burnish.errors import RunError


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to a temporary name beside `path`, then rename; on failure the old file stays as it was.

    Raises RunError, naming the file, where the folder cannot be written (disk full, read-only).
    """
    path = Path(path)
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            # mkstemp makes the file private; a report is for everybody who may read the folder.
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError):
            raise RunError(f"{path}: could not be written: {error.strerror or error}") from error
        raise
