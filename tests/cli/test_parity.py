"""`xtrain parity` in a process of its own: what it records, compares, verifies, refuses, and its exit codes.

Beside NumPy stand two backends that need no framework either: its twin, and one that mirrors every image.
"""

import json
import re
import shutil

import pytest

from tests.certificates import forged
from tests.command import Command

SMALL = ("digits_mlp", "--set", "model.hidden=[8]", "--set", "loop.epochs=1", "--threads", 1)
SHORT = (*SMALL, "--steps", 3)


class Parity(Command):
    """`xtrain parity`, to which the two backends are known."""

    def __init__(self, folder, plugins):
        super().__init__(folder)
        self._environment = {"PYTHONPATH": str(plugins), "OMP_NUM_THREADS": "1"}

    def __call__(self, *arguments):
        """What it said; never a traceback."""
        done = super().__call__("parity", *arguments, environment=self._environment)
        assert "Traceback" not in done.out + done.err, done.err
        assert "not an error xtrain foresees" not in done.err, done.err
        return done


@pytest.fixture
def parity(tmp_path, plugins):
    return Parity(tmp_path, plugins)


@pytest.fixture(scope="module")
def made(tmp_path_factory, plugins):
    """A folder with a comparison that holds, and traces of another recipe and of another level."""
    folder = tmp_path_factory.mktemp("made")
    run = Parity(folder, plugins)
    done = run(*SHORT, "--backends", "numpy,twin", "--out", "held")
    assert done.code == 0, done.err
    for name, more in {"other": ("--seed", 9), "batches": ("--levels", "P1")}.items():
        done = run(*SHORT, "--backends", "mirrored", "--record", "--levels", "P4", "--out", name, *more)
        assert done.code == 0, done.err
    return folder


@pytest.fixture
def beside(made, parity):
    """The command in a copy of that folder."""
    shutil.copytree(made, parity.folder, dirs_exist_ok=True)
    return parity


def levels(path):
    return {row["level"] for row in json.loads(path.read_text())["rows"]}


def test_what_holds_exits_0_and_leaves_page_certificate_and_traces(made):
    told = json.loads((made / "held/parity.json").read_text())
    assert told["holds"] is True
    assert [trace["facts"]["backend"] for trace in told["traces"]] == ["numpy", "twin"]
    assert [trace["facts"]["steps"] for trace in told["traces"]] == [3, 3]
    assert levels(made / "held/parity.json") == {"P0", "P1", "P2", "P3", "P4", "P5"}
    assert (made / "held/parity.html").read_text().startswith("<!doctype html>")
    assert (made / "held/traces/twin/trace.json").is_file()


def test_what_does_not_hold_exits_1_and_says_where(parity):
    done = parity(*SHORT, "--backends", "numpy,mirrored", "--levels", "P0-P2")
    assert done.code == 1
    assert re.search(r"P0 +mirrored, recipe +\d+ terms .* holds", done.out)
    assert re.search(r"P1 +numpy, mirrored +step 1 .* does not hold", done.out)
    (path,) = re.findall(r"figures, \d+ do not hold: (parity/digits_mlp-[\d-]+)/parity.html", done.out)
    assert json.loads((parity.folder / path / "parity.json").read_text())["holds"] is False


def test_outcomes_are_compared_over_seeds(parity):
    line = (*SMALL, "--backends", "numpy,twin", "--levels", "P6", "--out", "o")
    done = parity(*line, "--seeds", 2)
    assert done.code == 0, done.err
    assert re.search(r"P6 +numpy, twin +2 seeds .*means differ by \+0\.0000", done.out)
    told = json.loads((parity.folder / "o/parity.json").read_text())
    assert [len(trace["outcomes"]) for trace in told["traces"]] == [2, 2]
    assert [trace["losses"] for trace in told["traces"]] == [[], []]


FORMS = {
    "P3": {"P3"},
    "P0-P2": {"P0", "P1", "P2"},
    "P1,P4": {"P1", "P4"},
    " P4 , P1-P2": {"P1", "P2", "P4"},
}


