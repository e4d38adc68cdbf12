"""Backends as plugins: the hook specification, discovery by entry-point metadata, loading by name.

A package offers a backend by an entry point in the group `xtrain.backends` that names a module with
an `xtrain_backend` hook, and an `xtrain_files` hook where the framework has files of its own. Only the
metadata is read until a backend is asked for by name.
"""

import importlib.metadata
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pluggy

from xtrain import homes
from xtrain.checked import checked, complete
from xtrain.errors import BackendError, UnsupportedError, XtrainError, suggest
from xtrain.protocols import Backend, Engine, Files
from xtrain.spec import ALONE, Place, Precision, Probe
from xtrain.system.distribution import install_command

GROUP = "xtrain.backends"
_DEVICE = re.compile(r"[a-z]+(:[0-9]+)?")
_ALIASES = {"cuda": "gpu"}
"""Names of a kind of device that users know, and what it is called here."""

_log = logging.getLogger(__name__)

hookspec = pluggy.HookspecMarker("xtrain")
hookimpl = pluggy.HookimplMarker("xtrain")


class Hooks:
    """What a plugin can implement."""

    @hookspec(firstresult=True)
    def xtrain_backend(self, device: str, threads: int | None, precision: Precision) -> Backend | None:
        """Make the backend for a device; import no framework.

        A device is `auto`, or a name with an optional number: `cpu`, `gpu:1`, `mps`. `cuda` arrives as `gpu`.
        Any other name is handed over as it is, for the backend to open or to refuse.

        One that has float32 alone leaves `precision` out of its arguments: it is asked for nothing else.
        """

    @hookspec(firstresult=True)
    def xtrain_files(self) -> Files | None:
        """The framework's own files, for `xtrain convert`; import no framework. A plugin may do without."""


def names() -> list[str]:
    """Names of the backends whose packages are installed, in the order of their metadata."""
    return list(dict.fromkeys(entry.name for entry in importlib.metadata.entry_points(group=GROUP)))


def beside(name: str, file: str) -> Path | None:
    """A file in the package that a backend's entry point names; nothing of it is imported."""
    (entry, *_) = importlib.metadata.entry_points(group=GROUP, name=name)
    spec = importlib.util.find_spec(entry.module.partition(".")[0])
    folders = (spec.submodule_search_locations if spec else None) or ()
    return next((path for folder in folders if (path := Path(folder) / file).is_file()), None)


def load(
    name: str, device: str = "auto", threads: int | None = None, precision: Precision = "float32"
) -> Backend:
    """Make one backend. `BackendError` names what is wrong: unknown, or a plugin that does not load."""
    if name in names() and not _DEVICE.fullmatch(device):
        raise BackendError(
            f"backend {name}: {device!r} is not a device",
            remedy="give auto, or a name with a number where there are several: cpu, gpu:0, cuda:1, ascend:0",
        )
    kind, colon, number = device.partition(":")
    device = "cpu" if device == "cpu:0" else f"{_ALIASES.get(kind, kind)}{colon}{number}"
    backend = _ask(name, "xtrain_backend", device=device, threads=threads, precision=precision)
    if backend is None:
        raise BackendError(f"backend {name!r}: its plugin has no xtrain_backend hook that answers")
    return checked(name, backend)


def engine(backend: Backend) -> Engine | None:
    """How a backend trains in several processes; None where it trains in one alone."""
    return cast(Engine | None, getattr(backend, "engine", None))


def place(backend: Backend) -> Place:
    """Where a launcher's variables put this process among those that train together."""
    found = engine(backend)
    return (found.place(os.environ) if found else None) or ALONE


def placed(name: str) -> Place:
    """The same by a backend's name; one that is not installed here puts it nowhere."""
    return place(load(name)) if name in names() else ALONE


def require_engine(backend: Backend) -> Engine:
    """The same. `UnsupportedError` names the backends that have one."""
    found = engine(backend)
    if found is None:
        others = [each.name for each in loadable() if engine(each)]
        raise UnsupportedError(
            f"backend {backend.name} trains in one process: it has no engine for several",
            remedy=f"backends that have one: {', '.join(others) or 'none'}",
        )
    return found


def files(name: str) -> Files | None:
    """A backend's own files, None where it has none. `BackendError` as for `load`."""
    found = _ask(name, "xtrain_files")
    return None if found is None else cast(Files, complete(name, found, Files, "files"))


def formats() -> dict[str, str]:
    """Which backend reads and writes the files of a suffix; a broken plugin must not stop the others."""
    found: dict[str, str] = {}
    for name in names():
        try:
            known = files(name)
        except BackendError as error:
            _log.warning("files of backend %r are left out: %s", name, error)
        else:
            found = dict.fromkeys(known.suffixes if known else (), name) | found
    return found


