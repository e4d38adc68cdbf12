"""Which xtrain this is: where it was installed from, and a hash of its sources."""

import hashlib
import json
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, version
from importlib.metadata import distribution as installed
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from xtrain.errors import XtrainError
from xtrain.system.distribution import NAME, install_command

_PACKAGE = Path(__file__).parents[1]


def distribution() -> Distribution:
    """What the installer knows of it.

    Raises:
        XtrainError: the package lies on the path, but was not installed.

    """
    try:
        return installed(NAME)
    except PackageNotFoundError:
        raise XtrainError(
            "xtrain runs without being installed: no other environment can be compared with it",
            where=_PACKAGE,
            remedy=f"install it: {install_command()}",
        ) from None


def requirement(extra: str) -> list[str]:
    """What an installer is told in order to install this very xtrain with an extra.

    A clone or a wheel is named by its place, where it was installed from one; else name and version.
    """
    own, (origin, place) = distribution(), _origin()
    if place and origin.get("dir_info", {}).get("editable"):
        return ["--editable", f"{place}[{extra}]"]
    return [f"{own.name}[{extra}] @ {origin['url']}" if place else f"{own.name}[{extra}]=={own.version}"]


def _origin() -> tuple[dict[str, Any], Path | None]:
    """What the installer wrote down of where the distribution came from, and its place on this machine."""
    origin: dict[str, Any] = json.loads(distribution().read_text("direct_url.json") or "{}")
    parts = urlsplit(origin.get("url", ""))
    place = Path(url2pathname(parts.path))
    return origin, place if parts.scheme == "file" and place.exists() else None


def itself(name: str) -> dict[str, str | None]:
    """Version of the distribution `name` (None where it is not installed), and the hash of the sources."""
    try:
        return {"xtrain": version(name), "sources": sources()}
    except PackageNotFoundError:
        return {"xtrain": None, "sources": sources()}


@cache
def sources() -> str:
    """A hash of the package's modules: what is equal here and there understands each other's values."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        if path.is_relative_to(_PACKAGE / "native"):
            continue  # scripts, which a clone has elsewhere
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\n".encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()
