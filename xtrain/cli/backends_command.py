"""`xtrain backends`: what is there, each backend asked in a process of its own."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import click

from xtrain import plugins
from xtrain.cli.tables import show
from xtrain.errors import BackendError


@click.command("backends")
def command() -> int:
    """List the backends: version, devices, precisions, and how to install what is missing."""
    with ThreadPoolExecutor() as pool:  # the threads only wait for processes
        rows = list(pool.map(_row, plugins.names()))
    show("backends", ("backend", "version", "devices", "precisions", "steps", "remarks"), rows)
    return 0


def _row(name: str) -> tuple[str, ...]:
    try:
        backend = plugins.load(name)
    except BackendError as error:
        return name, "broken", "", "", "", error.problem
    if not plugins.installed(backend):
        return name, "not installed", "", "", "", backend.install
    probed = subprocess.run(
        [sys.executable, "-m", "xtrain.system.probe", name], capture_output=True, text=True, check=False
    )
    try:
        found = json.loads(probed.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (probed.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        return name, "broken", "", "", "", last
    if found["problem"]:
        return name, "broken", "", "", "", found["problem"]
    remarks = "; ".join(f"{key}: {value}" for key, value in found["notes"].items())
    lists = (", ".join(found[key]) for key in ("devices", "precisions", "modes"))
    return name, found["version"], *lists, remarks
