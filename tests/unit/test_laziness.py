"""Nothing heavy is loaded before it is needed: each claim in a fresh interpreter, by its sys.modules."""

import json
import os
import subprocess
import sys

import pytest

FRAMEWORKS = {"torch", "paddle", "mindspore", "jax"}
HEAVY = FRAMEWORKS | {"torchvision", "matplotlib", "scipy", "sklearn", "onnx"}
SHOW = """
import json, sys
sys.stdout = sys.stderr
try:
    {code}
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})), file=sys.__stdout__)
"""


def loaded(code):
    """Top-level modules that a fresh interpreter has after some code."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW.format(code=code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


LIGHT = {
    "the package": "import xtrain",
    "its API": "import xtrain; xtrain.run, xtrain.Run, xtrain.load_recipe, xtrain.models.build",
    "help": "from xtrain.cli import main; main(['--help'])",
    "help of a command": "from xtrain.cli import main; main(['run', '--help'])",
    "a recipe": "import xtrain; xtrain.load_recipe('cifar10_simplecnn')",
    "summary": "from xtrain.cli import main; main(['summary', 'digits_cnn'])",
    "check": "from xtrain.cli import main; main(['check', 'digits_cnn'])",
    "formats of files": "from xtrain import plugins; assert '.ckpt' in plugins.formats()",
    "help of the transcoder": "from xtrain.cli import main; main(['convert', '--help'])",
    "lists": "from xtrain.cli import main; main(['recipes'])",
    "the protocols": "import xtrain.protocols, xtrain.spec, xtrain.plan",
    "the loop": "import xtrain.training.trainer, xtrain.training.session",
}


@pytest.mark.parametrize("code", LIGHT.values(), ids=LIGHT.keys())
def test_it_loads_nothing_heavy(code):
    assert loaded(code) & HEAVY == set()


@pytest.mark.parametrize("name", ["numpy", "torch", "paddle", "mindspore", "jax"])
def test_importing_a_backend_or_making_it_loads_no_framework(name):
    assert loaded(f"import xtrain_{name}") & HEAVY == set()
    explain = "made.environment(None, 1); made.explain(r.bind().model, r.loss, r.optimizer)"
    code = f"import xtrain; from xtrain import plugins; made = plugins.load('{name}')"
    assert loaded(f"{code}; r = xtrain.load_recipe('digits_cnn'); {explain}") & HEAVY == set()


def test_importing_the_package_loads_next_to_nothing():
    assert loaded("import xtrain") & {"numpy", "pydantic", "click", "tqdm"} == set()


def test_the_test_would_see_a_framework():
    assert "matplotlib" in loaded("import matplotlib")


def test_help_answers_in_half_a_second():
    """Of a processor's time: on a machine that is busy otherwise the clock says nothing."""
    seconds = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run([sys.executable, "-m", "xtrain", "--help"], capture_output=True, check=True)
        after = os.times()
        seconds.append(
            after.children_user - before.children_user + after.children_system - before.children_system
        )
        assert b"Train a recipe" in done.stdout
    assert min(seconds) < 0.5