@pytest.mark.parametrize("text", FORMS)
def test_levels_are_those_asked_for(text, parity):
    line = ("--backends", "numpy,twin", "--out", "o", "--levels", text)
    assert parity(*SHORT, *line).code == 0
    assert levels(parity.folder / "o/parity.json") == FORMS[text]


# What is typed after `xtrain parity` in that folder, the exit code, and what is said.
WRONG = {
    "nothing": ("", 2, ["Missing argument"]),
    "two recipes": (
        "digits_mlp digits_cnn",
        2,
        ["one recipe, not 2", "traces are compared with --compare"],
    ),
    "a recipe to compare": (
        "digits_mlp --compare held/traces/twin",
        2,
        [
            "digits_mlp: is a recipe, not a trace: --compare takes the folders that --record wrote",
            "compare traces: xtrain parity --compare TRACE TRACE; record and compare: xtrain parity RECIPE",
        ],
    ),
    "a recipe's file to compare": (
        "--compare held/traces/twin my.toml",
        2,
        ["my.toml: is a recipe, not a trace"],
    ),
    "a certificate to compare": (
        "--compare held/traces/twin held/parity.json",
        2,
        ["held/parity.json: is a file, not a trace"],
    ),
    "unknown recipe": ("digits_mpl", 2, ["no such recipe", "'digits_mlp'"]),
    "unknown backend": ("digits_mlp --levels P0 --backends torhc", 2, ["unknown backend 'torhc'", "'torch'"]),
    "a misspelt device": ("digits_mlp --backends numpy,torch --device GPU", 2, ["'GPU' is not a device"]),
    "no device": (
        "digits_mlp --backends numpy,torch --device cuda",
        2,
        ["numpy has no device 'cuda'", "devices here: cpu"],
    ),
    "one backend": ("digits_mlp --backends numpy", 2, ["one backend compares with nothing: numpy"]),
    "a backend twice": ("digits_mlp --backends numpy,numpy", 2, ["one is named twice"]),
    "no level P7": ("digits_mlp --levels P7", 2, ["--levels P7: no level 'P7'", "allowed: P0, P1"]),
    "levels turned": ("digits_mlp --levels P3-P1", 2, ["in P3-P1 the lower level comes first"]),
    "no levels": ("digits_mlp --levels=", 2, ["no level ''", "allowed: P0, P1"]),
    "half a range": ("digits_mlp --levels -P3", 2, ["no level ''"]),
    "no steps": ("digits_mlp --steps 0", 2, ["--steps", "0 is not in the range"]),
    "one seed": ("digits_mlp --seeds 1", 2, ["--seeds", "1 is not in the range"]),
    "out is a file": ("digits_mlp --out file", 2, ["--out", "is a file"]),
    "out below a file": (
        "digits_mlp --backends numpy --record --out file/x",
        1,
        ["file/x: the folder can't be made: Not a directory"],
    ),
    "certificate below a file": (
        "--compare held/traces/numpy held/traces/twin --out file/x",
        1,
        ["file/x: the folder can't be made: Not a directory"],
    ),
    "one trace": ("--compare held/traces/numpy", 2, ["one trace compares with nothing", "give two"]),
    "a trace twice": (
        "--compare held/traces/numpy held/traces/numpy",
        2,
        ["two traces are of one backend: numpy, numpy"],
    ),
    "a folder without a trace": (
        "--compare held/traces/numpy held",
        2,
        ["held: is not a whole trace", "record it again: xtrain parity RECIPE --record"],
    ),
    "no folder": ("--compare held/traces/numpy nowhere", 2, ["nowhere: is not a whole trace"]),
    "a trace of another recipe": (
        "--compare held/traces/numpy other/traces/mirrored",
        2,
        ["numpy and mirrored are of different recipes", "the seed is part of it"],
    ),
    "no certificate": ("--verify file", 2, ["file: is no certificate", "give a parity.json"]),
    "a page": ("--verify held/parity.html", 2, ["held/parity.html: is no certificate"]),
    "no file": ("--verify nowhere.json", 2, ["nowhere.json: is no certificate"]),
}


