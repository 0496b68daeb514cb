"""Stages that two processes do together: nested ones, and those whose resume state is damaged."""

from burnish.pipeline import RunFolder
from burnish.storage import load_state, load_tensors, save_state
from tests.pipeline import shared_stages
from tests.training import launching


def do(folder, stop=0):
    return launching.finish(launching.start(shared_stages.__file__, folder, stop))


def test_damaged_resume_state_of_two_processes(tmp_path):
    code, output = do(tmp_path / "run", stop=7)
    assert code == 7, output
    path = tmp_path / "run/.partial/gate-model/resume.safetensors"
    state = load_state(path)
    del state["optimizer"]
    save_state(path, state)
    code, output = do(tmp_path / "run")
    assert code == 0, output
    assert output.count("field 'optimizer' is missing); without this file the work starts again; so this stage's") == 1
    assert do(tmp_path / "whole")[0] == 0
    one, two = (load_tensors(tmp_path / name / "gate/model/model.safetensors")[0] for name in ("run", "whole"))
    assert all(tensor.equal(two[name]) for name, tensor in one.items())
    assert list(RunFolder(tmp_path / "run").stages()) == ["gate/model", "gate/after"]
