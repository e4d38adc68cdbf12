"""What the author of a backend is given: the package to begin with, and the report of the suite."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kit_backends
import pytest
from kit_backends import ZERO

from xtrain.conformance import template
from xtrain.errors import UsageError
from xtrain.system.distribution import package_command

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
LEVELS = ("core", "images", "optimizers", "sequences")
NAMES = ("acme", "my_net")
"""Of the packages that are written out: one with _, of which the camel form has none."""
NEEDS_NO_PART = {
    "test_contract.py": {
        "test_environment_is_names_and_values",
        "test_an_unknown_layer_is_refused",
        "test_a_device_that_is_not_there_is_refused",
    },
    "test_name.py": {"test_the_entry_point_is_named_after_the_backend"},
    "test_precisions.py": {
        "test_a_precision_is_offered_or_refused_with_its_reason",
        "test_float32_is_never_refused",
    },
}
"""Tests that one passes which has nothing written yet."""
Done = subprocess.CompletedProcess[str]


def call(*command: object, at: Path, path: tuple[Path, ...] = ()) -> Done:
    """A command with these folders before what PYTHONPATH has."""
    where = os.pathsep.join([*map(str, path), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd=at,
        env={**os.environ, "PYTHONPATH": where, "COLUMNS": "300"},
        timeout=300,
        check=False,
    )


def xtrain(*arguments: object, at: Path, path: tuple[Path, ...] = ()) -> Done:
    return call(sys.executable, "-m", "xtrain", *arguments, at=at, path=path)


def told(done: Done) -> str:
    """What was printed, with no traceback in it."""
    text = done.stdout + done.stderr
    for sign in ("Traceback", "INTERNALERROR", "not an error xtrain foresees"):
        assert sign not in text, text[-3000:]
    return text


def stating(row: str) -> str:
    return f'[[deviation]]\nrow = "{row}"\nreason = "its kernel sees to it"\nlink = "https://x/issues/1"\n'


RUNS = {
    "core_alone": ("core_alone", None, ()),
    "no_lstm": ("no_lstm", None, ("--quick",)),
    "no_adam": ("no_adam", None, ("--quick",)),
    "wrong_at_zero": ("wrong_at_zero", None, ("-k", "test_layers and (relu or pool)")),
    "known": ("wrong_at_zero", stating(ZERO), ("--quick",)),
    "stale": ("nothing", stating("test_layers.py::test_gone"), ()),
}
"""Runs of the whole suite, or all that --quick has: the backend's kind, its conformance.toml, options."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the backends of `RUNS` are installed in, and some that few rows are run for."""
    folder = tmp_path_factory.mktemp("site")
    for name, (kind, deviations, _) in RUNS.items():
        kit_backends.install(folder, kind, name, deviations)
    mended = stating("test_layers.py::test_gradients[relu]") + stating("test_layers.py::test_gradients[lstm]")
    kit_backends.install(folder, "no_lstm", "mended", mended)
    kit_backends.install(folder, "no_lstm", "malformed", "[[deviation]\n")
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of the packages that `xtrain new-backend` writes."""
    folder, found = tmp_path_factory.mktemp("written"), {}
    for name, given in zip(NAMES, ((), ("--out", "some where/else")), strict=True):
        done = xtrain("new-backend", name, *given, at=folder)
        assert done.returncode == 0, told(done)
        shown = "xtrain-acme" if not given else "'some where/else'"
        assert f"install it with {package_command(f'-e {shown}')}\n" in done.stdout
        assert f"xtrain conformance --backend {name}\n" in done.stdout
        found[name] = folder / shown.strip("'")
    return found


@pytest.fixture(scope="module")
def installed(written: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that both are installed in, with nothing but what is on this machine."""
    target = tmp_path_factory.mktemp("installed")
    offline = ("--offline", "--no-deps", "--no-build-isolation", "--python", sys.executable)
    given = ("uv", "pip", "install", "-q", *offline, "--target", target)
    done = call(*given, *written.values(), at=target)
    assert done.returncode == 0, done.stderr
    return target


Runs = Callable[[str], tuple[Done, dict[str, Any], Path]]


