"""A run directory appears whole and held, under one process at a time, with the user's own permissions."""

import errno
import json
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys

import pytest
from fake_runs import arrays, made
from recipe_values import small_job

from xtrain.errors import UsageError, XtrainError
from xtrain.runs import folder, run
from xtrain.runs.run import Run
from xtrain.system import files, locks

JOB = small_job()
IDENTITY = {"backend": "fake", "device": "cpu", "threads": 2, "precision": "float32", "processes": 1}


def created(path):
    return Run.created(path, JOB, arrays().sha256(), IDENTITY, {"backend": "fake"})


def hidden(path):
    return [entry.name for entry in path.iterdir() if entry.name.startswith(".")]


def test_nothing_is_at_the_path_until_all_of_it_is(tmp_path, monkeypatch):
    path, seen = tmp_path / "run", []

    def spied(module, name):
        call = getattr(module, name)

        def spy(*arguments):
            seen.append((name, path.exists()))
            return call(*arguments)

        monkeypatch.setattr(module, name, spy)

    for name in ("write_new", "sync_folder", "_move"):
        spied(folder, name)
    with created(path):
        assert {entry.name for entry in path.iterdir()} == {
            "checkpoints",
            "metrics.jsonl",
            "recipe.toml",
            "run.json",
        }
    assert seen[:5] == [(name, False) for name in [*["write_new"] * 3, "sync_folder", "_move"]]
    assert seen[5:] == [("sync_folder", True)]
    assert not hidden(tmp_path)


def test_run_json_says_what_the_run_is_and_what_its_data_is(tmp_path):
    with created(tmp_path / "run") as run:
        about = json.loads((run.path / "run.json").read_text())
    assert about["format"] == 1
    assert about["identity"] == IDENTITY
    facts = about["data"]
    assert (facts["name"], facts["input_shape"], facts["train"], facts["test"]) == (
        "digits",
        [1, 8, 8],
        1437,
        360,
    )
    assert facts["class_names"] == [str(digit) for digit in range(10)]
    assert (facts["mean"], facts["std"]) == (list(JOB.data.mean), list(JOB.data.std))
    assert facts["sha256"] == arrays().sha256()
    assert about["recipe"]["optimizer"]["lr"] == 0.1
    assert about["recipe"]["data"]["normalize"]["mean"] == list(JOB.normalize.mean)
    assert not {"epochs", "log_every", "checkpoint_every", "keep_last"} & about["recipe"]["loop"].keys()
    assert run.about.last_used == ("fake", None)  # of its session
    assert (run.about.facts, run.job) == (JOB.data, JOB)


def test_it_is_held_from_its_first_moment(tmp_path):
    refused = pytest.raises(UsageError, match="another process is training this run")
    with created(tmp_path / "run"), refused, Run(tmp_path / "run").locked():
        pass
    with Run(tmp_path / "run").locked():
        pass


KILLED = """
import os, sys
from fake_runs import made
from recipe_values import small_job
from xtrain.runs import folder
call = getattr(folder, sys.argv[2])
calls = []
def killed(*arguments):
    calls.append(1)
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    return call(*arguments)
setattr(folder, sys.argv[2], killed)
made(__import__("pathlib").Path(sys.argv[1]), small_job())
"""
MOMENTS = [("write_new", 1), ("write_new", 3), ("sync_folder", 1), ("_move", 1), ("sync_folder", 2)]


@pytest.mark.parametrize(("call", "number"), MOMENTS)
def test_a_kill_leaves_nothing_or_all_and_the_name_is_free(call, number, tmp_path):
    path = tmp_path / "a [new] run*"
    line = [sys.executable, "-c", KILLED, str(path), call, str(number)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(line, check=False, env=environment).returncode == -9
    if (call, number) == MOMENTS[-1]:
        assert Run(path).job == JOB
        assert Run(path).about.last_used == ("fake", None)
        return
    assert not path.exists()
    assert len(hidden(tmp_path)) == 1
    (tmp_path / ".new-another.17").mkdir()  # of another name, perhaps another's
    assert made(path, JOB).job == JOB
    assert hidden(tmp_path) == [".new-another.17"]


def test_what_a_living_process_makes_is_not_swept(tmp_path):
    beside = tmp_path / ".new-run.1"
    beside.mkdir()
    with locks.locked(beside):
        made(tmp_path / "run", JOB)
        assert beside.is_dir()
    shutil.rmtree(tmp_path / "run")
    made(tmp_path / "run", JOB)
    assert not beside.exists()


def _make(path, start, results):
    start.wait()
    try:
        with created(path):
            results.put("made")
    except UsageError as error:
        results.put(error.problem)
    except XtrainError as error:
        results.put(f"lost: {error}")


def test_of_several_processes_one_makes_it(tmp_path):
    context = multiprocessing.get_context("fork")
    for number in range(10):
        start, results = context.Event(), context.Queue()
        processes = [
            context.Process(target=_make, args=(tmp_path / str(number), start, results)) for _ in range(4)
        ]
        for process in processes:
            process.start()
        start.set()
        found = sorted(results.get(timeout=60) for _ in processes)
        for process in processes:
            process.join()
        assert found.count("made") == 1, found
        assert Run(tmp_path / str(number)).job == JOB
    assert not hidden(tmp_path)


def test_a_disk_that_refuses_leaves_nothing(tmp_path, monkeypatch):
    def full(path, content):
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder, "write_new", full)
    with pytest.raises(XtrainError, match=r"run: the run directory can't be made: No space left on device"):
        made(tmp_path / "run", JOB)
    assert not list(tmp_path.iterdir())


