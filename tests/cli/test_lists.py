"""Commands that only look: lists, check, summary."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from xtrain import data, models, plugins
from xtrain.recipe import load_recipe, shipped

UNIT = Path(__file__).parents[1] / "unit"


def rows(out):
    """The cells of a table's rows, below the rule under its header."""
    lines = out.rpartition("─")[2].splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines if line.strip()]


def test_recipes(call):
    done = call("recipes")
    assert done.code == 0
    found = {cells[0]: cells[1:] for cells in rows(done.out)}
    assert list(found) == list(shipped())
    assert found["mnist_mlp"] == ["mnist", "mlp, 669,706 parameters", "sgd", "3"]


def test_datasets(call):
    done = call("datasets")
    assert done.code == 0
    found = {cells[0]: cells[1:] for cells in rows(done.out)}
    assert list(found) == data.names()
    assert found["cifar10"] == ["CIFAR-10", "3x32x32", "50,000", "10,000", "10"]
    assert found["digits"][-3:] == ["1,437", "360", "10"]


def test_models(call):
    done = call("models")
    assert done.code == 0
    assert [cells[0] for cells in rows(done.out)] == list(models.MODELS.own)
    assert "hidden = (512, 512), dropout = 0.0" in done.out


def test_summary(call):
    done = call("summary", "cifar10_lenet")
    assert done.code == 0
    assert "lenet, input 3x32x32, batch of 1" in done.out
    found = rows(done.out)
    # Activations: 8 bytes for each output; of all layers 6x28x28 + 16x10x10 + 120 + 84 + 10.
    assert found[0] == ["conv1", "conv2d", "6x28x28", "456", "357,504", "0.038", "0.002"]
    assert found[1] == ["relu1", "relu", "6x28x28", "0", "0", "0.000", "0.000"]
    assert found[-1] == ["total", "62,006", "658,238", "0.052", "0.248"]
    assert len(found) == 13


def test_summary_takes_changes(call):
    done = call("summary", "mnist_mlp", "--set", "model.hidden=[]")
    assert rows(done.out)[-1][:3] == ["total", "7,850", "7,850"]


def test_summary_of_a_batch(call):
    done = call("summary", "cifar10_lenet", "--batch", 10, "--set", "model.name=svhn_resnet")
    assert "svhn_resnet, input 3x32x32, batch of 10" in done.out
    found = {cells[0]: cells[1:] for cells in rows(done.out)}
    # Ten times 1,728 at 32x32; 8 bytes for each of 10 x 64x32x32.
    assert found["conv1"] == ["conv2d", "64x32x32", "1,728", "17,694,720", "5.243", "0.007"]
    assert found["total"][0] == "2,629,706"
    assert found["total"][-1] == "10.519"
    for batch in (0, -1, "x"):
        assert call("summary", "cifar10_lenet", "--batch", batch).code == 2


@pytest.mark.parametrize("name", ["digits_cnn", "cifar10_simplecnn", "mnist_mlp_deep"])
def test_check_prints_a_recipe_that_is_valid_and_equal(name, call, tmp_path):
    done = call("check", name)
    assert done.code == 0
    (tmp_path / "again.toml").write_text(done.out)
    assert load_recipe(tmp_path / "again.toml") == load_recipe(name).bind().recipe
    again = call("check", "again.toml")
    assert again.out == done.out


def test_check_prints_a_model_spelled_out_with_every_change(call, tmp_path):
    layers = '[{op = "flatten"}, {op = "linear", out_features = 10}]'
    changes = [f"model={{layers = {layers}}}", "optimizer.name=adam", "optimizer.betas=[0.8, 0.99]"]
    settings = [part for change in changes for part in ("--set", change)]
    done = call("check", "digits_mlp", "--seed", 5, *settings)
    assert done.code == 0, done.err
    (tmp_path / "again.toml").write_text(done.out)
    recipe = load_recipe(tmp_path / "again.toml")
    assert (recipe.seed, recipe.model.name, recipe.optimizer.betas) == (5, "custom", (0.8, 0.99))
    assert not hasattr(recipe.optimizer, "momentum")


