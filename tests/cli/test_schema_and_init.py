"""What editors are told of a recipe, and the first recipe of a user."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from xtrain import data
from xtrain.recipe import load_recipe, shipped
from xtrain.recipe.schema import schema
from xtrain.runs.run import Run
from xtrain.system.distribution import this_platform

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
TAPLO = (
    Path(sys.executable).with_name("taplo") if Path(sys.executable).with_name("taplo").exists() else "taplo"
)


def has_wheels(tool):
    """Whether a tool of the tests is to be had on this platform, by its marker in pyproject.toml."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["dev"]
    (marker,) = (each.marker for each in map(Requirement, wanted) if each.name == tool)
    return marker is None or marker.evaluate()


def lint(*arguments):
    """What an editor says of recipes. A taplo that is missing where it has wheels is a failure."""
    if not has_wheels("taplo"):
        pytest.skip(f"taplo has no wheel for {this_platform()}: recipes are not checked as an editor does")
    command = [str(shutil.which(TAPLO)), "lint", "--colors", "never", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_schema_beside_the_recipes_is_the_one_that_is_printed(call, tmp_path):
    printed = call("schema").out
    assert json.loads(printed) == schema()
    assert (RECIPES / "recipe.schema.json").read_text() == printed, (
        "xtrain schema --out recipes/recipe.schema.json"
    )
    done = call("schema", "--out", "s.json")
    assert (tmp_path / "s.json").read_text() == printed
    assert done.out == "s.json: a recipe beside it names it in its first line as #:schema ./s.json\n"
    done = call("schema", "--out", "nowhere/s.json")
    assert (done.code, done.err) == (
        1,
        "error: nowhere/s.json: can't be written: No such file or directory\n",
    )


@pytest.mark.parametrize(
    ("platform", "machine", "there"),
    [
        ("linux", "x86_64", True),
        ("linux", "aarch64", False),
        ("darwin", "arm64", True),
        ("win32", "AMD64", True),
        ("win32", "ARM64", False),
    ],
)
def test_recipes_are_linted_wherever_taplo_has_wheels(platform, machine, there, monkeypatch):
    from packaging import markers

    here = markers.default_environment() | {"sys_platform": platform, "platform_machine": machine}
    monkeypatch.setattr(markers, "default_environment", lambda: here)
    assert has_wheels("taplo") is there
    if not there:
        with pytest.raises(pytest.skip.Exception, match="taplo has no wheel for"):
            lint()


def test_every_shipped_recipe_names_the_schema_and_fits_it():
    paths = list(shipped().values())
    assert all(path.read_text().startswith("#:schema ./recipe.schema.json\n") for path in paths)
    done = lint(*paths)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("batch_size = 64", 'batch_size = "64"'),
        ("lr = 0.1", "lr = -0.1"),
        ("lr = 0.1", "learning_rate = 0.1"),
        ('name = "sgd"', 'name = "sdg"'),
        ('name = "digits"', 'name = "digit"'),
        ('checkpoint_every = "1 epoch"', 'checkpoint_every = "often"'),
        ("hidden = [64, 32]", "hidden = [64, 0.5]"),
        ('[model]\nname = "mlp"\nhidden = [64, 32]', '[model]\nlayers = [{ op = "linear" }]'),
        ('[optimizer]\nname = "sgd"', "[optimizer]"),
    ],
)
def test_what_a_recipe_may_not_say_is_marked(right, wrong, tmp_path):
    shutil.copy(RECIPES / "recipe.schema.json", tmp_path)
    text = (RECIPES / "digits_mlp.toml").read_text()
    assert right in text
    (tmp_path / "wrong.toml").write_text(text.replace(right, wrong))
    assert lint(tmp_path / "wrong.toml").returncode == 1


def test_every_resolved_recipe_fits_the_schema(tmp_path):
    shutil.copy(RECIPES / "recipe.schema.json", tmp_path)
    for name in shipped():
        text = load_recipe(name).bind().recipe.to_toml()
        (tmp_path / f"{name}.toml").write_text(f"#:schema ./recipe.schema.json\n{text}")
    done = lint(*tmp_path.glob("*.toml"))
    assert done.returncode == 0, done.stderr


