"""A backend in a real environment of its own: another NumPy, where there is one another Python, no framework.

uv makes it once. `$XTRAIN_OTHER_PYTHON` names the Python that it is made with.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runs import SHORT, end
from test_interrupted import send

from tests.command import Command
from xtrain import plugins
from xtrain.runs.run import Run
from xtrain.system import package

ROOT = Path(__file__).parents[2]
SMALL = ("digits_mlp", "--threads", 1, "--set", "model.hidden=[16]")


@pytest.fixture(scope="session")
def other(tmp_path_factory):
    """The interpreter of another environment, with this working tree and the NumPy that is not here."""
    folder = tmp_path_factory.mktemp("other") / "env"
    wanted = "numpy<2" if np.__version__ >= "2" and sys.version_info < (3, 13) else "numpy>=2"
    python = folder / "bin" / "python"
    base = os.environ.get("XTRAIN_OTHER_PYTHON", sys.executable)
    for command in (
        ("venv", "--python", base, folder),
        (
            "pip",
            "install",
            "--python",
            python,
            "--only-binary",
            "numpy",
            "--editable",
            f"{ROOT}[numpy,plot,conformance]",
            wanted,
        ),
    ):
        done = subprocess.run(["uv", *map(str, command)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return python


@pytest.fixture(scope="session")
def world(other, tmp_path_factory):
    """Variables under which `away` is a backend here and there, and is configured to live there."""
    folder, config = tmp_path_factory.mktemp("plugin"), tmp_path_factory.mktemp("config")
    shutil.copy(Path(__file__).with_name("elsewhere_plugin.py"), folder)
    info = folder / "elsewhere_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xtrain.backends]\naway = elsewhere_plugin\n")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {"PYTHONPATH": path, "XDG_CONFIG_HOME": str(config)}
    done = Command(folder)("backends", "--python", f"away={other}", environment=environment)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].endswith(f"devices cpu, lives in {other}")
    assert done.out.splitlines()[1].startswith(f"kept in {config / 'xtrain' / 'config.toml'}; ")
    return environment


@pytest.fixture
def there(tmp_path, world):
    """The command where `away` lives elsewhere."""

    class There(Command):
        def start(self, *arguments, environment=None, **options):
            return super().start(*arguments, environment={**world, **(environment or {})}, **options)

    return There(tmp_path)


@pytest.fixture(scope="session")
def versions(other):
    """Of Python and NumPy there."""
    code = "import json, numpy, platform; print(json.dumps([platform.python_version(), numpy.__version__]))"
    return json.loads(subprocess.run([other, "-c", code], capture_output=True, check=True).stdout)


@pytest.fixture(scope="session")
def trained(world, tmp_path_factory):
    """A run under `away`."""
    folder = tmp_path_factory.mktemp("trained")
    done = Command(folder)("run", *SHORT, "--backend", "away", "--out", "run", environment=world)
    assert (done.code, done.err) == (0, "")
    return folder / "run", done.out


def test_the_versions_differ(versions):
    assert versions[1].split(".")[0] != np.__version__.split(".")[0]


def test_a_run_is_trained_there_and_says_so(trained, other, versions):
    path, out = trained
    (session,) = Run(path).sessions
    assert session["interpreter"] == str(other)
    assert [session["versions"][name] for name in ("python", "numpy")] == versions
    assert (session["backend"], session["exit"]) == ("away", "finished")
    lines = out.splitlines()
    assert lines[0] == "digits_cnn under away, seed 0"
    assert any(line.split()[:2] == ["1", "23"] for line in lines)  # the row of the first epoch
    assert lines[-1].endswith(f", in {path.name}")


def test_a_run_of_here_says_that_too(there):
    assert there("run", *SMALL, "--epochs", 1, "--backend", "numpy", "--out", "run").code == 0
    assert Run(there.folder / "run").sessions[0]["interpreter"] == sys.executable


def test_its_numbers_are_those_of_here(trained, there):
    path, _ = trained
    told = there("eval", path)
    here = there("eval", path, environment={"XTRAIN_PYTHON_AWAY": ""})
    assert (told.code, here.code) == (0, 0), told.err + here.err
    assert told.out == here.out
    assert told.out.startswith("digits_cnn step-46 under away: test accuracy ")


def test_images_are_predicted_there(trained, there, world):
    path, _ = trained
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(there.folder / "0.png")
    told = there("predict", path, "0.png", "--top", 3)
    here = there("predict", path, "0.png", "--top", 3, environment={"XTRAIN_PYTHON_AWAY": ""})
    assert (told.code, here.code) == (0, 0), told.err + here.err
    assert told.out == here.out
    assert told.out.count("0.png") == 3
    code = [sys.executable, "-c", "import xtrain, sys; xtrain.load(sys.argv[1], backend='away')", path]
    refused = subprocess.run(code, env={**os.environ, **world}, capture_output=True, text=True, check=False)
    assert "backend away lives in another environment" in refused.stderr


@pytest.mark.parametrize("whom", ["the command", "both, as a terminal does"])
def test_ctrl_c_saves_and_a_resume_goes_on_there(whom, trained, there, other):
    path = there.folder / "run"
    line = ("run", *SHORT, "--backend", "away", "--out", path)
    process = there.start(*line, start_new_session=True)
    if whom == "the command":
        assert send(signal.SIGINT, process, path, records=5)
    else:
        assert send(0, process, path, records=5)
        os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    step = Run(path).sessions[-1]["to_step"]
    assert 5 <= step < 46
    assert out.splitlines()[-1] == f"stopped after step {step}, saved; go on with: xtrain run --resume {path}"
    done = there("run", "--resume", path)
    assert done.code == 0, done.err
    assert end(path) == end(trained[0])
    assert [session["interpreter"] for session in Run(path).sessions] == [str(other)] * 2
    assert [session["exit"] for session in Run(path).sessions] == ["interrupted", "finished"]


def test_a_request_to_end_saves_too(there):
    path = there.folder / "run"
    process = there.start("run", *SHORT, "--backend", "away", "--out", path)
    assert send(signal.SIGTERM, process, path, records=5)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert Run(path).sessions[-1]["exit"] == "interrupted"


def test_ctrl_c_before_anything_is_trained_leaves_no_traceback(there):
    process = there.start("run", *SHORT, "--backend", "away", "--out", "run")
    assert process.stdout.readline() == "digits_cnn under away, seed 0\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() in ("", "interrupted")


def test_where_the_command_is_killed_the_training_saves_and_ends(there, trained):
    path = there.folder / "run"
    process = there.start("run", *SHORT, "--backend", "away", "--out", path)
    assert send(signal.SIGKILL, process, path, records=5)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while Run(path).sessions[-1]["exit"] == "running" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert Run(path).sessions[-1]["exit"] in ("interrupted", "failed: [Errno 32] Broken pipe")
    assert there("run", "--resume", path).code == 0
    assert end(path) == end(trained[0])


def test_ctrl_z_stops_both_and_both_go_on(there, trained):
    path = there.folder / "run"
    process = there.start("run", *SHORT, "--backend", "away", "--out", path)
    assert send(signal.SIGTSTP, process, path, records=5)
    os.waitpid(process.pid, os.WUNTRACED)
    before = (path / "metrics.jsonl").read_bytes()
    time.sleep(0.5)
    assert (path / "metrics.jsonl").read_bytes() == before
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert end(path) == end(trained[0])


def test_parity_and_bisect_compare_there_with_here(there, versions):
    done = there("parity", *SMALL, "--backends", "numpy,away", "--levels", "P0-P3", "--out", "parity")
    assert done.code == 0, done.out + done.err
    facts = json.loads((there.folder / "parity" / "parity.json").read_text())
    told = json.dumps(facts)
    assert f'"numpy": "{versions[1]}"' in told
    assert f'"numpy": "{np.__version__}"' in told
    done = there("bisect", *SMALL, "--backends", "numpy,away", "--steps", "1")
    assert (done.code, done.out) == (0, "numpy and away do not diverge in steps 1\n"), done.err


def test_bench_times_it_there(there, versions):
    options = ("--backends", "numpy,away", "--repeats", 1, "--steps", 5, "--out", "bench")
    assert there("bench", *SMALL, *options).code == 0
    trials = json.loads((there.folder / "bench" / "bench.json").read_text())["trials"]["xtrain"]
    assert [trials[name][0]["version"] for name in ("numpy", "away")] == [np.__version__, versions[1]]


def test_convert_reads_and_writes_there(there, trained, versions):
    path, _ = trained
    assert there("convert", path, "x.away").code == 0
    by = json.loads((there.folder / "x.away").read_text())["by"]
    assert list(by.values()) == versions
    done = there("convert", "x.away", "x.safetensors", "--recipe", path / "recipe.toml", "--weights-only")
    assert done.code == 0, done.err
    (there.folder / "bad.away").write_text("{")
    done = there("convert", "bad.away", "y.safetensors", "--recipe", path / "recipe.toml")
    assert (done.code, done.err.splitlines()[0][:27]) == (1, "error: bad.away: is damaged")


def test_conformance_is_judged_there(there, versions):
    done = there("conformance", "--backend", "away", "-k", "test_contract")
    assert done.code == 0, done.out + done.err
    assert " passed, " in done.out.splitlines()[-1]


def test_the_list_says_where_each_lives(call, world, other, versions, monkeypatch):
    monkeypatch.setattr(plugins, "names", lambda: ["numpy"])  # `away` is known by the configuration alone
    for name, value in world.items():
        monkeypatch.setenv(name, value)
    lines = call("backends").out.splitlines()
    rows = [line.split() for line in lines]
    away, numpy = (next(row for row in rows if row[:1] == [name]) for name in ("away", "numpy"))
    assert away[:6] == ["away", versions[1], "cpu", "float64", "reference", "elsewhere"]
    assert f"away lives in {other}" in lines
    assert numpy[:6] == ["numpy", np.__version__, "cpu", "float64", "reference", "here"]


def test_it_may_be_installed_there_alone(xtrain, trained, world, other):
    python = script(xtrain.folder / "python", f'PYTHONPATH="{world["PYTHONPATH"]}" exec "{other}" "$@"')
    done = xtrain("eval", trained[0])
    assert done.code == 2
    assert "unknown backend 'away'" in done.err
    done = xtrain("eval", trained[0], environment={"XTRAIN_PYTHON_AWAY": str(python)})
    assert done.code == 0, done.err
    assert "under away: test accuracy" in done.out


SCRIPT = """
import xtrain
run = xtrain.run("digits_mlp", backend="away", out="run", overrides={"loop.epochs": 1, "model.hidden": [16]})
print(run.sessions[0]["interpreter"], sorted(xtrain.evaluate("run")))
class Mine:
    start = step = train = epoch = stop = lambda *_: None
