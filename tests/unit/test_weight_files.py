"""Weights files of others: what is read, what is refused, and with which words."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from xtrain.errors import CheckpointError, UsageError
from xtrain.export.weights import convert
from xtrain.recipe import parse
from xtrain.runs import weights
from xtrain.training.assembly import initial_state

RECIPE = {
    "name": "case",
    "data": {"name": "digits", "batch_size": 4},
    "model": {"name": "mlp", "hidden": []},
    "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
    "loop": {"epochs": 1},
}
MODEL = parse(RECIPE, "case.toml").bind().model
STATE = {name: np.full(tensor.shape, 0.5, np.float32) for name, tensor in MODEL.tensors.items()}
FIRST = next(iter(STATE))
MOMENTS = {"step": np.array(3), **{f"{name}/momentum_buffer": value for name, value in STATE.items()}}


def given(path):
    """What `init_from` makes of a file."""
    return initial_state(parse(RECIPE | {"init_from": str(path)}, "case.toml").bind())


def converted(path):
    """What `xtrain convert` makes of it."""
    target = path.with_name("made.safetensors")
    convert(path, target, parse(RECIPE, "case.toml"), force=True)
    return load_file(target)


READERS = pytest.mark.parametrize("reader", [given, converted])


def typed(path, **types):
    """A file whose bytes are called other types than NumPy has; two bytes a number in all of them."""
    header, content = {}, b""
    for name, value in STATE.items():
        bits = (value.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        kind = types.get(name.replace(".", "_"), "BF16")
        width = {"F8_E4M3": 1, "F8_E5M2": 1, "C64": 8}.get(kind, 2)
        bits = bits if width == 2 else bytes(width * value.size)
        place = [len(content), len(content) + len(bits)]
        header[name] = {"dtype": kind, "shape": value.shape, "data_offsets": place}
        content += bits
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + content)
    return path


@READERS
def test_bfloat16_is_widened_exactly(reader, tmp_path):
    found = reader(typed(tmp_path / "x.safetensors"))
    assert all(value.dtype == np.float32 and (value == 0.5).all() for value in found.values())
    assert found.keys() == STATE.keys()


@READERS
@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2", "C64"])
def test_types_that_no_weights_have_are_named(reader, kind, tmp_path):
    path = typed(tmp_path / "x.safetensors", **{FIRST.replace(".", "_"): kind})
    with pytest.raises(CheckpointError, match=rf"no weights: {FIRST} is {kind}\n.*convert them where"):
        reader(path)


@READERS
@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int64, np.bool_])
def test_integers_and_truth_values_are_no_weights(reader, kind, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({**STATE, FIRST: STATE[FIRST].astype(kind)}, path)
    with pytest.raises(CheckpointError, match=f"no weights: {FIRST} is {np.dtype(kind)}\n"):
        reader(path)


@READERS
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_values_that_are_not_finite_are_counted(reader, value, kind, tmp_path):
    path, odd = tmp_path / "x.safetensors", STATE[FIRST].astype(kind)
    odd.reshape(-1)[[1, 5]] = value
    save_file({**STATE, FIRST: odd}, path)
    with pytest.raises(CheckpointError, match=rf"not a number: {FIRST} has 2 of {odd.size}\n.*diverged"):
        reader(path)


@READERS
def test_names_of_a_wrapped_net_beside_the_plain_ones_are_refused(reader, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({**STATE, f"module.{FIRST}": STATE[FIRST]}, path)
    with pytest.raises(
        CheckpointError, match=rf"x\.safetensors: does not hold .* module\.{FIRST} is unexpected"
    ):
        reader(path)


@pytest.mark.parametrize("step", [-1, 2**40, 7.5, np.nan, True])
def test_a_count_of_updates_that_is_none_is_refused(step, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(STATE, path)
    save_file({**MOMENTS, "step": np.array(step)}, tmp_path / "x.optimizer.safetensors")
    with pytest.raises(CheckpointError, match=rf"its optimizer has made {step} updates\n.*--weights-only"):
        converted(path)


def test_an_optimizer_state_is_looked_at_too(tmp_path):
    path, name = tmp_path / "x.safetensors", f"{FIRST}/momentum_buffer"
    save_file(STATE, path)
    save_file({**MOMENTS, name: MOMENTS[name] * np.float32(np.inf)}, tmp_path / "x.optimizer.safetensors")
    with pytest.raises(CheckpointError, match=f"not a number: {name} has "):
        converted(path)


def test_what_float32_can_not_have_is_not_made_infinite(tmp_path):
    save_file({**STATE, FIRST: STATE[FIRST] * np.float64(1e300)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=f"{FIRST} has values that float32 can't have"):
        convert(tmp_path / "x.safetensors", tmp_path / "x.pdparams", parse(RECIPE, "case.toml"))
    assert not (tmp_path / "x.pdparams").exists()


@pytest.mark.parametrize("name", ["x.pth", "x.pt", "x.pdparams", "x.ckpt", "x.bin"])
def test_a_file_of_a_framework_names_the_command_that_makes_it_readable(name, tmp_path):
    (tmp_path / name).write_bytes(b"")
    remedy = rf"xtrain convert {tmp_path / name} weights\.safetensors --recipe RECIPE"
    with pytest.raises(UsageError, match=rf"{name}: is neither a run nor a \.safetensors file\n.*{remedy}"):
        given(tmp_path / name)


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_a_file_that_is_not_there_is_said(name, tmp_path):
    with pytest.raises(UsageError, match=rf"{name}: there is no such file"):
        given(tmp_path / name)


def test_a_run_may_be_called_as_a_file_is(tmp_path):
    (tmp_path / "run.pth").mkdir()
    assert not weights.is_file(tmp_path / "run.pth")


@pytest.mark.parametrize("name", ["a" * 5000, "a" * 300 + ".safetensors", "a" * 300 + ".pth"])
def test_a_name_that_no_file_has_is_told(name):
    """Beyond what a file system takes, the system raises an error where it is only asked."""
    with pytest.raises(UsageError):
        initial_state(parse({**RECIPE, "init_from": name}, "case.toml").bind())
