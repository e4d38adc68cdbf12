"""What the command says of runs whose data, files, place or epochs are not what they were."""

import json
import re
import shutil

import numpy as np
import pytest
from runs import copy, end

from xtrain.runs.run import Run

LINE = ("--backend", "numpy", "--epochs", 1, "--log-every", 5)


@pytest.fixture
def own(call, tmp_path):
    """A run over a folder of pictures in `data`."""
    from PIL import Image

    for split, count in (("train", 6), ("test", 3)):
        for label in ("cat [1]", "dög"):
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "own.toml").write_text(
        'name = "own"\n[data]\nname = "image_folder"\npath = "data"\nbatch_size = 4\n'
        '[model]\nname = "mlp"\nhidden = [4]\n[optimizer]\nname = "sgd"\nlr = 0.1\n[loop]\nepochs = 1\n'
    )
    done = call("run", "own.toml", "--backend", "numpy", "--out", "run")
    assert done.code == 0, done.err
    return Run(tmp_path / "run")


def test_without_its_pictures_a_run_is_drawn_converted_summed_up_and_evaluated_as_recorded(
    own, call, tmp_path
):
    before = call("eval", "run")
    shutil.rmtree(tmp_path / "data")
    for line in (
        ("curves", "run"),
        ("convert", "run", "x.safetensors"),
        ("convert", "run", "x.onnx"),
        ("convert", "run/checkpoints/last", "y.safetensors"),
    ):
        done = call(*line)
        assert (done.code, done.err) == (0, ""), line
    assert "mlp, input 3x8x8" in call("summary", "run").out
    done = call("eval", "run")
    assert done.code == 0
    assert done.err.startswith("note: its data can't be used, these figures are as recorded: ")
    record = own.epochs[-1]
    assert done.out == (
        f"own {own.checkpoint().name} under numpy: test accuracy {record['test_accuracy']:.4f}, "
        f"loss {record['test_loss']:.6f} as recorded\n"
    )
    assert done.out.split(" as recorded")[0] == before.out.split(" over ")[0]
    for asked in (("--backend", "numpy"), ("--precision", "float32")):  # what is computed is not recorded
        done = call("eval", "run", *asked)
        assert (done.code, done.out) == (1, "")
        assert str(tmp_path / "data") in done.err
    done = call("run", "--resume", "run", "--epochs", 2)
    assert done.code == 1
    assert str(tmp_path / "data") in done.err


def test_pictures_that_were_moved_are_found_by_an_edited_path(own, call, tmp_path):
    (tmp_path / "data").rename(tmp_path / "moved")
    path = tmp_path / "run/recipe.toml"
    path.write_text(path.read_text().replace(f'path = "{tmp_path}/data"', f'path = "{tmp_path}/moved"'))
    done = call("run", "--resume", "run", "--epochs", 2)
    assert (done.code, done.err) == (0, "")
    picture = next((tmp_path / "moved/train").rglob("*.png"))
    shutil.copy(sorted((tmp_path / "moved/train").rglob("*.png"))[-1], picture)
    done = call("run", "--resume", "run", "--epochs", 3)
    assert done.code == 1
    assert "is not the data that the run was made with (its hash differs)" in done.err


