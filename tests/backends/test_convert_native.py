"""Each framework's own loader, layers and optimizer take what is written, and what they save is read.

The scripts `native_*.py` know nothing of xtrain and run in processes of their own. Their logits, and the
state after one more step, are compared with the float64 reference.
"""

import os
import subprocess
import sys
from pathlib import Path

import convert_cases as cases
import numpy as np
import pytest

from xtrain.system.isolated import isolated

SUFFIXES = {"torch": ".pth", "paddle": ".pdparams", "mindspore": ".ckpt"}
UNCOUNTED = {
    *(("torch", name) for name in ("sgd", "nesterov")),
    *(("paddle", name) for name in ("sgd", "nesterov", "rmsprop", "adagrad")),
    ("mindspore", "rmsprop"),
}
"""Optimizers that don't count their updates: what they save has made one at least."""
every_case = pytest.mark.parametrize("case", cases.CASES, ids=["-".join(case) for case in cases.CASES])
every_framework = pytest.mark.parametrize("framework", SUFFIXES)


def native(framework, folder, *words):
    """Run a script of a framework's users."""
    script = Path(__file__).with_name(f"native_{framework}.py")
    quiet = {"GLOG_v": "4", "MS_OM_PATH": str(folder)} if framework == "mindspore" else {}
    command = [sys.executable, script, str(folder), *words]
    environment = {**os.environ, **quiet}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


def give_inputs(folder):
    """Images and gradients of every case."""
    for case in cases.CASES:
        images, gradients = cases.inputs(cases.job(*case))
        np.savez(folder / f"{'-'.join(case)}.npz", images=images, **gradients)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Of a framework: its folder, what we wrote read back, and what it saved after a step."""
    done = {}

    def run(framework):
        if framework not in done:
            folder, suffix = tmp_path_factory.mktemp(framework), SUFFIXES[framework]
            give_inputs(folder)
            isolated(cases.write_all, framework, folder, suffix)
            again = isolated(cases.read_all, framework, folder, suffix)
            names = ["-".join(case) for case in cases.CASES]
            # Paddle's names of parameters come from counters of the process.
            for group in [[name] for name in names] if framework == "paddle" else [names]:
                native(framework, folder, *group)
            done[framework] = folder, again, isolated(cases.read_all, framework, folder, f"-out{suffix}")
        return done[framework]

    return run


def close(found, expected):
    """Names and values agree, but for rounding."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=2e-6, err_msg=name)


@every_case
@every_framework
def test_what_is_written_is_read_to_the_bit(framework, case, outcome):
    _, again, _ = outcome(framework)
    for found, expected in zip(again[case], cases.states(cases.job(*case)), strict=True):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name].dtype == value.dtype, name
            np.testing.assert_array_equal(found[name], value, err_msg=name)


@every_case
@every_framework
def test_the_framework_takes_it_and_goes_on(framework, case, outcome):
    folder, _, after = outcome(framework)
    logits, weights, moments = cases.expected(cases.job(*case))
    np.testing.assert_allclose(np.load(folder / f"{'-'.join(case)}-out.npy"), logits, rtol=1e-4, atol=1e-5)
    close(after[case][0], weights)
    if (framework, case[1]) in UNCOUNTED:
        moments["step"] = np.array(1)
    close(after[case][1], moments)


def test_a_paddle_file_from_a_process_of_several_nets(tmp_path):
    """Its accumulators are called after linear_2, linear_3, ...: a table in the file says which is which."""
    job = cases.job("net", "adam")
    give_inputs(tmp_path)
    native("paddle", tmp_path, "net-adam", "second")
    given = (tmp_path / "net-adam-out.pdparams", job.model, job.recipe.optimizer)
    _, found = isolated(cases.read_one, "paddle", *given)
    assert int(found["step"]) == 1
    for name, gradient in cases.inputs(job)[1].items():
        np.testing.assert_allclose(found[f"{name}/exp_avg"], 0.1 * gradient, rtol=1e-4)
        np.testing.assert_allclose(found[f"{name}/exp_avg_sq"], 0.001 * gradient**2, rtol=1e-4)
