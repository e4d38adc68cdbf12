"""`xtrain bench` for a few steps, so that it can't rot; no figure is judged."""

import json

import pytest

from tests.command import Command

PARTS = ("input", "dispatch", "compute", "read")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    options = ("--backends", "numpy,torch", "--steps", 3, "--repeats", 2, "--threads", 1, "--out", "here")
    return folder / "here", Command(folder)("bench", "digits_cnn", *map(str, options))


def test_a_table_a_file_and_a_picture(done):
    folder, command = done
    assert command.code == 0, command.err
    assert "xtrain numpy" in command.out
    assert "images/s" in command.out
    assert (folder / "bench.png").read_bytes()[1:4] == b"PNG"


def test_every_trial_with_its_parts(done):
    folder, _ = done
    found = json.loads((folder / "bench.json").read_text())
    assert found["environment"]["cores"] > 0
    for trials in (found["trials"]["xtrain"][name] for name in ("numpy", "torch")):
        assert len(trials) == 2
        for trial in trials:
            assert trial["steps"] == 3
            assert trial["samples"] == 64
            assert trial["input"] > 0
            assert trial["dispatch"] > 0
            assert trial["read"] > 0
            assert trial["input"] + trial["read"] < trial["seconds"]
            assert trial["start_up"] > trial["first_step"] > 0
            assert trial["evaluation"] > 0
            assert trial["peak_memory"] > 2**24


def test_the_parts_of_a_step_make_its_time(done):
    folder, _ = done
    for trial in json.loads((folder / "bench.json").read_text())["trials"]["xtrain"]["numpy"]:
        assert trial["compute"] > trial["dispatch"]  # of 64 samples beside 2
        assert 0.5 < sum(trial[part] for part in PARTS) / trial["seconds"] <= 1


def test_an_epoch_is_the_most(tmp_path):
    options = ("--backends", "numpy", "--steps", 1000, "--repeats", 1, "--out", "here")
    command = Command(tmp_path)("bench", "digits_mlp", *map(str, options))
    assert command.code == 0, command.err
    found = json.loads((tmp_path / "here" / "bench.json").read_text())
    [trial] = found["trials"]["xtrain"]["numpy"]
    assert trial["steps"] == 23  # 1,437 samples in batches of 64


@pytest.mark.parametrize(("recipe", "backend"), [("digits_mlp", "torch"), ("mnist_mlp", "numpy")])
def test_what_cannot_be_compared_is_said_before_anything_runs(call, recipe, backend):
    done = call("bench", recipe, "--backends", backend, "--against", "native")
    assert done.code == 2
    assert "nobody wrote" in done.err
