"""The Python API over the fake backend: a call does what the command does."""

import re
import subprocess
import sys
import threading
import types

import pytest
from fake_runs import Recorder, bound, few, made, recipe
from plugin_folder import install_fake
from test_checkpoint import same

import xtrain
from xtrain.errors import BackendError, RecipeError, UsageError, XtrainError
from xtrain.runs import checkpoint as checkpoints
from xtrain.training.observers import curves

FRAMEWORKS = ("torch", "paddle", "mindspore", "jax")
QUICK = {"model.hidden": [], "loop.epochs": 1, "data.batch_size": 400}


@pytest.fixture(autouse=True)
def _fake(tmp_path_factory, monkeypatch):
    """The fake backend, also for child processes, in a process that has loaded no framework."""
    folder = install_fake(tmp_path_factory.mktemp("plugin"))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.delenv("XTRAIN_BACKEND", raising=False)
    for name in FRAMEWORKS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(curves, "draw", lambda runs, path: None)


@pytest.fixture
def small_data(monkeypatch):
    few(monkeypatch)


@pytest.fixture
def occupied(monkeypatch):
    """Another framework is loaded."""
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))


def weights(run):
    return checkpoints.load(run.checkpoint(), run.job.model).model


@pytest.mark.usefixtures("small_data")
def test_a_recipe_is_trained_and_its_run_reads_back(tmp_path, capsys):
    run = xtrain.run(recipe(loop__keep_last="all"), backend="fake", out=tmp_path / "run", quiet=True)
    assert isinstance(run, xtrain.Run)
    assert [record["epoch"] for record in run.epochs] == [1, 2, 3]
    assert run.recipe == bound(recipe(loop__keep_last="all")).recipe
    assert capsys.readouterr().out == ""
    assert xtrain.evaluate(run) == {
        "loss": run.epochs[-1]["test_loss"],
        "accuracy": run.epochs[-1]["test_accuracy"],
    }
    assert xtrain.evaluate(run.path, checkpoint="step-6")["loss"] == run.epochs[0]["test_loss"]


@pytest.mark.usefixtures("small_data")
def test_by_default_a_run_lies_below_runs_and_says_what_happens(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XTRAIN_BACKEND", "fake")
    run = xtrain.run("digits_mlp", overrides=QUICK)
    assert run.path.parts[0] == "runs"
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ["1", "1"]  # the epoch, and the step
    assert run.recipe.optimizer.momentum == 0.9


@pytest.mark.usefixtures("small_data")
def test_names_paths_and_recipes_are_taken_alike(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(recipe().to_toml())
    runs = [
        xtrain.run(source, backend="fake", out=tmp_path / str(place), overrides={"seed": 3}, quiet=True)
        for place, source in enumerate((path, str(path), xtrain.load_recipe(path), recipe()))
    ]
    assert {run.recipe for run in runs} == {bound(recipe(seed=3)).recipe}
    assert all(same(weights(run), weights(runs[0])) for run in runs)


@pytest.mark.usefixtures("small_data")
def test_a_run_goes_on_under_the_backend_and_threads_it_had(tmp_path):
    chosen = recipe(loop__keep_last="all")
    run = xtrain.run(chosen, backend="fake", threads=2, out=tmp_path / "run", quiet=True)
    again = xtrain.run(resume=run.path, overrides={"loop.epochs": 4}, quiet=True)
    assert again.path == run.path
    assert len(again.epochs) == 4
    assert [(entry["backend"], entry["threads"]) for entry in again.sessions] == [("fake", 2), ("fake", 2)]
    back = xtrain.run(resume=run.path / "checkpoints/step-6", quiet=True)
    assert back.sessions[-1]["from_step"] == 6


def test_wrong_use_is_refused(tmp_path):
    with pytest.raises(UsageError, match="give a recipe to train, or resume="):
        xtrain.run()
    with pytest.raises(UsageError, match="give a recipe to train, or resume="):
        xtrain.run("digits_mlp", resume=tmp_path)
    with pytest.raises(UsageError, match="is not a run directory"):
        xtrain.run(resume=tmp_path)
    with pytest.raises(UsageError, match="is not a run directory"):
        xtrain.evaluate(tmp_path)
    with pytest.raises(BackendError, match="unknown backend 'fakee'"):
        xtrain.run("digits_mlp", backend="fakee")
    with pytest.raises(RecipeError, match=r"optimizer\.lr = -1"):
        xtrain.run("digits_mlp", backend="fake", overrides={"optimizer.lr": -1})
    run = made(tmp_path / "run", bound(recipe()))
    with pytest.raises(UsageError, match=r"resume goes on as the run began, optimizer\.lr can't be changed"):
        xtrain.run(resume=run.path, overrides={"optimizer.lr": 1})
    with pytest.raises(UsageError, match="has no checkpoint 'last'"):
        xtrain.evaluate(run, backend="fake")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"threads": 0}, "threads = 0"),
        ({"threads": "2"}, "threads = '2'"),
        ({"observers": Recorder()}, "observers is one object"),
        ({"recipe": 3}, "a recipe is no int"),
    ],
    ids=["no_threads", "threads_as_text", "one_observer", "no_recipe"],
)
def test_an_argument_of_the_wrong_kind_is_told_before_anything_is_made(given, told, tmp_path):
    with pytest.raises(UsageError, match=told):
        xtrain.run(**{"recipe": "digits_mlp", "out": tmp_path / "run", **given})
    assert not (tmp_path / "run").exists()


