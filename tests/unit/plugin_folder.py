"""Backends as other people install them: a module and a dist-info folder with entry_points.txt."""

import shutil
from pathlib import Path

import xtrain_fake

FAKE = Path(xtrain_fake.__file__)


def install(folder, name, module, source=None):
    """Put a plugin into a folder for sys.path; without `source` the module is one that is there already."""
    info = Path(folder) / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[xtrain.backends]\n{name} = {module}\n")
    if source is not None:
        (Path(folder) / f"{module}.py").write_text(source)
    return Path(folder)


def install_fake(folder):
    """The fake backend, as `fake`."""
    install(folder, "fake", "xtrain_fake")
    shutil.copy(FAKE, folder)
    return Path(folder)
