"""A damaged resume state costs the work of its stage: one sentence, then the same bits as if there had been none."""

import random

import pytest

from burnish.pipeline import Run
from burnish.storage import load_state, load_tensors, save_state, save_tensors
from burnish.training import fit
from burnish.training.resume import RESUME_FILE, DamagedResume
from tests.training.test_fit import Interrupted, Line, config, interrupt, make

KEYS = ["step", "model", "optimizer", "ema", "generator", "global_rng"]


def without(key):
    def damage(path):
        state = load_state(path)
        del state[key]
        save_state(path, state)

    return damage


def replaced(key, value):
    return lambda path: save_state(path, {**load_state(path), key: value})


DAMAGE = {
    **{f"no {key}": without(key) for key in KEYS},
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "short": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "empty": lambda path: path.write_bytes(b""),
    "pickle": lambda path: path.write_bytes(b"\x80\x04K\x05."),
    "tensors": lambda path: save_tensors(path, {}),
    "list": lambda path: save_state(path, [1, 2]),
    "step": replaced("step", "x"),
    "optimizer": replaced("optimizer", {"state": {}, "param_groups": []}),
    "model": replaced("model", {}),
    "generator": replaced("generator", 5),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_fit_says_what_is_wrong(tmp_path, name):
    interrupt(tmp_path, 7, config())
    DAMAGE[name](tmp_path / RESUME_FILE)
    with pytest.raises(DamagedResume, match=rf"{RESUME_FILE}: the resume state is damaged \(.+\); without this file"):
        fit(make(), Line(), config(), tmp_path, seed=5)


@pytest.mark.parametrize("name", ["no optimizer", "cut"])
def test_a_run_begins_that_stage_again(tmp_path, name, capfd):
    def body(stops_at=None):
        def stop(step, metrics):
            if step == stops_at:
                raise Interrupted

        def work(context):
            model = make()
            fit(model, Line(), config(), context.folder, seed=5, on_step=stop)
            save_tensors(context.folder / "model.safetensors", model.state_dict())

        return work

    with Run.create(tmp_path / "whole", "toy", None, 0, {}) as run:
        run.stage("policy", {}, [], body())
    with Run.create(tmp_path / "run", "toy", None, 0, {}) as run:
        with pytest.raises(Interrupted):
            run.stage("policy", {}, [], body(stops_at=7))
        DAMAGE[name](tmp_path / "run/.partial/policy" / RESUME_FILE)
        run.stage("policy", {}, [], body())
    weights = [load_tensors(tmp_path / name / "policy/model.safetensors")[0] for name in ("run", "whole")]
    assert all(tensor.equal(weights[1][key]) for key, tensor in weights[0].items())
    lines = [(tmp_path / name / "policy/metrics.jsonl").read_text() for name in ("run", "whole")]
    assert lines[0] == lines[1] and not (tmp_path / "run/policy" / RESUME_FILE).exists()
    said = [line for line in capfd.readouterr().err.splitlines() if "damaged" in line]
    assert len(said) == 1 and said[0].endswith("so this stage's work starts again")


def test_random_damage_is_found(tmp_path):
    interrupt(tmp_path, 7, config())
    path, draw = tmp_path / RESUME_FILE, random.Random(0)
    whole = path.read_bytes()
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 1, 20])):
            content[draw.choice([draw.randrange(9), draw.randrange(len(content) // 4), -1])] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        (tmp_path / "metrics.jsonl").write_bytes(draw.choice([b"5\n[]\nnull\n", b'{"step": "x"}\n\xff\n', b"{}\n"]))
        with pytest.raises(DamagedResume):
            fit(make(), Line(), config(), tmp_path, seed=5)
    (tmp_path / RESUME_FILE).write_bytes(whole)
    fit(make(), Line(), config(), tmp_path, seed=5)
