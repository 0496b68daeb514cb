"""Drawing with OpenGL on a machine without a screen or GPU."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import os
import sys

from burnish.errors import RunError

PACKAGES = "apt-get install libegl1 libgl1-mesa-dri (EGL), or libosmesa6 (OSMesa)"
"""The system packages that may be missing."""


def choose_backend() -> None:
    """Let MuJoCo draw with EGL, or OSMesa where that is missing; the user's MUJOCO_GL wins.

    Raises:
        RunError: neither is there, or it does not load.
    """
    if os.environ.get("MUJOCO_GL"):
        return
    for backend, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
        if not _loads(library):
            continue
        if "mujoco" in sys.modules:
            try:
                context = importlib.import_module(f"mujoco.{backend}").GLContext
            except Exception as error:
                raise RunError(f"OpenGL's {library} library does not load ({error}); try: {PACKAGES}") from error
            # MuJoCo chose when it was first imported, long before anyone wanted pictures.
            vars(importlib.import_module("mujoco.gl_context"))["GLContext"] = context
        os.environ["MUJOCO_GL"] = backend
        return
    raise RunError(f"no off-screen OpenGL library found: {PACKAGES}")


def _loads(library: str) -> bool:
    name = ctypes.util.find_library(library)
    if name is None:
        return False
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
