"""Training from the command line on the embedded digits, and evaluating what came of it."""

import json
import re

import pytest
from runs import SHORT, copy

from xtrain.recipe import load_recipe
from xtrain.runs.run import Run

HEADER = "epoch step loss accuracy loss accuracy seconds"


def test_a_run_says_what_it_does_and_ends_with_its_best_epoch(undisturbed):
    path, done = undisturbed("numpy")
    run = Run(path)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "digits_cnn under numpy, seed 0"
    assert [line.split() for line in lines[1:3]] == [["train", "test"], HEADER.split()]
    assert re.fullmatch(r" +1 +1 +2\.\d{4}  - images/s, - left", lines[3])
    assert re.fullmatch(r" +1 +2 +2\.\d{4}  [\d,]+ images/s, 0:\d\d left", lines[4])
    assert (
        len([line for line in lines if re.fullmatch(r" +[12] +\d+( +\d\.\d{4}){4} +\d+\.\d( \*)?", line)])
        == 2
    )
    assert all(len(line) <= 80 for line in lines)
    last = max(run.epochs, key=lambda record: record["test_accuracy"])
    assert run.best == last
    assert lines[-2] == (
        f"* best by test_accuracy: epoch {last['epoch']} of 2, "
        f"test accuracy {last['test_accuracy']:.4f}, loss {last['test_loss']:.4f}"
    )
    assert re.fullmatch(r"\d+\.\d s, in numpy", lines[-1])
    assert 0.3 < last["test_accuracy"] <= 1  # 46 steps; guessing gives 0.1


def test_into_a_pipe_go_no_control_characters(undisturbed):
    for backend in ("numpy", "torch"):
        _, done = undisturbed(backend)
        assert all(char.isprintable() or char == "\n" for char in done.out + done.err)


def test_the_run_directory_is_whole(undisturbed):
    path, _ = undisturbed("numpy")
    run = Run(path)
    files = {entry.name for entry in path.iterdir()}
    assert files == {"recipe.toml", "run.json", "metrics.jsonl", "checkpoints", "curves.png"}
    assert (path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert run.recipe.model.channels == (8, 16)
    (entry,) = run.sessions
    assert (entry["backend"], entry["device"], entry["threads"], entry["exit"]) == (
        "numpy",
        "cpu",
        1,
        "finished",
    )
    assert (entry["from_step"], entry["to_step"]) == (0, 46)
    assert entry["command"][1:4] == ["run", "digits_cnn", "--epochs"]
    assert [record["step"] for record in run.train] == list(range(1, 47))
    steps = {*range(3, 46, 3), 23, 46}  # every third, and at the end of an epoch that is the best
    assert {entry.name for entry in run.checkpoints.iterdir()} - {"last", "best"} == {
        f"step-{step}" for step in steps
    }


def test_two_backends_train_alike(undisturbed):
    first, second = (Run(undisturbed(backend)[0]).train for backend in ("numpy", "torch"))
    losses = [[record["loss"] for record in records[:10]] for records in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=5e-5)
    assert losses[0] != losses[1]  # float64 and float32: not the same backend twice


@pytest.mark.parametrize(("trained", "under"), [("numpy", None), ("numpy", "torch"), ("torch", "numpy")])
def test_a_run_is_evaluated_under_any_backend(trained, under, undisturbed, xtrain):
    path, _ = undisturbed(trained)
    done = xtrain("eval", path, *(("--backend", under) if under else ()))
    assert (done.code, done.err) == (0, "")
    found = re.fullmatch(
        rf"digits_cnn step-46 under {under or trained}: "
        r"test accuracy (0\.\d{4}), loss (\d\.\d{6}) over 360 samples\n",
        done.out,
    )
    last = Run(path).epochs[-1]
    assert float(found[1]) == pytest.approx(last["test_accuracy"], abs=1.1 / 360)
    assert float(found[2]) == pytest.approx(last["test_loss"], abs=2e-6)


def test_an_evaluation_takes_any_checkpoint_and_changes_nothing(undisturbed, call, tmp_path):
    path = copy(undisturbed("numpy")[0], tmp_path / "run")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    outs = [
        call("eval", path, "--checkpoint", "step-23").out,
        call("eval", path / "checkpoints/step-23").out,
    ]
    assert outs[0] == outs[1]
    assert f"loss {Run(path).epochs[0]['test_loss']:.6f}" in outs[0]
    assert call("eval", path, "--checkpoint", "best").code == 0
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_another_seed_is_another_run(undisturbed, call, tmp_path):
    done = call("run", *SHORT, "--epochs", 1, "--seed", 1, "--backend", "numpy", "--out", "run")
    assert done.out.startswith("digits_cnn under numpy, seed 1\n")
    assert Run(tmp_path / "run").train[0]["loss"] != Run(undisturbed("numpy")[0]).train[0]["loss"]


def test_without_names_the_default_backend_and_directory_are_taken(call, tmp_path, monkeypatch):
    monkeypatch.setenv("XTRAIN_BACKEND", "numpy")
    done = call("run", "digits_mlp", "--epochs", 1)
    assert done.out.startswith("digits_mlp under numpy ($XTRAIN_BACKEND says so), seed 0\n")
    (path,) = (tmp_path / "runs").iterdir()
    assert path.name.startswith("digits_mlp-numpy-20")
    assert done.out.rstrip().endswith(f"in runs/{path.name}")


def test_a_resolved_recipe_gives_the_same_run(call, tmp_path):
    line = ("--backend", "numpy", "--epochs", 1)
    assert call("run", "digits_mlp", *line, "--out", "first").code == 0
    assert call("run", "first/recipe.toml", *line, "--out", "second").code == 0
    first, second = Run(tmp_path / "first"), Run(tmp_path / "second")
    assert first.recipe == second.recipe == load_recipe("digits_mlp", {"loop.epochs": 1}).bind().recipe
    name = "weights.safetensors"
    assert (first.checkpoint() / name).read_bytes() == (second.checkpoint() / name).read_bytes()


def test_batch_size_and_logging_do_not_change_the_samples(call, tmp_path):
    for every in (1, 7):
        done = call(
            "run", "digits_mlp", "--backend", "numpy", "--epochs", 1, "--log-every", every, "--out", every
        )
        assert done.code == 0
    runs = [Run(tmp_path / "1"), Run(tmp_path / "7")]
    single = [record["loss"] for record in runs[0].train]
    assert runs[1].train[0]["loss"] == pytest.approx(sum(single[:7]) / 7, rel=1e-12)
    epochs = [{k: v for k, v in run.epochs[0].items() if "seconds" not in k} for run in runs]
    assert epochs[0] == epochs[1]
    assert all(json.loads(line) for line in runs[0].metrics_path.read_text().splitlines())


@pytest.mark.usefixtures("real_data")
def test_mnist_is_found_by_the_variable(xtrain):
    changes = ("model.hidden=[]", "optimizer.lr=0.5", "data.batch_size=1000")
    settings = [part for change in changes for part in ("--set", change)]
    done = xtrain("run", "mnist_mlp", "--backend", "numpy", "--epochs", 1, "--out", "run", *settings)
    assert (done.code, done.err) == (0, "")
    assert Run(xtrain.folder / "run").epochs[0]["test_accuracy"] > 0.88  # softmax regression, one epoch
