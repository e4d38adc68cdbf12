"""What is installed: xtrain's own distribution, its version, its extras, and the command that adds one.

The distribution is called `crosstrain`, because another project owns the name `xtrain` in the package index.
The import and the command are `xtrain`. See docs/decisions/name.md.
"""

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from xtrain.errors import MissingError

NAME = "crosstrain"
_ROOT = Path(__file__).parents[2]
"""The clone, or the folder that the wheel was unpacked into."""


def version() -> str:
    """xtrain's version; that of pyproject.toml where a clone is imported without being installed."""
    try:
        return importlib.metadata.version(NAME)
    except importlib.metadata.PackageNotFoundError:
        return str(_project()["version"]) if clone() else "unknown"


def clone() -> Path | None:
    """The clone that this code lies in, None where it was installed from a wheel."""
    return _ROOT if _project().get("name") == NAME else None


def shipped(inside: str, in_clone: str) -> Path:
    """A folder that comes with xtrain: inside the installed package, in a clone at a place of its own."""
    installed = Path(__file__).parents[1] / inside
    return installed if installed.is_dir() else _ROOT / in_clone


def install_command(extra: str | None = None) -> str:
    """What to type, here, to install an extra, or xtrain itself; or why no command helps.

    In a clone it is `uv sync`, elsewhere the installer of this interpreter's environment. Where the extra's
    package has no wheels for this platform, that is said instead; where another Python would do, a backend
    gets an environment with that.

    Args:
        extra: `torch`, `plot`, ...; see `[project.optional-dependencies]` in pyproject.toml.

    """
    if extra and (package := lacking(extra)):
        python = python_for(extra)
        where = (
            f"but one for Python {python}: xtrain backends --install {extra}" if python else "nor for others"
        )
        return f"{package} has no wheel for {this_platform()}, {where}"
    root = clone()
    if root and _is_project_environment(root):
        inside = Path.cwd().resolve().is_relative_to(root)
        where = "" if inside else f" --project {_quoted(str(root))}"
        # uv sync alone would take away the extras that are here already.
        return f"uv sync{where}" + (f" --extra {extra} --inexact" if extra else " --inexact")
    wanted = _quoted((f"{root}" if root else NAME) + (f"[{extra}]" if extra else ""), always=bool(extra))
    return f"{_installer()} {'-e ' if root else ''}{wanted}"


def package_command(package: str) -> str:
    """What to type, here, to install a package that is none of xtrain's extras."""
    return f"{_installer()} {package}"


def command_into(python: Path, requirement: Sequence[str]) -> str:
    """What to type to install xtrain into another environment, over what it has of it."""
    words = " ".join(_quoted(word, always="[" in word) for word in requirement)
    return f"{_uv_install(python)} --reinstall-package {NAME} {words}"


def uv() -> str | None:
    """uv on the path, else where pip has put it in this environment, which may not be activated."""
    return shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))


def restore_command(file: Path) -> str:
    """What brings a file of xtrain's own back."""
    if root := clone():
        return f"git -C {_quoted(str(root))} checkout -- {_quoted(str(file.relative_to(root)))}"
    return f"install the wheel of {NAME} {version()} again, with --force-reinstall"


def need(module: str, extra: str, purpose: str) -> None:
    """Import a module that comes with an extra.

    Args:
        module: its name.
        extra: of `crosstrain`, which installs it.
        purpose: what it is for, as the beginning of the message: `a picture`.

    Raises:
        MissingError: it is not installed; the remedy installs it.

    """
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise  # it is there, and something that it needs is not
        problem = f"{purpose} needs {module}, which is not installed"
        raise MissingError(problem, remedy=install_command(extra)) from error


def lacking(extra: str, python: str | None = None) -> str | None:
    """The package of an extra that this platform has no wheels of, None where it has.

    Args:
        extra: its name.
        python: for which version, such as `3.12`; None: for this one.

    """
    from packaging.requirements import Requirement  # noqa: PLC0415 - seldom needed

    try:
        declared = map(Requirement, importlib.metadata.requires(NAME) or ())
    except importlib.metadata.PackageNotFoundError:
        return None
    asked = {"extra": extra} | ({"python_version": python} if python else {})
    own = [each for each in declared if each.marker and f'extra == "{extra}"' in str(each.marker)]
    if not own or any(each.marker and each.marker.evaluate(asked) for each in own):
        return None
    # A distribution of xtrain's own runs anywhere; what has no wheel is the package that it needs.
    return next(each.name for each in own if not each.name.startswith(NAME))


def python_for(extra: str) -> str | None:
    """The newest Python that an extra's package has wheels for on this platform, None where there is none."""
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - seldom needed

    allowed = SpecifierSet(importlib.metadata.metadata(NAME)["Requires-Python"])
    versions = [f"3.{minor}" for minor in range(40)]
    return next((each for each in reversed(versions) if each in allowed and not lacking(extra, each)), None)


def this_platform() -> str:
    """`Linux aarch64 with Python 3.13`."""
    return f"{platform.system()} {platform.machine()} with Python {platform.python_version()}"


def _project() -> dict[str, object]:
    """The table `[project]` of the file that a clone has beside the package; empty elsewhere."""
    try:
        table = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    project = table.get("project", {})
    return project if isinstance(project, dict) else {}


def _is_project_environment(root: Path) -> bool:
    """True where this interpreter is the one that `uv sync` in the clone would change."""
    folder = Path(os.environ.get("UV_PROJECT_ENVIRONMENT", ".venv"))
    return Path(sys.prefix).resolve() == (root / folder).resolve()


def _installer() -> str:
    """`pip install` of this interpreter's environment, which may have no pip, or not be on the path."""
    folder = Path(sys.executable).parent
    on_path = shutil.which("pip")
    if on_path and Path(on_path).parent.resolve() == folder.resolve():
        return "pip install"
    if _has_pip():
        return f"{_quoted(sys.executable)} -m pip install"
    if uv():
        return _uv_install(Path(sys.executable))
    python = _quoted(sys.executable)
    return f"{python} -m ensurepip && {python} -m pip install"


def _uv_install(python: Path) -> str:
    """Its command, with the path of uv where that is not on the shell's."""
    found = "uv" if shutil.which("uv") else uv() or "uv"
    return f"{_quoted(found)} pip install --python {_quoted(str(python))}"


def _has_pip() -> bool:
    """By its metadata: where setuptools is told to find the module pip, it gives up replacing distutils."""
    try:
        importlib.metadata.distribution("pip")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _quoted(text: str, *, always: bool = False) -> str:
    """For a shell; cmd.exe knows double quotes alone."""
    mark = '"' if sys.platform == "win32" else "'"
    return f"{mark}{text}{mark}" if always or any(char in text for char in " [](){}&;$") else text
