"""HDF5, zarr and NumPy files of anybody: no object, no link out, no bomb; truncated ones have one sentence."""

import json
import os
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from burnish.data.formats import ReadingRule, format_of
from burnish.errors import InputError
from tests.data.layouts import WRITERS, aloha, calvin, minari, npz, recorded, robomimic, zarr

RULE = ReadingRule(success_last_frames=2)


def refused(path: Path, message: str, rule: ReadingRule = RULE, cameras: tuple[str, ...] = ()) -> None:
    with pytest.raises(InputError, match=message) as caught:
        format_of(path).read(path, rule, cameras)
    assert str(path) in str(caught.value)


def with_hdf5(path: Path, change) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replaced(name: str, make):
    def change(file):
        del file[name]
        make(file, name)

    return change


ACTIONS = "data/demo_1/actions"
HOSTILE = {
    "objects": (lambda f, n: f.create_dataset(n, data=["x"] * 4, dtype=h5py.string_dtype()), "objects are not read"),
    "an external link": (lambda f, n: f.__setitem__(n, h5py.ExternalLink("/etc/passwd", "/")), "a link to another"),
    "a soft link": (lambda f, n: f.__setitem__(n, h5py.SoftLink("/data/demo_0/actions")), "a link to another place"),
    "external values": (
        lambda f, n: f.create_dataset(n, (4, 2), "f8", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]),
        "lie in another file",
    ),
    "a bomb": (lambda f, n: f.create_dataset(n, (10**9, 2), "f8", chunks=(10**4, 2)), "bytes of which 0 are stored"),
    "a group": (lambda f, n: f.create_group(n), "found a group"),
    "records": (lambda f, n: f.create_dataset(n, (4,), np.dtype([("a", "f4")])), "expected plain numbers"),
    "a single number": (lambda f, n: f.create_dataset(n, data=3.0), r"found shape \(\)"),
    "another size": (lambda f, n: f.create_dataset(n, data=np.zeros((4, 3))), r"found shape \(3,\), expected \(2,\)"),
    "another length": (lambda f, n: f.create_dataset(n, data=np.zeros((3, 2))), "expected 4 frames|found shape"),
    "nothing": (lambda f, n: None, "field 'actions': found no such entry"),
}


@pytest.mark.parametrize("make, message", HOSTILE.values(), ids=HOSTILE)
def test_hdf5(tmp_path, make, message):
    path = with_hdf5(robomimic(tmp_path / "d", recorded()), replaced(ACTIONS, make))
    refused(path, message)
    rule = ReadingRule(success_last_frames=2, skip_bad=True)
    assert format_of(path).read(path, rule).lengths.tolist() == [5, 7]


@pytest.mark.parametrize("name", ["robomimic", "aloha", "minari"])
def test_truncated_hdf5(tmp_path, name):
    path = WRITERS[name](tmp_path / "d", recorded())
    file = next(each for each in [path, *sorted(path.rglob("*"))] if each.suffix == ".hdf5")
    content = file.read_bytes()
    for part in (0.1, 0.5, 0.95):
        file.write_bytes(content[: int(part * len(content))])
        refused(path, r"found a file that cannot be read \(.*\), expected a whole HDF5 file")


def test_another_hdf5(tmp_path):
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_dataset("numbers", data=[1, 2])
    refused(tmp_path / "x.hdf5", "found no data set of a known format, expected one of: .*robomimic")
    (tmp_path / "empty.hdf5").write_bytes(b"")
    refused(tmp_path / "empty.hdf5", "found no data set of a known format")


