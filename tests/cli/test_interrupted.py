"""A run that is interrupted or killed, at any moment and again and again, ends as the one left alone."""

import random
import signal
import time

import pytest
from runs import SHORT, copy, end

from xtrain.runs.run import Run

KILL, CTRL_C = signal.SIGKILL, signal.SIGINT
ENDINGS = [("numpy", (KILL, CTRL_C, KILL)), ("torch", (CTRL_C, KILL))]
"""tests/backends kills a run under every backend three times; here Ctrl-C comes between."""


def send(number, process, path, records, delay=0.0):
    """Send a signal once a run has so many records (and some time); True where it was still at work."""
    metrics = path / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= records:
            break
        time.sleep(0.002)
    time.sleep(delay)
    running = process.poll() is None
    process.send_signal(number)
    return running


@pytest.mark.parametrize(("backend", "endings"), ENDINGS, ids=["numpy", "torch"])
def test_ended_at_random_moments_it_comes_to_the_same(backend, endings, xtrain, undisturbed):
    whole, _ = undisturbed(backend)
    seed = time.time_ns()
    chance, path, hit = random.Random(seed), xtrain.folder / "run", []
    process = xtrain.start("run", *SHORT, "--backend", backend, "--out", path)
    moments = sorted(chance.sample(range(1, 44), len(endings)))
    for number, records in zip(endings, moments, strict=True):
        hit += [number] if send(number, process, path, records, chance.random() / 20) else []
        process.communicate()
        process = xtrain.start("run", "--resume", path)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, (seed, err)
    assert end(path) == end(whole), seed
    exits = [session["exit"] for session in Run(path).sessions]
    assert KILL in hit, seed
    assert exits[-1] == "finished"
    assert not list(path.glob("checkpoints/.*"))


def test_ctrl_c_saves_and_a_resume_goes_on_to_the_same_end(xtrain, undisturbed):
    whole, _ = undisturbed("numpy")
    path = xtrain.folder / "run"
    process = xtrain.start("run", *SHORT, "--backend", "numpy", "--out", path)
    assert send(CTRL_C, process, path, records=5)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    step = Run(path).sessions[-1]["to_step"]
    assert 5 <= step < 46
    assert out.splitlines()[-1] == f"stopped after step {step}, saved; go on with: xtrain run --resume {path}"
    assert Run(path).checkpoint().name == f"step-{step}"
    assert xtrain("run", "--resume", path).code == 0
    assert end(path) == end(whole)


def test_ctrl_c_while_data_is_read_or_soon_after_leaves_no_traceback(xtrain):
    process = xtrain.start("run", "digits_mlp", "--backend", "numpy", "--out", "run", "--epochs", 2000)
    assert process.stdout.readline() == "digits_mlp under numpy, seed 0\n"
    process.send_signal(CTRL_C)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() in ("", "interrupted")


def test_from_the_folder_of_a_checkpoint_it_ends_the_same(xtrain, undisturbed):
    whole, _ = undisturbed("numpy")
    path = xtrain.folder / "run"
    copy(whole, path)
    done = xtrain("run", "--resume", path / "checkpoints/step-24")
    assert done.code == 0
    assert Run(path).sessions[-1]["from_step"] == 24
    assert end(path) == end(whole)


def test_a_finished_run_resumed_is_done_and_more_epochs_go_on(xtrain, undisturbed):
    whole, first = undisturbed("numpy")
    path = xtrain.folder / "run"
    copy(whole, path)
    done = xtrain("run", "--resume", path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-2] == first.out.splitlines()[-2]  # the best epoch
    assert end(path) == end(whole)
    assert xtrain("run", "--resume", path, "--epochs", 3).code == 0
    longer = Run(path)
    assert [record["epoch"] for record in longer.epochs] == [1, 2, 3]
    assert longer.recipe.loop.epochs == 3
    assert longer.history[: len(Run(whole).history)] == Run(whole).history
