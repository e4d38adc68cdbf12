"""Files of the frameworks that no training should begin with: refused, and with which words."""

import pickle
import time
import zipfile

import numpy as np
import pytest

from xtrain import plugins
from xtrain.errors import CheckpointError
from xtrain.export.weights import convert
from xtrain.recipe import parse
from xtrain.system import opcodes
from xtrain.system.isolated import isolated

RECIPE = parse(
    {
        "name": "case",
        "data": {"name": "digits", "batch_size": 4},
        "model": {"name": "mlp", "hidden": []},
        "optimizer": {"name": "adam", "lr": 0.1},
        "loop": {"epochs": 1},
    },
    "case.toml",
)
MODEL = RECIPE.bind().model
STATE = {name: np.full(tensor.shape, 0.5, np.float32) for name, tensor in MODEL.tensors.items()}
FIRST, *_ = STATE
MOMENTS = {"step": np.array(3)} | {
    f"{name}/{buffer}": value for name, value in STATE.items() for buffer in RECIPE.optimizer.buffers
}
GIVEN = (MODEL, RECIPE.optimizer, STATE, MOMENTS)
STEPS = [-1, "x", 2**40]


def read(name, path):
    return plugins.files(name).read(path, MODEL, RECIPE.optimizer)


# PyTorch


@pytest.fixture
def torch_file(tmp_path):
    """A way to write a state_dict and to read it."""
    import torch

    def through(weights, **more):
        torch.save({"model_state_dict": weights, **more}, tmp_path / "x.pth")
        return read("torch", tmp_path / "x.pth")

    return through, {name: torch.from_numpy(value) for name, value in STATE.items()}


def test_pytorchs_bfloat16_is_widened(torch_file):
    through, state = torch_file
    weights, _ = through({name: value.bfloat16() for name, value in state.items()})
    assert all(value.dtype == np.float32 and (value == 0.5).all() for value in weights.values())


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "complex64", "bool", "int64", "uint8"])
def test_pytorch_tensors_that_are_no_weights(kind, torch_file):
    import torch

    through, state = torch_file
    with pytest.raises(CheckpointError, match=rf"{FIRST} is {kind}, and no weights are"):
        through({**state, FIRST: state[FIRST].to(getattr(torch, kind))})


def test_a_pytorch_name_that_is_a_number(torch_file):
    through, state = torch_file
    with pytest.raises(CheckpointError, match="a tensor has the name 0, not a text"):
        through({**state, 0: state[FIRST]})


def test_a_pytorch_tensor_with_and_without_the_prefix(torch_file):
    through, state = torch_file
    with pytest.raises(CheckpointError, match=rf"it has both {FIRST} and module\.{FIRST}"):
        through({**state, f"module.{FIRST}": state[FIRST] + 1})


@pytest.mark.parametrize("step", [*STEPS, None, 1.5])
@pytest.mark.parametrize("inside", [False, True], ids=["beside", "in the optimizer"])
def test_a_pytorch_count_that_is_none(step, inside, torch_file):
    through, state = torch_file
    held = {"exp_avg": state[FIRST], "exp_avg_sq": state[FIRST], **({"step": step} if inside else {})}
    optimizer = {"state": {0: held}, "param_groups": [{"params": [0, 1]}]}
    with pytest.raises(CheckpointError, match=r"x\.pth: its step is .*\n.*--weights-only"):
        through(state, optimizer_state_dict=optimizer, **({} if inside else {"step": step}))


NESTED = {
    "a key nested deeply": (b"})" + b"\x85" * 200_000 + b"K\x01s.", "nested more than 32 deep"),
    "a key that holds itself often": (
        b"})" + b"".join(b"q%ch%c\x86" % (number, number) for number in range(30)) + b"K\x01s.",
        "unpacks to more than",
    ),
    "a memo of gigabytes": (b"}r\xff\xff\xff\x7f.", "its memo has more than"),
}


