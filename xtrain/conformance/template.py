"""The package that an author of a backend begins with: backends/template, under another name."""

import keyword
import re
from pathlib import Path

from xtrain import plugins
from xtrain.errors import UsageError, XtrainError
from xtrain.system.distribution import shipped

_WORDS = "newbackend", "NewBackend"
_NAME = re.compile(r"(?=.{1,40}$)[a-z][a-z0-9]*(_[a-z0-9]+)*")  # of a distribution and a module too


def write(name: str, folder: Path) -> None:
    """Write the package of a backend, which refuses everything, into a folder that is empty or not there.

    Args:
        name: of the backend; the package is called xtrain_NAME.
        folder: where its pyproject.toml will lie.

    Raises:
        UsageError: no name of a backend, one that is taken, or a folder that has something in it.

    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} is no name of a backend",
            remedy="give small letters, digits and _ between them, at most 40, such as my_framework",
        )
    if name in plugins.names():
        raise UsageError(f"there is a backend {name!r} already", remedy="choose another name")
    try:
        folder = folder.resolve()  # of a/.. is seen what it is
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError("exists", where=folder, remedy="choose another --out")
        template = shipped("template", "backends/template")
        for path in sorted(template.rglob("*")):
            relative = path.relative_to(template)
            caches = any(part.startswith((".", "__pycache__")) for part in relative.parts)  # of tools
            if path.is_file() and not caches:
                target = folder / _renamed(str(relative), name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(_renamed(path.read_text(encoding="utf-8"), name), encoding="utf-8")
    except OSError as error:
        raise XtrainError(f"can't be written: {error.strerror}", where=error.filename or folder) from error


def _renamed(text: str, name: str) -> str:
    small, camel = _WORDS
    return text.replace(small, name).replace(camel, "".join(part.title() for part in name.split("_")))
