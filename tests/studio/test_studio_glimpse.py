"""What is shown before PyTorch is there: the start that the model will begin from, read without it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from burnish.data import read_dataset
from burnish.errors import InputError
from burnish.studio.glimpse import Glimpses, glimpse
from burnish.studio.opened import open_run
from tests.recipes.small_runs import write_point_data
from tests.studio.studios import serving, unpacked


def test_it_is_the_start_that_the_model_begins_from(small_run):
    found, run = unpacked(glimpse(small_run)), open_run(small_run)
    state = run.data.observations["observation.state"][0]
    assert np.allclose(found["state"], state.numpy(), atol=1e-5) and not found["picture"]
    assert found["states"] == run.states()["states"] and len(found["states"]) == len(state)
    assert np.allclose(found["bounds"], run.states()["bounds"], atol=1e-4)


def test_a_picture(tmp_path):
    write_point_data(tmp_path / "dataset", episodes=3, camera="top")
    packed = glimpse(tmp_path)
    found, data = unpacked(packed), read_dataset(tmp_path / "dataset", cameras=("top",))
    (picture,) = found["pictures"]
    first = data.observations["observation.images.top"][0].numpy()
    content = packed[-picture["bytes"] :]
    assert found["picture"] and picture["raw"] and (picture["h"], picture["w"]) == first.shape[:2]
    assert np.array_equal(np.frombuffer(content, np.uint8).reshape(first.shape), first)


def test_pictures_beside_the_table(tmp_path):
    folder = write_point_data(tmp_path / "dataset", episodes=3)
    info = json.loads((folder / "meta/info.json").read_text())
    info["burnish"]["pictures"] = {"observation.images.a b": [4, 6]}
    (folder / "meta/info.json").write_text(json.dumps(info))
    rows = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    (folder / "pictures").mkdir()
    (folder / "pictures" / "observation.images.a_b.u8").write_bytes(rows.tobytes())
    assert glimpse(tmp_path).endswith(rows[0].tobytes())


def test_what_cannot_be_shown(small_run, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    kept = Glimpses()
    assert kept.of(run) == glimpse(run)
    table = run / "dataset/data/chunk-000/file-000.parquet"
    table.write_bytes(table.read_bytes()[:1000])
    assert kept.of(run), "read once"
    with pytest.raises(InputError, match="no first frame can be shown"):
        glimpse(run)
    table.unlink()
    table.symlink_to(small_run / "dataset/data/chunk-000/file-000.parquet")
    with pytest.raises(InputError, match="expected a file of its own"):
        glimpse(run)
    shutil.rmtree(run / "dataset")
    (run / "dataset").symlink_to(small_run / "dataset")
    with pytest.raises(InputError, match="expected a file of its own"):
        glimpse(run)
    with pytest.raises(InputError, match=r"meta/info\.json: cannot be read"):
        glimpse(tmp_path)


def test_pytorch_is_not_waited_for(small_run):
    program = (
        "import sys; from pathlib import Path\n"
        "from burnish.options import StudioOptions; from burnish.flags import parse\n"
        "parse(StudioOptions(), ['--no-browser'], 'burnish studio')\n"
        "import burnish.studio.serving, burnish.studio.server\n"
        "from burnish.studio.listing import Listing; from burnish.studio.folders import Folders\n"
        "from burnish.studio.glimpse import glimpse\n"
        "run = Path(sys.argv[1]); assert glimpse(run) and Listing(Folders([run])).rows()\n"
        "print([name for name in ('torch', 'matplotlib', 'gymnasium') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(small_run)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_it_is_there_before_the_model(small_run, tmp_path):
    with serving(tmp_path, str(small_run), loaded=False) as served:
        (row,) = served.ask("/api/runs")["runs"]
        status, body, _ = served.request(f"/api/runs/{row['id']}/glimpse")
        early = json.loads(served.request("/healthz")[1])
        assert status == 200 and unpacked(body)["state"] and not early["ready"]
        assert served.request("/api/runs/nothing/glimpse")[0] == 404
