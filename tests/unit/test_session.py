"""A session over the fake backend, found as any plugin is: what it leaves in the run directory."""

import errno
import json
import os
import signal
import threading

import numpy as np
import pytest
import xtrain_fake
from fake_runs import Recorder, bound, few, made, recipe
from plugin_folder import install_fake
from safetensors.numpy import save_file
from test_checkpoint import same

from xtrain import data
from xtrain.errors import BackendError, CheckpointError, DataError, NonFiniteError, UsageError, XtrainError
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs import weights as weight_files
from xtrain.runs.run import Run
from xtrain.training import assembly, session
from xtrain.training.assembly import Options
from xtrain.training.observers import curves

CHOSEN = recipe(loop__checkpoint_every=4, loop__log_every=3, loop__keep_last="all")
JOB = bound(CHOSEN)


@pytest.fixture(autouse=True)
def _fake(tmp_path_factory, monkeypatch):
    monkeypatch.syspath_prepend(install_fake(tmp_path_factory.mktemp("plugin")))
    few(monkeypatch)
    monkeypatch.setattr(curves, "draw", lambda runs, path: None)  # tests/cli has it drawn


class At(Recorder):
    """Acts when a step has been made."""

    def __init__(self, step, act):
        super().__init__()
        self._at, self._act = step, act

    def step(self, step, samples):
        super().step(step, samples)
        if step == self._at:
            self._act()


def train(path, chosen=CHOSEN, *observers):
    return session.train(bound(chosen), Options("fake", observers=observers), path)


def resume(run, name="last", chosen=CHOSEN):
    return session.resume(run, name, Options("fake"), bound(chosen))


def weights(run, name="last"):
    return checkpoints.load(run.checkpoint(name), JOB.model).model


def figures(run):
    return [{k: v for k, v in record.items() if "seconds" not in k} for record in run.history]


@pytest.fixture
def alone(tmp_path):
    """A run left alone."""
    return train(tmp_path / "alone").run


def test_a_run_directory_holds_what_happened(tmp_path):
    recorder = Recorder()
    outcome = train(tmp_path / "run", CHOSEN, recorder)
    assert (outcome.finished, outcome.step) == (True, 18)
    run = Run(tmp_path / "run")
    assert run.recipe == JOB.recipe
    assert run.job == JOB
    assert [(r["step"], r["loss"], r["lr"]) for r in run.train] == [
        (r.step, r.loss, r.lr) for r in recorder.trained
    ]
    assert [record["test_accuracy"] for record in run.epochs] == [r.test_accuracy for r in recorder.epochs]
    assert set(run.epochs[0]) == {"kind", "epoch", "step"} | {
        f"{split}_{what}" for split in ("train", "test") for what in ("loss", "accuracy", "seconds")
    }
    assert run.checkpoint().name == "step-18"
    best = max(run.epochs, key=lambda record: record["test_accuracy"])
    assert run.checkpoint("best").name == f"step-{best['step']}"
    assert recorder.seen == ["start", "stop"]


def test_an_entry_says_how_to_do_the_same_again(alone):
    (entry,) = alone.sessions
    assert (entry["backend"], entry["device"], entry["seed"], entry["exit"]) == ("fake", "cpu", 0, "finished")
    assert (entry["from_step"], entry["to_step"], entry["threads"]) == (0, 18, None)
    assert entry["versions"]["fake"] == "1.0"
    assert entry["versions"].keys() >= {"xtrain", "python", "numpy"}
    assert entry["host"].keys() == {"name", "system", "cores"}
    assert entry["notes"] == {"remark": "not a framework"}
    assert entry["seconds"] >= sum(record["train_seconds"] for record in alone.epochs) - 0.001


