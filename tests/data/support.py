"""Episodes for the tests of the data room."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from burnish.data import STATE, DatasetInfo, Episode

INFO = DatasetInfo(fps=40, robot_type="sawyer", simulator="metaworld", action_repeat=2, max_steps=100)


def make_episode(length: int = 5, *, seed: int = 0, dim: int = 3, actions: int = 2, success_at: int | None = -1,
                 source: str = "expert", task: str = "drawer-open-v3") -> Episode:  # fmt: skip
    """Random numbers; `success_at` is the first successful frame (None: never)."""
    generator = np.random.default_rng(seed)
    first = length if success_at is None else success_at % length
    return Episode(
        observation={STATE: generator.normal(size=(length, dim)).astype(np.float32)},
        action=generator.uniform(-1, 1, size=(length, actions)).astype(np.float32),
        success=np.arange(length) >= first,
        source=source,
        seed=seed,
        task=task,
    )


def assert_same(found: Episode, expected: Episode) -> None:
    """Every value equal, bit for bit."""
    assert set(found.observation) == set(expected.observation)
    for key, values in expected.observation.items():
        assert found.observation[key].dtype == values.dtype
        np.testing.assert_array_equal(found.observation[key], values)
    np.testing.assert_array_equal(found.action, expected.action)
    np.testing.assert_array_equal(found.success, expected.success)
    for name in ("reward", "terminated"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert (found.source, found.seed, found.task) == (expected.source, expected.seed, expected.task)


@st.composite
def episode_lists(draw: st.DrawFn) -> list[Episode]:
    """One to twelve episodes of two or more frames, with one shape of observation and action."""
    dim, actions = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    grid = draw(st.sampled_from([None, (1,), (2,), (2, 3), (1, 2, 2)]))
    words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
    episodes, rewarded, ended = [], draw(st.booleans()), draw(st.booleans())
    for _ in range(draw(st.integers(1, 12))):
        length = draw(st.integers(2, 9))
        generator = np.random.default_rng(draw(st.integers(0, 2**32)))
        scale = draw(st.sampled_from([1.0, 1e-40, 1e30]))
        observation = {STATE: (scale * generator.normal(size=(length, dim))).astype(np.float32)}
        if grid is not None:
            observation["observation.grid"] = generator.normal(size=(length, *grid)).astype(np.float32)
        episodes.append(
            Episode(
                observation=observation,
                action=generator.uniform(-1, 1, size=(length, actions)).astype(np.float32),
                success=generator.random(length) < 0.3,
                source=draw(words),
                seed=draw(st.integers(-(2**63), 2**63 - 1)),
                task=draw(words),
                reward=_from_the_second(generator.normal(size=length).astype(np.float32)) if rewarded else None,
                terminated=_from_the_second(generator.random(length) < 0.3) if ended else None,
            )
        )
    return episodes


def _from_the_second(values: np.ndarray) -> np.ndarray:
    values[0] = 0
    return values


def edit_info(root: Path, change: Callable[[dict], object]) -> None:
    """Change meta/info.json in place."""
    path = root / "meta/info.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_table(path: Path, column: str, change: Callable[[list], object]) -> None:
    """Change one column of a Parquet file in place; a change that returns a list replaces the values."""
    table = pq.read_table(path)
    values = table.column(column).to_pylist()
    changed = change(values)
    values = changed if isinstance(changed, list) else values
    kind = table.schema.field(column).type
    try:
        array = pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        array = pa.array(values)
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, array), path)
