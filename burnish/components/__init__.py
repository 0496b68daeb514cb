"""Everything that is learned and kept: one class to derive from, one writer, one reader.

A component's folder holds its numbers (model.safetensors) and config.json: its class, what its constructor got, and
notes. Both are untrusted when they are read.
"""

from burnish.components.allowed import allow, check_allowed
from burnish.components.component import Component, build, families, frozen, outside_modules
from burnish.components.loading import load, notes
from burnish.components.saving import save

__all__ = [
    "Component",
    "allow",
    "build",
    "check_allowed",
    "families",
    "frozen",
    "load",
    "notes",
    "outside_modules",
    "save",
]