def test_a_path_with_brackets_is_printed_as_it_is(call, tmp_path):
    path = "a[/]b [bold]c[/bold]"
    done = call("run", "digits_mlp", *LINE, "--out", path)
    assert (done.code, done.err) == (0, "")
    assert done.out.rstrip().endswith(f" s, in {path}")
    done = call("run", "--resume", path)
    assert f"digits_mlp under numpy, going on in {path}\n" in done.out
    assert "nothing to do: all 1 epochs are done\n" in done.out
    assert done.out.rstrip().endswith(f" s, in {path}")
    for line in (("eval", path), ("curves", path, "--out", f"{path}.png"), ("convert", path, f"{path}.onnx")):
        assert call(*line).code == 0
    assert call("curves", f"{path}.png").err.startswith(f"error: {path}.png: is not a run directory")


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_names_that_are_not_ascii_go_under_any_locale(locale, xtrain):
    (xtrain.folder / "数字.toml").write_text(
        'name = "数字_é"\n[data]\nname = "digits"\nbatch_size = 400\n[model]\nname = "mlp"\nhidden = []\n'
        '[optimizer]\nname = "sgd"\nlr = 0.1\n[loop]\nepochs = 1\n',
        encoding="utf-8",
    )
    done = xtrain("run", "数字.toml", "--backend", "numpy", "--out", "läufe/一", environment=locale)
    assert (done.code, done.err) == (0, ""), done.err
    run = Run(xtrain.folder / "läufe/一")
    assert run.recipe.name == "数字_é"
    for line in (
        ("run", "--resume", run.path, "--epochs", 2),
        ("eval", run.path),
        ("summary", run.path),
        ("curves", run.path, "--out", xtrain.folder / "é.png"),
        ("convert", run.path, xtrain.folder / "é.safetensors"),
        ("eval", xtrain.folder / "nirgendwö"),
    ):
        done = xtrain(*line, environment=locale)
        assert done.code == (2 if "nirgend" in str(line[-1]) else 0), done.err
        assert "Traceback" not in done.err
        assert "not an error xtrain foresees" not in done.err


def test_more_epochs_under_a_schedule_that_hangs_on_them_are_noted(call, tmp_path):
    done = call("run", "digits_mlp", *LINE, "--out", "run", "--set", 'schedule={name = "cosine"}')
    assert (done.code, done.err) == (0, "")
    done = call("run", "--resume", "run", "--epochs", 2)
    assert done.code == 0
    assert re.match(r"note: the schedule cosine depends on loop\.epochs, which was 1 and is 2: ", done.err)
    assert "the learning rate of step 24 is " in done.err
    assert done.err.count("\n") == 1
    assert call("run", "--resume", "run", "--epochs", 1).code == 2


def test_a_lost_last_is_noted_and_the_run_goes_on(undisturbed, xtrain):
    whole, _ = undisturbed("numpy")
    path = copy(whole, xtrain.folder / "run")
    (path / "checkpoints/last").unlink()
    shutil.rmtree(path / "checkpoints/step-46")
    done = xtrain("run", "--resume", path)
    assert done.code == 0
    assert done.err == f"note: {path}/checkpoints/last names no checkpoint: step-45 is the newest whole one\n"
    assert end(path) == end(whole)


def test_a_finished_run_whose_records_were_taken_away_says_so(undisturbed, call, tmp_path):
    path = copy(undisturbed("numpy")[0], tmp_path / "run")
    (path / "metrics.jsonl").unlink()
    done = call("run", "--resume", path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-2:] == [
        "nothing to do: all 2 epochs are done",
        f"no figures are recorded in {path}",
    ]


def test_a_copy_without_links_and_elsewhere_goes_on(undisturbed, call, tmp_path):
    whole, _ = undisturbed("numpy")
    path = copy(whole, tmp_path / "copy")
    assert not any(each.is_symlink() for each in path.rglob("*"))
    assert call("run", "--resume", path / "checkpoints/step-30").code == 0
    assert end(path) == end(whole)


def test_a_directory_removed_while_it_trains_is_told_and_not_made_again(xtrain):
    path = xtrain.folder / "run"
    process = xtrain.start("run", "digits_mlp", "--backend", "numpy", "--out", path, "--epochs", 5000)
    while process.poll() is None and not list(path.glob("checkpoints/step-*")):
        pass
    path.rename(xtrain.folder / "away")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out
    assert err.startswith(f"error: {path}: the run directory was moved or removed while it was trained\n")
    assert not path.exists()
    sessions = json.loads((xtrain.folder / "away/run.json").read_text())["sessions"]
    assert sessions[-1]["exit"] == "running"  # nothing was written any more; the next session calls it killed
