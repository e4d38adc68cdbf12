"""What all tests share: the order of the folders, the published data, the command in a process of its own."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.command import Command

# Machines are shared: how long an example takes says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every process that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
FOLDERS = ("unit", "faults", "cli", "backends", "parity")
"""The core's tests come before those that load a framework into this process."""


def pytest_collection_modifyitems(items):
    """Sort by folder."""
    items.sort(key=lambda item: _place(item.path))


def pytest_terminal_summary(terminalreporter):
    """Show the counts that tests recorded, in whichever process they ran."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    for report in reports:
        for name, told in report.user_properties:
            if name == "counts" and report.when == "call":
                terminalreporter.write_line(told)


def _place(path):
    folder = path.relative_to(ROOT).parts[1] if path.is_relative_to(ROOT / "tests") else ""
    return FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)


@pytest.fixture(scope="session")
def real_data():
    """The data root that has the published MNIST and CIFAR-10; subprocesses find it in the environment."""
    given = os.environ.get("XTRAIN_DATA")
    if not given:
        pytest.skip("no published data at hand: set XTRAIN_DATA to a folder with mnist/ and cifar10/")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XTRAIN_DATA", str(given))
        yield Path(given)


@pytest.fixture(scope="session", autouse=True)
def _nobodys_configuration(tmp_path_factory):
    """Where backends live on the machine of whoever runs the tests says nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("CONFIG", "DATA"):
            patch.setenv(f"XDG_{kind}_HOME", str(tmp_path_factory.mktemp(kind.lower())))
        for name in [name for name in os.environ if name.startswith("XTRAIN_PYTHON_")]:
            patch.delenv(name)
        yield


@pytest.fixture
def xtrain(tmp_path):
    """The command, in a folder of the test's own."""
    return Command(tmp_path)
