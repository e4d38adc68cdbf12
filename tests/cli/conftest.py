"""The command in this process, for what needs no process of its own, and runs to look at."""

import os
import shutil
from pathlib import Path

import pytest
from runs import SHORT

from tests.command import Command, Done
from xtrain.cli import main


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """`xtrain` in this process, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XTRAIN_BACKEND", raising=False)

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return Done(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Paths of runs of SHORT that nobody disturbed, by backend; tests may not write there."""
    folder, made = tmp_path_factory.mktemp("undisturbed"), {}

    def run(backend):
        if backend not in made:
            made[backend] = Command(folder)("run", *SHORT, "--backend", backend, "--out", backend)
            assert made[backend].code == 0, made[backend].err
        return folder / backend, made[backend]

    return run


@pytest.fixture(scope="session")
def plugins(tmp_path_factory):
    """The PYTHONPATH under which `twin` and `mirrored` are installed."""
    folder = tmp_path_factory.mktemp("plugins")
    shutil.copy(Path(__file__).with_name("more_backends.py"), folder)
    info = folder / "more_backends-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: more-backends\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = more_backends:{name}" for name in ("twin", "mirrored"))
    (info / "entry_points.txt").write_text(f"[xtrain.backends]\n{lines}\n")
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
