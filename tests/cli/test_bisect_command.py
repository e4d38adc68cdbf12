"""`xtrain bisect` to its end, and how states pass from one process to the other."""

import numpy as np
from safetensors.numpy import load_file

from tests.command import Command
from xtrain.parity import bisect, probe

SHORT = ("bisect", "digits_mlp", "--set", "model.hidden=[8]", "--threads", 1, "--steps", "1,2")
STRICT = {"PYTHONWARNINGS": "error::DeprecationWarning", "OMP_NUM_THREADS": "1"}
"""What NumPy has warned of since 1.25 and refuses since 2.4: an array of one number for a number."""


def test_backends_that_agree_exit_0(tmp_path):
    done = Command(tmp_path)(*SHORT, "--backends", "numpy,torch", environment=STRICT)
    assert done.code == 0, done.err
    assert done.out == "numpy and torch do not diverge in steps 1,2\n"


def test_where_backends_diverge_is_said_with_its_cause_and_exits_1(tmp_path, plugins):
    environment = {**STRICT, "PYTHONPATH": plugins}
    done = Command(tmp_path)(*SHORT, "--backends", "numpy,mirrored", environment=environment)
    assert done.code == 1, done.err
    first, figures, cause = done.out.splitlines()
    assert first == "step 1, data: images is the first of 1"
    assert figures.endswith("noise 0, allowed 0 between numpy and mirrored")
    assert cause == "  probable cause: images are mirrored"


STATE = {
    "step": np.array(3),
    "columns": np.arange(12.0).reshape(3, 4).T,
    "every other": np.arange(12, dtype=np.float32)[::2],
    "none": np.zeros((0, 3)),
}


def test_states_pass_with_their_shapes_and_values(tmp_path):
    bisect._save(STATE, tmp_path / "x.safetensors")
    for found in (load_file(tmp_path / "x.safetensors"), probe.thinned(STATE)):
        assert {name: value.shape for name, value in found.items()} == {
            name: value.shape for name, value in STATE.items()
        }
        for name, value in found.items():
            np.testing.assert_array_equal(value, STATE[name])
            assert value.dtype == STATE[name].dtype
            assert value.flags.c_contiguous


def test_a_large_tensor_is_thinned(monkeypatch):
    monkeypatch.setattr(probe, "MOST", 4)
    assert probe.thinned({"x": np.arange(10.0)})["x"].tolist() == [0.0, 3.0, 6.0, 9.0]
