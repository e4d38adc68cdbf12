"""Files as they are met in the wild, and what each backend's reader refuses."""

import pickle
from collections import OrderedDict

import convert_cases as cases
import numpy as np
import pytest

from xtrain import plugins
from xtrain.errors import CheckpointError
from xtrain.system.isolated import isolated

SUFFIXES = {"torch": ".pth", "paddle": ".pdparams", "mindspore": ".ckpt"}
JOB = cases.job("net", "adam")
GIVEN = (JOB.model, JOB.recipe.optimizer)


def same(found, expected):
    """Names and bits agree."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("framework", SUFFIXES)
def test_rarer_states_come_back_to_the_bit(framework, tmp_path):
    found = isolated(cases.there_and_back, framework, tmp_path, SUFFIXES[framework])
    for name in cases.EXTRAS:
        _, weights, moments = cases.extra(name)
        same(found[name][0], weights)
        same(found[name][1], moments)


# PyTorch


def read_torch(path, given=GIVEN):
    return plugins.files("torch").read(path, *given)


@pytest.fixture
def torch_file(tmp_path):
    """A file that was written, and what is in it."""
    import torch

    path = tmp_path / "x.pth"
    plugins.files("torch").write(path, *GIVEN, *cases.states(JOB))
    return path, torch.load(path)


@pytest.mark.parametrize("keys", [("model_state_dict", "optimizer_state_dict"), ("state_dict", "optimizer")])
def test_a_general_checkpoint_from_several_devices(keys, torch_file):
    import torch

    path, held = torch_file
    weights = {f"module.{name}": value for name, value in held["model_state_dict"].items()}
    torch.save(dict(zip(("epoch", *keys), (3, weights, held["optimizer_state_dict"]), strict=True)), path)
    for found, expected in zip(read_torch(path), cases.states(JOB), strict=True):
        same(found, expected)


def test_a_plain_state_dict(torch_file):
    import torch

    path, held = torch_file
    assert int(held["model_state_dict"]["bn1.num_batches_tracked"]) == cases.STEP
    torch.save(OrderedDict(held["model_state_dict"]), path)
    weights, moments = read_torch(path)
    same(weights, cases.states(JOB)[0])
    assert moments is None


def test_numbers_follow_the_order_of_declaration(torch_file):
    """As where a net makes its last layer first, and its optimizer was not given names."""
    import torch

    path, held = torch_file
    state = held["optimizer_state_dict"]
    count = len(state["state"])
    held["model_state_dict"] = dict(reversed(held["model_state_dict"].items()))
    state["state"] = {count - 1 - number: value for number, value in state["state"].items()}
    del state["param_groups"][0]["param_names"]
    torch.save(held, path)
    same(read_torch(path)[1], cases.states(JOB)[1])


def test_groups_of_decayed_and_others_need_no_names(tmp_path):
    import torch

    job, weights, moments = cases.extra("groups")
    given, path = (job.model, job.recipe.optimizer), tmp_path / "x.pth"
    plugins.files("torch").write(path, *given, weights, moments)
    held = torch.load(path)
    for group in held["optimizer_state_dict"]["param_groups"]:
        del group["param_names"]
    torch.save(held, path)
    same(read_torch(path, given)[1], moments)
    with pytest.raises(CheckpointError, match="which is which can't be told"):
        read_torch(path)


def test_updates_that_are_not_equally_many(torch_file):
    import torch

    path, held = torch_file
    held["optimizer_state_dict"]["state"][0]["step"] += 1
    torch.save(held, path)
    with pytest.raises(CheckpointError, match="its parameters were updated 7, 8 times"):
        read_torch(path)


@pytest.mark.parametrize("content", [[1, 2], {"fc1.weight": "text"}, {"model": {"fc1.weight": 3}}, 5])
def test_what_is_no_state_dict(content, tmp_path):
    import torch

    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"x\.pth: (is no state_dict of tensors|holds a)"):
        read_torch(tmp_path / "x.pth")


# Paddle, which these need not load


def read_paddle(path):
    return plugins.files("paddle").read(path, *GIVEN)


@pytest.fixture
def paddle_file(tmp_path):
    """A file that was written, and the entries of both its parts."""
    path = tmp_path / "x.pdparams"
    plugins.files("paddle").write(path, *GIVEN, *cases.states(JOB))
    parts = (path, path.with_suffix(".pdopt"))
    return path, *(pickle.loads(part.read_bytes()) for part in parts)  # noqa: S301 - our own


def keep(path, weights, moments, protocol=4):
    path.write_bytes(pickle.dumps(weights, protocol=protocol))
    path.with_suffix(".pdopt").write_bytes(pickle.dumps(moments, protocol=protocol))


def test_paddles_layout_is_its_own(paddle_file):
    _, weights, moments = paddle_file
    expected = cases.states(JOB)
    np.testing.assert_array_equal(weights["fc2.weight"], expected[0]["fc2.weight"].T)
    np.testing.assert_array_equal(moments["linear_1.w_0_moment1_0"], expected[1]["fc2.weight/exp_avg"].T)
    assert weights["block.downsample.1._mean"].shape == (12,)
    assert moments["linear_1.b_0_beta1_pow_acc_0"] == np.float32(0.9 ** (cases.STEP + 1))


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_every_protocol_and_memory_order(protocol, paddle_file):
    path, weights, moments = paddle_file
    weights = {name: np.asfortranarray(v) if hasattr(v, "shape") else v for name, v in weights.items()}
    weights["fc1.bias"] = ("linear_0.b_0", weights["fc1.bias"].astype(">f4"))  # as it saves single tensors
    keep(path, weights, {**moments, "LR_Scheduler": {"last_epoch": 3, "last_lr": np.float64(0.1)}}, protocol)
    for found, expected in zip(read_paddle(path), cases.states(JOB), strict=True):
        same(found, expected)


@pytest.mark.parametrize("step", [0, 1, 7, 800, 5000, 60_000])
def test_the_step_is_told_by_the_powers(step, paddle_file):
    path, weights, moments = paddle_file
    del moments["step"]
    for number, beta in enumerate(JOB.recipe.optimizer.betas, 1):
        power = np.multiply.accumulate(np.full(step + 1, beta, np.float32))[-1:]  # as its kernel goes
        moments |= {key: power for key in moments if f"beta{number}_pow_acc" in key}
    keep(path, weights, moments)
    assert int(read_paddle(path)[1]["step"]) == step


def test_powers_of_other_betas_are_refused(paddle_file):
    path, weights, moments = paddle_file
    moments |= {key: np.array([0.5], np.float32) for key in moments if "beta1_pow_acc" in key}
    keep(path, weights, moments)
    with pytest.raises(CheckpointError, match=r"x\.pdopt: its beta powers are 0\.5 and 0\.99"):
        read_paddle(path)


NAMED = [
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("numpy", "load"),
    ("numpy.core.multiarray", "fromfile"),
    ("numpy", "dtype.__class__"),
    ("collections", "OrderedDict"),
    ("xtrain.system.pickles", "Array"),
]


@pytest.mark.parametrize(("module", "name"), NAMED)
@pytest.mark.parametrize("stacked", [False, True], ids=["GLOBAL", "STACK_GLOBAL"])
def test_every_other_name_is_refused(module, name, stacked, tmp_path):
    path = tmp_path / "x.pdparams"
    if stacked:
        named = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name)) + b"\x93"
        path.write_bytes(b"\x80\x04" + named + b".")
    else:
        path.write_bytes(b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\n.")
    with pytest.raises(CheckpointError, match="is not a Paddle file: it names "):
        read_paddle(path)


def test_every_cut_of_a_paddle_file_is_refused(paddle_file):
    path, *_ = paddle_file
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="is not a Paddle file"):
            read_paddle(path)


# MindSpore


def altered_ckpt(folder, names):
    """Other values under some names, read again. To be called in a process of its own."""
    import mindspore as ms

    files, path = plugins.files("mindspore"), folder / "x.ckpt"
    files.write(path, *GIVEN, *cases.states(JOB))
    held = ms.load_checkpoint(str(path))
    held |= {name: ms.Parameter(ms.Tensor(value)) for name, value in names.items()}
    ms.save_checkpoint([{"name": name, "data": value} for name, value in held.items()], str(path))
    return files.read(path, *GIVEN)


def test_other_names_in_a_ckpt(tmp_path):
    others = {"learning_rate": np.float32(0.1), "epoch_num": np.int32(3), "fc9.bias": np.ones(2, np.float32)}
    weights, moments = isolated(altered_ckpt, tmp_path, others)
    assert weights.pop("fc9.bias").shape == (2,)  # for the caller to refuse
    same(weights, cases.states(JOB)[0])
    same(moments, cases.states(JOB)[1])


def test_another_power_in_a_ckpt_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"its beta1_power is 0\.5, 0\.9 to the power of its 7 updates"):
        isolated(altered_ckpt, tmp_path, {"beta1_power": np.float32(0.5)})
