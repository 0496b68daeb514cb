"""ONNX Runtime does what the policy does."""

import numpy as np
import pytest
import torch
from agents import diffusion, gaussian, given, recurrent

from burnish.components import save
from burnish.data import STATE
from burnish.deploy import export_onnx, handed_out
from burnish.errors import InputError
from burnish.policies.given import FunctionPolicy

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

MAKE = {
    "gaussian": gaussian,
    "diffusion": diffusion,
    "act": lambda: given("act"),
    "act with a residual": lambda: given("act", refine="residual"),
    "a diffusion policy of LeRobot's": lambda: given("diffusion", 2, {"num_inference_steps": 2}),
}


@pytest.mark.parametrize("name", MAKE)
def test_policies_on_frames(name, tmp_path):
    """In the data's units."""
    agent = MAKE[name]()
    frames = agent.observer.config.feature_frames
    found = export_onnx(agent, tmp_path / "out")
    assert found["difference"] <= 1e-5 and found["inputs"] == {STATE: [1, frames, 4]}
    session = runtime.InferenceSession(found["path"])
    state = torch.tensor([1.0, -2.0, 0.3, 40.0]) + torch.randn(1, frames, 4)
    chunk = session.run(None, {STATE: state.numpy()})[0]
    agent.begin(1)
    for frame in range(frames):
        observed = agent.observer.observe(agent._state, None, {STATE: state[:, frame]})
        agent._state = observed
    with torch.no_grad():
        expected = agent.scaling.to_data(agent.decide(observed, True, None)).numpy()
    np.testing.assert_allclose(chunk, expected, atol=1e-3, rtol=1e-5)
    assert chunk.shape == expected.shape and np.abs(chunk).max() > 5


@pytest.mark.parametrize("cell", ["gru", "s5"])
def test_a_policy_with_a_memory(cell, tmp_path):
    """Its memory goes in and comes out, with what was executed in the data's units."""
    agent = recurrent(cell)
    found = export_onnx(agent, tmp_path / "out")
    assert list(found["inputs"]) == ["state.h", "state.z", "begins", "action", STATE]
    session = runtime.InferenceSession(found["path"])
    memory = {f"state.{name}": each.numpy() + 9 for name, each in agent.observer.initial(1).tensors().items()}
    action = np.zeros((1, 2), np.float32)
    agent.begin(1)
    for step in range(6):
        state = np.array([[1.0 + step, -2.0, 0.3, 40.0]], np.float32)
        given_in = {**memory, "begins": np.array([step == 0]), "action": action, STATE: state}
        chunk, *after = session.run(None, given_in)
        expected = agent.act({STATE: torch.from_numpy(state)}).numpy()
        if step % 2 == 0:
            planned = chunk[0]
        np.testing.assert_allclose(planned[step % 2], expected[0], atol=1e-3, rtol=1e-5)
        memory, action = dict(zip(memory, after, strict=True)), expected
    with pytest.raises(InputError, match="there is something already"):
        export_onnx(agent, tmp_path / "out")


def test_what_cannot_be_exported(tmp_path):
    agent = given("act", refine="residual")
    agent.policy.base = FunctionPolicy("somewhere:Policy", 2, 2)
    with pytest.raises(InputError, match="asks a function or a server"):
        export_onnx(agent, tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_what_a_run_hands_out(tmp_path):
    """What was accepted; in a run without a gate, once it is over, what was refined."""
    with pytest.raises(InputError, match="no such folder"):
        handed_out(tmp_path / "nothing")
    save(tmp_path / "refined", gaussian())
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(InputError, match="accepted none yet"):
        handed_out(tmp_path)
    (tmp_path / "report").mkdir()
    assert handed_out(tmp_path).policy.config.chunk == 2
    save(tmp_path / "accepted", gaussian(chunk=3))
    assert handed_out(tmp_path).policy.config.chunk == 3
    assert handed_out(tmp_path / "refined").policy.config.chunk == 2
