"""SIGKILL at three random moments, resumed each time: the same weights, to the bit, as the run left alone."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from xtrain import Run

BACKENDS = ("numpy", "torch", "paddle", "mindspore", "jax")
STEPS = 12 * 23  # of digits_cnn: convolutions, dropout, Adam


def arguments(backend: str) -> list[str]:
    options = ["--backend", backend, "--threads", "2", "--epochs", "12", "--log-every", "1"]
    return [sys.executable, "-m", "xtrain", "run", "digits_cnn", *options, "--set", "loop.checkpoint_every=5"]


def resume(run: Path) -> list[str]:
    return [sys.executable, "-m", "xtrain", "run", "--resume", str(run)]


def kill_after(command: list[str], run: Path, session: int, lines: int) -> None:
    """Start a training and kill it in its session of that number, once its metrics have so many lines."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not reached(run, session, lines):
        assert process.poll() is None, f"ended before it was killed: {process.stderr.read()!r}"
        assert time.monotonic() < deadline, "it makes no progress"
        time.sleep(0.005)
    process.kill()
    process.communicate()


def reached(run: Path, session: int, lines: int) -> bool:
    """A session cuts the metrics back before it is entered into run.json, so older lines do not count."""
    book, metrics = run / "run.json", run / "metrics.jsonl"
    if not book.exists() or not metrics.exists():
        return False
    return len(json.loads(book.read_text())["sessions"]) == session and (
        metrics.read_bytes().count(b"\n") >= lines
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_killed_three_times(backend: str, tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    subprocess.run([*arguments(backend), "--out", str(alone)], check=True, capture_output=True)
    moments = sorted(random.Random(os.urandom(8)).sample(range(3, STEPS - 40), 3))
    commands = [[*arguments(backend), "--out", str(killed)], resume(killed), resume(killed)]
    for number, (command, lines) in enumerate(zip(commands, moments, strict=True), start=1):
        kill_after(command, killed, number, lines)
    subprocess.run(resume(killed), check=True, capture_output=True)

    for name in ("weights", "optimizer"):
        expected, found = (
            load_file(Run(run).checkpoint() / f"{name}.safetensors") for run in (alone, killed)
        )
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=f"killed at {moments}: {key}")
    assert records(killed) == records(alone), f"killed at {moments}"
    sessions = json.loads((killed / "run.json").read_text())["sessions"]
    assert [session["exit"] for session in sessions] == ["killed", "killed", "killed", "finished"]


def records(run: Path) -> list[dict[str, object]]:
    """The metrics without the seconds."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if "seconds" not in key} for line in lines]
