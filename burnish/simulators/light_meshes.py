"""A MuJoCo model with fewer triangles, for drawing small pictures quickly."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import numpy as np

from burnish.errors import InputError

_KEPT, _FEWEST = 0.1, 300
"""Share of a mesh's triangles that stays, and the number below which a mesh is left alone."""
_CAREFUL = 3
"""fast-simplification's `agg`: its default, 7, is quicker and tears more holes."""


def with_light_meshes(model: Any) -> Any:
    """A copy of a compiled model in which large meshes have a tenth of their triangles; only for drawing.

    Meta-World's robot has 67,000 triangles, which a renderer without a GPU cannot hide at 64 pixels. Meshes are made
    lighter where they lie, in the frame that MuJoCo compiled them to, so no geom moves and the copy draws any `MjData`
    of the original. Meshes with a texture stay as they are.

    Raises:
        InputError: fast-simplification is not installed.
    """
    light = copy.copy(model)
    for mesh in range(light.nmesh):
        large = light.mesh_facenum[mesh] > _FEWEST
        # The lighter mesh has one normal for each vertex.
        has_room = light.mesh_normalnum[mesh] >= light.mesh_vertnum[mesh]
        if large and has_room and light.mesh_texcoordadr[mesh] < 0:
            _lighten(light, mesh)
    return light


def _lighten(model: Any, mesh: int) -> None:
    first_vertex, first_face = model.mesh_vertadr[mesh], model.mesh_faceadr[mesh]
    vertices = model.mesh_vert[first_vertex : first_vertex + model.mesh_vertnum[mesh]]
    faces = model.mesh_face[first_face : first_face + model.mesh_facenum[mesh]]
    fewer, triangles = _simplify(vertices, faces, max(_FEWEST, int(_KEPT * len(faces))))
    normals = _vertex_normals(fewer, triangles)
    _fill(model.mesh_vert, first_vertex, fewer)
    _fill(model.mesh_normal, model.mesh_normaladr[mesh], normals)
    _fill(model.mesh_face, first_face, triangles)
    _fill(model.mesh_facenormal, first_face, triangles)
    model.mesh_vertnum[mesh] = model.mesh_normalnum[mesh] = len(fewer)
    model.mesh_facenum[mesh] = len(triangles)
    # Its convex hull refers to vertices that are gone.
    model.mesh_graphadr[mesh] = -1


def _fill(values: np.ndarray, first: int, new: np.ndarray) -> None:
    values[first : first + len(new)] = new


def _simplify(vertices: np.ndarray, faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (F, 3) by quadric edge collapse, with F about `count`."""
    try:
        library = importlib.import_module("fast_simplification")
    except ModuleNotFoundError as error:
        raise InputError(
            f"Meta-World's camera pictures need '{error.name}', which is missing: pip install -e '.[metaworld]'"
        ) from error
    fewer, triangles = library.simplify(vertices.copy(), faces.copy(), target_count=count, agg=_CAREFUL)
    return np.asarray(fewer, np.float32), np.asarray(triangles, np.int32)


def _vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3): the mean over the faces around each vertex, weighted by area."""
    corners = vertices[faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], face_normals)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