def test_no_h5py(tmp_path, monkeypatch):
    import sys

    path = robomimic(tmp_path / "d", recorded())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[hdf5\]'"):
        format_of(path)
    path = zarr(tmp_path / "z", recorded())
    monkeypatch.setitem(sys.modules, "numcodecs", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[zarr\]'"):
        format_of(path).read(path, RULE)


def header(path: Path, **changes: object) -> None:
    content = json.loads((path / ".zarray").read_text())
    (path / ".zarray").write_text(json.dumps(content | changes))


ZARR = {
    "objects": (lambda p: header(p / "data/action", dtype="|O"), "objects are not read"),
    "pickles": (lambda p: header(p / "data/action", filters=[{"id": "pickle"}]), "found the codec 'pickle'"),
    "an unknown codec": (lambda p: header(p / "data/action", compressor={"id": "x"}), "found the codec 'x'"),
    "no header": (lambda p: (p / "data/action/.zarray").write_text("{"), "a damaged header"),
    "chunk missing": (lambda p: (p / "data/action/1.0").unlink(), "1.0: found no such file, expected a chunk"),
    "chunk cut": (
        lambda p: (p / "data/action/1.0").write_bytes((p / "data/action/1.0").read_bytes()[:9]),
        "1.0: found a chunk that cannot be read",
    ),
    "chunk of zeros": (lambda p: (p / "data/action/1.0").write_bytes(bytes(64)), "1.0: found a chunk that cannot be"),
    "negative shape": (lambda p: header(p / "data/action", shape=[-1, 2]), "expected a list of sizes"),
    "huge chunks": (lambda p: header(p / "data/action", chunks=[2**39, 2]), "at most 2 GB each"),
    "another length": (lambda p: header(p / "data/action", shape=[12, 2]), "found 12 frames, expected 16"),
    "version 3": (lambda p: (p / "meta/episode_ends/zarr.json").write_text("{}"), "zarr's version 3"),
}


@pytest.mark.parametrize("damage, message", ZARR.values(), ids=ZARR)
def test_zarr(tmp_path, damage, message):
    path = zarr(tmp_path / "d", recorded())
    damage(path)
    refused(path, message)


def test_version_3_in_a_zip_file(tmp_path):
    """As zarr 3 writes it: no `.zarray` anywhere."""
    path = tmp_path / "replay.zarr.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("", "meta/", "meta/episode_ends/", "data/", "data/action/"):
            file.writestr(f"{name}zarr.json", json.dumps({"zarr_format": 3, "node_type": "group"}))
    refused(path, "found zarr's version 3, expected version 2: copy")


def test_zarr_out_of_the_folder(tmp_path):
    path = zarr(tmp_path / "d", recorded())
    (path / "data/action/1.0").rename(tmp_path / "outside")
    os.symlink(tmp_path / "outside", path / "data/action/1.0")
    refused(path, "found a link out of the folder")


def test_a_zip_of_zarr(tmp_path):
    import zipfile

    episodes = recorded()
    folder = zarr(tmp_path / "d", episodes)
    with zipfile.ZipFile(tmp_path / "d.zarr.zip", "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder))
    found = format_of(tmp_path / "d.zarr.zip").read(tmp_path / "d.zarr.zip", RULE, None)
    np.testing.assert_array_equal(found.actions.numpy(), np.concatenate([e.action for e in episodes]))
    assert found.task_names == ("d",)


NPZ = {
    "objects": (lambda p: np.savez(p / "run_1.npz", actions=np.array([{}] * 4), state=np.zeros((4, 3))), "objects"),
    "cut": (lambda p: (p / "run_1.npz").write_bytes((p / "run_1.npz").read_bytes()[:300]), "cannot be read"),
    "no actions": (lambda p: np.savez(p / "run_1.npz", state=np.zeros((4, 3))), "field 'actions': found the arrays"),
    "one frame": (
        lambda p: np.savez(p / "run_1.npz", state=np.zeros((1, 3)), actions=np.zeros((1, 2)), rewards=[0.0]),
        "found 1, expected at least 2 frames",
    ),
    "text": (lambda p: (p / "run_1.npz").write_text("x"), "cannot be read"),
}


@pytest.mark.parametrize("damage, message", NPZ.values(), ids=NPZ)
def test_npz(tmp_path, damage, message):
    path = npz(tmp_path / "d", recorded())
    damage(path)
    refused(path, message)


def test_calvin_frames_that_are_missing(tmp_path):
    path = calvin(tmp_path / "d", recorded())
    (path / "episode_0000107.npz").unlink()
    refused(path, "episode_0000107.npz.*cannot be read.*--skip-bad")
    np.save(path / "ep_start_end_ids.npy", np.array([[3, 1]]))
    refused(path, "frames that end before they begin")
    np.save(path / "ep_start_end_ids.npy", np.array([{}], object), allow_pickle=True)
    refused(path, "ep_start_end_ids.npy: found a file that cannot be read")
    content = (path / "ep_start_end_ids.npy").read_bytes()
    (path / "ep_start_end_ids.npy").write_bytes(content[:40] + bytes(len(content) - 40))
    refused(path, "ep_start_end_ids.npy: found a file that cannot be read")


def test_pictures_of_other_sizes(tmp_path):
    path = aloha(tmp_path / "d", recorded())
    with_hdf5(path / "episode_1.hdf5", replaced("observations/images/top", lambda f, n: f.create_dataset(
        n, data=np.zeros((4, 6, 8, 3), np.uint8))))  # fmt: skip
    refused(path, "episode 1.*found pictures of 6 x 8, expected 8 x 8", cameras=("top",))


def test_jpegs_of_aloha(tmp_path):
    """Padded JPEGs, as the mobile robot stores them; its programs read what they call RGB."""
    import io

    from PIL import Image

    path = aloha(tmp_path / "d", recorded())
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[..., 0] = 200
    box = io.BytesIO()
    Image.fromarray(picture[..., ::-1]).save(box, "JPEG", quality=95)
    padded = np.zeros((1, 4000), np.uint8)
    padded[0, : box.tell()] = np.frombuffer(box.getvalue(), np.uint8)
    for number, episode in enumerate(recorded()):
        data = np.repeat(padded, len(episode.state), 0)
        with_hdf5(path / f"episode_{number}.hdf5", replaced("observations/images/top", lambda f, n, d=data:
                  f.create_dataset(n, data=d)))  # fmt: skip
    found = format_of(path).read(path, RULE, None).observations["observation.images.top"]
    assert (found[0].float() - np.float32(1) * __import__("torch").from_numpy(picture).float()).abs().max() < 6


def test_minari_needs_one_observation_more(tmp_path):
    path = minari(tmp_path / "d", recorded())
    with_hdf5(path / "data/main_data.hdf5", replaced("episode_1/observations/observation", lambda f, n:
              f.create_dataset(n, data=np.zeros((4, 3)))))  # fmt: skip
    refused(path, "episode 1.*found 4 frames, expected 5, one more than actions")
