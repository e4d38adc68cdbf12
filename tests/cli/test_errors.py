"""Nothing a user can cause shows a traceback: wrong use exits 2, a failure 1, and the message helps."""

import subprocess
import sys

import pytest
from runs import copy

from xtrain.runs.run import Run

BAD = """
name = "bad"
seed = 1
[data
"""

# What is typed after `xtrain` in a folder with the files below, the exit code, and what is said.
CASES = {
    "unknown command": ("trian x", 2, ["no command 'trian'", "allowed: run, eval"]),
    "near command": ("evl x", 2, ["no command 'evl'", "did you mean 'eval'?"]),
    "unknown option": ("run digits_mlp --epoch 3", 2, ["No such option", "--epochs"]),
    "nothing to run": ("run", 2, ["give a recipe to train, or --resume RUN", "xtrain recipes lists"]),
    "both": (
        "run digits_mlp --resume run",
        2,
        ["both a recipe (digits_mlp) and --resume run", "leave one out"],
    ),
    "unknown recipe": ("run digits_mpl", 2, ["digits_mpl: there is no such recipe", "'digits_mlp'"]),
    "a directory": ("check .", 2, ["is a directory, not a recipe"]),
    "bad TOML": ("check bad.toml", 2, ["bad.toml: is not TOML", "line 4"]),
    "not UTF-8": ("summary latin.toml", 2, ["latin.toml: is not TOML"]),
    "unknown key": ("check digits_mlp --set model.hiden=[3]", 2, ["model.hiden = [3]", "'hidden'"]),
    "wrong type": ("run digits_mlp --set loop.epochs=many", 2, ["loop.epochs = 'many'", "integer"]),
    "a layer too large": (
        "run digits_mlp --set model.hidden=[1000000000]",
        2,
        ["model.name = 'mlp': its weights would take 279.4 GiB; the limit is 16 GiB"],
    ),
    "a seed of 64 bits": ("run digits_mlp --seed 9223372036854775808", 2, ["seed = 9223372036854775808"]),
    "a seed of many digits": ("run digits_mlp --set seed=0x" + "f" * 5000, 2, ["can't be read: Exceeds the"]),
    "a deep table": ("check digits_mlp --set " + "a." * 3000 + "a=1", 2, ["is nested too deeply"]),
    "a device's name": ("run digits_mlp --set name=nul.txt", 2, ["name = 'nul.txt'", "under Windows"]),
    "no value": (
        "run digits_mlp --set optimizer.lr",
        2,
        ["--set optimizer.lr: give it as section.key=value"],
    ),
    "no key": ("run digits_mlp --set =3", 2, ["--set =3: give it as section.key=value"]),
    "impossible shape": (
        "summary digits_mlp --set model.name=lenet",
        2,
        ["digits_mlp.toml: ", "layer conv2, given"],
    ),
    "unknown backend": ("run digits_mlp --backend torhc", 2, ["unknown backend 'torhc'", "'torch'", "numpy"]),
    "unknown backend by variable": (
        "XTRAIN_BACKEND=nympy run digits_mlp",
        2,
        ["'nympy'", "did you mean 'numpy'"],
    ),
    "no such device": (
        "run digits_mlp --backend numpy --device gpu",
        2,
        ["has no device 'gpu'", "devices here: cpu"],
    ),
    "no such precision": (
        "run digits_mlp --backend paddle --set loop.precision=bf16",
        2,
        ["paddle has no precision 'bf16' here: its kernels", "precisions here: float32"],
    ),
    "a precision too slow": (
        "run digits_mlp --backend torch --device cpu --set loop.precision=fp16",
        2,
        ["torch has no precision 'fp16' here", "a hundred times"],
    ),
    "parity of another precision": (
        "parity digits_mlp --set loop.precision=bf16",
        2,
        ["loop.precision = 'bf16'", "--set loop.precision=float32"],
    ),
    "bisect of another precision": (
        "bisect digits_mlp --backends torch,paddle --set loop.precision=tf32",
        2,
        ["loop.precision = 'tf32'"],
    ),
    "no device": (
        "run digits_mlp --backend numpy --device cuda",
        2,
        ["numpy has no device 'gpu' (cuda)", "devices here: cpu"],
    ),
    "a misspelt device": (
        "run digits_mlp --backend numpy --device GPU",
        2,
        ["'GPU' is not a device", "gpu:0"],
    ),
    "no epoch": ("run digits_mlp --epochs 0", 2, ["--epochs", "0 is not in the range x>=1"]),
    "no thread": ("run digits_mlp --threads 0", 2, ["--threads", "0 is not in the range x>=1"]),
    "a negative seed": ("run digits_mlp --seed -1", 2, ["--seed", "-1 is not in the range x>=0"]),
    "a file for data": ("run digits_mlp --data-dir bad.toml", 2, ["--data-dir", "'bad.toml' is a file"]),
    "out holds something": (
        "run digits_mlp --backend numpy --out full",
        2,
        ["full: exists and is not an empty"],
    ),
    "out is a run": (
        "run digits_mlp --backend numpy --out run",
        2,
        ["run: exists", "xtrain run --resume run"],
    ),
    "out below a file": (
        "run digits_mlp --backend numpy --out bad.toml/x",
        1,
        ["bad.toml/x: the run directory can't"],
    ),
    "out with a long name": (f"run digits_mlp --backend numpy --out {'x' * 300}", 1, ["File name too long"]),
    "resume of no run": ("run --resume full", 2, ["full: is not a run directory", "give the directory that"]),
    "resume of nothing": ("run --resume nowhere", 2, ["nowhere: is not a run directory"]),
    "resume with out": (
        "run --resume run --out other",
        2,
        ["--resume goes on in the run's own directory: no --out"],
    ),
    "resume with a seed": (
        "run --resume run --seed 3",
        2,
        ["seed can't be changed: only loop.epochs, loop.log_every"],
    ),
    "resume with another lr": (
        "run --resume run --set optimizer.lr=1",
        2,
        ["optimizer.lr can't be changed: only loop.epochs", "--set init_from"],
    ),
    "resume with another precision": (
        "run --resume run --set loop.precision=bf16",
        2,
        ["loop.precision can't be changed"],
    ),
    "resume with fewer epochs": ("run --resume run --epochs 1", 2, ["loop.epochs = 1: 2 are done already"]),
    "out is where one stands": (
        "run digits_mlp --backend numpy --out .",
        2,
        [".: exists and is not an empty"],
    ),
    "resume of a step that is not there": (
        "run --resume run/checkpoints/step-7",
        2,
        ["run: has no checkpoint 'step-7'", "it has: last, best, step-3"],
    ),
    "eval of no run": ("eval full", 2, ["full: is not a run directory"]),
    "eval of no checkpoint": (
        "eval run --checkpoint step-7",
        2,
        ["run: has no checkpoint 'step-7'", "it has: last, best, step-3, "],
    ),
    "eval of a damaged one": ("eval damaged", 1, ["is damaged or not a checkpoint", "another of the run's"]),
    "resume of a damaged one": ("run --resume damaged", 1, ["is damaged or not a checkpoint"]),
    "eval of another model": (
        "eval other",
        2,
        ["other/recipe.toml: is not the recipe that", "model.hidden was [64], is [32]", "begin a new run"],
    ),
    "a damaged run.json": ("run --resume unreadable", 2, ["unreadable/run.json: is damaged: "]),
    "a damaged recipe of a run": ("eval garbled", 2, ["garbled/recipe.toml: is not TOML"]),
    "truncated data": (
        "run mnist_mlp --backend numpy --data-dir data",
        1,
        ["train-images", "not the published file"],
    ),
    "tampered data": (
        "run cifar10_lenet --backend numpy --data-dir data",
        1,
        ["data_batch_1", "not the published"],
    ),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory, undisturbed):
    """A folder with all that goes wrong."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "bad.toml").write_text(BAD)
    (folder / "latin.toml").write_bytes(b'name = "\xe9t\xe9"\n')
    (folder / "full").mkdir()
    (folder / "full/thesis.txt").touch()
    whole, _ = undisturbed("numpy")
    for name in ("run", "damaged", "other", "unreadable", "garbled"):
        copy(whole, folder / name)
    weights = folder / "damaged/checkpoints/step-46/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    recipe = folder / "other/recipe.toml"
    recipe.write_text(recipe.read_text().replace("    64,\n", "    32,\n"))
    (folder / "unreadable/run.json").write_text("{")
    (folder / "garbled/recipe.toml").write_text("name")
    images = folder / "data/mnist"
    images.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (images / f"{name}-ubyte.gz").write_bytes(b"\x1f\x8b")
    batches = folder / "data/cifar10/cifar-10-batches-py"
    batches.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (batches / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    return folder


@pytest.fixture
def wrong(template, call, monkeypatch):
    """The command in that folder."""
    monkeypatch.chdir(template)
    return call


@pytest.mark.parametrize(("line", "code", "said"), CASES.values(), ids=CASES.keys())
def test_the_message_says_what_is_wrong(line, code, said, wrong, template, monkeypatch):
    before = sorted(template.rglob("*"))
    *variables, command = line.split("run ", 1) if line.startswith("XTRAIN") else (line,)
    for variable in variables:
        monkeypatch.setenv(*variable.strip().split("="))
        command = f"run {command}"
    done = wrong(*command.split())
    assert done.code == code, done
    assert [part for part in said if part not in done.err] == [], done.err
    assert "Traceback" not in done.out + done.err
    assert "not an error xtrain foresees" not in done.err
    assert sorted(template.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")
def test_a_loss_that_is_not_finite_exits_1_and_keeps_the_last_checkpoint(call, tmp_path):
    line = ("run", "digits_mlp", "--backend", "numpy", "--out", "run", "--set", "loop.checkpoint_every=1")
    done = call(*line, "--set", "optimizer.lr=1e160", "--log-every", 1)
    assert done.code == 1
    assert "error: the loss of step " in done.err
    assert " is " in done.err
    assert "optimizer.lr is the usual cure" in done.err
    run = Run(tmp_path / "run")
    assert run.sessions[-1]["exit"].startswith("failed: the loss of step ")
    assert run.checkpoint().name == f"step-{len(run.train)}"


def test_debug_shows_the_traceback_and_the_code_stays(wrong):
    for line in (("--debug", "check", "bad.toml"), ("check", "bad.toml", "--debug")):
        done = wrong(*line)
        assert done.code == 2
        assert "Traceback (most recent call last)" in done.err
        assert "TOMLDecodeError" in done.err
        assert "error: bad.toml: is not TOML" in done.err


def test_verbose_shows_what_is_logged(wrong, tmp_path, monkeypatch):
    info = tmp_path / "plugins/explodes-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: explodes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xtrain.backends]\nexplodes = no_such_module\n")
    monkeypatch.syspath_prepend(info.parent)
    told = "WARNING xtrain.plugins: backend 'explodes' is left out: backend 'explodes': its plugin does not"
    for line in (("-v", "check", "digits_mlp"), ("check", "digits_mlp", "--verbose")):
        done = wrong(*line)
        assert (done.code, told in done.err) == (0, True)
    done = wrong("check", "digits_mlp")
    assert (done.code, done.err) == (0, "")
    done = wrong("check", "--", "-v")
    assert (done.code, "-v" in done.err, "WARNING" in done.err) == (2, True, False)


def test_what_nobody_foresaw_is_one_line_too(wrong, monkeypatch):
    from xtrain.recipe import read

    def explode(*arguments):
        raise KeyError("sesame")

    monkeypatch.setattr(read, "find", explode)
    done = wrong("check", "digits_mlp")
    assert (done.code, "Traceback" in done.err) == (1, False)
    assert done.err.splitlines()[0] == "error: KeyError: 'sesame'"
    assert "--debug shows where it comes from" in done.err
    assert "Traceback" in wrong("--debug", "check", "digits_mlp").err


def test_ctrl_c_anywhere_exits_130(wrong, monkeypatch):
    from xtrain.recipe import read

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(read, "find", interrupt)
    done = wrong("check", "digits_mlp")
    assert (done.code, done.err.strip()) == (130, "interrupted")


# The same in a process of its own, for what a process alone can show.

REAL = ("unknown command", "unknown key", "unknown backend", "out holds something", "eval of a damaged one")


@pytest.mark.parametrize("name", REAL)
def test_the_real_command_says_it_too(name, template, xtrain):
    line, code, said = CASES[name]
    xtrain.folder = template
    done = xtrain(*line.split())
    assert done.code == code
    assert [part for part in said if part not in done.err] == [], done.err
    assert "Traceback" not in done.out + done.err


def test_a_disk_that_refuses_is_told(xtrain, tmp_path):
    def small_files():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    line = ("run", "digits_cnn", "--backend", "numpy", "--epochs", 1, "--out", "run")
    done = xtrain(*line, preexec_fn=small_files)
    assert done.code == 1
    assert "Traceback" not in done.err
    assert done.err.startswith("error: run")
    assert "make room" in done.err
    assert Run(tmp_path / "run").sessions[-1]["exit"].startswith("failed: the checkpoint can't be written")
    assert not list((tmp_path / "run/checkpoints").iterdir())


def test_a_reader_that_leaves_is_no_error(tmp_path):
    command = f"{sys.executable} -m xtrain models | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_too_little_memory_is_told(call, monkeypatch):
    def full(*_):
        raise MemoryError("Unable to allocate 7.45 GiB")

    monkeypatch.setattr("xtrain.plan.initial_state", full)
    done = call("run", "digits_mlp", "--backend", "numpy")
    assert (done.code, done.out.splitlines()[1:]) == (1, [])
    assert "error: there is not enough memory: Unable to allocate 7.45 GiB\n" in done.err
    assert "data.batch_size" in done.err
