"""A suite that a wrong backend passes is worthless: each mutant must be caught, by the test meant for it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import more_mutants
import mutants
import pytest

FOLDER = Path(__file__).parent
MUTANTS = mutants.MUTANTS | more_mutants.MUTANTS


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder whose metadata offers every mutant as a backend."""
    folder = tmp_path_factory.mktemp("mutants")
    info = folder / "xtrain_mutants-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: xtrain-mutants\nVersion: 1.0\n")
    offered = {"mutants": mutants.MUTANTS, "more_mutants": more_mutants.MUTANTS | more_mutants.RIGHT}
    lines = "\n".join(f"{name} = {module}:{name}" for module, names in offered.items() for name in names)
    (info / "entry_points.txt").write_text(f"[xtrain.backends]\n{lines}\n")
    return os.pathsep.join([str(folder), str(FOLDER), os.environ.get("PYTHONPATH", "")])


def suite(name: str, test: str, path: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The rows of a test, run for one of the backends here."""
    return subprocess.run(
        [sys.executable, "-m", "xtrain.conformance", "--backend", name, "-k", test, "--tb=line"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name: str, path: str, tmp_path: Path) -> None:
    test, _ = MUTANTS[name]
    done = suite(name, test, path, tmp_path)
    assert done.returncode == 1, f"{test} did not catch it:\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
    assert f"::test_{test.removeprefix('test_')}" in done.stdout or test in done.stdout
    assert not crashes(done.stdout), f"{test} broke instead of finding it:\n{done.stdout[-3000:]}"


@pytest.mark.parametrize("name", more_mutants.RIGHT)
def test_a_right_backend_beside_a_mutant_passes(name: str, path: str, tmp_path: Path) -> None:
    test, _ = more_mutants.RIGHT[name]
    done = suite(name, test, path, tmp_path)
    assert done.returncode == 0, f"{test} is wrong about it:\n{done.stdout[-3000:]}{done.stderr[-2000:]}"


def crashes(output: str) -> list[str]:
    """What `--tb=line` names besides assertions: a mutant that can't run proves nothing."""
    raised = re.findall(r"^\S+\.py:\d+: (.*)$", output, re.MULTILINE)
    assert raised, f"no line of a failure in:\n{output[-3000:]}"
    return [line for line in raised if not re.match(r"AssertionError|assert |Failed: DID NOT RAISE", line)]


def test_a_crash_is_no_catch() -> None:
    assert crashes("/x/test_a.py:3: KeyError: 'b'\n/x/test_a.py:4: assert 1 == 2\n") == ["KeyError: 'b'"]
    assert not crashes(
        "/x/test_a.py:4: AssertionError: b\n/x/test_a.py:9: Failed: DID NOT RAISE <class 'E'>\n"
    )
