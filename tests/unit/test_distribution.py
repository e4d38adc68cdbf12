"""What a remedy tells to type, by where its reader stands; versions; what a platform has no wheels of."""

import importlib.metadata
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from xtrain.errors import UsageError
from xtrain.system import distribution
from xtrain.system.distribution import install_command, lacking, need

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINUX = {"sys_platform": "linux", "platform_system": "Linux"}
MAC = {"sys_platform": "darwin", "platform_system": "Darwin"}
WINDOWS = {"sys_platform": "win32", "platform_system": "Windows"}


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    """Neither a clone nor its environment: an interpreter in a folder without pip, which is returned."""
    monkeypatch.setattr(distribution, "_ROOT", tmp_path / "site-packages")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    monkeypatch.setattr(distribution, "_has_pip", lambda: False)
    monkeypatch.setattr(distribution, "lacking", lambda extra: None)
    monkeypatch.delenv("UV_PROJECT_ENVIRONMENT", raising=False)
    (tmp_path / "bin").mkdir()
    return tmp_path


@pytest.fixture
def platform_of(monkeypatch):
    """Be on another platform."""
    from packaging import markers

    def become(machine, python):
        there = markers.default_environment() | machine | {"python_version": python}
        monkeypatch.setattr(markers, "default_environment", lambda: there)
        monkeypatch.setattr(distribution, "this_platform", lambda: "another platform")

    return become


def test_its_name_and_version_are_those_of_the_project():
    assert PROJECT["name"] == distribution.NAME
    assert distribution.version() == PROJECT["version"] == importlib.metadata.version(distribution.NAME)


def test_a_clone_that_is_not_installed_knows_its_version(monkeypatch):
    monkeypatch.setattr(distribution, "NAME", "a-name-that-is-not-installed")
    monkeypatch.setattr(distribution, "clone", lambda: ROOT)
    assert distribution.version() == PROJECT["version"]


def test_in_a_clone_uv_installs_it_and_keeps_the_rest(somewhere, monkeypatch):
    monkeypatch.setattr(distribution, "_ROOT", ROOT)
    monkeypatch.setattr(sys, "prefix", str(ROOT / ".venv"))
    monkeypatch.chdir(ROOT / "xtrain")
    assert install_command("torch") == "uv sync --extra torch --inexact"
    monkeypatch.chdir(somewhere)
    assert install_command("torch") == f"uv sync --project {ROOT} --extra torch --inexact"


def test_in_an_environment_of_its_own_a_clone_is_installed_by_path(somewhere, monkeypatch):
    monkeypatch.setattr(distribution, "_ROOT", ROOT)
    monkeypatch.setattr(shutil, "which", lambda name: str(somewhere / "bin" / "pip"))
    assert install_command("torch") == f"pip install -e '{ROOT}[torch]'"


def test_from_a_wheel_it_is_pip_where_the_environment_has_one(somewhere, monkeypatch):
    python = sys.executable
    monkeypatch.setattr(distribution, "_has_pip", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda name: "/elsewhere/bin/pip")  # another environment's
    assert install_command("plot") == f"{python} -m pip install 'crosstrain[plot]'"
    monkeypatch.setattr(shutil, "which", lambda name: str(somewhere / "bin" / "pip"))
    assert install_command("plot") == "pip install 'crosstrain[plot]'"
    assert install_command() == "pip install crosstrain"
    monkeypatch.setattr(sys, "platform", "win32")
    assert install_command("plot") == 'pip install "crosstrain[plot]"'


