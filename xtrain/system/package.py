"""Which xtrain this is: where it was installed from, and a hash of its sources."""

import hashlib
import json
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, version
from importlib.metadata import distribution as installed
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from xtrain.errors import UsageError, XtrainError
from xtrain.system.distribution import NAME, command_into, install_command

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


def extras() -> list[str]:
    """The extras that it declares."""
    return distribution().metadata.get_all("Provides-Extra") or []


def carried() -> list[str]:
    """The extras that are installed here, but for those of backends: `plot`, `parity`, ..."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - seldom needed

    own = distribution()
    # Python's version can be a marker too, of what every environment needs.
    declared = [each for each in map(Requirement, own.requires or ()) if "extra ==" in str(each.marker)]
    packages = {
        extra: [each for each in declared if each.marker and each.marker.evaluate({"extra": extra})]
        for extra in extras()
    }
    backends = {entry.name for entry in own.entry_points}
    theirs = {own.name, *(each.name for extra in backends for each in packages.get(extra, ()))}

    def here(wanted: Requirement) -> bool:
        try:
            return wanted.name not in theirs and wanted.specifier.contains(
                version(wanted.name), prereleases=True
            )
        except PackageNotFoundError:
            return False

    return [extra for extra, wanted in packages.items() if extra not in backends and all(map(here, wanted))]


def command_there(python: Path, extra: str) -> str:
    """What to type to install this very xtrain with an extra into another environment, or what hinders it."""
    try:
        return command_into(python, requirement(extra))
    except UsageError as error:
        return str(error)


def requirement(extra: str, *more: str) -> list[str]:
    """What an installer is told in order to install this very xtrain, with those of the extras that it has.

    A clone, a wheel or a repository is named by its place, where it was installed from one; else name and
    version.

    Raises:
        UsageError: it was installed from a file or folder that is no longer there.

    """
    own = distribution()
    known = [each for each in (extra, *more) if each in extras()]
    brackets = f"[{','.join(known)}]" if known else ""
    wanted = f"{own.name}{brackets}"
    origin: dict[str, Any] = json.loads(own.read_text("direct_url.json") or "{}")
    if not origin:
        return [f"{wanted}=={own.version}"]
    parts = urlsplit(origin["url"])
    place = Path(url2pathname(parts.path))
    if parts.scheme == "file" and not place.exists():
        made = f"make an environment, install {own.name} {own.version} into it with the extra {extra}"
        raise UsageError(
            "xtrain was installed from here, and nothing is here now: no other environment can get the same",
            where=place,
            remedy=f"put it back; or {made}, and name it: xtrain backends --python {extra}=PATH",
        )
    if origin.get("dir_info", {}).get("editable"):
        return ["--editable", f"{place}{brackets}"]
    vcs = origin.get("vcs_info")
    url = f"{vcs['vcs']}+{origin['url']}@{vcs['commit_id']}" if vcs else origin["url"]
    return [f"{wanted} @ {url}"]


def itself(name: str) -> dict[str, str | None]:
    """Version of the distribution `name` and the hash of its sources; None where it is not installed."""
    try:
        return {"xtrain": version(name), "sources": sources()}
    except PackageNotFoundError:
        return {"xtrain": None, "sources": None}


@cache
def sources() -> str:
    """A hash of the modules of xtrain and of the backends that come with it.

    What is equal here and there understands each other's values, and computes the same.
    """
    digest = hashlib.sha256()
    for name in sorted({entry.module.partition(".")[0] for entry in distribution().entry_points}):
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            continue
        folder = Path(spec.origin).parent
        for path in sorted(folder.rglob("*.py")):
            if path.is_relative_to(_PACKAGE / "native"):
                continue  # scripts, which a clone has elsewhere
            digest.update(f"{name}/{path.relative_to(folder).as_posix()}\n".encode())
            digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()
