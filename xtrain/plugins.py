"""Backends as plugins: the hook specification, discovery by entry-point metadata, loading by name.

A package offers a backend by an entry point in the group `xtrain.backends` that names a module with
an `xtrain_backend` hook. Only the metadata is read until a backend is asked for by name.
"""

import difflib
import importlib.metadata
from typing import cast

import pluggy

from xtrain.errors import BackendError
from xtrain.protocols import Backend

GROUP = "xtrain.backends"

hookspec = pluggy.HookspecMarker("xtrain")
hookimpl = pluggy.HookimplMarker("xtrain")


class Hooks:
    """What a plugin can implement."""

    @hookspec(firstresult=True)
    def xtrain_backend(self, device: str, threads: int | None) -> Backend | None:
        """Make the backend for a device (`auto`, `cpu`, `gpu[:i]`, `ascend[:i]`); import no framework."""


def names() -> list[str]:
    """Names of the backends whose packages are installed, in the order of their metadata."""
    return list(dict.fromkeys(entry.name for entry in importlib.metadata.entry_points(group=GROUP)))


def load(name: str, device: str = "auto", threads: int | None = None) -> Backend:
    """Make one backend. `BackendError` names what is wrong: unknown, or a plugin that does not load."""
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise BackendError(f"unknown backend {name!r}", remedy=f"{hint}installed plugins: {', '.join(known)}")
    manager = pluggy.PluginManager("xtrain")
    manager.add_hookspecs(Hooks)
    try:
        manager.load_setuptools_entrypoints(GROUP, name=name)
    except ImportError as error:
        raise BackendError(f"backend {name!r}: its plugin does not load: {error}") from error
    backend = manager.hook.xtrain_backend(device=device, threads=threads)
    if backend is None:
        raise BackendError(f"backend {name!r}: its plugin has no xtrain_backend hook that answers")
    return cast(Backend, backend)
