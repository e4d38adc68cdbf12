"""What the core does of `xtrain convert`, with a format that a plugin brings: arrays in a .npz."""

import numpy as np
import pytest
from fake_runs import Training, bound, made, recipe
from plugin_folder import install, install_fake
from safetensors.numpy import load_file, save_file
from test_checkpoint import same

from xtrain.errors import CheckpointError, UsageError, XtrainError
from xtrain.export.weights import convert
from xtrain.runs import checkpoint as checkpoints

NPZ = '''
import numpy as np
from xtrain.plugins import hookimpl
from xtrain_fake import FakeBackend


class Npz:
    """Weights as x.npz, moments as x.moments.npz; asked for them backwards it fails in between."""

    suffixes, beside = (".npz",), ".moments.npz"

    def read(self, path, model, optimizer):
        second = path.with_suffix(self.beside)
        return dict(np.load(path)), dict(np.load(second)) if optimizer and second.exists() else None

    def write(self, path, model, optimizer, weights, moments):
        np.savez(path, **weights)
        if "full" in path.name:
            raise OSError(28, "No space left on device")
        if moments is not None:
            np.savez(path.with_suffix(self.beside), **moments)


@hookimpl
def xtrain_backend(device, threads):
    return FakeBackend(device, threads)


@hookimpl
def xtrain_files():
    return Npz()
'''
RECIPE = recipe()


@pytest.fixture(autouse=True)
def folder(tmp_path_factory, monkeypatch):
    """A folder on sys.path with the fake backend, which has no files of its own, and one that has."""
    plugin = install_fake(tmp_path_factory.mktemp("plugin"))
    install(plugin, "npz", "xtrain_npz", NPZ)
    monkeypatch.syspath_prepend(plugin)
    return plugin


@pytest.fixture
def run(tmp_path):
    """A run of the fake backend that has ended, in float64."""
    training = Training(RECIPE)
    training.run()
    ended = made(tmp_path / "run", bound(RECIPE))
    checkpoints.save(ended.checkpoints, training.saved[-1][0])
    return ended


def state(run):
    """Weights and moments of a run."""
    found = checkpoints.load(run.checkpoint(), RECIPE.bind().model)
    return found.model, found.optimizer


def single(held):
    """In float32, but for the count."""
    return {name: value if name == "step" else value.astype(np.float32) for name, value in held.items()}


def names(folder):
    """What lies there, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_from_a_run_there_and_back(run, tmp_path):
    done = convert(run.path, tmp_path / "x.npz")
    assert done.paths == (tmp_path / "x.npz", tmp_path / "x.moments.npz")
    assert (done.tensors, done.step, done.rounded) == (2, 18, True)
    again = convert(tmp_path / "x.npz", tmp_path / "x.safetensors", RECIPE)
    assert (again.step, again.rounded) == (18, False)
    weights, moments = state(run)
    assert same(load_file(tmp_path / "x.safetensors"), single(weights))
    assert same(load_file(tmp_path / "x.optimizer.safetensors"), single(moments))


def test_safetensors_keep_float64(run, tmp_path):
    assert not convert(run.path / "checkpoints/last", tmp_path / "x.safetensors").rounded
    assert same(load_file(tmp_path / "x.safetensors"), state(run)[0])


def test_half_floats_and_counts_of_batches(run, tmp_path):
    weights = {name: value.astype(np.float16) for name, value in state(run)[0].items()}
    save_file({**weights, "bn1.num_batches_tracked": np.array(3)}, tmp_path / "x.safetensors")
    done = convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors", RECIPE)
    assert (done.tensors, done.step) == (2, None)
    assert same(load_file(tmp_path / "y.safetensors"), single(weights))


def test_without_its_optimizer_state(run, tmp_path):
    convert(run.path, tmp_path / "x.npz")
    done = convert(tmp_path / "x.npz", tmp_path / "y.npz", RECIPE, weights_only=True)
    assert (done.paths, done.step) == ((tmp_path / "y.npz",), None)
    assert not (tmp_path / "y.moments.npz").exists()


def test_of_a_run_with_averages_the_weights_alone_are_those(tmp_path):
    averaging = recipe(optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9, "ema": 0.5})
    training = Training(averaging)
    training.run()
    run = made(tmp_path / "run", bound(averaging))
    last = training.saved[-1][0]
    checkpoints.save(run.checkpoints, last)
    convert(run.path, tmp_path / "x.safetensors")
    convert(run.path, tmp_path / "y.safetensors", weights_only=True)
    assert same(load_file(tmp_path / "x.safetensors"), last.model)
    found = load_file(tmp_path / "y.safetensors")
    assert same(found, {name: last.optimizer[f"{name}/ema"] for name in found})


def test_what_is_there_is_replaced_only_by_force(run, tmp_path):
    target = tmp_path / "x.npz"
    convert(run.path, target)
    for path in (target, tmp_path / "x.moments.npz"):
        with pytest.raises(UsageError, match=rf"{path.name}: exists\n.*--force"):
            convert(run.path, target)
        path.unlink()
    convert(run.path, target)
    convert(run.path, target, weights_only=True, force=True)
    assert names(tmp_path) == ["run", "x.npz"]  # an older state is not this one's


def test_what_fails_half_way_leaves_nothing_and_the_old_files(run, tmp_path):
    (tmp_path / "full.npz").write_text("old")
    with pytest.raises(XtrainError, match=r"full\.npz: can't be written: No space left"):
        convert(run.path, tmp_path / "full.npz", force=True)
    assert names(tmp_path) == ["full.npz", "run"]
    assert (tmp_path / "full.npz").read_text() == "old"


WRONG = {
    "missing": (lambda held: held.pop("fc1.bias"), "fc1.bias is missing"),
    "unexpected": (lambda held: held.update({"fc2.bias": np.ones(3)}), "fc2.bias is unexpected"),
    "shape": (
        lambda held: held.update({"fc1.bias": np.ones((10, 1))}),
        r"fc1.bias has the shape \[10, 1\], not \[10\]",
    ),
    "all": (lambda held: held.clear(), "fc1.weight is missing; fc1.bias is missing"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_weights_of_another_model_are_named(change, message, run, tmp_path):
    weights, _ = state(run)
    change(weights)
    np.savez(tmp_path / "x.npz", **weights)
    with pytest.raises(CheckpointError, match=f"does not hold the weights of model mlp: {message}"):
        convert(tmp_path / "x.npz", tmp_path / "y.safetensors", RECIPE)
    assert names(tmp_path) == ["run", "x.npz"]


def test_the_state_of_another_optimizer_is_named(run, tmp_path):
    convert(run.path, tmp_path / "x.npz")
    other = recipe(optimizer={"name": "adam"})
    problem = "the state of optimizer adam: fc1.weight/exp_avg is missing; .* and 3 more"
    with pytest.raises(CheckpointError, match=problem):
        convert(tmp_path / "x.npz", tmp_path / "y.npz", other)
    assert convert(tmp_path / "x.npz", tmp_path / "y.npz", other, weights_only=True).step is None
