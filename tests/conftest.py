"""Settings of all tests."""

import pytest
from hypothesis import settings

# A busy machine is no bug: examples have no deadline (each test has a timeout).
settings.register_profile("burnish", deadline=None)
settings.load_profile("burnish")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups when it is its turn
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side (pytest -n) the tests of a file stay together, and so do all that share a finished run."""
    sharing = {item.path: name for name in ("small_run", "runs") for item in items if name in _fixtures(item)}
    for item in items:
        group = sharing.get(item.path, str(item.path))
        item.add_marker(pytest.mark.xdist_group(_another_run(item) or group))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Groups are worth minutes, and a pytest that pytest-xdist does not know loses them without a word."""
    if getattr(session.config.option, "loadgroup", False) and session.items and "@" not in session.items[0].nodeid:
        raise pytest.UsageError("this pytest-xdist does not group tests with this pytest; pyproject.toml has which do")


def _another_run(item: pytest.Item) -> str | None:
    """Of a test of the run with this name: where it is not the one that most tests share, it can go elsewhere."""
    name = getattr(item, "callspec", None) and item.callspec.params.get("name")  # pyright: ignore[reportAttributeAccessIssue]
    return f"runs of {name}" if "runs" in _fixtures(item) and name not in (None, "world4rl") else None


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


@pytest.fixture
def cluster(monkeypatch):
    """A real cluster of Ray, whose nodes are processes of this machine; its first has one CPU."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_DEDUP_LOGS", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    try:
        yield made
    finally:
        made.shutdown()
