"""What the core does without packages that only extras install, in interpreters that lack them."""

import os
import subprocess
import sys

import pytest
from plugin_folder import install_fake

from xtrain.system.distribution import install_command

ABSENT = (
    "matplotlib",
    "scipy",
    "sklearn",
    "threadpoolctl",
    "joblib",
    "onnx",
    "pandas",
    "PIL",
    "pytest",
)
RECIPE = ("digits_mlp", "--backend", "numpy", "--epochs", "1")


@pytest.fixture
def call(tmp_path):
    """Run a command of xtrain in an empty folder, without the absent packages."""

    def called(*arguments, **variables):
        code = (
            f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r})); from xtrain.cli import main; main()"
        )
        command = [sys.executable, "-c", code, *map(str, arguments)]
        own = {**os.environ, **variables}
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=own)

    return called


@pytest.fixture(autouse=True)
def _in_the_same_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # remedies name the clone where one stands outside it


def refusal(what, extra):
    return f"{what}, which is not installed\n  {install_command(extra)}\n"


def test_a_run_finishes_without_its_picture_and_says_how_to_get_one(call, tmp_path):
    done = call("run", *RECIPE, "--out", "run")
    assert (done.returncode, done.stderr) == (
        0,
        f"note: no curves.png: {refusal('a picture needs matplotlib', 'plot')}",
    )
    assert "test accuracy 0." in done.stdout
    assert not (tmp_path / "run" / "curves.png").exists()
    assert (tmp_path / "run" / "metrics.jsonl").exists()
    drawn = call("curves", "run")
    assert (drawn.returncode, drawn.stderr) == (
        2,
        f"error: {refusal('a picture needs matplotlib', 'plot')}",
    )


def test_threads_under_numpy_say_what_they_need(call):
    done = call("run", *RECIPE, "--threads", "1")
    assert done.returncode == 2
    assert done.stderr.endswith(refusal("--threads under NumPy needs threadpoolctl", "numpy"))


def test_figures_of_data_are_shown_without_the_picture(call, tmp_path):
    done = call("data", "digits")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"no picture: {refusal('a picture needs matplotlib', 'plot')}" in done.stdout
    assert call("data", "digits", "--out", "x.png").returncode == 2  # which was asked for
    assert list(tmp_path.iterdir()) == []


def test_the_outcome_over_seeds_is_refused_before_anything_is_trained(call, tmp_path, tmp_path_factory):
    plugin = install_fake(tmp_path_factory.mktemp("plugin"))  # a backend that is there, whatever is installed
    path = os.pathsep.join([str(plugin), *filter(None, sys.path)])
    options = ("--backends", "numpy,fake", "--levels", "P6")
    done = call("parity", "digits_mlp", *options, PYTHONPATH=path)
    assert done.returncode == 2
    assert done.stderr.endswith(refusal("level P6, the outcome over seeds, needs scipy", "parity"))
    assert "recording" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_svhn_is_refused_before_it_is_fetched(call, tmp_path):
    done = call("data", "svhn", "--data-dir", tmp_path / "empty")
    assert done.returncode == 2
    assert done.stderr.endswith(refusal("a .mat file of SVHN needs scipy", "svhn"))
    assert list(tmp_path.iterdir()) == []


def test_the_suite_for_authors_of_backends_needs_pytest(call):
    done = call("conformance", "--backend", "numpy")
    assert done.returncode == 2
    assert done.stderr.endswith(refusal("the conformance suite needs pytest", "conformance"))


def test_a_bench_keeps_its_figures_without_the_picture(call, tmp_path):
    done = call(
        "bench", *RECIPE[:1], "--backends", "numpy", "--repeats", "1", "--steps", "3", "--out", "bench"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"no bench.png: {refusal('a picture needs matplotlib', 'plot')}" in done.stdout
    assert [path.name for path in (tmp_path / "bench").iterdir()] == ["bench.json"]


@pytest.fixture
def images(tmp_path):
    """A folder of images, whose files nobody gets to read."""
    for split in ("train", "test"):
        (tmp_path / "mine" / split / "cats").mkdir(parents=True)
        (tmp_path / "mine" / split / "cats" / "1.png").write_bytes(b"")
    return tmp_path / "mine"


def test_a_folder_of_images_says_what_it_needs(call, images):
    settings = ("data.name=image_folder", "data.path=mine", "data.image_size=8")
    done = call("check", "digits_mlp", *(part for setting in settings for part in ("--set", setting)))
    assert done.returncode == 2
    assert done.stderr.endswith(refusal("a folder of images needs PIL", "images"))


def test_a_first_recipe_for_a_folder_of_images_says_what_it_needs(call, images):
    done = call("init", images)
    assert done.returncode == 2
    assert done.stderr == f"error: {refusal('a folder of images needs PIL', 'images')}"


def test_a_prediction_says_what_it_needs_to_read_an_image(call, images):
    assert call("run", *RECIPE, "--out", "run").returncode == 0
    done = call("predict", "run", images / "train" / "cats" / "1.png")
    assert done.returncode == 2
    assert done.stderr == f"error: {refusal('an image file needs PIL', 'images')}"