SETTINGS = {
    "a number": ("optimizer.lr=0.5", lambda recipe: recipe.optimizer.lr == 0.5),
    "a bare word": ("name=mine", lambda recipe: recipe.name == "mine"),
    "quotes": ('name="mine"', lambda recipe: recipe.name == "mine"),
    "two bare words": ("loop.checkpoint_every=2 epochs", lambda r: r.loop.checkpoint_every == "2 epochs"),
    "an array": ("model.hidden=[3, 4]", lambda recipe: recipe.model.hidden == (3, 4)),
    "a table": ("data.normalize={mean = [0.1], std = [1]}", lambda r: r.data.normalize.mean == (0.1,)),
    "tables in an array": (
        'data.augment=[{op = "random_horizontal_flip"}]',
        lambda r: r.data.augment[0].p == 0.5,
    ),
    "a switch": ("data.drop_last=true", lambda recipe: recipe.data.drop_last is True),
    "spaces": (" optimizer.lr = 0.5 ", lambda recipe: recipe.optimizer.lr == 0.5),
    "a section": ('optimizer={name = "adam"}', lambda recipe: recipe.optimizer.name == "adam"),
}


@pytest.mark.parametrize(("setting", "holds"), SETTINGS.values(), ids=SETTINGS.keys())
def test_a_setting_is_a_value_of_toml_or_a_bare_word(setting, holds, call, tmp_path):
    done = call("check", "digits_mlp", "--set", setting)
    assert done.code == 0, done.err
    (tmp_path / "again.toml").write_text(done.out)
    assert holds(load_recipe(tmp_path / "again.toml"))


def test_a_setting_sets_one_key(call):
    done = call("check", "digits_mlp", "--set", "optimizer.lr=1\nseed = 3")
    assert done.code == 2
    assert "optimizer.lr = '1\\nseed = 3'" in done.err


@pytest.mark.parametrize("order", [1, -1])
def test_settings_mean_the_same_in_any_order(order, call, tmp_path):
    changes = ["optimizer.weight_decay=0.5", "optimizer.name=adam", "model.padding=1", "model.name=simplecnn"]
    done = call("check", "digits_mlp", *(part for change in changes[::order] for part in ("--set", change)))
    assert done.code == 0, done.err
    (tmp_path / "again.toml").write_text(done.out)
    recipe = load_recipe(tmp_path / "again.toml")
    assert (recipe.optimizer.name, recipe.optimizer.weight_decay, recipe.model.padding) == ("adam", 0.5, 1)


def test_check_gives_every_backends_terms_for_every_key(call):
    done = call("check", "digits_mlp")
    for backend in plugins.loadable():
        text = done.out.split(f"# under {backend.name}")[1].split("# under")[0]
        for key in (
            "model.fc1",
            "model.relu1",
            "loss",
            "optimizer.name",
            "optimizer.lr",
            "optimizer.momentum",
        ):
            assert f"#   {key} " in text, (backend.name, key)
    assert "optimizer.momentum" in done.out


@pytest.fixture
def plugged(tmp_path_factory, monkeypatch):
    """The fake backend, and others: exploding, not installed, with a problem, with a probe that breaks."""
    monkeypatch.syspath_prepend(UNIT)
    from plugin_folder import install, install_fake

    folder = install_fake(tmp_path_factory.mktemp("plugins"))
    hook = "\n\n@hookimpl\ndef xtrain_backend(device, threads):\n    return Mine(device, threads)\n"
    head = "from xtrain.plugins import hookimpl\nfrom xtrain_fake import *\n\nclass Mine(FakeBackend):\n"
    missing = '    name, framework, install = "missing", "not_a_framework", "pip install not_a_framework"\n'
    ill = '    name = "ill"\n    def probe(self): return Probe(None, problem="no driver")\n'
    sick = '    name = "sick"\n    def probe(self): raise ImportError("no libsick.so")\n'
    refusing = (
        '    name = "refusing"\n    def explain(self, model, loss, optimizer):\n'
        '        raise UnsupportedError("refusing has no layer linear")\n'
    )
    install(folder, "explodes", "xtrain_explodes", "raise RuntimeError('boom')")
    install(folder, "missing", "xtrain_missing", head + missing + hook)
    install(folder, "ill", "xtrain_ill", head + ill + hook)
    install(folder, "sick", "xtrain_sick", head + sick + hook)
    source = "from xtrain.errors import UnsupportedError\n" + head + refusing + hook
    install(folder, "refusing", "xtrain_refusing", source)
    monkeypatch.syspath_prepend(folder)
    return folder


