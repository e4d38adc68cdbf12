"""Training in several processes: the numbers of one, and no process left where one dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from runs import copy, end

import xtrain
from tests.command import Command
from xtrain.errors import UsageError
from xtrain.runs.run import Run

# 46 steps; a checkpoint after every third. Of the last batch of an epoch the second process has no row.
SHORT = (
    *("digits_cnn", "--backend", "torch", "--threads", 1, "--epochs", 2, "--log-every", 1),
    *(
        "--set",
        "model.channels=[8, 16]",
        "--set",
        "optimizer.clip_norm=0.5",
        "--set",
        "loop.checkpoint_every=3",
    ),
    *("--set", 'data.augment=[{op = "random_crop", size = 8, padding = 1}]', "--set", "loop.keep_last=all"),
)


def whole(size):
    return ("--set", f"data.batch_size={size}")


def halves(size, count):
    return ("--set", f"data.batch_size={size // count}", "--set", f"loop.accumulate={count}")


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def left_alone(at):
    """Two processes that nobody disturbs."""
    done = Command(at)("run", *SHORT, *whole(64), "--processes", 2, "--out", "two")
    assert done.code == 0, done.err
    assert "digits_cnn under torch, seed 0, 2 processes" in done.out
    return at / "two"


def numbers(path):
    """What a run ends with, whatever its batches are called."""
    records, _, best, tensors = end(path)
    return records, best, tensors


def test_two_processes_are_two_accumulated_halves_to_the_bit(at, left_alone):
    done = Command(at)("run", *SHORT, *halves(64, 2), "--out", "halves")
    assert done.code == 0, done.err
    assert numbers(left_alone) == numbers(at / "halves")


def test_three_in_order_are_three_accumulated_thirds(at):
    three = Command(at)("run", *SHORT, *whole(63), "--processes", 3, "--exact", "--out", "three")
    thirds = Command(at)("run", *SHORT, *halves(63, 3), "--out", "thirds")
    assert (three.code, thirds.code) == (0, 0), three.err
    assert numbers(at / "three") == numbers(at / "thirds")


def test_the_run_says_what_it_was_made_with(left_alone):
    written = json.loads((left_alone / "run.json").read_text())
    assert written["identity"]["processes"] == 2
    session = written["sessions"][0]
    assert (session["processes"], session["hosts"], session["engine"]) == (2, 1, "torch.distributed")


def test_another_number_of_processes_goes_on(at, left_alone):
    copy(left_alone, at / "on")
    for processes, epochs in ((3, 3), (1, 4)):
        done = Command(at)(
            "run", "--resume", "on", "--processes", processes, "--epochs", epochs, "--threads", 1
        )
        assert done.code == 0, done.err
    run = Run(at / "on")
    assert [session.get("processes", 1) for session in run.sessions] == [2, 3, 1]
    assert len(run.epochs) == 4
    again = Command(at)("run", "--resume", "on", "--processes", 2)
    assert again.out.splitlines()[1] == "nothing to do: all 4 epochs are done"


def test_a_launcher_from_outside(at, left_alone):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    command += [f"--master-port={port}", "-m", "xtrain", "run", *SHORT, *whole(64), "--out", "outside"]
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=at, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("digits_cnn under torch, seed 0\n") == 1
    assert numbers(at / "outside") == numbers(left_alone)


def test_in_python(at, left_alone, monkeypatch):
    seen = []

    class Watching:
        def epoch(self, record):
            seen.append(record.epoch)

    run = xtrain.run(
        Run(left_alone).recipe,
        backend="torch",
        threads=1,
        processes=2,
        out=at / "api",
        observers=[Watching()],
    )
    assert seen == [1, 2]
    assert numbers(run.path) == numbers(left_alone)
    for key, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(UsageError, match="a launcher has started this process"):
        xtrain.run("digits_mlp", backend="torch")


def test_numpy_refuses(tmp_path):
    done = Command(tmp_path)("run", "digits_mlp", "--backend", "numpy", "--processes", 2)
    assert done.code == 2
    assert done.err.startswith("error: backend numpy trains in one process: it has no engine for several")
    assert "torch" in done.err
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------ where one ends


class Training:
    """A run of two processes that is under way; `all` are its launcher and its ranks by number."""

    def __init__(self, folder, *more):
        self.process = Command(folder).start(
            "run", *SHORT, *whole(64), "--processes", 2, "--epochs", 60, "--out", "run", *more
        )
        while not (folder / "run" / "checkpoints" / "last").exists():
            assert self.process.poll() is None, self.process.stderr.read()
            time.sleep(0.02)
        below = descendants(self.process.pid)
        ranks = {variable(each, "RANK"): each for each in below if variable(each, "RANK")}
        self.ranks, self.all = [ranks["0"], ranks["1"]], below

    def ended(self, within):
        """Wait for the command, then see that none of its processes is left."""
        out, err = self.process.communicate(timeout=within)
        until = time.monotonic() + 3
        while (left := [each for each in self.all if alive(each)]) and time.monotonic() < until:
            time.sleep(0.05)
        assert not left
        return out, err


def descendants(process):
    with open(f"/proc/{process}/task/{process}/children") as file:
        below = list(map(int, file.read().split()))
    return [each for child in below for each in (child, *descendants(child))]


def variable(process, name):
    with open(f"/proc/{process}/environ", "rb") as file:
        found = dict(each.split(b"=", 1) for each in file.read().split(b"\0") if b"=" in each)
    return found.get(name.encode(), b"").decode()


def alive(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


linux = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="reads /proc")


@linux
@pytest.mark.parametrize("rank", [0, 1])
def test_where_a_process_is_killed_all_end(rank, tmp_path):
    training = Training(tmp_path)
    os.kill(training.ranks[rank], signal.SIGKILL)
    _, err = training.ended(within=10)
    assert training.process.returncode == 1
    assert f"error: process {rank} of 2 has ended without a word, so the others were ended too" in err
    assert "go on with: xtrain run --resume run" in err


@linux
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, left_alone):
    copy(left_alone, tmp_path / "run")
    for step in (45, 46):  # as if it had been killed before its last checkpoints
        for file in (tmp_path / "run" / "checkpoints" / f"step-{step}").iterdir():
            file.unlink()
        (tmp_path / "run" / "checkpoints" / f"step-{step}").rmdir()
    for name in ("last", "best"):
        (tmp_path / "run" / "checkpoints" / name).unlink()
    (tmp_path / "run" / "checkpoints" / "last").write_text("step-42")
    done = Command(tmp_path)("run", "--resume", "run", "--processes", 2, "--threads", 1)
    assert done.code == 0, done.err
    assert numbers(tmp_path / "run") == numbers(left_alone)


@linux
def test_where_the_command_is_killed_all_end(tmp_path):
    training = Training(tmp_path)
    training.process.kill()
    training.ended(within=10)


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_all_stop_at_the_same_step_and_save(number, tmp_path):
    training = Training(tmp_path)
    training.process.send_signal(number)
    out, err = training.ended(within=20)
    assert training.process.returncode == 130, err
    assert "saved; go on with: xtrain run --resume run" in out
    assert Run(tmp_path / "run").sessions[-1]["exit"] == "interrupted"


@linux
def test_one_that_hangs_ends_at_the_deadline(tmp_path):
    training = Training(tmp_path, "--deadline", 3)
    os.kill(training.ranks[1], signal.SIGSTOP)
    _, err = training.ended(within=40)
    assert training.process.returncode == 1
    assert "another process did not do its part in a sum" in err
    assert "--deadline says how long one waits" in err


def test_what_one_process_says_is_what_the_command_says(tmp_path):
    environment = {
        "XTRAIN_DATA": "",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "http_proxy": "http://127.0.0.1:9",
    }
    environment |= {"https_proxy": "http://127.0.0.1:9"}
    arguments = ("run", "mnist_mlp", "--backend", "torch", "--processes", 2, "--data-dir", tmp_path)
    done = Command(tmp_path)(*arguments, environment=environment)
    assert done.code == 1
    assert done.err.startswith("error: data set mnist: ")
    assert "Traceback" not in done.err
