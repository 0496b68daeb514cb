"""CALVIN's tasks by name, and what is said where calvin_env is not installed."""

import importlib.util

import pytest

from burnish.errors import InputError
from burnish.simulators.tasks import as_table, check_task, suite_of
from burnish_calvin import install
from burnish_calvin.suite import SPEC, SUITE


@pytest.fixture(autouse=True)
def fresh():
    install.calvin_root.cache_clear()
    yield
    install.calvin_root.cache_clear()


def hide(monkeypatch, hidden):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == hidden else found(name, *rest))


def test_a_tasks_name_chooses_the_suite():
    assert suite_of("calvin:open_drawer") is SUITE, "found by its entry point"
    assert SPEC.action_dim == 7
    assert "  calvin:turn_off_led" in as_table("calvin").splitlines()


def test_missing_calvin_env_says_how_to_install_it(monkeypatch):
    hide(monkeypatch, "calvin_env")
    with pytest.raises(InputError, match=r"no module 'calvin_env'.*git clone .*docs/calvin.md"):
        check_task("calvin:open_drawer")


def test_a_checkout_without_its_data_is_named(monkeypatch, tmp_path):
    (tmp_path / "calvin_env").mkdir()
    (tmp_path / "calvin_env" / "__init__.py").touch()
    spec = importlib.util.spec_from_file_location("calvin_env", tmp_path / "calvin_env" / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match="no 'conf/scene' here"):
        check_task("calvin:open_drawer")


def test_unknown_tasks_name_near_matches():
    with pytest.raises(InputError, match="unknown CALVIN task 'calvin:Open-Drawer'; did you mean calvin:open_drawer"):
        check_task("calvin:Open-Drawer")
    with pytest.raises(InputError, match=r"the tasks are: calvin:open_drawer, .*calvin:turn_off_led"):
        check_task("calvin:zzz")


def test_calvin_episodes_have_no_limit_of_their_own():
    assert SPEC.control_step_limit is None