@pytest.mark.parametrize(("line", "code", "said"), WRONG.values(), ids=WRONG)
def test_the_message_says_what_is_wrong(line, code, said, beside, call):
    (beside.folder / "file").write_text("{}")
    (beside.folder / "my.toml").touch()
    done = call("parity", *line.split())
    assert done.code == code, done
    assert [part for part in said if part not in done.err] == [], done.err
    assert "Traceback" not in done.out + done.err


REAL = ("unknown backend", "levels turned", "out below a file", "a trace of another recipe", "no certificate")


@pytest.mark.parametrize("name", REAL)
def test_the_real_command_says_it_too(name, beside):
    line, code, said = WRONG[name]
    (beside.folder / "file").write_text("{}")
    done = beside(*line.split())
    assert done.code == code, done
    assert [part for part in said if part not in done.err] == [], done.err


def test_traces_without_a_common_level_are_refused(beside):
    line = (*SHORT, "--backends", "twin", "--record", "--levels", "P2", "--out", "levels")
    assert beside(*line).code == 0
    done = beside("--compare", "batches/traces/mirrored", "levels/traces/twin")
    assert done.code == 2
    assert "no level is in all of the traces: mirrored has P1; twin has P2" in done.err


def test_a_tampered_trace_is_refused(beside):
    path = beside.folder / "held/traces/twin/losses.jsonl"
    path.write_text(path.read_text().replace("1", "2", 1))
    done = beside("--compare", "held/traces/numpy", "held/traces/twin")
    assert done.code == 2
    assert "held/traces/twin: is not a whole trace: losses.jsonl is not the file that was written" in done.err


def test_traces_compare_in_any_order_and_from_another_folder(beside):
    there = beside.folder / "far" / "away"
    there.mkdir(parents=True)
    beside.folder, traces = there, beside.folder / "held/traces"
    for order in (("numpy", "twin"), ("twin", "numpy")):
        done = beside("--compare", *(traces / name for name in order), "--out", "o")
        assert done.code == 0, done.err
        told = json.loads((there / "o/parity.json").read_text())
        assert [trace["facts"]["backend"] for trace in told["traces"]] == list(order)
    relative = beside("--compare", "../../held/traces/numpy", "../../held/traces/twin")
    assert relative.code == 0
    assert re.search(r"all hold: parity/compared-[\d-]+/parity.html", relative.out)


def test_what_is_recorded_apart_compares(parity):
    for backend, steps in {"numpy": 3, "twin": 5, "mirrored": 3}.items():
        line = (*SMALL, "--steps", steps, "--levels", "P1,P5", "--backends", backend, "--record")
        done = parity(*line, "--out", backend)
        assert done.code == 0, done.err
        assert done.out.splitlines()[-1] == f"traces: {backend}/traces/{backend}"
        assert not (parity.folder / backend / "parity.json").exists()
    assert parity("--compare", "numpy/traces/numpy", "twin/traces/twin").code == 0
    done = parity("--compare", *(f"{name}/traces/{name}" for name in ("numpy", "twin", "mirrored")))
    assert done.code == 1
    assert re.search(r"P5 +twin, mirrored .* does not hold", done.out)
    assert re.search(r"P5 +numpy, twin +step \d of 3 .* holds", done.out)


def test_seeds_that_both_have_are_compared(parity):
    for backend, seeds in {"numpy": 2, "twin": 3}.items():
        line = (*SMALL, "--levels", "P6", "--seeds", seeds, "--backends", backend, "--record")
        assert parity(*line, "--out", backend).code == 0
    done = parity("--compare", "numpy/traces/numpy", "twin/traces/twin")
    assert done.code == 0, done.err
    assert re.search(r"P6 +numpy, twin +2 seeds", done.out)


