"""Code of the user's own that a component names, and what of it may be called."""

import os

from burnish.errors import InputError

_ALLOWED = "BURNISH_ALLOWED_POLICIES"
"""The environment variable that names, between spaces, what may be called; child processes inherit it."""


def allow(source: str) -> None:
    """Let components call `source` (module:factory, or a server), here and in later processes of this one.

    What a file names is never imported or connected to by itself.
    """
    os.environ[_ALLOWED] = " ".join({*os.environ.get(_ALLOWED, "").split(), source})


def check_allowed(source: str) -> None:
    """Raise InputError where nobody has said that `source` may be called."""
    if source not in os.environ.get(_ALLOWED, "").split():
        raise InputError(
            f"this model is '{source}', outside of its files; where it is yours, allow it: --trust-code, or "
            f"burnish.components.allow('{source}')"
        )