@pytest.fixture(scope="module")
def runs(site: Path, installed: Path, written: dict[str, Path], tmp_path_factory: Any) -> Any:
    """Each run's end, its report and where the badge should lie; they go on two at a time."""
    folder = tmp_path_factory.mktemp("runs")
    path = (site, installed, FOLDER)

    def suite(name: str, *options: str) -> Done:
        given = ("conformance", "--backend", name, "--json", f"{name}.json", *options)
        return xtrain(*given, at=folder, path=path)

    with ThreadPoolExecutor(2) as pool:
        started: dict[str, Future[Done]] = {"acme": pool.submit(suite, "acme")}
        own = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-s", "tests")
        started["tests of my_net"] = pool.submit(call, *own, at=written["my_net"], path=path)
        for name, (_, _, options) in RUNS.items():
            started[name] = pool.submit(suite, name, *options)

        def ended(name: str) -> tuple[Done, dict[str, Any], Path]:
            done, report = started[name].result(), folder / f"{name}.json"
            return done, json.loads(report.read_text()) if report.exists() else {}, report.with_suffix(".svg")

        yield ended


def reached(report: dict[str, Any]) -> list[str]:
    return [name for name, level in report["levels"].items() if level["reached"]]


def last_lines(done: Done) -> list[str]:
    """From the levels on."""
    lines = told(done).splitlines()
    starts = [at for at, line in enumerate(lines) if re.match(r"core +(not )?reached", line)]
    return lines[starts[0] :] if starts else []


def badge(path: Path) -> tuple[str | None, str]:
    """What its right side says, and its colour."""
    svg = ET.fromstring(path.read_text())
    said = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    boxes = list(svg.iter("{http://www.w3.org/2000/svg}rect"))
    return said[1], boxes[1].attrib["fill"]


# ------------------------------------------------------------------------------------ the template


@pytest.mark.parametrize("name", NAMES)
def test_the_word_of_the_template_is_nowhere_left(name: str, written: dict[str, Path]) -> None:
    files = [path for path in written[name].rglob("*") if path.is_file()]
    source = [path for path in (ROOT / "backends" / "template").rglob("*") if path.is_file()]
    tracked = [path for path in source if not {"__pycache__", ".ruff_cache"} & {*path.parts}]
    assert len(files) == len(tracked) > 10
    for path in files:
        text = f"{path.relative_to(written[name])}\n{path.read_text()}".lower()
        assert "newbackend" not in text, path
        assert "new_backend" not in text, path


@pytest.mark.parametrize("name", NAMES)
def test_it_is_clean_under_mypy_and_ruff(name: str, written: dict[str, Path], tmp_path: Path) -> None:
    folder = written[name]
    cache = ("--cache-dir", tmp_path)
    for command in (
        ("mypy", "--strict", *cache, folder / f"xtrain_{name}", folder / "tests"),
        ("ruff", "check", "--no-cache", "."),
        ("ruff", "format", "--no-cache", "--check", "."),
    ):
        done = call(sys.executable, "-m", *command, at=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "py.typed" in {path.name for path in (folder / f"xtrain_{name}").iterdir()}


def test_it_is_listed_once_it_is_installed(installed: Path, tmp_path: Path) -> None:
    listed = told(xtrain("backends", at=tmp_path, path=(installed,)))
    for name in NAMES:
        assert re.search(rf"^ *{name} +0\.1\.0 +cpu ", listed, re.MULTILINE), listed


def test_it_refuses_to_train_without_a_traceback(installed: Path, tmp_path: Path) -> None:
    done = xtrain("run", "digits_mlp", "--backend", "my_net", at=tmp_path, path=(installed,))
    assert done.returncode == 2
    assert "error: backend my_net has no lowering for layer flatten1 (Flatten)" in told(done)


def test_the_suite_ends_well_with_everything_refused(runs: Runs) -> None:
    done, report, svg = runs("acme")
    assert done.returncode == 0, told(done)
    assert (report["failed"], report["known"]) == (0, 0)
    assert report["refused"] > 500
    passed = [row["row"].partition("::") for row in report["rows"] if row["outcome"] == "passed"]
    found: dict[str, set[str]] = {}
    for file, _, test in passed:
        found.setdefault(file, set()).add(test.partition("[")[0])
    assert found == NEEDS_NO_PART
    assert reached(report) == []
    assert list(report["levels"]) == list(LEVELS)
    for level in report["levels"].values():
        assert re.match(
            r"\d+ refused, such as backend acme.* (is not written yet|has no lowering for)", level["why"]
        )
    lines = last_lines(done)
    assert [line.split(" not reached: ")[0].strip() for line in lines[:4]] == list(LEVELS)
    assert badge(svg) == ("no level yet", "#8a6d00")


def test_a_refusal_says_who_refuses_what(runs: Runs) -> None:
    refused = [row for row in runs("acme")[1]["rows"] if row["outcome"] == "refused"]
    assert refused
    assert all(row["reason"].startswith("backend acme") for row in refused)


def test_its_own_tests_pass(runs: Runs) -> None:
    done, _, _ = runs("tests of my_net")
    text = told(done)
    assert done.returncode == 0, text
    assert re.search(r"my_net \(my_net 0\.1\.0, cpu\): \d+ passed, \d{3} refused, 0 failed, 0 known", text)
    assert text.rstrip().splitlines()[-1].strip("= ").startswith("1 passed")


@pytest.mark.parametrize(
    "name",
    [
        "MyNet",
        "my-net",
        "my net",
        "class",
        "numpy",
        "",
        "../x",
        "1net",
        "_net",
        "net_",
        "a__b",
        "jäx",
        "x" * 41,
        "y" * 300,
    ],
)
def test_what_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    problem = "already" if name == "numpy" else "is no name of a backend"
    with pytest.raises(UsageError, match=problem) as raised:
        template.write(name, tmp_path / "there")
    assert raised.value.exit_code == 2
    assert raised.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["numpy", "../x", "y" * 300])
