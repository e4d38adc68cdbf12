"""The package of docs/extending.md, installed as anyone installs one: trained, compared, broken."""

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "extension"
DOCUMENT = Path(__file__).parents[2] / "docs" / "extending.md"
OPEN = ("data", "models", "augment", "schedules", "losses", "layers", "observers", "lowerings")


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """The folder that the package is installed in, with nothing but what is on this machine."""
    target = tmp_path_factory.mktemp("site")
    offline = ("--offline", "--no-deps", "--no-build-isolation", "--python", sys.executable)
    subprocess.run(
        ["uv", "pip", "install", "-q", *offline, "--target", target, _copy(tmp_path_factory)], check=True
    )
    return target


def _copy(tmp_path_factory):
    """A build leaves nothing beside the sources."""
    return shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("source") / "extension")


def on_path(*folders):
    """The variables under which packages in these folders are found."""
    return {"PYTHONPATH": os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def command(xtrain, installed):
    """`xtrain` where the package is installed, beside the package's recipe."""
    shutil.copy(EXAMPLE / "stripes.toml", xtrain.folder)
    return lambda *arguments, **options: xtrain(*arguments, environment=on_path(installed), **options)


@pytest.fixture
def server():
    """Its address, and what was posted to it."""
    posted = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/", posted
        listening.shutdown()
        thread.join()


def trained(command, backend, url, *more):
    run = f"{backend}-run"
    observers = f"observers=[{{name='webhook', url='{url}'}}]"
    given = ("stripes.toml", "--backend", backend, "--out", run, "--set", observers, *more)
    done = command("run", *given)
    assert done.code == 0, done.err
    return run


def test_it_trains_alike_under_numpy_and_torch(command, server, tmp_path):
    url, posted = server
    found = {}
    for backend in ("numpy", "torch"):
        run = trained(command, backend, url)
        lines = (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        found[backend] = [record for record in map(json.loads, lines) if record["kind"] == "epoch"]
    for numpy, torch in zip(found["numpy"], found["torch"], strict=True):
        # Both compute the same formulas; what is left is float32's rounding over 24 steps.
        assert torch["test_loss"] == pytest.approx(numpy["test_loss"], rel=1e-3)
        assert torch["test_accuracy"] == numpy["test_accuracy"]
    assert found["numpy"][-1]["test_accuracy"] > 0.95
    assert [record["epoch"] for record in posted] == [1, 2, 3, 1, 2, 3]
    assert [record["test_loss"] for record in posted[:3]] == [each["test_loss"] for each in found["numpy"]]


def test_an_observer_that_fails_ends_no_training(command):
    done = command("run", "digits_mlp", "--backend", "numpy", "--epochs", 2, "--observe", "webhook")
    assert done.code == 0
    assert done.err.count("observer 'webhook' failed and is told no more: URLError") == 1


def test_the_schema_has_its_parts(command):
    found = json.loads(command("schema").out)
    for part in ("Layer.Swish", "Model.TwoBranches", "Schedule.Sawtooth", "Loss.Focal", "Observer.Webhook"):
        assert part in found["$defs"]
    assert "stripes" in [each["properties"]["name"].get("const") for each in found["$defs"]["Data"]["oneOf"]]


def test_a_run_of_it_goes_on_and_is_evaluated_where_it_is_installed(command, server, xtrain, tmp_path):
    run = trained(command, "numpy", server[0])
    done = command("run", "--resume", run, "--epochs", "4")
    assert done.code == 0, done.err
    assert command("eval", run).code == 0
    recipe = (tmp_path / run / "recipe.toml").read_text()
    for line in ('name = "stripes"', "size = 10", "noise = 0.2", 'name = "webhook"', "gamma = 1.5"):
        assert line in recipe
    without = xtrain("eval", run)
    assert without.code == 2
    assert "data.name = 'stripes': unknown" in without.err
    assert "install what the run was made with: xtrain-example 1.0 (for data.stripes" in without.err
    assert xtrain("curves", run).code == 0


def test_parity_holds_over_it(command, server):
    done = command("parity", "stripes.toml", "--backends", "numpy,torch", "--steps", 8, timeout=300)
    assert done.code == 0, done.out + done.err


def test_every_key_is_explained_and_listed(command):
    done = command("check", "stripes.toml")
    assert "x / (1 + exp(-1.5 * x))" in done.out
    assert "x * torch.sigmoid(1.5 * x)" in done.out
    assert "((1 - p) ** 1.5 * F.cross_entropy(logits, labels)).sum() / samples" in done.out
    assert "backend paddle has no lowering for layer" in done.out
    assert (
        "xtrain-example 1.0 offers no 'paddle.swish' in xtrain.lowerings; backends that have it" in done.out
    )
    for name, kind in (("models", "two_branches"), ("datasets", "stripes")):
        assert [line.split() for line in command(name).out.splitlines() if kind in line] == [
            [kind, "from", "xtrain-example", "1.0"]
        ]


def test_the_suite_takes_its_layers_as_rows(command):
    done = command("conformance", "--backend", "torch", "-k", "swish", timeout=300)
    assert done.code == 0, done.out
    assert "8 passed" in done.out  # output twice, gradients, state, of two examples
    other = command("conformance", "--backend", "paddle", "-k", "swish or relu", timeout=300)
    assert other.code == 0
    assert ", 12 refused, 0 failed" in other.out  # four of each example


def test_its_data_set_is_shown_and_gets_a_recipe(command):
    assert "Stripes, classes" in command("data", "stripes").out
    done = command("init", "stripes", "--out", "my first.toml")
    assert done.out == "my first.toml: train it with xtrain run 'my first.toml'\n"
    assert command("run", "my first.toml", "--backend", "numpy", "--epochs", 1).code == 0


@pytest.mark.parametrize("suffix", [".pth", ".pdparams", ".safetensors"])
def test_a_parameter_of_its_layer_is_in_every_file(suffix, command):
    """Under its canonical name, also where a framework has names of its own."""
    assert command("run", "stripes.toml", "--backend", "numpy", "--epochs", 1, "--out", "run").code == 0
    done = command("convert", "run", f"w{suffix}")
    assert done.code == 0, done.err
    done = command("convert", f"w{suffix}", "back.safetensors", "--recipe", "run/recipe.toml")
    assert done.code == 0, done.err


def test_a_wrong_lowering_fails_the_suite(xtrain, installed, tmp_path):
    wrong = shutil.copytree(installed, tmp_path / "wrong")
    path = wrong / "xtrain_example" / "under_torch.py"
    text = path.read_text()
    assert text.count("torch.sigmoid(self.beta * x)") == 1
    path.write_text(text.replace("torch.sigmoid(self.beta * x)", "torch.sigmoid(x)"))
    given = ("conformance", "--backend", "torch", "-k", "swish")
    done = xtrain(*given, environment=on_path(wrong), timeout=300)
    assert done.code == 1
    assert "AssertionError" in done.out
    assert "swish_2" in done.out


def test_a_lowering_that_fails_in_a_step_is_told_with_its_package(xtrain, installed, server, tmp_path):
    broken = shutil.copytree(installed, tmp_path / "broken")
    path = broken / "xtrain_example" / "under_numpy.py"
    text = path.read_text()
    assert text.count("s = 1 / (1 + np.exp(-layer.beta * x))") == 1
    path.write_text(text.replace("s = 1 / (1 + np.exp(-layer.beta * x))", "s = x[:, 1:]"))
    shutil.copy(EXAMPLE / "stripes.toml", xtrain.folder)
    done = xtrain("run", "stripes.toml", "--backend", "numpy", environment=on_path(broken))
    assert done.code == 2
    assert "xtrain-example 1.0 offers 'swish'" in done.err
    assert "with whose lowering the training fails: ValueError" in done.err
    assert "not an error xtrain foresees" not in done.err


def test_a_broken_package_breaks_nobody_else(xtrain, installed, tmp_path):
    broken = shutil.copytree(installed, tmp_path / "broken")
    for path in (broken / "xtrain_example").glob("*.py"):
        path.write_text("raise RuntimeError('boom')\n")
    for kind in ("check", "run"):
        done = xtrain(kind, "digits_mlp", environment=on_path(broken))
        assert done.code == 0, done.err
    shutil.copy(EXAMPLE / "stripes.toml", xtrain.folder)
    schema = xtrain("schema", environment=on_path(broken))
    assert "Layer.ReLU" in json.loads(schema.out)["$defs"]
    assert "note: swish of xtrain-example 1.0 is left out of the schema" in schema.err
    done = xtrain("check", "stripes.toml", environment=on_path(broken))
    assert done.code == 2
    assert "data.name = 'stripes': xtrain-example 1.0 offers 'stripes'" in done.err
    assert "RuntimeError: boom" in done.err


def test_only_what_a_recipe_names_is_imported(xtrain, installed):
    environment = on_path(installed) | {"PYTHONPROFILEIMPORTTIME": "1"}
    for recipe, wanted in (("digits_mlp", False), (str(EXAMPLE / "stripes.toml"), True)):
        done = xtrain("check", recipe, environment=environment)
        assert done.code == 0
        assert ("xtrain_example" in done.err) is wanted


def test_the_document_has_the_package_as_it_is():
    text = DOCUMENT.read_text(encoding="utf-8")
    files = sorted(path for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".toml"))
    assert len(files) > 10
    for path in files:
        if path.name != "__init__.py":
            assert path.read_text(encoding="utf-8").strip() in text, path.name
    assert all(f"xtrain.{group}" in text for group in OPEN)