def with_path(folder):
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)


def test_check_goes_on_where_one_backend_refuses(plugged, call, tmp_path):
    done = call("check", "digits_mlp")
    assert done.code == 0
    assert "# under refusing\n#   not supported  refusing has no layer linear" in done.out
    assert "# under missing (not installed: pip install not_a_framework)" in done.out
    assert "# under fake\n#   model.flatten1  fake" in done.out
    assert "# under numpy\n" in done.out
    (tmp_path / "again.toml").write_text(done.out)
    assert load_recipe(tmp_path / "again.toml") == load_recipe("digits_mlp").bind().recipe


def test_backends_are_listed_with_what_is_wrong_with_them(plugged, xtrain):
    done = xtrain("backends", environment={"PYTHONPATH": with_path(plugged)})
    assert (done.code, done.err) == (0, "")
    found = {cells[0]: cells[1:] for cells in rows(done.out)}
    assert found["fake"] == ["1.0", "cpu", "float32", "fake", "here", "remark: not a framework"]
    assert found["numpy"][:3] == [sys.modules["numpy"].__version__, "cpu", "float64"]
    assert set(found) >= {"torch", "paddle", "mindspore"}
    below = {
        "explodes": "backend 'explodes': its plugin does not load: RuntimeError: boom",
        "sick": "ImportError: no libsick.so",
        "missing": "pip install not_a_framework",
        "ill": "no driver",
    }
    for name, said in below.items():
        assert found[name] == ["not installed" if name == "missing" else "broken"]
        assert f"{name}: {said}" in done.out.splitlines()


def test_what_is_copied_from_the_list_of_backends_is_one_line_on_a_narrow_terminal(plugged, xtrain):
    import pty

    master, slave = pty.openpty()
    environment = {"PYTHONPATH": with_path(plugged), "COLUMNS": "40", "XTRAIN_PYTHON_FAKE": sys.executable}
    process = subprocess.Popen(
        [sys.executable, "-m", "xtrain", "backends"],
        cwd=xtrain.folder,
        env={**os.environ, **environment},
        stdout=slave,
    )
    os.close(slave)
    out = b""
    with suppress(OSError):  # the end of a terminal
        while part := os.read(master, 4096):
            out += part
    os.close(master)
    assert process.wait() == 0
    lines = out.decode().splitlines()
    assert "missing: pip install not_a_framework" in lines
    assert f"fake lives in {sys.executable}" in lines


def test_a_backend_that_is_not_installed_is_refused_with_the_remedy(plugged, call):
    done = call("run", "digits_mlp", "--backend", "missing")
    assert done.code == 2
    assert done.err == (
        "error: backend missing: not_a_framework is not installed\n  pip install not_a_framework\n"
    )


def test_help_lists_every_command_and_every_command_has_help(call):
    from xtrain.cli.group import COMMANDS

    text = call("--help").out
    for name in COMMANDS:
        assert f"\n  {name} " in text
        done = call(name, "--help")
        assert done.code == 0
        assert done.out.startswith(f"Usage: xtrain {name} [OPTIONS]")
    assert call("-h").out == text
    assert call("--version").out.startswith("xtrain, version ")


def test_lists_into_a_pipe_are_plain(xtrain):
    for command in ("recipes", "models"):
        done = xtrain(command, environment={"TERM": os.environ.get("TERM", "xterm-256color")})
        assert (done.code, done.err) == (0, "")
        assert all(char.isprintable() or char == "\n" for char in done.out)
