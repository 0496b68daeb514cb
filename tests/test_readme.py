"""The README's Python example and the notebook run as they stand."""

import json
import re
import signal
from pathlib import Path

import pytest
import torch

from burnish.report.summary import read_report

ROOT = Path(__file__).parent.parent
README, NOTEBOOK = ROOT / "README.md", ROOT / "examples" / "demo.ipynb"


@pytest.fixture(autouse=True)
def restored_threads():
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    yield
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.slow  # .ci/run does it, once
def test_the_python_example_of_the_readme(tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.DOTALL | re.MULTILINE)
    examples = [block for block in blocks if "burnish.run(" in block]
    assert len(examples) == 1, "README.md needs one Python example that calls burnish.run"
    assert re.search(r"""preset=["']tiny["']""", examples[0]), "the example must be quick: preset='tiny'"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("burnish.recipes.runs.cores", lambda: 1)  # tests beside this one have the other
    exec(compile(examples[0], str(README), "exec"), {"__name__": "readme"})
    # The notebook goes on with the same run.
    names: dict = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "the notebook is kept without outputs"
            exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)
    (run,) = (path.parent for path in tmp_path.rglob("recipe.yaml"))
    assert read_report(run / "report.json")["simulator_steps"]["refinement"] == 0
    assert (run / "report.html").stat().st_size > 100_000