def _ask(name: str, hook: str, **given: Any) -> Any:
    """What one plugin's hook answers, None where it has no such hook."""
    if name not in names():
        raise BackendError(f"unknown backend {name!r}", remedy=suggest(name, names()))
    manager = pluggy.PluginManager("xtrain")
    manager.add_hookspecs(Hooks)
    try:
        manager.load_setuptools_entrypoints(GROUP, name=name)
        return getattr(manager.hook, hook)(**given)
    except XtrainError:
        raise
    except Exception as error:  # whatever a plugin's own code may raise
        problem = f"backend {name!r}: its plugin does not load: {type(error).__name__}: {error}"
        raise BackendError(problem) from error


def loadable() -> list[Backend]:
    """Every backend whose plugin loads; one that is broken must not stop the others."""
    backends = []
    for name in names():
        try:
            backends.append(load(name))
        except BackendError as error:
            _log.warning("backend %r is left out: %s", name, error)
    return backends


def default() -> tuple[str, str]:
    """Name of the backend to use where none is asked for, and why it is that one.

    `$XTRAIN_BACKEND`, else the first whose framework is installed, else the one that needs none.
    """
    chosen = os.environ.get("XTRAIN_BACKEND")
    if chosen:
        return chosen, "$XTRAIN_BACKEND says so"
    found = sorted(filter(installed, loadable()), key=lambda backend: backend.rank)
    if found and found[0].framework:
        return found[0].name, "the first installed framework; --backend or $XTRAIN_BACKEND choose another"
    if found:
        return found[0].name, "no framework is installed"
    raise BackendError("no backend is installed", remedy=install_command("all"))


def known() -> list[str]:
    """Names of the backends that are installed, and of those that are known to live elsewhere."""
    return list(dict.fromkeys((*names(), *homes.names())))


def installed(backend: Backend) -> bool:
    """True where the backend's framework can be found, or lives elsewhere; it is not imported."""
    if not backend.framework or importlib.util.find_spec(backend.framework) is not None:
        return True
    return backend.name in homes.names()


def probe(name: str) -> Probe:
    """What a backend finds on this machine; loads its framework, so it belongs into a process of its own.

    Raises:
        BackendError: it is unknown, or its framework is not installed.

    """
    backend = load(name)
    require(backend)
    os.environ.update(backend.environment(None, None))
    return backend.probe()


def resolve_device(backend: str, asked: str, found: Sequence[str]) -> str:
    """The device that is meant by its name; `auto` is the first accelerator, else the CPU.

    Args:
        backend: as an error names it.
        asked: `auto`, `cpu`, `gpu`, `gpu:1`, ...; a name without a number means number 0.
        found: the devices that there are, such as `("cpu", "gpu:0")`.

    Raises:
        BackendError: there is no such device.

    """
    if asked == "auto":
        return next((device for device in found if device != "cpu"), "cpu")
    for name in (asked, f"{asked}:0"):
        if name in found:
            return name
    kind, colon, number = asked.partition(":")
    typed = "".join(f" ({word}{colon}{number})" for word, meant in _ALIASES.items() if meant == kind)
    raise BackendError(
        f"backend {backend} has no device {asked!r}{typed}", remedy=f"devices here: {', '.join(found)}"
    )


class Lazy:
    """A module that is imported when something of it is first used, so that importing a backend is quick."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, member: str) -> Any:
        found = getattr(importlib.import_module(self._name), member)
        setattr(self, member, found)  # looked up once: an update asks for its kernels at every parameter
        return found


def check(name: str, device: str = "auto") -> None:
    """`BackendError` with the remedy where a backend can't be used, wherever it lives; loads no framework."""
    if homes.find(name):
        homes.call(name, check, name, device)
    else:
        require(load(name, device))


def require(backend: Backend) -> None:
    """`BackendError` with the remedy where the backend's framework is not installed."""
    if not installed(backend):
        raise BackendError(
            f"backend {backend.name}: {backend.framework} is not installed", remedy=backend.install
        )


def require_precision(backend: Backend, precision: Precision) -> None:
    """`BackendError` with the reason where the backend's device does not have it; loads the framework."""
    if precision == "float32":
        return
    probe = backend.probe()
    if precision not in probe.precisions:
        why = probe.notes.get("precision", "the backend does not offer it")
        raise BackendError(
            f"backend {backend.name} has no precision {precision!r} here: {why}",
            remedy=f"precisions here: {', '.join(probe.precisions)}",
        )


def occupied(backend: Backend, environment: Mapping[str, str]) -> bool:
    """True where this process can no longer become the backend's.

    Another backend's framework is loaded, or its own is and read other settings than it needs.
    """
    loaded = {other.framework for other in loadable() if other.framework in sys.modules}
    settled = all(os.environ.get(key) == value for key, value in environment.items())
    return bool(loaded - {backend.framework}) or (backend.framework in loaded and not settled)
