"""Settings of all tests."""

import pytest
from hypothesis import settings

# A busy machine is no bug: examples have no deadline (each test has a timeout).
settings.register_profile("burnish", deadline=None)
settings.load_profile("burnish")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side (pytest -n) the tests of a file stay together, and so do all that share finished runs."""
    sharing = {item.path: name for name in ("small_run", "runs") for item in items if name in _fixtures(item)}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(sharing.get(item.path, str(item.path))))


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])