def test_a_run_itself_goes_on(tmp_path):
    first = xtrain.run("digits_mlp", backend="numpy", epochs=1, out=tmp_path / "run", quiet=True)
    assert xtrain.run(resume=first, overrides={"loop.epochs": 2}, quiet=True).epochs[-1]["epoch"] == 2


def test_models_are_built_by_name():
    model = xtrain.models.build("mlp", input_shape=(1, 28, 28), classes=10, hidden=[512, 512])
    assert (model.parameters, model.multiply_adds) == (669_706, 669_706)


def test_the_package_knows_its_names():
    assert dir(xtrain) == xtrain.__all__
    assert all(getattr(xtrain, name) is not None for name in xtrain.__all__)
    assert xtrain.Recipe is type(xtrain.load_recipe("digits_mlp"))
    with pytest.raises(AttributeError, match="module 'xtrain' has no attribute 'train'"):
        xtrain.train  # noqa: B018 - asking is what is tested


# Where another framework is loaded the training happens in a process of its own; on the real digits there.


@pytest.mark.usefixtures("small_data")
def test_a_mapping_is_a_recipe_and_epochs_and_seed_are_arguments(tmp_path):
    values = recipe().to_dict()
    run = xtrain.run(values, backend="fake", epochs=2, seed=5, out=tmp_path / "run", quiet=True)
    assert run.recipe == bound(recipe(seed=5, loop__epochs=2)).recipe
    assert xtrain.run(resume=run.path, epochs=3, quiet=True).epochs[-1]["epoch"] == 3
    with pytest.raises(RecipeError, match="recipe: optimizer: is missing"):
        xtrain.run({key: value for key, value in values.items() if key != "optimizer"}, backend="fake")
    with pytest.raises(UsageError, match="seed can't be changed"):
        xtrain.run(resume=run.path, seed=1, quiet=True)


@pytest.mark.usefixtures("small_data")
def test_observers_are_told_here(tmp_path):
    recorder = Recorder()
    run = xtrain.run(recipe(), backend="fake", observers=[recorder], out=tmp_path / "run", quiet=True)
    assert recorder.seen == ["start", "stop"]
    assert [record.epoch for record in recorder.epochs] == [1, 2, 3]
    assert run.best == max(run.epochs, key=lambda record: record["test_accuracy"])


@pytest.mark.usefixtures("small_data")
def test_a_run_shows_what_it_recorded(tmp_path):
    run = xtrain.run(recipe(), backend="fake", out=tmp_path / "a<b", quiet=True)
    assert list(run.frame("train")["step"]) == [record["step"] for record in run.train]
    assert list(run.frame().columns) == [key for key in run.epochs[0] if key != "kind"]
    with pytest.raises(UsageError, match="there are no records of kind 'epochs'\n  did you mean 'epoch'"):
        run.frame("epochs")
    html = run._repr_html_()
    assert "a&lt;b" in html
    assert html.count("<tr>") == 4
    assert f"<tr><th>{run.best['epoch']}</th>" in html
    assert run.plot()._repr_png_().startswith(b"\x89PNG")


@pytest.mark.usefixtures("small_data")
def test_a_run_without_pandas_or_without_an_epoch_says_so(tmp_path, monkeypatch):
    run = made(tmp_path / "run", bound(recipe()))
    assert run.best is None
    assert run.frame().empty
    assert "<table>" in run._repr_html_()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"needs pandas, which is not installed\n  .*pip install .*pandas"):
        run.frame()


def test_the_version_is_that_of_the_distribution_whatever_it_is_called():
    command = "import xtrain; print(xtrain.__version__)"
    assert re.fullmatch(r"\d+\.\d+.*", xtrain.__version__)
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == xtrain.__version__