def test_keys_are_described_and_nothing_is_null():
    found = schema()
    text = json.dumps(found)
    assert '"null"' not in text
    assert found["$defs"]["Loop"]["properties"]["keep_last"]["description"].startswith(
        "how many checkpoints stay"
    )
    assert found["$defs"]["Optimizer.SGD"]["required"][0] == "name"
    assert found["$defs"]["Layer.Conv2d"]["required"][0] == "op"
    assert "required" not in found["$defs"]["Model.Custom"]


@pytest.mark.parametrize("name", data.names())
def test_a_first_recipe_of_every_data_set_can_be_read(name, call, tmp_path):
    assert call("init", name).code == 0
    recipe = load_recipe(tmp_path / f"{name}.toml")
    job = recipe.bind()
    assert (recipe.data.name, job.model.output_shape) == (name, (job.data.classes,))
    shutil.copy(RECIPES / "recipe.schema.json", tmp_path)
    done = lint("--schema", (tmp_path / "recipe.schema.json").as_uri(), tmp_path / f"{name}.toml")
    assert done.returncode == 0, done.stderr


def test_the_first_recipe_of_the_digits_trains_as_it_stands(call, tmp_path):
    assert call("init", "digits").out == "digits.toml: train it with xtrain run digits.toml\n"
    text = (tmp_path / "digits.toml").read_text()
    assert all(len(line) <= 110 for line in text.splitlines())
    done = call("run", "digits.toml", "--backend", "numpy", "--out", "run")
    assert (done.code, done.err) == (0, "")
    assert Run(tmp_path / "run").best["test_accuracy"] > 0.97


def test_a_comment_that_is_removed_changes_nothing(call, tmp_path):
    call("init", "digits")
    text = (tmp_path / "digits.toml").read_text()
    lines = [
        line[2:] if line.startswith("# ") and " = " in line and ":" not in line else line
        for line in text.splitlines()
    ]
    lines = [line for line in lines if line.split(" = ")[0] not in ("monitor", "patience")]  # of [stopping]
    (tmp_path / "all.toml").write_text("\n".join(lines))
    assert load_recipe(tmp_path / "all.toml") == load_recipe(tmp_path / "digits.toml")
    assert "eval_batch_size = 256" in lines


def test_the_first_recipe_of_a_folder_trains_as_it_stands(call, tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 6)):
        for place, name in enumerate(("cat", "dog")):
            (tmp_path / "my pets" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 120, (20, 24 + number % 3, 3), dtype=np.uint8) + np.uint8(
                    120 * place
                )
                Image.fromarray(pixels).save(tmp_path / "my pets" / split / name / f"{number}.png")
    done = call("init", "my pets")
    assert done.out == "my-pets.toml: train it with xtrain run my-pets.toml\n"
    recipe = load_recipe(tmp_path / "my-pets.toml")
    found = recipe.data.dataset
    assert (found.image_size, found.fit, recipe.data.batch_size) == (20, "center_crop", 6)
    assert found.path == str(tmp_path / "my pets")
    assert call("run", "my-pets.toml", "--backend", "numpy", "--out", "run").code == 0
    assert Run(tmp_path / "run").best["test_accuracy"] == 1


def test_nothing_is_overwritten_and_what_is_unknown_is_told(call, tmp_path):
    (tmp_path / "digits.toml").write_text("mine")
    done = call("init", "digits")
    assert (done.code, done.err.splitlines()) == (
        2,
        ["error: digits.toml: exists", "  choose another --out, or replace it with --force"],
    )
    assert (tmp_path / "digits.toml").read_text() == "mine"
    assert call("init", "digits", "--out", "other.toml").code == 0
    assert call("init", "digits", "--force").code == 0
    done = call("init", "digit")
    assert (done.code, "there is no such data set or folder\n  did you mean 'digits'?" in done.err) == (
        2,
        True,
    )
    (tmp_path / "empty").mkdir()
    done = call("init", "empty")
    assert (done.code, "there is no directory train\n  wanted are DIR/train/CLASS" in done.err) == (1, True)