def test_permissions_are_those_that_the_umask_leaves(tmp_path):
    for mask in (0o022, 0o077, 0o002):
        before = os.umask(mask)
        try:
            run = made(tmp_path / f"{mask:o}", JOB)
            run.close_session("finished", 1.0, 1)  # run.json written again
            run.cut(None, 0, 0)
        finally:
            os.umask(before)
        found = {path: stat.S_IMODE(path.stat().st_mode) for path in (run.path, *run.path.iterdir())}
        assert all(mode == (0o777 if path.is_dir() else 0o666) & ~mask for path, mode in found.items()), found


def test_an_empty_directory_behind_a_link_is_not_taken(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to("elsewhere")
    with pytest.raises(XtrainError, match="the run directory can't be made"):
        made(tmp_path / "run", JOB)
    assert not list((tmp_path / "elsewhere").iterdir())
    assert not hidden(tmp_path)


HOLD = """
import sys
from xtrain.runs.run import Run
with Run(sys.argv[1]).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_no_file_can_be_removed_to_let_a_second_process_in(tmp_path):
    run = made(tmp_path / "run", JOB)
    line = [sys.executable, "-c", HOLD, str(run.path)]
    holder = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        for path in run.path.iterdir():  # whatever a lock might lie in
            if path.is_file() and path.name not in ("run.json", "recipe.toml"):
                path.unlink()
        (run.path / ".lock").touch()
        (run.path / ".lock").unlink()
        with pytest.raises(UsageError, match="another process is training this run"), run.locked():
            pass
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_it_goes_on_and_says_so(number, tmp_path, monkeypatch, caplog):
    def flock(handle, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    run = made(tmp_path / "run", JOB)
    assert not hidden(tmp_path)
    with run.locked():
        assert run.in_place
        run.path.rename(tmp_path / "moved")
        assert not run.in_place
    assert f"{run.path} lies on a file system without locks: let no second process train" in caplog.text
    assert "another process" not in caplog.text


def test_another_failure_of_a_lock_is_no_missing_one(tmp_path, monkeypatch):
    run = made(tmp_path / "run", JOB)

    def flock(handle, how):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"), run.locked():
        pass


@pytest.mark.parametrize("away", ["moved", "removed", "replaced"])
def test_a_held_directory_knows_when_it_is_no_longer_in_its_place(away, tmp_path):
    with created(tmp_path / "run") as run:
        run.check_place()
        if away == "removed":
            shutil.rmtree(run.path)
        else:
            run.path.rename(tmp_path / "moved")
        if away == "replaced":
            shutil.copytree(tmp_path / "moved", run.path)
        with pytest.raises(XtrainError, match="the run directory was moved or removed while it was trained"):
            run.check_place()
        before = (run.path / "run.json").read_bytes() if away == "replaced" else None
        run.close_session("failed", 1.0, 1)  # says nothing to a stranger
        assert run.path.exists() == (away == "replaced")
        assert before in (None, (run.path / "run.json").read_bytes() if before else None)


FILES = ("metrics.jsonl", "run.json", "recipe.toml", "curves.png")


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_place_of_a_file_is_not_written_through(name, tmp_path):
    run, outside = made(tmp_path / "run", JOB), tmp_path / "outside"
    if (run.path / name).exists():
        shutil.copy(run.path / name, outside)
        (run.path / name).unlink()
    else:
        outside.write_text("mine")
    before = outside.read_bytes()
    (run.path / name).symlink_to(outside)
    if name == "metrics.jsonl":
        with pytest.raises(OSError, match="symbolic link"):
            files.open_to_append(run.metrics_path)
        run.cut(None, 0, 0)
    elif name == "curves.png":
        files.write_atomically(run.path / name, b"picture")
    elif name == "run.json":
        run.close_session("finished", 1.0, 1)
    else:
        run.set_recipe(run.recipe)
    assert outside.read_bytes() == before
    assert (run.path / name).is_file()
    assert not (run.path / name).is_symlink()


def test_a_link_that_lies_where_something_is_written_beside_is_not_followed(tmp_path):
    outside, path = tmp_path / "outside", tmp_path / "text"
    outside.write_text("mine")
    files.temporary(path).symlink_to(outside)
    files.write_atomically(path, "new")
    assert (outside.read_text(), path.read_text()) == ("mine", "new")
    assert not path.is_symlink()


def test_checkpoints_that_are_a_link_are_refused_and_nothing_behind_it_is_touched(tmp_path):
    run, home = made(tmp_path / "run", JOB), tmp_path / "home"
    run.checkpoints.rmdir()
    home.mkdir()
    names = {".last.4", ".step-4.17", ".old-step-3.1", "thesis.txt", ".bashrc", "best"}
    for name in names:
        (home / name).write_text("mine")
    run.checkpoints.symlink_to(home)
    for call in (run.sweep, run.check_place, lambda: run.cut(None, 0, 0)):
        with pytest.raises(XtrainError, match=r"checkpoints: is a link.*\n.*cp -rL"):
            call()
    assert {entry.name for entry in home.iterdir()} == names
    assert run.path.is_dir()


def test_a_link_among_what_is_swept_is_removed_and_not_followed(tmp_path):
    run, home = made(tmp_path / "run", JOB), tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").touch()
    (run.path / ".run.json.5").symlink_to(home)
    for name in (".step-4.17", ".old-step-3.1", ".last.5"):
        (run.checkpoints / name).symlink_to(home)
    run.sweep()
    assert (home / "thesis.txt").exists()
    assert not hidden(run.path)
    assert not (run.checkpoints / "step-3").exists()


def test_what_is_said_goes_to_its_own_logger(caplog):
    run.note("something")
    assert [(record.name, record.message) for record in caplog.records] == [("xtrain.note", "something")]