from xtrain.training import session
from xtrain.training.assembly import Options
try:
    session.train(run.job, Options("away", observers=[Mine()]))
except xtrain.errors.UsageError as error:
    print(error)
"""


def test_from_python_it_is_the_same(there, world, other):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=there.folder,
        env={**os.environ, **world},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *shown, found, told, remedy = done.stdout.splitlines()
    assert any(line.split()[:2] == ["1", "23"] for line in shown)
    assert found == f"{other} ['accuracy', 'loss']"
    assert told.startswith("observer Mine can't go to where backend away lives: its class stands in the main")
    assert remedy.startswith("  an observer that travels")


def test_a_run_directory_does_not_say_which_program_is_started(there, trained):
    path = there.folder / "run"
    shutil.copytree(trained[0], path)
    said = json.loads((path / "run.json").read_text())
    trap = there.folder / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {there.folder}/sprung\n")
    trap.chmod(0o755)
    said["sessions"][-1]["interpreter"] = said["interpreter"] = str(trap)
    (path / "run.json").write_text(json.dumps(said))
    assert there("run", "--resume", path, "--epochs", 3).code == 0
    assert not (there.folder / "sprung").exists()


def test_no_module_comes_from_the_folder_where_it_is_run(there, world, trained):
    for name in ("json", "signal", "xtrain", "numpy"):
        (there.folder / f"{name}.py").write_text(f"open('sprung', 'w').close()\nraise SystemExit({name!r})")
    command = Path(sys.executable).with_name("xtrain")  # `python -m` would itself take them
    environment = {**os.environ, **world}
    line = [command, "eval", trained[0]]
    done = subprocess.run(
        line, cwd=there.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (there.folder / "sprung").exists()


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def altered(folder, version=None):
    """A folder that has another xtrain for whoever finds it first."""
    shutil.copytree(ROOT / "xtrain", folder / "xtrain", ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "xtrain" / "plan.py").open("a") as file:
        file.write("\nOTHER = True\n")
    if version:
        name = package.distribution().name
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


def bare(folder):
    """An environment without anything."""
    subprocess.run(["uv", "venv", "-q", "--python", sys.executable, folder], check=True, capture_output=True)
    return folder / "bin" / "python"


WRONG = {
    "not there": (lambda folder, python: folder / "nothing", "is not there"),
    "a file that no one may run": (
        lambda folder, python: Path(__file__),
        "can't be started: Permission denied",
    ),
    "not Python": (
        lambda folder, python: shutil.which("true"),
        "is not a Python that works: it ended with code 0",
    ),
    "a Python without xtrain": (
        lambda folder, python: script(folder / "p", f'unset PYTHONPATH; exec {bare(folder / "env")} "$@"'),
        "has no xtrain that works: ModuleNotFoundError: No module named 'xtrain'",
    ),
    "another version": (
        lambda folder, python: script(
            folder / "p", f'PYTHONPATH={altered(folder / "x", "0.0.9")} exec {python} "$@"'
        ),
        f"has xtrain 0.0.9, this one is {package.distribution().version}",
    ),
    "another state of this version": (
        lambda folder, python: script(folder / "p", f'PYTHONPATH={altered(folder / "x")} exec {python} "$@"'),
        f"has another state of xtrain {package.distribution().version} than this one",
    ),
}


@pytest.mark.parametrize(("make", "said"), WRONG.values(), ids=WRONG)
def test_what_is_no_home_is_told_with_the_remedy(make, said, other, call, tmp_path, monkeypatch):
    python = make(tmp_path, other)
    monkeypatch.setenv("XTRAIN_PYTHON_NUMPY", str(python))
    done = call("run", *SMALL, "--backend", "numpy")
    assert done.code == 2, done.err
    error, remedy = done.err.splitlines()
    assert said in error
    assert str(python) in error
    there = f"uv pip install --python {python} " if "xtrain" in said else None
    assert (there or "unset XTRAIN_PYTHON_NUMPY, or point it to ") in remedy
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("XTRAIN_PYTHON_NUMPY")
    done = call("backends", "--python", f"numpy={python}")
    assert (done.code, said in done.err) == (2, True), done.err
    assert (there or "another Python" if python != tmp_path / "nothing" else "give the path") in done.err
    assert "--forget" not in done.err
    assert not (tmp_path / "config").exists()


def test_a_framework_that_is_not_there_is_told_with_the_place(other, call, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    done = call("backends", "--python", f"torch={other}")
    assert done.code == 2
    assert done.err.startswith(
        f"error: in the environment of {other}: backend torch: torch is not installed\n"
    )
    monkeypatch.setenv("XTRAIN_PYTHON_TORCH", str(other))
    done = call("run", *SMALL, "--backend", "torch")
    assert done.err.startswith(
        f"error: in the environment of {other}: backend torch: torch is not installed\n"
    )


def test_a_variable_that_goes_before_is_told(other, call, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XTRAIN_PYTHON_NUMPY", "")
    done = call("backends", "--python", f"numpy={other}")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == (
        "$XTRAIN_PYTHON_NUMPY is set and goes before it: unset XTRAIN_PYTHON_NUMPY"
    )


def test_it_is_forgotten_again(other, call, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert call("backends", "--python", f"numpy={other.parents[1]}").code == 0
    assert str(other) in (tmp_path / "xtrain" / "config.toml").read_text()
    done = call("backends", "--forget", "numpy")
    assert (done.code, done.out) == (0, "numpy lives in this environment\n")
    done = call("backends", "--forget", "numpy")
    assert done.code == 2
    assert "does not say where backend numpy lives" in done.err


USES = {
    "two at once": ("--forget numpy --python numpy=/x", "give one of them"),
    "no path": ("--python numpy", "give it as NAME=PATH"),
    "no name": ("--python ../x=/x", "is no name of a backend"),
    "no extra": ("--install ../x", "is no name of a backend"),
    "an extra that is no backend": ("--install onnx", "unknown backend 'onnx'"),
    "nothing of that name": ("--install troch", "did you mean 'torch'? allowed: "),
}


@pytest.mark.parametrize(("line", "said"), USES.values(), ids=USES)
def test_wrong_use_is_told(line, said, call):
    done = call("backends", *line.split())
    assert (done.code, said in done.err) == (2, True), done.err