@pytest.mark.parametrize(("content", "problem"), NESTED.values(), ids=NESTED.keys())
@pytest.mark.parametrize("legacy", [False, True])
def test_a_pytorch_file_that_would_not_end_is_refused_at_once(content, problem, legacy, torch_file, tmp_path):
    """One that torch.load crashes on, or hangs."""
    import torch

    _, state = torch_file
    path = tmp_path / "x.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    start = time.perf_counter()
    if legacy:
        end = 0
        for _ in range(3):
            end = opcodes.scan(path.read_bytes(), end)
        path.write_bytes(path.read_bytes()[:end] + b"\x80\x02" + content)
    else:
        rewrite(path, b"\x80\x02" + content, zipfile.ZIP_STORED)
    with pytest.raises(CheckpointError, match=rf"x\.pth: is nothing that torch\.load.* reads: .*{problem}"):
        read("torch", path)
    assert time.perf_counter() - start < 2


def rewrite(path, content, compression):
    """A PyTorch file with another pickle in it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, held in members.items():
            archive.writestr(name, content if name.endswith("data.pkl") else held)


def test_a_pytorch_file_that_grows_when_it_is_unpacked_is_refused(torch_file, tmp_path):
    through, state = torch_file
    through(state)
    rewrite(tmp_path / "x.pth", bytes(10 << 20), zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="larger unpacked than the file"):
        read("torch", tmp_path / "x.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_large_pytorch_file_is_still_read(legacy, tmp_path):
    import torch

    layers = torch.nn.Sequential(*(torch.nn.BatchNorm2d(3) for _ in range(2000)))
    path = tmp_path / "x.pth"
    torch.save(layers.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    weights, _ = read("torch", path)
    assert len(weights) == 8000


# Paddle, which these need not load


def paddle_file(folder, weights=None, moments=None):
    path = folder / "x.pdparams"
    plugins.files("paddle").write(path, *GIVEN)
    for part, change in ((path, weights), (path.with_suffix(".pdopt"), moments)):
        held = pickle.loads(part.read_bytes())  # noqa: S301 - our own
        part.write_bytes(pickle.dumps(held | (change or {}), protocol=4))
    return path


def test_paddles_bfloat16_is_widened(tmp_path):
    bits = (STATE[FIRST].T.view(np.uint32) >> 16).astype(np.uint16)
    weights, _ = read("paddle", paddle_file(tmp_path, {FIRST: bits}))
    assert weights[FIRST].dtype == np.float32
    np.testing.assert_array_equal(weights[FIRST], STATE[FIRST])


@pytest.mark.parametrize("kind", [np.bool_, np.int64, np.uint8])
def test_paddle_tensors_that_are_no_weights(kind, tmp_path):
    path = paddle_file(tmp_path, {FIRST: STATE[FIRST].T.astype(kind)})
    with pytest.raises(CheckpointError, match=rf"no weights: {FIRST} is {np.dtype(kind)}\n"):
        isolated(convert, path, tmp_path / "x.safetensors", RECIPE)


@pytest.mark.parametrize("step", [*STEPS, 1.5])
def test_a_paddle_count_that_is_none(step, tmp_path):
    with pytest.raises(CheckpointError, match=r"x\.pdopt: its step is .*\n.*--weights-only"):
        read("paddle", paddle_file(tmp_path, moments={"step": step}))


# MindSpore


def mindspore_problems(folder):
    """What is said of files with other tensors. To be called in a process of its own."""
    import mindspore as ms

    path, said = folder / "x.ckpt", {}
    for title, name, value in (
        ("whole", "global_step", ms.Tensor([3], ms.int32)),
        ("negative", "global_step", ms.Tensor([-1], ms.int32)),
        ("fraction", "global_step", ms.Tensor([1.5], ms.float32)),
        ("nan", "global_step", ms.Tensor([float("nan")], ms.float32)),
        ("several", "global_step", ms.Tensor([1, 2], ms.int32)),
    ):
        plugins.files("mindspore").write(path, *GIVEN)
        held = ms.load_checkpoint(str(path)) | {name: ms.Parameter(value)}
        ms.save_checkpoint([{"name": key, "data": data} for key, data in held.items()], str(path))
        try:
            said[title] = int(read("mindspore", path)[1]["step"])
        except CheckpointError as error:
            said[title] = error.problem
    return said


def test_a_mindspore_count_that_is_none(tmp_path):
    assert isolated(mindspore_problems, tmp_path) == {
        "whole": 3,
        "negative": "its global_step is [-1]",
        "fraction": "its global_step is [1.5]",
        "nan": "its global_step is [nan]",
        "several": "its global_step is [1, 2]",
    }
