"""`xtrain convert` from end to end: every pair of formats to the bit, and what is refused."""

import io
import itertools
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from xtrain.runs.run import Run

TOUR = "safetensors pth safetensors pdparams safetensors ckpt pth pdparams pth ckpt pdparams ckpt safetensors"
"""Each ordered pair of formats once."""


class Payload:
    """What a hostile file would have run: it makes the file `mark` where it is."""

    def __reduce__(self):
        return os.system, ("touch mark",)


def zipped(content):
    """A pickle in the archive that torch.save makes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
    return made.getvalue()


@pytest.fixture(scope="module")
def source(tmp_path_factory, undisturbed):
    """A folder with a run, its weights and moments in float32, and all that is refused."""
    folder = tmp_path_factory.mktemp("convert")
    shutil.copytree(undisturbed("numpy")[0], folder / "run")
    last = Run(folder / "run").checkpoint()
    for name, place in (("weights", "x"), ("optimizer", "x.optimizer")):
        held = load_file(last / f"{name}.safetensors")
        single = {key: value if key == "step" else value.astype(np.float32) for key, value in held.items()}
        save_file(single, folder / f"{place}.safetensors", metadata={"format": "xtrain"})
    _bad_files(folder)
    return folder


def _bad_files(folder):
    hostile = pickle.dumps({"fc1.weight": Payload()}, protocol=2)  # the one that torch.save writes
    weights, moments = load_file(folder / "x.safetensors"), load_file(folder / "x.optimizer.safetensors")
    (folder / "raw.pth").write_bytes(hostile)
    (folder / "zipped.pt").write_bytes(zipped(hostile))
    (folder / "hostile.pdparams").write_bytes(hostile)
    good = {name: value.T if name.startswith("fc") else value for name, value in weights.items()}
    (folder / "half.pdparams").write_bytes(pickle.dumps(good, protocol=4))
    (folder / "half.pdopt").write_bytes(pickle.dumps({"linear_0.w_0_moment1_0": Payload()}, protocol=2))
    (folder / "objects.pdparams").write_bytes(pickle.dumps({"x": np.array([{}], object)}, protocol=4))
    (folder / "text.ckpt").write_text("<html>not found</html>")
    (folder / "text.pth").write_text("<html>not found</html>")
    (folder / "empty.pdparams").touch()
    whole = (folder / "x.safetensors").read_bytes()
    (folder / "short.safetensors").write_bytes(whole[:-5])
    (folder / "huge.safetensors").write_bytes(struct.pack("<Q", 2**62) + whole[8:])
    (folder / "false.safetensors").write_bytes(whole.replace(b"[0,", b"[9,", 1))
    save_file(
        {name: value for name, value in weights.items() if name != "fc1.bias"}, folder / "less.safetensors"
    )
    save_file({**weights, "fc9.bias": weights["fc1.bias"]}, folder / "more.safetensors")
    save_file({**weights, "fc1.bias": weights["fc2.bias"]}, folder / "other.safetensors")
    save_file(weights, folder / "partial.safetensors")
    del moments["fc1.bias/exp_avg"]
    save_file(moments, folder / "partial.optimizer.safetensors")
    (folder / "there.pth").touch()
    (folder / "beside.pdopt").touch()


@pytest.fixture
def inside(source, call, monkeypatch):
    """The command in that folder."""
    monkeypatch.chdir(source)
    return call


OURS = "--recipe run/recipe.toml"
CASES = {
    "a near suffix": (
        f"x.safetensors y.pt1 {OURS}",
        2,
        ["y.pt1: has the suffix '.pt1'", "did you mean '.pt'?"],
    ),
    "no suffix": (f"x.safetensors y {OURS}", 2, ["y: has the suffix ''", ".ckpt"]),
    "the second file": (f"half.pdopt y.pth {OURS}", 2, ["half.pdopt: has the suffix", ".pdparams"]),
    "no such file": (f"z.pth y.ckpt {OURS}", 2, ["z.pth: there is no such file"]),
    "no such folder": ("run nowhere/y.pth", 2, ["nowhere: there is no such folder"]),
    "no recipe": ("x.safetensors y.pth", 2, ["x.safetensors: a file does not say", "--recipe"]),
    "keys without a recipe": ("run y.pth --set optimizer.lr=1", 2, ["--set and --seed change a recipe"]),
    "no run": ("run/checkpoints y.pth", 2, ["is not a run directory"]),
    "there": ("run there.pth", 2, ["there.pth: exists", "--force"]),
    "its second file is there": ("run beside.pdparams", 2, ["beside.pdopt: exists"]),
    "a folder": ("run run", 2, ["'run' is a directory"]),
    "another recipe than the run's": (
        "run y.pth --recipe digits_mlp",
        1,
        ["does not hold the weights of mlp"],
    ),
    "another optimizer": (
        f"x.safetensors y.pth {OURS} --set optimizer.name=sgd --set optimizer.momentum=0.9",
        1,
        ["does not hold the state of optimizer sgd", "momentum_buffer is missing", "more", "--weights-only"],
    ),
    "a tensor less": (
        f"less.safetensors y.pth {OURS}",
        1,
        ["weights of model simplecnn: fc1.bias is missing"],
    ),
    "a tensor more": (f"more.safetensors y.pth {OURS}", 1, ["fc9.bias is unexpected"]),
    "another shape": (f"other.safetensors y.pth {OURS}", 1, ["fc1.bias has the shape [10], not [64]"]),
    "a buffer less": (f"partial.safetensors y.pth {OURS}", 1, ["fc1.bias/exp_avg is missing"]),
    "short": (f"short.safetensors y.pth {OURS}", 1, ["short.safetensors: can't be read as safetensors"]),
    "a huge header": (
        f"huge.safetensors y.pth {OURS}",
        1,
        ["huge.safetensors: can't be read as safetensors"],
    ),
    "false offsets": (
        f"false.safetensors y.pth {OURS}",
        1,
        ["false.safetensors: can't be read as safetensors"],
    ),
    "a hostile pickle": (
        f"raw.pth y.ckpt {OURS}",
        1,
        ["raw.pth: is nothing that torch", "it names posix.system", "nothing of it was"],
    ),
    "one in an archive": (
        f"zipped.pt y.ckpt {OURS}",
        1,
        ["zipped.pt: is nothing that torch", "it names posix.system"],
    ),
    "text for a .pth": (f"text.pth y.ckpt {OURS}", 1, ["text.pth: is nothing that torch"]),
    "hostile .pdparams": (
        f"hostile.pdparams y.ckpt {OURS}",
        1,
        ["it names posix.system", "nothing of it was run"],
    ),
    "hostile .pdopt": (f"half.pdparams y.ckpt {OURS}", 1, ["half.pdopt: is not", "it names posix.system"]),
    "objects": (f"objects.pdparams y.ckpt {OURS}", 1, ["objects.pdparams: is not", "an array of 'O8'"]),
    "empty": (f"empty.pdparams y.ckpt {OURS}", 1, ["empty.pdparams: is not a Paddle file"]),
    "text for a .ckpt": (f"text.ckpt y.pth {OURS}", 1, ["text.ckpt: mindspore.load_checkpoint refuses it"]),
}


@pytest.mark.parametrize(("line", "code", "said"), CASES.values(), ids=CASES.keys())
def test_what_is_refused_and_leaves_nothing(line, code, said, inside, source):
    before = sorted(source.rglob("*"))
    done = inside("convert", *line.split())
    assert done.code == code, done
    assert [part for part in said if part not in done.err] == [], done.err
    assert "Traceback" not in done.out + done.err
    assert "not an error xtrain foresees" not in done.err
    assert sorted(source.rglob("*")) == before  # and no `mark`


def test_the_payloads_are_real(source, tmp_path):
    """The plain loaders do run them."""
    load = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
    torch = "import sys, torch; torch.load(sys.argv[1], weights_only=False)"
    for code, name in (
        (load, "raw.pth"),
        (load, "hostile.pdparams"),
        (load, "half.pdopt"),
        (torch, "zipped.pt"),
    ):
        command = [sys.executable, "-c", code, source / name]
        subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
        (tmp_path / "mark").unlink()


def test_every_pair_of_formats_to_the_bit(inside, source, tmp_path):
    here, formats = source / "x.safetensors", TOUR.split()
    for place, (first, second) in enumerate(itertools.pairwise(formats)):
        assert here.suffix == f".{first}"
        target = tmp_path / f"{place}.{second}"
        done = inside("convert", here, target, *OURS.split())
        assert done.code == 0, done.err
        assert re.search(r": 8 tensors, optimizer state of step 46\n$", done.out), done.out
        assert done.err == ""
        if second == "safetensors":
            for end in ("", ".optimizer"):
                written = tmp_path / f"{place}{end}.safetensors"
                assert written.read_bytes() == (source / f"x{end}.safetensors").read_bytes()
        here = target


def test_a_truncated_ckpt_wherever_it_ends(inside, source, tmp_path):
    assert inside("convert", "run", tmp_path / "x.ckpt").code == 0
    content = (tmp_path / "x.ckpt").read_bytes()
    for place, length in enumerate((10, len(content) // 2, len(content) - 3)):
        (tmp_path / f"{place}.ckpt").write_bytes(content[:length])
        done = inside("convert", tmp_path / f"{place}.ckpt", tmp_path / "y.pth", *OURS.split())
        assert done.code == 1, done
        assert "Traceback" not in done.err
        assert not (tmp_path / "y.pth").exists()


def test_from_a_run_it_says_what_it_wrote(inside, source, tmp_path):
    written = tmp_path / "y.pdparams"
    done = inside("convert", "run", written)
    assert done.code == 0, done.err
    beside = written.with_suffix(".pdopt")
    said = "8 tensors, optimizer state of step 46, rounded from float64 to float32"
    assert done.out == f"{written}, {beside}: {said}\n"

    done = inside("convert", "run/checkpoints/best", written, "--weights-only", "--force")
    assert done.out.startswith(f"{written}: 8 tensors, no optimizer state")
    assert not beside.exists()  # the old one is not this one's


@pytest.mark.parametrize("suffix", ["pth", "pdparams", "ckpt", "safetensors"])
def test_a_full_disk_leaves_nothing(suffix, source, xtrain):
    def small_files():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))

    done = xtrain("convert", source / "run", f"y.{suffix}", preexec_fn=small_files)
    assert done.code == 1
    assert done.err.startswith(f"error: y.{suffix}: can't be written: ")
    assert "Traceback" not in done.err
    assert list(xtrain.folder.iterdir()) == []