def test_a_refused_name_is_told(name: str, tmp_path: Path) -> None:
    done = xtrain("new-backend", name, at=tmp_path)
    assert done.returncode == 2
    assert told(done).startswith("error: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a", "none", "probe", "backend", "x" * 40, "net2", "my_2"])
def test_names_that_are_words_of_python_or_of_ours_are_names(name: str, tmp_path: Path) -> None:
    """In their camel form, None or Probe, they must not stand where they would hide or be something else."""
    template.write(name, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.py"):
        compile(path.read_text(), path, "exec")
    camel = "".join(part.title() for part in name.split("_"))
    text = (tmp_path / "out" / f"xtrain_{name}" / "backend.py").read_text()
    assert f"class {camel}Backend(BackendBase):" in text


def test_what_tools_leave_in_the_template_is_not_copied(tmp_path: Path, monkeypatch: Any) -> None:
    source = tmp_path / "template"
    for cache in (".ruff_cache", "xtrain_newbackend/__pycache__"):
        (source / cache).mkdir(parents=True)
        (source / cache / "x").write_bytes(b"\xff\xfe")
    (source / "xtrain_newbackend" / "a.py").write_text("NewBackend = 'newbackend'\n")
    monkeypatch.setattr(template, "shipped", lambda *places: source)
    template.write("my_net", tmp_path / "out")
    found = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert found == [tmp_path / "out" / "xtrain_my_net" / "a.py"]
    assert found[0].read_text() == "MyNet = 'my_net'\n"


@pytest.mark.parametrize(
    ("place", "code", "said"),
    [
        ("full", 2, "exists\n  choose another --out"),
        ("full/inner/..", 2, "exists\n  choose another --out"),
        ("not there/..", 2, "exists\n  choose another --out"),
        ("file", 2, "is a file"),
        ("file/below", 1, "can't be written: Not a directory"),
        ("/proc/there", 1, "can't be written: No such file or directory"),
        ("n" * 300, 1, "can't be written: File name too long"),
    ],
)
def test_a_place_that_can_not_be_written_is_told(place: str, code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "full" / "inner").mkdir(parents=True)
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    done = xtrain("new-backend", "my_net", "--out", place, at=tmp_path)
    assert (done.returncode, said in told(done)) == (code, True), told(done)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_the_right_to_write_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    done = xtrain("new-backend", "my_net", "--out", "closed/net", at=tmp_path)
    assert done.returncode == 1
    assert "can't be written: Permission denied" in told(done)


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    template.write("my_net", tmp_path / "there")
    assert (tmp_path / "there" / "pyproject.toml").exists()


def test_the_wheel_has_the_template_and_writes_from_it(tmp_path: Path) -> None:
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    done = call(sys.executable, "-c", build, tmp_path, at=ROOT)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("crosstrain-*.whl")
    with zipfile.ZipFile(wheel) as files:
        files.extractall(tmp_path / "unpacked")
    assert not (tmp_path / "unpacked" / "backends").exists()
    unpacked = tmp_path / "unpacked"
    done = xtrain("new-backend", "my_net", at=tmp_path, path=(unpacked,))
    assert done.returncode == 0, told(done)
    template.write("my_net", tmp_path / "from the checkout")
    there = tmp_path / "xtrain-my_net"
    of = {path.relative_to(there): path.read_text() for path in sorted(there.rglob("*")) if path.is_file()}
    at = tmp_path / "from the checkout"
    assert of == {path.relative_to(at): path.read_text() for path in sorted(at.rglob("*")) if path.is_file()}


# ------------------------------------------------------------------------------------ levels


@pytest.mark.parametrize(
    ("name", "missed", "why"),
    [
        ("no_lstm", ["sequences"], "backend no_lstm has no lowering for layer LSTM"),
        ("no_adam", ["optimizers"], "backend no_adam has no lowering for optimizer Adam"),
        ("core_alone", ["images", "optimizers", "sequences"], "backend core_alone has no lowering for"),
    ],
)
def test_a_backend_that_refuses_a_level_reaches_the_others(
    name: str, missed: list[str], why: str, runs: Runs
) -> None:
    done, report, svg = runs(name)
    assert done.returncode == 0, told(done)[-3000:]
    assert (report["failed"], report["known"]) == (0, 0)
    assert report["refused"] == sum(row["outcome"] == "refused" for row in report["rows"]) > 5
    assert [level for level in LEVELS if level not in reached(report)] == missed
    for level in missed:
        assert re.match(rf"\d+ refused, such as {why}", report["levels"][level]["why"])
    for level, line in zip(LEVELS, last_lines(done), strict=False):
        assert line == f"{level:<11} " + (
            f"not reached: {report['levels'][level]['why']}" if level in missed else "reached"
        )
    assert badge(svg) == (", ".join(reached(report)), "#8a6d00")


def test_a_row_that_fails_takes_its_level(runs: Runs) -> None:
    done, report, svg = runs("wrong_at_zero")
    assert done.returncode == 1
    assert [row["row"] for row in report["rows"] if row["outcome"] != "passed"] == [ZERO]
    assert report["failed"] == 1
    assert report["levels"]["core"]["reached"] is False
    assert report["levels"]["core"]["why"] == f"1 failed, such as {ZERO}"
    assert badge(svg) == ("failed", "#c0392b")


# ------------------------------------------------------------------------------------ known deviations


def test_a_known_deviation_is_no_failure_and_takes_its_level(runs: Runs) -> None:
    done, report, svg = runs("known")
    assert done.returncode == 0, told(done)[-3000:]
    assert (report["failed"], report["known"], report["refused"]) == (0, 1, 0)
    (row,) = [row for row in report["rows"] if row["outcome"] == "known"]
    assert row["row"] == ZERO
    assert row["reason"] == "its kernel sees to it; https://x/issues/1"
    assert reached(report) == ["images", "optimizers", "sequences"]
    assert report["levels"]["core"]["why"] == f"1 known, such as {row['reason']}"
    assert last_lines(done)[0] == f"core        not reached: 1 known, such as {row['reason']}"
    assert badge(svg) == ("images, optimizers, sequences", "#8a6d00")
    assert "1 known" in last_lines(done)[4]
    assert re.search(r"\d+ passed, .*1 known in", last_lines(done)[-1])


def few(name: str, *options: object, site: Path, at: Path) -> Done:
    return xtrain("conformance", "--backend", name, *options, at=at, path=(site, FOLDER))


def test_a_row_that_passes_has_to_leave_the_list(site: Path, tmp_path: Path) -> None:
    done = few("mended", "-k", "test_gradients and (relu or lstm)", site=site, at=tmp_path)
    text = told(done)
    assert done.returncode == 1, text
    assert "passes, and conformance.toml says that it fails: take the row out of it" in text
    # One that is stated and refused is refused: relu and relu_image, and three with an LSTM.
    assert re.search(r": 2 passed, 3 refused, 1 failed, 0 known", text), text


def test_a_row_that_is_not_there_fails(runs: Runs) -> None:
    done, report, _ = runs("stale")
    assert done.returncode == 1
    assert "conformance.toml has rows that are not there: test_layers.py::test_gone" in last_lines(done)
    assert report["failed"] == 0
    assert report["refused"] > 400


def test_a_row_that_was_not_run_is_not_missed(site: Path, tmp_path: Path) -> None:
    for options in (("-k", "test_name"), ("--collect-only",)):
        done = few("stale", *options, site=site, at=tmp_path)
        assert done.returncode == 0, told(done)
        assert "that are not there" not in told(done)


def test_a_malformed_file_is_wrong_use(site: Path, tmp_path: Path) -> None:
    done = few("malformed", site=site, at=tmp_path)
    assert done.returncode == 2
    path = site / "xtrain_malformed" / "conformance.toml"
    assert f"ERROR: {path}: can't be read: " in told(done)
    assert "passed" not in told(done)


# ------------------------------------------------------------------------------------ options


def rows_of(name: str, *options: object, at: Path) -> set[str]:
    done = xtrain("conformance", "--backend", name, "--collect-only", *options, at=at)
    assert done.returncode == 0, told(done)
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_quick_has_fewer_rows_and_none_of_its_own(tmp_path: Path) -> None:
    whole, quick = rows_of("numpy", at=tmp_path), rows_of("numpy", "--quick", at=tmp_path)
    assert quick < whole
    assert 300 < len(quick) < len(whole) - 100
    tests = [{row.partition("[")[0] for row in rows} for rows in (whole, quick)]
    assert len(tests[0] - tests[1]) < 5


def test_a_quick_report_says_so(runs: Runs) -> None:
    _, quick, _ = runs("no_lstm")
    _, whole, _ = runs("acme")
    assert (quick["quick"], whole["quick"]) == (True, False)
    assert quick["whole"] is whole["whole"] is True
    assert ", quick): " in last_lines(runs("no_lstm")[0])[4]
    assert not any("after_4" in row["row"] for row in quick["rows"])
    assert any("after_4" in row["row"] for row in whole["rows"])


def test_two_processes_count_as_one_does(site: Path, tmp_path: Path) -> None:
    given = ("-k", "test_layers and (lstm or relu)", "--json")
    counts, orders = [], []
    for name, more in (("one", ()), ("two", ("-n", "2"))):
        done = few("no_lstm", *given, f"{name}.json", *more, site=site, at=tmp_path)
        assert done.returncode == 0, told(done)
        assert told(done).count(f"report: {name}.json, badge: {name}.svg") == 1
        assert told(done).count(" passed, 12 refused, 0 failed, 0 known, in ") == 1
        report = json.loads((tmp_path / f"{name}.json").read_text())
        counts.append(Counter((row["row"], row["outcome"], *row["needs"]) for row in report["rows"]))
        orders.append(report)
    assert counts[0] == counts[1]
    assert max(counts[0].values()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.json", "one.svg", "two.json", "two.svg"]


@pytest.mark.parametrize(
    "options",
    [
        ("-k", "test_name or masks"),
        ("-k", "test_name", "-x"),
        (f"--ignore-glob={ROOT}/xtrain/conformance/test_[a-mo-z]*",),
    ],
    ids=["k", "x", "ignore"],
)
def test_levels_are_not_said_of_some_rows(options: tuple[str, ...], tmp_path: Path) -> None:
    done = xtrain("conformance", "--backend", "numpy", "--json", "r.json", *options, at=tmp_path)
    assert done.returncode == 0, told(done)
    assert "reached" not in told(done)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["whole"] is False
    assert reached(report) == []
    assert {level["why"] for level in report["levels"].values()} == {"not all of its rows ran"}
    assert badge(tmp_path / "r.svg")[0] == "no level yet"


def test_a_run_that_stopped_is_not_whole(site: Path, tmp_path: Path) -> None:
    given = ("-x", "--json", "r.json", f"--deselect={ZERO}x")
    done = few("mended", *given, site=site, at=tmp_path)
    assert done.returncode in (1, 2)
    assert json.loads((tmp_path / "r.json").read_text())["whole"] is False
    assert "reached" not in told(done)


@pytest.mark.parametrize("path", ["not/there/r.json", ".", "there", "r.svg"])
def test_a_report_that_can_not_be_written_is_told_before_anything_runs(path: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    done = xtrain("conformance", "--backend", "numpy", "--json", path, at=tmp_path)
    assert done.returncode == 2
    assert f"ERROR: --json {path}: " in told(done)
    assert "passed" not in told(done)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["there"]


def test_an_unknown_backend_is_told(tmp_path: Path) -> None:
    done = xtrain("conformance", "--backend", "nunpy", at=tmp_path)
    assert done.returncode == 2
    assert "ERROR: unknown backend 'nunpy'\n  did you mean 'numpy'?" in told(done)
    done = call(sys.executable, "-m", "xtrain.conformance", at=tmp_path)
    assert done.returncode == 2
    assert "ERROR: give --backend NAME: " in told(done)


def test_the_keys_of_the_report(runs: Runs) -> None:
    for name in ("acme", "no_lstm", "known"):
        done, report, _ = runs(name)
        assert set(report) == {
            *("backend", "framework", "device", "xtrain", "contract", "platform", "date", "quick", "whole"),
            *("seconds", "passed", "refused", "failed", "known", "levels", "rows"),
        }
        assert (report["backend"], report["device"]) == (name, "cpu")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", report["date"])
        assert report["seconds"] > 0
        for row in report["rows"]:
            assert set(row) == {"row", "needs", "outcome", "seconds", "reason"}
            assert bool(row["reason"]) is (row["outcome"] != "passed")
            assert re.fullmatch(r"test_\w+\.py::test_\w+(\[.*\])?", row["row"])
        assert len({row["row"] for row in report["rows"]}) == len(report["rows"])
        counted = Counter(row["outcome"] for row in report["rows"])
        assert all(
            report[outcome] == counted[outcome] for outcome in ("passed", "refused", "failed", "known")
        )
        assert last_lines(done)[5] == f"report: {name}.json, badge: {name}.svg"
        assert re.search(r", in \d+ s$", last_lines(done)[4])


def test_a_process_that_dies_is_a_failed_row(site: Path, tmp_path: Path) -> None:
    """As a framework that crashes would end one of -n."""
    kit_backends.install(tmp_path / "more", "dies", "dies")
    given = (
        "-k",
        "test_output and (linear_after or log_softmax) and training",
        "-n",
        "1",
        "--json",
        "r.json",
    )
    done = few("dies", *given, site=tmp_path / "more", at=tmp_path)
    assert done.returncode == 1, told(done)
    report = json.loads((tmp_path / "r.json").read_text())
    failed = {row["row"] for row in report["rows"] if row["outcome"] == "failed"}
    assert failed == {"test_layers.py::test_output[training-log_softmax]"}
    assert (report["passed"], report["failed"]) == (1, 1)
    assert "crashed" in told(done)


# ---------------------------------------------------------------------------- layers of other packages

LAYER = """
from typing import Literal
from xtrain.extend import Layer, frozen

@frozen
class {kind}(Layer):
    op: Literal["{op}"] = "{op}"

    def output_shape(self, shape):
        return shape

    @classmethod
    def examples(cls):
        {examples}
"""


def test_a_broken_package_of_a_layer_breaks_no_row_and_is_named(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    sources = {
        "raises": LAYER.format(kind="Raises", op="raises", examples="raise RuntimeError('no example')"),
        "exits": "raise SystemExit('not today')\n",
        "ends": LAYER.format(kind="Ends", op="ends", examples="raise SystemExit(3)"),
        "empty": LAYER.format(kind="Empty", op="empty", examples="return 5"),
        "whole": LAYER.format(kind="Whole", op="whole", examples="return ((cls(),),)"),
    }
    for op, source in sources.items():
        (site / f"layer_{op}.py").write_text(source)
        kit_backends.offer(site, f"layer_{op}", f"[xtrain.layers]\n{op} = layer_{op}:{op.title()}\n")
    for more in ((), ("-n", "1", "--quick")):
        given = ("conformance", "--backend", "numpy", "-k", "log_softmax and test_layers or whole_1", *more)
        done = xtrain(*given, at=tmp_path, path=(site,))
        assert done.returncode == 0, told(done)
        lines = told(done).splitlines()
        counts = next(line for line in lines if line.startswith("numpy ("))
        assert re.search(r": 4 passed, 4 refused, 0 failed, 0 known", counts), counts
        after = lines[lines.index(counts) + 1 :]
        named = {line.split("'")[1]: line for line in after if line.startswith("no rows for layer")}
        assert set(named) == {"raises", "exits", "ends", "empty"}
        assert (
            "of layer_raises 1.0, whose examples() can't be made: RuntimeError: no example" in named["raises"]
        )
        assert "of layer_exits 1.0" in named["exits"]
        assert "not today" in named["exits"]
        assert "SystemExit: 3" in named["ends"]
        assert "TypeError" in named["empty"]
