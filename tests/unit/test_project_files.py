"""What stands in two places says the same: README, workflow, .ci/install, pyproject.toml."""

import importlib.machinery
import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PLATFORMS = {
    "Linux x86-64": {"sys_platform": "linux", "platform_machine": "x86_64"},
    "Linux aarch64": {"sys_platform": "linux", "platform_machine": "aarch64"},
    "macOS arm64": {"sys_platform": "darwin", "platform_machine": "arm64"},
    "macOS x86-64": {"sys_platform": "darwin", "platform_machine": "x86_64"},
    "Windows x86-64": {"sys_platform": "win32", "platform_machine": "AMD64"},
    "Windows arm64": {"sys_platform": "win32", "platform_machine": "ARM64"},
}
PYTHONS = ("3.11", "3.12", "3.13")
FRAMEWORKS = {"PyTorch": "torch", "PaddlePaddle": "paddle", "JAX": "jax", "MindSpore": "mindspore"}


@pytest.fixture(scope="module")
def installer():
    """The module that .ci/install is."""
    loader = importlib.machinery.SourceFileLoader("ci_install", str(ROOT / ".ci" / "install"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("ci_install", loader))
    sys.modules["ci_install"] = module  # dataclasses look their module up
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
        yield module
    finally:
        sys.dont_write_bytecode = before
        del sys.modules["ci_install"]


def test_the_workflow_installs_what_the_script_does(installer):
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    matrix = jobs["install"]["strategy"]["matrix"]
    assert set(matrix["environment"]) == set(installer.ALL)
    assert {each["environment"] for each in matrix["include"]} <= set(installer.ALL)
    assert "pip install uv && uv run --all-extras pytest" in [
        step.get("run") for step in jobs["tests"]["steps"]
    ]


def test_the_scripts_pythons_are_those_of_the_project(installer):
    assert {name.split("-")[1] for name in installer.ALL} == set(PYTHONS)
    assert PROJECT["requires-python"] == ">=3.11,<3.14"


def test_a_row_of_the_scripts_table(installer):
    rows = [{"environment": "none", "MB": "79", "result": "ok"}, {"environment": "x", "result": "FAILED"}]
    assert installer.table(rows).splitlines()[2:] == [
        "| none        |        |       |           |       | 79 | ok     |",
        "| x           |        |       |           |       |    | FAILED |",
    ]


def test_the_script_refuses_what_is_no_environment(installer, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [".ci/install", "keras"])
    with pytest.raises(SystemExit, match="2"):
        installer.main()
    assert "'keras' is no environment" in capsys.readouterr().err


def test_the_readme_shows_a_whole_recipe():
    shown = re.search(r"```toml\n(.*?)```", README, re.DOTALL).group(1)
    assert shown in (ROOT / "recipes/digits_mlp.toml").read_text(encoding="utf-8")


def test_the_readme_names_every_extra():
    assert set(re.findall(r"`(\w+)`", README)) >= set(PROJECT["optional-dependencies"]) - {"all"}


def test_the_readmes_platforms_are_those_of_the_markers():
    from packaging.markers import default_environment
    from packaging.requirements import Requirement

    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in README.splitlines() if line[:1] == "|"
    ]
    header = next(row for row in rows if row[1:] == list(PLATFORMS))
    for row in rows[rows.index(header) + 3 :][: len(FRAMEWORKS)]:
        needed = Requirement(PROJECT["optional-dependencies"][FRAMEWORKS[row[0]]][0])
        for platform, cell in zip(header[1:], row[1:], strict=True):
            there = default_environment() | PLATFORMS[platform]
            found = [one for one in PYTHONS if needed.marker.evaluate(there | {"python_version": one})]
            first, dash, last = cell.split(",")[0].partition("–")
            told = (
                cell.split(", ")
                if ", 3." in cell
                else [one for one in PYTHONS if first <= one <= last and dash]
            )
            assert told == found, (row[0], platform)