def test_parity_is_a_function_and_a_room(tmp_path):
    with pytest.raises(UsageError, match=r"levels: no level 'P9'\n.*allowed: P0, P1"):
        xtrain.parity("digits_mlp", levels=["P9"])
    with pytest.raises(UsageError, match="parity compares two different ones or more"):
        xtrain.parity("digits_mlp", ["fake", "fake"])
    assert xtrain.parity is sys.modules["xtrain.parity"]


@pytest.mark.usefixtures("small_data")
def test_a_run_is_converted(tmp_path):
    run = xtrain.run(recipe(), backend="fake", out=tmp_path / "run", quiet=True)
    made_ = xtrain.convert(run, tmp_path / "net.safetensors")
    assert (made_.step, made_.paths[0]) == (18, tmp_path / "net.safetensors")
    again = xtrain.convert(tmp_path / "net.safetensors", tmp_path / "b.safetensors", recipe().to_dict())
    assert again.step == 18


@pytest.mark.usefixtures("occupied")
def test_observers_are_told_here_also_of_a_training_elsewhere(tmp_path):
    recorder = Recorder()
    recorder.lock = threading.Lock()  # no pickle takes it
    run = xtrain.run(
        "digits_mlp", backend="fake", observers=[recorder], out=tmp_path / "run", overrides=QUICK, quiet=True
    )
    assert recorder.seen == ["start", "stop"]
    assert recorder.steps == [1, 2, 3, 4]
    assert [record.test_loss for record in recorder.epochs] == [run.epochs[0]["test_loss"]]


@pytest.mark.usefixtures("occupied")
def test_progress_of_a_training_elsewhere_is_shown_here(tmp_path, capsys):
    xtrain.run("digits_mlp", backend="fake", out=tmp_path / "run", overrides=QUICK)
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ["1", "4"]


@pytest.mark.usefixtures("occupied")
def test_a_process_of_its_own_gives_the_same_run(tmp_path, monkeypatch, capfd):
    options = {"backend": "fake", "overrides": QUICK, "threads": 1}
    child = xtrain.run("digits_mlp", out=tmp_path / "child", quiet=True, **options)
    assert capfd.readouterr().out == ""
    assert child.sessions[0]["command"] == sys.argv
    monkeypatch.delitem(sys.modules, "torch")
    here = xtrain.run("digits_mlp", out=tmp_path / "here", quiet=True, **options)
    assert here.sessions[0]["command"] == sys.argv
    assert here.recipe == child.recipe
    assert here.epochs[0]["train_loss"] == child.epochs[0]["train_loss"]
    assert same(weights(here), weights(child))


@pytest.mark.usefixtures("occupied")
def test_a_resume_in_a_process_of_its_own_takes_what_is_asked_for(tmp_path):
    run = xtrain.run("digits_mlp", backend="fake", out=tmp_path / "run", overrides=QUICK, quiet=True)
    asked = {"loop.epochs": 2, "loop.log_every": 3, "loop.checkpoint_every": "2 epochs"}
    again = xtrain.run(resume=run.path, overrides=asked, quiet=True)
    loop = again.recipe.loop
    assert (loop.epochs, loop.log_every, loop.checkpoint_every) == (2, 3, "2 epochs")
    assert [record["epoch"] for record in again.epochs] == [1, 2]
    assert [entry["from_step"] for entry in again.sessions] == [0, 4]


@pytest.mark.usefixtures("occupied")
def test_errors_of_a_process_of_its_own_are_those_of_a_call(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.txt").touch()
    with pytest.raises(
        UsageError, match=r"run: exists and is not an empty directory\n  choose another"
    ) as caught:
        xtrain.run("digits_mlp", backend="fake", out=tmp_path / "run", overrides=QUICK, quiet=True)
    assert not str(caught.value).startswith("error")
    rates = {**QUICK, "optimizer.lr": 1e308, "data.batch_size": 1, "loop.log_every": 1}
    with pytest.raises(XtrainError, match=r"the loss of step \d+ is "):
        xtrain.run("digits_mlp", backend="fake", out=tmp_path / "lost", overrides=rates, quiet=True)


@pytest.mark.usefixtures("occupied")
def test_an_evaluation_where_another_framework_is_loaded_is_in_a_process_of_its_own(tmp_path, monkeypatch):
    run = xtrain.run("digits_mlp", backend="fake", out=tmp_path / "run", overrides=QUICK, quiet=True)
    there = xtrain.evaluate(run)
    monkeypatch.delitem(sys.modules, "torch")
    assert (
        there
        == xtrain.evaluate(run)
        == {
            "loss": run.epochs[-1]["test_loss"],
            "accuracy": run.epochs[-1]["test_accuracy"],
        }
    )