@pytest.mark.parametrize("step", [1, 5, 6, 8, 18])
def test_one_ctrl_c_saves_and_a_resume_goes_on_to_the_same_end(step, tmp_path, alone):
    before = signal.getsignal(signal.SIGINT)
    outcome = train(tmp_path / "run", CHOSEN, At(step, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert signal.getsignal(signal.SIGINT) is before
    run = outcome.run
    assert (outcome.finished, outcome.step, run.checkpoint().name) == (False, step, f"step-{step}")
    assert run.sessions[-1]["exit"] == "interrupted"
    assert resume(run).finished
    assert figures(run) == figures(alone)
    assert same(weights(run), weights(alone))
    assert [entry["exit"] for entry in run.sessions] == ["interrupted", "finished"]
    assert [entry["from_step"] for entry in run.sessions] == [0, step]


def test_an_evaluation_that_was_killed_before_its_checkpoint_is_made_again(tmp_path, alone):
    run = train(tmp_path / "run", CHOSEN, At(18, lambda: os.kill(os.getpid(), signal.SIGINT))).run
    with run.metrics_path.open("a") as file:  # it was resumed, evaluated, and killed
        file.write(json.dumps(alone.epochs[-1]) + "\n")
    assert resume(run).finished
    assert figures(run) == figures(alone)


def test_a_termination_request_saves_too(tmp_path):
    assert not train(tmp_path / "run", CHOSEN, At(2, lambda: os.kill(os.getpid(), signal.SIGTERM))).finished


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", CHOSEN, At(6, twice))
    run = Run(tmp_path / "run")
    assert (run.checkpoint().name, run.sessions[-1]["exit"]) == ("step-4", "interrupted")


def test_outside_the_main_thread_there_are_no_signals(tmp_path):
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(train(tmp_path / "run")))
    thread.start()
    thread.join()
    assert outcomes[0].finished


def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint(tmp_path, alone):
    xtrain_fake.fault.loss_at = 10
    with pytest.raises(NonFiniteError, match="the loss of step 10 is nan"):
        train(tmp_path / "run")
    run = Run(tmp_path / "run")
    assert (run.checkpoint().name, run.sessions[-1]["exit"]) == (
        "step-8",
        "failed: the loss of step 10 is nan",
    )
    assert json.dumps(run.history, allow_nan=False)  # strict JSON, no NaN in it
    xtrain_fake.reset()
    resume(run)
    assert figures(run) == figures(alone)
    assert same(weights(run), weights(alone))


@pytest.mark.parametrize("name", ["step-4", "step-6", "step-12", "best"])
def test_a_resume_goes_back_to_the_checkpoint_it_is_given(name, alone):
    expected, last = figures(alone), weights(alone)
    step = checkpoints.load(alone.checkpoint(name), JOB.model).progress.step
    records = []

    class Look(Recorder):
        def start(self, start):
            records.append((figures(alone), alone.checkpoint().name, start.step))

    session.resume(alone, name, Options("fake", observers=[Look()]), JOB)
    assert records == [([record for record in expected if record["step"] <= step], f"step-{step}", step)]
    assert figures(alone) == expected
    assert same(weights(alone), last)


def test_a_resume_without_a_checkpoint_starts_from_the_start(alone, tmp_path):
    run = made(tmp_path / "run", JOB)
    run.metrics_path.write_text('{"kind": "train", "epoch": 1, "step": 3, "loss": 9.9, "lr": 1}\n{"kind"')
    assert resume(run).finished
    assert figures(run) == figures(alone)
    assert [entry["exit"] for entry in run.sessions] == ["killed", "finished"]


def test_where_last_leads_nowhere_the_newest_whole_checkpoint_is_it_and_that_is_said(alone, caplog):
    expected, last = figures(alone), weights(alone)
    (alone.checkpoint("step-18") / "weights.safetensors").write_bytes(b"cut short")
    for lead_nowhere in (
        lambda: checkpoints.mark_last(alone.checkpoints, 999),
        (alone.checkpoints / "last").unlink,
        lambda: (alone.checkpoints / "last").write_bytes(b"\xff"),
    ):
        lead_nowhere()
        caplog.clear()
        assert alone.checkpoint().name == "step-16"
        assert f"{alone.checkpoints / 'last'} names no checkpoint: step-16 is the newest whole" in caplog.text
    assert resume(alone).finished
    assert alone.sessions[-1]["from_step"] == 16
    assert figures(alone) == expected
    assert same(weights(alone), last)


def test_where_no_checkpoint_is_whole_a_run_is_not_begun_anew(alone):
    (alone.checkpoints / "last").unlink()
    for path in checkpoints.listed(alone.checkpoints):
        (path / "progress.json").write_text("{}")
    with pytest.raises(UsageError, match=r"has no checkpoint 'last'\n  it has: best, step-4, .*step-18$"):
        resume(alone)


def test_the_best_is_marked_again_where_a_kill_came_before_it(alone):
    best = alone.checkpoint("best").name
    checkpoints.mark_best(alone.checkpoints, 4)
    resume(alone)
    assert alone.checkpoint("best").name == best


def test_before_the_first_epoch_ends_nothing_is_the_best(alone):
    marked = []

    class Look(Recorder):
        def start(self, start):
            marked.append((alone.checkpoints / "best").exists())

    session.resume(alone, "step-4", Options("fake", observers=[Look()]), JOB)
    assert marked == [False]
    assert (alone.checkpoints / "best").is_file()


def test_more_epochs_are_kept_in_the_recipe(alone):
    more = recipe(loop__checkpoint_every=4, loop__log_every=3, loop__keep_last="all", loop__epochs=4)
    assert resume(alone, chosen=more).step == 24
    assert alone.recipe == bound(more).recipe
    assert [record["epoch"] for record in alone.epochs] == [1, 2, 3, 4]


def test_a_finished_run_changes_nothing(alone):
    before = {path: path.read_bytes() for path in alone.path.rglob("*") if path.is_file()}
    outcome = resume(alone)
    assert (outcome.finished, outcome.idle, outcome.step) == (True, "all 3 epochs are done", 18)
    assert {path: path.read_bytes() for path in alone.path.rglob("*") if path.is_file()} == before


def test_an_evaluation_gives_the_figures_of_the_epoch(alone):
    for name, record in (("last", alone.epochs[-1]), ("step-6", alone.epochs[0])):
        sums = session.evaluate_run(alone, name, Options("fake"))
        assert (sums.loss, sums.accuracy) == (record["test_loss"], record["test_accuracy"])


def test_an_evaluation_in_a_precision_that_is_not_there_is_refused(alone):
    with pytest.raises(BackendError, match="no precision 'bf16' here"):
        session.evaluate_run(alone, "last", Options("fake"), "bf16")
    assert session.evaluate_run(alone, "last", Options("fake"), "float32").count


def test_two_sessions_at_once_are_refused(alone):
    with alone.locked(), pytest.raises(UsageError, match="another process is training this run"):
        resume(alone)


FULL = OSError(errno.ENOSPC, "No space left on device")


def refuse(*arguments, **options):
    raise FULL


@pytest.mark.parametrize("moment", ["checkpoint", "curves", "everything"])
def test_a_full_disk_is_told_as_such(moment, tmp_path, monkeypatch, alone):
    with monkeypatch.context() as patch:
        if moment in ("checkpoint", "everything"):
            patch.setattr(checkpoints, "write_new", refuse)
        if moment in ("curves", "everything"):
            patch.setattr(curves, "draw", refuse)
        with pytest.raises(XtrainError, match="No space left on device") as caught:
            train(tmp_path / "run")
    assert (type(caught.value) is CheckpointError) == (moment != "curves")
    assert "resume" in str(caught.value)
    run = Run(tmp_path / "run")
    assert run.sessions[-1]["exit"].startswith("failed: ")
    resume(run)
    assert same(weights(run), weights(alone))


def test_data_that_has_changed_since_is_refused(alone):
    longer = bound(CHOSEN, train=24)
    with pytest.raises(
        DataError, match=r"digits: has 23 training and 9 test images, not 24 and 9\n.*bring it"
    ):
        session.resume(alone, "step-4", Options("fake"), longer)


@pytest.mark.parametrize("error", [DataError("gone"), BackendError("no such device")])
def test_what_fails_before_the_start_leaves_no_directory(error, tmp_path, monkeypatch):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(data, "load", fail)
    with pytest.raises(type(error)):
        train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_environment_is_set_unless_the_user_has_set_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XTRAIN_FAKE_THREADS", "7")
    backend = assembly.open_backend(Options("fake", threads=2), JOB.model)
    assert (os.environ["XTRAIN_FAKE_THREADS"], backend.threads) == ("2", 2)
    monkeypatch.setattr(xtrain_fake.FakeBackend, "environment", lambda *_: {"XTRAIN_FAKE_THREADS": "3"})
    assembly.open_backend(Options("fake"), JOB.model)
    assert os.environ["XTRAIN_FAKE_THREADS"] == "2"
    monkeypatch.delenv("XTRAIN_FAKE_THREADS")
    assembly.open_backend(Options("fake"), JOB.model)
    assert os.environ["XTRAIN_FAKE_THREADS"] == "3"


def test_the_environment_that_is_written_down_is_the_one_in_force(tmp_path, monkeypatch):
    monkeypatch.setattr(xtrain_fake.FakeBackend, "environment", lambda *_: {"XTRAIN_FAKE_THREADS": "3"})
    monkeypatch.setenv("XTRAIN_FAKE_THREADS", "7")  # the user's, which stays
    assert train(tmp_path / "run").run.sessions[-1]["environment"] == {"XTRAIN_FAKE_THREADS": "7"}


def test_a_precision_that_the_backend_has_not_got_is_refused_before_data_is_loaded(tmp_path, monkeypatch):
    def load(*_):
        raise AssertionError("data was loaded")

    monkeypatch.setattr(data, "load", load)
    narrow = bound(recipe(loop__precision="bf16"))
    with pytest.raises(
        BackendError, match="fake has no precision 'bf16' here: the backend does not offer it"
    ):
        session.train(narrow, Options("fake"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_runs_of_one_second_get_two_directories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = session.new_path("r", "fake")
    first.mkdir(parents=True)
    assert session.new_path("r", "fake") != first
    assert first.parts[0] == "runs"
    assert first.name.startswith("r-fake-20")


@pytest.mark.parametrize("keep", [1, 2])
def test_only_the_last_checkpoints_and_the_best_stay(keep, tmp_path):
    chosen = recipe(loop__checkpoint_every=4, loop__keep_last=keep, optimizer__lr=3.0)
    run = train(tmp_path / "run", chosen).run
    left = {path.name for path in run.checkpoints.glob("step-*")}
    best = run.checkpoint("best").name
    assert len(left - {best}) <= keep
    assert {run.checkpoint("last").name, best} <= left
    everything = {path.name for path in train(tmp_path / "all").run.checkpoints.glob("step-*")}
    assert len(everything) > len(left)


def test_a_run_begins_with_the_weights_of_another(tmp_path, alone, monkeypatch):
    weights_file = alone.checkpoint("best") / "weights.safetensors"
    best = alone.checkpoints / "best"
    for number, source in enumerate([alone.path, alone.checkpoint("best"), best, weights_file]):
        chosen = recipe(init_from=str(source), seed=9)
        assert same(assembly.initial_state(bound(chosen)), weights(alone, "best"))
        out = train(tmp_path / f"second-{number}", chosen).run
        assert out.recipe.init_from == str(source)
    step = alone.checkpoints / "step-4"
    assert same(assembly.initial_state(bound(recipe(init_from=str(step)))), weights(alone, "step-4"))
    monkeypatch.chdir(tmp_path)
    relative = recipe(init_from="alone")
    monkeypatch.chdir("/")
    assert train(tmp_path / "relative", relative).run.recipe.init_from == str(tmp_path / "alone")


def test_weights_to_begin_with_that_do_not_fit_are_told_before_anything_is_made(tmp_path, alone):
    for source, model, said in (
        (alone.path, {"name": "mlp", "hidden": [3]}, "does not hold the weights of mlp"),
        (tmp_path / "nowhere", {"name": "mlp", "hidden": []}, "is not a run directory"),
        (tmp_path / "broken.safetensors", {"name": "mlp", "hidden": []}, "can't be read as safetensors"),
    ):
        (tmp_path / "broken.safetensors").write_bytes(b"no")
        with pytest.raises(XtrainError, match=said):
            train(tmp_path / "made", recipe(init_from=str(source), model=model))
        assert not (tmp_path / "made").exists()


def test_the_counts_of_a_pytorch_state_are_passed_over(tmp_path):
    spec = JOB.model
    state = {name: np.full(tensor.shape, 0.5, np.float16) for name, tensor in spec.tensors.items()}
    save_file({**state, "bn1.num_batches_tracked": np.array(7)}, tmp_path / "weights.safetensors")
    found = weight_files.load(tmp_path / "weights.safetensors", spec)
    assert list(found) == list(spec.tensors)
    assert all(value.dtype == np.float32 and (value == 0.5).all() for value in found.values())
