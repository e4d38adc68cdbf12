"""The run directory: made, locked, read back, and mended after a kill."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_runs import made
from hypothesis import given
from hypothesis import strategies as st
from recipe_values import small_job

from xtrain.errors import RecipeError, UsageError, XtrainError
from xtrain.runs.run import Run, locate

JOB = small_job()


@pytest.fixture
def run(tmp_path):
    return made(tmp_path / "run", JOB)


def test_a_new_run_reads_back(run):
    assert Run(run.path).recipe == JOB.recipe
    assert (run.history, run.train, run.epochs) == ([], [], [])
    assert [session["exit"] for session in run.sessions] == ["running"]
    assert sorted(entry.name for entry in run.path.iterdir()) == [
        "checkpoints",
        "metrics.jsonl",
        "recipe.toml",
        "run.json",
    ]
    assert str(run.path) in repr(run)


def test_parents_are_made_and_an_empty_directory_is_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    assert made(tmp_path / "empty", JOB).recipe.name == "small"
    assert made(tmp_path / "a/b/c", JOB).recipe.name == "small"


def test_what_holds_something_is_refused(run, tmp_path):
    with pytest.raises(UsageError, match=r"run: exists and is not an empty.*\n.*xtrain run --resume .*run$"):
        made(run.path, JOB)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").touch()
    with pytest.raises(UsageError, match=r"exists and is not an empty directory\n  choose another --out$"):
        made(other, JOB)
    with pytest.raises(UsageError, match="exists and is not an empty directory"):
        made(other / "thesis.txt", JOB)


def test_the_working_directory_is_not_taken_from_under_the_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^\.: is the working directory\n  choose another --out$"):
        made(Path(), JOB)
    assert not list(tmp_path.iterdir())


def test_it_is_called_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = made(Path("runs/one"), JOB)
    assert str(run.path) == "runs/one"
    with pytest.raises(UsageError, match=r"^runs/one: exists .*\n.*xtrain run --resume runs/one$"):
        made(Path("runs/one"), JOB)


def test_a_directory_that_can_not_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file/run", tmp_path / ("x" * 300)):
        with pytest.raises(
            XtrainError, match=r"the run directory can't be made: File (exists|name too long)"
        ):
            made(path, JOB)


@pytest.mark.parametrize("name", ["", "recipe.toml", "run.json"])
def test_what_is_no_run_is_refused(name, tmp_path):
    if name:
        (tmp_path / name).touch()
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / name, "x" * 5000):
        with pytest.raises(UsageError, match="is not a run directory"):
            Run(path)


def test_sessions_say_how_they_ended(run):
    assert run.sessions[0]["exit"] == "running"
    run.close_session("finished", 1.23456, 9)
    (ended,) = run.sessions
    assert (ended["exit"], ended["seconds"], ended["to_step"]) == ("finished", 1.235, 9)
    assert ended["started"] <= ended["ended"]
    run.open_session({"backend": "fake"}, {})
    assert [session["exit"] for session in run.sessions] == ["finished", "running"]


def test_a_session_that_never_ended_was_killed(run):
    run.open_session({"backend": "other"}, {})
    assert [(session["backend"], session["exit"]) for session in run.sessions] == [
        ("fake", "killed"),
        ("other", "running"),
    ]
    assert json.loads((run.path / "run.json").read_text())["name"] == "small"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\x00"])
def test_a_damaged_run_json_is_named(text, run):
    (run.path / "run.json").write_text(text)
    with pytest.raises(UsageError, match=r"run\.json: is damaged: "):
        run.sessions  # noqa: B018 - asking is what is tested


def test_a_damaged_recipe_is_named(run):
    (run.path / "recipe.toml").write_text("name = ")
    with pytest.raises(RecipeError, match=r"recipe\.toml: is not TOML"):
        run.recipe  # noqa: B018 - likewise


RECORDS = [
    {"kind": "train", "epoch": 1, "step": 5, "loss": 1.5, "lr": 0.1},
    {"kind": "epoch", "epoch": 1, "step": 8, "train_loss": 1.25, "test_loss": 1.5, "test_accuracy": 0.5},
    {"kind": "train", "epoch": 2, "step": 10, "loss": 0.1 + 0.2, "lr": 0.1},
]


def write(run, text):
    run.metrics_path.write_text(text, encoding="utf-8")


def test_records_come_by_kind(run):
    write(run, "".join(json.dumps(record) + "\n" for record in RECORDS))
    assert run.history == RECORDS
    assert [record["step"] for record in run.train] == [5, 10]
    assert [record["step"] for record in run.epochs] == [8]


@given(length=st.integers(0, sum(len(json.dumps(record)) + 1 for record in RECORDS)))
def test_a_line_that_was_cut_short_is_left_out(length, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "cut"
    run = Run(path) if path.exists() else made(path, JOB)
    lines = [json.dumps(record) + "\n" for record in RECORDS]
    write(run, "".join(lines)[:length])
    ends = [sum(map(len, lines[: count + 1])) - 1 for count in range(len(lines))]
    assert run.history == RECORDS[: sum(end <= length for end in ends)]
    run.cut(None, 99, 99)  # whole lines again, so that the next record starts on one of its own
    with run.metrics_path.open("a") as file:
        file.write(lines[0])
    assert run.history[-1] == RECORDS[0]


def test_records_that_come_again_are_cut(run):
    write(run, "".join(json.dumps(record) + "\n" for record in RECORDS) + '{"kind": "tr')
    run.cut(None, 8, 1)
    assert run.metrics_path.read_text() == "".join(json.dumps(record) + "\n" for record in RECORDS[:2])


def test_a_checkpoint_that_is_not_there_gets_the_list(run):
    with pytest.raises(UsageError, match=r"has no checkpoint 'last'\n  it has: none"):
        run.checkpoint()
    for name in ("step-3", "step-12", ".step-15.99"):
        (run.checkpoints / name).mkdir()
    with pytest.raises(UsageError, match=r"has no checkpoint 'best'\n  it has: step-3, step-12$"):
        run.checkpoint("best")
    assert run.checkpoint("step-3").name == "step-3"


def test_a_run_is_found_from_a_checkpoint_folder(run, monkeypatch):
    (run.checkpoints / "step-3").mkdir()
    assert (locate(run.path)[0].path, locate(run.path)[1]) == (run.path, "last")
    found, name = locate(run.checkpoints / "step-3")
    assert (found.path, name) == (run.path, "step-3")
    monkeypatch.chdir(run.checkpoints)
    assert locate("step-3")[1] == "step-3"
    monkeypatch.chdir(run.checkpoints / "step-3")
    assert locate(".")[0].path == run.path
    monkeypatch.chdir(run.path)
    assert locate("checkpoints/step-3")[1] == "step-3"
    gone, name = locate("checkpoints/step-4")
    with pytest.raises(UsageError, match=r"has no checkpoint 'step-4'"):
        gone.checkpoint(name)


LOCK = """
import sys
from xtrain.runs.run import Run
with Run(sys.argv[1]).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time(run):
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=r"another process is training this run\n"), run.locked():
            pass
    finally:
        holder.kill()  # the system lets go of the lock
        holder.communicate()
    with run.locked():
        pass
    with run.locked():  # and so does the end of a session
        pass


def test_a_sweep_leaves_what_is_not_its_own(run):
    before = {entry.name for entry in run.path.iterdir()}
    kept = {".recipe.toml.swp", ".lock", ".notes", "thesis.txt", ".gitignore", ".run.json.bak", ".x.toml.12"}
    for name in kept | {".run.json.123", ".metrics.jsonl.7", ".curves.png.1", ".recipe.toml.99"}:
        (run.path / name).touch()
    folders = {"step-50 (copy)", "step-3", ".step-3.bak", ".new-step-3.5", "step-", "old-step-4.7"}
    for name in folders | {".step-4.17", ".old-step-3.17"}:
        (run.checkpoints / name).mkdir()
        (run.checkpoints / name / "weights.safetensors").touch()
    texts = {".gitignore", "last", "notes", ".last.txt"}
    for name in texts | {".last.4", ".best.12"}:
        (run.checkpoints / name).touch()
    run.sweep()
    assert {entry.name for entry in run.path.iterdir()} == before | kept
    assert {entry.name for entry in run.checkpoints.iterdir()} == folders | texts
    assert all((run.checkpoints / name / "weights.safetensors").exists() for name in folders)