def test_without_pip_it_is_uv_wherever_that_is_or_python_brings_pip(somewhere, monkeypatch):
    python = sys.executable
    assert install_command("plot") == f"{python} -m ensurepip && {python} -m pip install 'crosstrain[plot]'"
    assert distribution.package_command("uv") == f"{python} -m ensurepip && {python} -m pip install uv"
    beside = Path(python).with_name("uv")
    monkeypatch.setattr(
        shutil, "which", lambda name, path=None: str(beside) if path and name == "uv" else None
    )
    assert distribution.uv() == str(beside)  # of an environment that is not activated
    assert install_command("plot") == f"{beside} pip install --python {python} 'crosstrain[plot]'"
    monkeypatch.setattr(shutil, "which", lambda name, path=None: "/bin/uv" if name == "uv" else None)
    assert install_command("plot") == f"uv pip install --python {python} 'crosstrain[plot]'"


def test_a_damaged_file_comes_back_from_where_it_came(somewhere, monkeypatch):
    told = distribution.restore_command(somewhere / "x.npz")
    assert told == f"install the wheel of crosstrain {distribution.version()} again, with --force-reinstall"
    monkeypatch.setattr(distribution, "_ROOT", ROOT)
    file = ROOT / "xtrain" / "data" / "digits.npz"
    assert distribution.restore_command(file) == f"git -C {ROOT} checkout -- xtrain/data/digits.npz"


def test_every_extra_that_a_remedy_names_is_declared():
    files = [*(ROOT / "xtrain").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]
    sources = [file.read_text(encoding="utf-8") for file in files]
    named = {extra for source in sources for extra in re.findall(r'install_command\("(\w+)"\)', source)}
    named |= {extra for source in sources for extra in re.findall(r'need\("\w+", "(\w+)"', source)}
    assert named <= set(PROJECT["optional-dependencies"])


def test_no_other_file_writes_a_command_of_its_own():
    files = [*(ROOT / "xtrain").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]
    written = [file.name for file in files if "pip install" in file.read_text(encoding="utf-8")]
    assert written == ["distribution.py"]


@pytest.mark.parametrize(
    ("machine", "python", "without"),
    [
        (LINUX | {"platform_machine": "x86_64"}, "3.11", set()),
        (LINUX | {"platform_machine": "x86_64"}, "3.13", {"mindspore"}),
        (LINUX | {"platform_machine": "aarch64"}, "3.12", {"paddlepaddle"}),
        (MAC | {"platform_machine": "arm64"}, "3.12", set()),
        (MAC | {"platform_machine": "x86_64"}, "3.12", {"torch", "paddlepaddle", "jax"}),
        (WINDOWS | {"platform_machine": "AMD64"}, "3.11", set()),
        (WINDOWS | {"platform_machine": "ARM64"}, "3.11", {"torch", "paddlepaddle", "mindspore", "jax"}),
    ],
    ids=lambda given: given.get("platform_machine") if isinstance(given, dict) else None,
)
def test_what_a_platform_has_no_wheels_of_is_said(machine, python, without, platform_of):
    platform_of(machine, python)
    found = {lacking(extra) for extra in PROJECT["optional-dependencies"] if extra != "all"}
    assert found - {None} == without


def test_where_there_are_no_wheels_no_command_is_given(platform_of):
    platform_of(LINUX | {"platform_machine": "aarch64"}, "3.12")
    said = "paddlepaddle has no wheel for another platform, nor for others"
    assert install_command("paddle") == said
    assert distribution.python_for("paddle") is None


def test_where_another_python_would_do_it_gets_an_environment(platform_of):
    platform_of(LINUX | {"platform_machine": "x86_64"}, "3.13")
    assert distribution.python_for("mindspore") == "3.12"
    assert distribution.python_for("torch") == "3.13"
    assert install_command("mindspore") == (
        "mindspore has no wheel for another platform, but one for Python 3.12: "
        "xtrain backends --install mindspore"
    )


def test_what_is_missing_is_named_with_its_purpose_and_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError) as caught:
        need("matplotlib", "plot", "a picture")
    assert caught.value.problem == "a picture needs matplotlib, which is not installed"
    assert caught.value.remedy == install_command("plot")
    need("json", "plot", "a picture")


def test_a_module_that_is_broken_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "a_broken_module.py").write_text("import a_module_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        need("a_broken_module", "plot", "a picture")