def test_a_recipe_that_stops_early_has_a_trajectory(parity):
    stopping = ("--set", "stopping.patience=1", "--set", "optimizer.lr=0.5", "--set", "loop.epochs=9")
    line = ("--backends", "numpy,twin", "--levels", "P5", "--steps", 120, "--out", "o")
    done = parity(*SMALL, *stopping, *line)
    assert done.code == 0, done.err
    assert json.loads((parity.folder / "o/parity.json").read_text())["traces"][0]["facts"]["steps"] == 120


def test_a_certificate_is_verified_to_the_bit(beside):
    done = beside("--verify", "held/parity.json", "--out", "again")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-2:] == [
        "the same numbers to the bit",
        "held/parity.json: held then, holds now",
    ]
    before, now = (beside.folder / name / "parity.json" for name in ("held", "again"))
    assert now.read_bytes() == before.read_bytes()


def test_frameworks_are_verified_to_the_bit(parity):
    line = (*SMALL, "--steps", 2, "--backends", "numpy,torch", "--levels", "P0-P5")
    assert parity(*line, "--out", "o").code == 0
    done = parity("--verify", "o/parity.json", "--out", "again")
    assert done.code == 0, done.out
    assert "the same numbers to the bit" in done.out


def zeroed(told):
    for row in told["rows"]:
        row["error"] = 0.0
        row["noise"] = 0.0


def losses(told):
    told["traces"][1]["losses"][0][1] *= 1 + 2.0**-50


def relabelled(told):
    text = json.dumps(told).replace("twin", "mirrored")
    told.update(json.loads(text))


def another_recipe(told):
    for trace in told["traces"]:
        trace["facts"]["recipe"] = trace["facts"]["recipe"].replace("seed = 0", "seed = 1")


def fewer_steps(told):
    for trace in told["traces"]:
        trace["facts"]["steps"] = 2
        trace["losses"] = [draw[:2] for draw in trace["losses"]]


# Every hash is mended: what is left to find it by is what the backends give.
FORGED = {
    "figures of 0": (zeroed, "figures are not those recorded: P2 numpy, twin, "),
    "losses": (losses, "twin: losses.jsonl is not the same to the bit"),
    "a relabelled backend": (relabelled, "mirrored: batches.jsonl is not the same to the bit"),
    "another recipe": (another_recipe, "numpy: P2.0.safetensors is not the same to the bit"),
    "fewer steps": (fewer_steps, "figures are not in the certificate: P1 numpy, twin, 2 batches"),
}


@pytest.mark.parametrize(("change", "said"), FORGED.values(), ids=FORGED)
def test_a_certificate_that_says_something_else_is_not_verified(beside, change, said):
    forged(beside.folder / "held/parity.json", change, deep=True)
    done = beside("--verify", "held/parity.json", "--out", "again")
    assert done.code == 1, done
    assert said in done.out
    assert "the same numbers" not in done.out


def test_other_versions_are_said_and_their_figures_kept_within_the_bounds(beside):
    def elsewhere(told):
        told["traces"][1]["facts"]["versions"]["numpy"] = "1.0"
        told["traces"][1]["files"]["P2.0.safetensors"] = "0" * 64
        zeroed(told)

    forged(beside.folder / "held/parity.json", elsewhere, deep=True)
    done = beside("--verify", "held/parity.json", "--out", "again")
    assert done.code == 0, done
    assert re.search(r"twin: versions: \{.*'numpy': '1.0'.*\} recorded, \{.*\} found", done.out)
    assert "within the bounds, not to the bit: it was made elsewhere" in done.out


@pytest.mark.parametrize("mended", [False, True])
def test_an_altered_certificate_is_not_run_again(beside, call, mended):
    path = beside.folder / "held/parity.json"
    if mended:
        forged(path, lambda told: told["traces"][1]["facts"].update(device="gpu:7", threads=64))
    else:
        path.write_text(path.read_text().replace('"error": 0.0', '"error": 1e-9', 1))
    done = call("parity", "--verify", "held/parity.json")
    assert done.code == 1
    said = "twin: the hash of its trace is not that of its backend, device" if mended else "its hash is not"
    assert f"held/parity.json: was altered after it was written: {said}" in done.err
