"""A run goes on as it began: recipe, data and records are bound, nothing is written outside its place."""

import hashlib
import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
from fake_runs import Recorder, arrays, bound, few, made, recipe
from plugin_folder import install_fake
from test_checkpoint import same

from xtrain import data
from xtrain.errors import CheckpointError, DataError, UsageError, XtrainError
from xtrain.recipe import parse
from xtrain.runs import binding, picture
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs.run import Run
from xtrain.training import session
from xtrain.training.assembly import Options
from xtrain.training.observers import curves

NORMALIZE = {"mean": [0.3053], "std": [0.3762]}
CHOSEN = recipe(
    loop__checkpoint_every=4, loop__log_every=3, loop__keep_last="all", data__normalize=NORMALIZE, seed=7
)


@pytest.fixture(autouse=True)
def _fake(tmp_path_factory, monkeypatch):
    monkeypatch.syspath_prepend(install_fake(tmp_path_factory.mktemp("plugin")))
    few(monkeypatch)
    monkeypatch.setattr(curves, "draw", lambda runs, path: None)


class StopError(Exception):
    """A kill, as far as the disk is concerned."""


class At(Recorder):
    """Acts when a step has been made."""

    def __init__(self, step, act):
        super().__init__()
        self._at, self._act = step, act

    def step(self, step, samples):
        if step == self._at:
            self._act()


def stop():
    raise StopError


def train(path, chosen=CHOSEN, *observers):
    return session.train(bound(chosen), Options("fake", observers=observers), path).run


def resume(run, name="last", *observers, **changes):
    job = run.job_with({key.replace("__", "."): value for key, value in changes.items()})
    return session.resume(run, name, Options("fake", observers=observers), job)


def stopped(path, step=10, chosen=CHOSEN):
    """A run that ended at a step, its last checkpoint some steps before."""
    with pytest.raises(StopError):
        train(path, chosen, At(step, stop))
    return Run(path)


def content(path):
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def figures(run):
    return [{k: v for k, v in record.items() if "seconds" not in k} for record in run.history]


def weights(run, name="last"):
    return run.load(name, run.job.model)[1].model


def edit(run, old, new):
    path = run.path / "recipe.toml"
    text = path.read_text()
    assert text.count(old) == 1, text
    path.write_text(text.replace(old, new))


EDITS = {
    "lr": ("lr = 0.1\n", "lr = 0.05\n", "optimizer.lr was 0.1, is 0.05"),
    "seed": ("seed = 7\n", "seed = 8\n", "seed was 7, is 8"),
    "an added key": (
        "momentum = 0.9\n",
        "momentum = 0.9\nclip_norm = 1.0\n",
        "optimizer.clip_norm was not there, is 1.0",
    ),
    "a digit": ("    0.3053,\n", "    0.3054,\n", "data.normalize.mean was [0.3053], is [0.3054]"),
    "accumulate": ("accumulate = 1\n", "accumulate = 2\n", "loop.accumulate was 1, is 2"),
    "two": (
        "momentum = 0.9\ndampening = 0.0\n",
        "momentum = 0.8\ndampening = 0.1\n",
        "optimizer.momentum was 0.9, is 0.8; optimizer.dampening was 0.0, is 0.1",
    ),
}


@pytest.mark.parametrize("step", [2, 10], ids=["before the first checkpoint", "after it"])
@pytest.mark.parametrize(("old", "new", "said"), EDITS.values(), ids=EDITS)
def test_a_recipe_edited_by_hand_is_refused_with_the_keys_that_differ(old, new, said, step, tmp_path):
    run = stopped(tmp_path / "run", step)
    edit(run, old, new)
    before = content(run.path)
    with pytest.raises(UsageError) as caught:
        resume(run)
    assert str(caught.value).startswith(
        f"{run.path}/recipe.toml: is not the recipe that the run was trained with: {said}"
    )
    assert f'begin a new run with init_from = "{run.path}"' in str(caught.value)
    assert content(run.path) == before
    edit(run, new, old)
    assert resume(run).finished


def test_run_json_edited_to_fit_is_refused_by_the_checkpoints_hash(tmp_path):
    run = stopped(tmp_path / "run")
    edit(run, "lr = 0.1\n", "lr = 0.05\n")
    about = run.about.values
    about["recipe"]["optimizer"]["lr"] = 0.05
    (run.path / "run.json").write_text(json.dumps(about))
    with pytest.raises(UsageError, match=r"run.json: its recipe is not the one .*hash differs"):
        resume(run)


def test_how_long_how_often_and_what_it_is_called_may_be_edited(tmp_path):
    run, whole = stopped(tmp_path / "run"), train(tmp_path / "whole")
    for old, new in (
        ("log_every = 3\n", "log_every = 3 # as before\n"),
        ("checkpoint_every = 4\n", "checkpoint_every = 5\n"),
        ('keep_last = "all"\n', "keep_last = 3\n"),
        ('name = "small"\n', 'name = "renamed"\n'),
    ):
        edit(run, old, new)
    assert resume(run, loop__epochs=3).finished
    assert figures(run) == figures(whole)
    assert same(weights(run), weights(whole))


def test_a_later_xtrain_with_new_defaults_goes_on_again_and_again(tmp_path):
    run = stopped(tmp_path / "run", 5)
    about = run.about.values
    assert about["recipe"]["data"].pop("drop_last") is False  # as if the key had come later
    assert about["recipe"]["optimizer"].pop("dampening") == 0.0
    (run.path / "run.json").write_text(json.dumps(about))
    path = run.checkpoint() / "progress.json"
    record = json.loads(path.read_text())
    record["bound"]["recipe"] = binding.digest(about["recipe"])
    record["sha256"]["bound"] = binding.digest(record["bound"])
    path.write_text(json.dumps(record))
    with pytest.raises(StopError):
        resume(run, "last", At(10, stop))
    assert run.checkpoint().name == "step-8"
    assert resume(run).finished  # whose checkpoint the later xtrain has written
    assert same(weights(run), weights(train(tmp_path / "whole")))


def test_what_decides_is_all_but_how_long_how_often_and_where():
    chosen = bound(CHOSEN).recipe
    values = binding.deciding(chosen)
    free = {"name": "x", "loop__epochs": 9, "loop__log_every": 1, "loop__checkpoint_every": 1}
    others = recipe(**free, loop__keep_last=1, init_from="/x", data__normalize=NORMALIZE, seed=7)
    assert binding.deciding(bound(others).recipe) == values
    assert binding.deciding(parse({**chosen.to_dict(), "seed": 8}, "F")) != values
    assert binding.differences(values, values) == []
    assert binding.renewed(values, chosen, "F") == values


def test_data_that_was_changed_is_refused_and_nothing_is_touched(tmp_path, monkeypatch):
    run = stopped(tmp_path / "run")
    before, whole = content(run.path), arrays()
    images = whole.train_images.copy()
    images[0, 0, 0, 0] ^= 1
    for changed in (
        replace(whole, train_images=images),
        replace(whole, test_labels=(whole.test_labels + 1) % 10),
    ):
        monkeypatch.setattr(data, "load", lambda section, data_dir, changed=changed: changed)
        for call in (lambda: resume(run), lambda: session.evaluate_run(run, "last", Options("fake"))):
            with pytest.raises(DataError, match=r"digits: is not the data .* \(its hash differs\)"):
                call()
    assert content(run.path) == before


def _folder(path, seed=0):
    """Own data as arrays."""
    path.mkdir()
    for split, count in (("train", 24), ("test", 8)):
        images = np.random.default_rng(seed).integers(0, 255, (count, 8, 8, 1), dtype=np.uint8)
        np.save(path / f"{split}_images.npy", images)
        np.save(path / f"{split}_labels.npy", np.arange(count) % 4)
    return path


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A stopped run over one's own arrays, and where they lie."""
    monkeypatch.undo()
    monkeypatch.syspath_prepend(install_fake(tmp_path / "plugin"))
    monkeypatch.setattr(curves, "draw", lambda runs, path: None)
    where = _folder(tmp_path / "data")
    chosen = recipe(data={"name": "npy", "path": str(where), "batch_size": 4})
    with pytest.raises(StopError):
        session.train(chosen.bind(), Options("fake", observers=[At(8, stop)]), tmp_path / "run")
    return Run(tmp_path / "run"), where


def test_data_that_was_moved_is_found_by_an_edited_path(own, tmp_path):
    run, where = own
    shutil.move(where, tmp_path / "moved")
    with pytest.raises(DataError, match="data"):
        resume(run)
    edit(run, f'path = "{where}"', f'path = "{tmp_path / "moved"}"')
    assert resume(run).finished


def test_other_data_under_the_path_is_refused(own, tmp_path):
    run, where = own
    shutil.rmtree(where)
    _folder(where, seed=1)
    with pytest.raises(DataError, match="hash differs"):
        resume(run)


def test_a_run_whose_data_is_gone_says_all_it_knows(own):
    run, where = own
    job, records = run.job, run.history
    shutil.rmtree(where)
    gone = Run(run.path)
    assert (gone.job, gone.history) == (job, records)
    assert gone.job.model.tensors.keys() == weights(gone).keys()
    assert gone.job.data.class_names == job.data.class_names
    assert picture.figure_of([gone])
    with pytest.raises(DataError):
        session.evaluate_run(gone, "last", Options("fake"))


SCHEDULES = [{"name": "one_cycle"}, {"name": "cosine"}]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda each: each["name"])
@pytest.mark.parametrize("how", ["asked for", "edited"])
def test_another_number_of_epochs_is_said_aloud_where_rates_hang_on_it(schedule, how, tmp_path, caplog):
    chosen = recipe(schedule=schedule, loop__checkpoint_every=4, loop__keep_last="all")
    run = stopped(tmp_path / "run", 10, chosen)
    rate = {epochs: bound(recipe(schedule=schedule, loop__epochs=epochs)) for epochs in (3, 5)}
    was, now = (job.lr(job.clock(9)) for job in (rate[3], rate[5]))
    if how == "edited":
        edit(run, "epochs = 3\n", "epochs = 5\n")
        assert resume(run).finished
    else:
        assert resume(run, loop__epochs=5).finished
    assert f"the schedule {schedule['name']} depends on loop.epochs, which was 3 and is 5" in caplog.text
    assert f"the learning rate of step 9 is {now:.6g} instead of {was:.6g}" in caplog.text
    assert was != now
    caplog.clear()
    assert resume(run, "step-8").finished  # for five again
    assert "depends on" not in caplog.text


def test_where_rates_hang_on_nothing_more_epochs_need_no_word(tmp_path, caplog):
    run = stopped(tmp_path / "run")
    assert resume(run, loop__epochs=4).finished
    assert not caplog.records


def test_fewer_epochs_than_are_done_are_an_error(tmp_path):
    run = train(tmp_path / "run")
    before = content(run.path)
    with pytest.raises(UsageError, match=r"loop.epochs = 2: 3 are done already\n.*an earlier checkpoint"):
        resume(run, loop__epochs=2)
    with pytest.raises(UsageError, match=r"loop\.epochs = 1: 2 are begun already"):
        resume(run, "step-8", loop__epochs=1)
    assert content(run.path) == before
    assert resume(run, "step-8", loop__epochs=2).step == 12
    assert [record["epoch"] for record in run.epochs] == [1, 2]


def test_records_stand_in_each_checkpoint_and_come_back_after_a_kill(tmp_path):
    whole = train(tmp_path / "whole")
    written = whole.metrics_path.read_bytes()
    for path in checkpoints.listed(whole.checkpoints):
        found = checkpoints.load(path, whole.job.model).bound
        assert (found.recipe, found.data) == (whole.about.recipe_hash, arrays().sha256())
        part = written[: found.metrics.bytes]
        assert found.metrics.sha256 == hashlib.sha256(part).hexdigest()
        assert part.endswith(b"\n")
        assert all(json.loads(line)["step"] <= checkpoints.step_of(path) for line in part.splitlines())
    run = stopped(tmp_path / "run")
    with run.metrics_path.open("ab") as file:
        file.write(b'{"kind": "train", "epoch": 2, "step": 9, "lo')  # cut short by the kill
    assert resume(run).finished
    assert figures(run) == figures(whole)


def test_records_are_on_the_disk_before_a_checkpoint_counts_on_them(tmp_path, monkeypatch):
    done, sync, save = [], session.MetricsFile.synced, checkpoints.save
    monkeypatch.setattr(session.MetricsFile, "synced", lambda self: done.append("sync") or sync(self))
    monkeypatch.setattr(checkpoints, "save", lambda *given: done.append("save") or save(*given))
    train(tmp_path / "run")
    assert done == ["sync", "save"] * (len(done) // 2)
    assert done


DAMAGE = {
    "a line": (lambda text: text.replace(b'"step": 3', b'"step": x3', 1), "line 1 is damaged: "),
    "not UTF-8": (lambda text: text.replace(b'"train"', b'"tr\xffin"', 1), "line 1 is damaged: 'utf-8'"),
    "a later line": (
        lambda text: text.replace(b'"kind": "epoch"', b'"kind": "epok"', 1),
        "line 3 is damaged: no record",
    ),
    "a digit": (
        lambda text: text.replace(b'"epoch": 1', b'"epoch": 2', 1),
        "its records are not those that were written up to step 8",
    ),
    "a line less": (lambda text: text.split(b"\n", 1)[1], "up to step 8 (its hash differs)"),
    "cut short": (lambda text: text[:50], "bytes are missing up to step 8 (its hash differs)"),
    "empty": (lambda text: b"", "bytes are missing up to step 8 (its hash differs)"),
    "nested": (lambda text: b"[" * 10**5 + b"\n" + text, "line 1 is damaged: it is nested too deeply"),
    "a wrong type": (
        lambda text: text.replace(b'"loss": ', b'"loss": [], "l": ', 1),
        "line 1 is damaged: its loss is []",
    ),
    "half a surrogate": (lambda text: text.replace(b'"train"', b'"\\ud800"', 1), "line 1 is damaged: "),
}


@pytest.mark.parametrize(("change", "said"), DAMAGE.values(), ids=DAMAGE)
def test_records_that_are_not_those_written_are_told_and_nothing_is_dropped(change, said, tmp_path):
    run = stopped(tmp_path / "run")
    whole = run.metrics_path.read_bytes()
    run.metrics_path.write_bytes(change(whole))
    before = run.metrics_path.read_bytes()
    assert before != whole
    with pytest.raises(XtrainError) as caught:
        resume(run)
    assert str(caught.value).startswith(f"{run.metrics_path}: ")
    assert said in str(caught.value)
    assert run.metrics_path.read_bytes() == before
    run.metrics_path.write_bytes(whole)
    assert resume(run).finished


def test_records_that_were_moved_away_are_said_to_be_missing(tmp_path, caplog):
    run = stopped(tmp_path / "run")
    run.metrics_path.unlink()
    assert resume(run).finished
    assert f"{run.metrics_path} is missing: the run goes on without the records before step 8" in caplog.text
    assert run.history[0]["step"] == 9
    assert resume(run, "step-12").finished  # bound anew


@pytest.mark.parametrize("away", ["moved", "removed", "replaced"])
@pytest.mark.parametrize("step", [2, 3, 11, 12])
def test_a_directory_that_is_taken_away_ends_the_training_at_once(away, step, tmp_path):
    path, other = tmp_path / "run", train(tmp_path / "other", recipe(seed=1))
    stranger = content(other.path)

    def take():
        path.rename(tmp_path / "moved") if away != "removed" else shutil.rmtree(path)
        if away == "replaced":
            other.path.rename(path)

    seen = Recorder()
    with pytest.raises(XtrainError, match=r"the run directory was moved or removed while .*\n.*--resume"):
        train(path, CHOSEN, At(step, take), seen)
    assert seen.steps[-1] < step + 4  # by the next record or checkpoint
    if away == "replaced":
        assert {path / file.relative_to(other.path): text for file, text in stranger.items()} == content(path)
    else:
        assert not path.exists()
    assert {entry.name for entry in tmp_path.iterdir()} <= {"run", "other", "moved"}
    if away != "removed":
        assert resume(Run(tmp_path / "moved")).finished


def kept(run):
    return {checkpoints.step_of(path) for path in checkpoints.listed(run.checkpoints)}


@pytest.mark.parametrize(("keep", "most"), [(None, 2), (1, 1), (3, 3)])
def test_so_many_checkpoints_stay_also_after_a_kill(keep, most, tmp_path):
    changes = {"loop__keep_last": keep} if keep else {}
    chosen = recipe(loop__checkpoint_every=1, loop__epochs=4, **changes)
    assert chosen.loop.keep_last == most
    run = stopped(tmp_path / "run", 11, chosen)
    for step in (1, 2, 3):  # of a kill that came before it was removed
        shutil.copytree(run.checkpoint(), run.checkpoints / f"step-{step}")
    with pytest.raises(StopError):
        resume(run, "last", At(16, stop))
    assert resume(run).finished
    best = checkpoints.step_of(run.checkpoint("best"))
    assert kept(run) == {*range(24 - most + 1, 25), best}


def test_all_stay_where_all_are_asked_for(tmp_path):
    assert kept(train(tmp_path / "run")) == {4, 6, 8, 12, 16, 18}


def test_from_an_earlier_checkpoint_later_ones_stay_until_they_are_reached_again(tmp_path):
    run = train(tmp_path / "run")
    with pytest.raises(StopError):
        resume(run, "step-4", At(10, stop), loop__keep_last=1)
    assert run.checkpoint().name == "step-8"
    assert {8, 12, 16, 18} <= kept(run)
    assert 4 not in kept(run)
    assert resume(run).finished
    assert kept(run) == {18, checkpoints.step_of(run.checkpoint("best"))}


def test_a_kill_before_the_last_checkpoint_is_marked_and_others_removed_is_mended(tmp_path):
    run = train(tmp_path / "run", recipe(loop__keep_last=1, loop__checkpoint_every=4))
    best, left = run.checkpoint("best").name, kept(run)
    checkpoints.mark_best(run.checkpoints, 4)
    shutil.copytree(run.checkpoint(), run.checkpoints / "step-16")
    outcome = resume(run)
    assert outcome.idle
    assert (run.checkpoint("best").name, kept(run)) == (best, left)


def _small(step, model):
    progress = checkpoints.Progress(step=step)
    state = {name: np.full(tensor.shape, step, np.float32) for name, tensor in model.tensors.items()}
    return checkpoints.Checkpoint(state, {"step": np.array(step)}, progress)


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_reader_beside_a_training_gets_whole_checkpoints(name, tmp_path, caplog):
    run = made(tmp_path / "run", bound(recipe()))
    model, ended = run.job.model, threading.Event()
    checkpoints.save(run.checkpoints, _small(1, model))
    checkpoints.mark_best(run.checkpoints, 1)
    seen, errors = [], []

    def read():
        reader = Run(run.path)
        while not ended.is_set():
            try:
                found = reader.load(name, model)[1]
                (value,) = {float(each) for tensor in found.model.values() for each in tensor.flat}
                seen.append((value, found.progress.step))
            except Exception as error:  # noqa: BLE001 - whatever it is, the test fails
                errors.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(2, 150):
        step = number if number % 5 else number - 1  # reached again, too
        checkpoints.save(run.checkpoints, _small(step, model))
        checkpoints.mark_best(run.checkpoints, step)
        checkpoints.prune(run.checkpoints, 1, step, step)
    ended.set()
    for reader in readers:
        reader.join()
    assert not errors
    assert all(value == step for value, step in seen)
    assert len({step for _, step in seen}) > 10
    assert not caplog.records


def test_a_checkpoint_that_is_read_is_not_removed_meanwhile(tmp_path):
    run = made(tmp_path / "run", bound(recipe()))
    for step in (1, 2, 3):
        checkpoints.save(run.checkpoints, _small(step, run.job.model))
    with checkpoints._kept(run.checkpoints / "step-1"):
        checkpoints.prune(run.checkpoints, 1, 3, 3)
        assert kept(run) == {1, 3}
    checkpoints.prune(run.checkpoints, 1, 3, 3)
    assert kept(run) == {3}
    with pytest.raises(UsageError, match="has no checkpoint 'step-1'"):
        run.load("step-1", run.job.model)


def test_a_damaged_checkpoint_is_no_reason_to_wait(tmp_path):
    run = made(tmp_path / "run", bound(recipe()))
    path = checkpoints.save(run.checkpoints, _small(1, run.job.model))
    (path / "weights.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="is damaged"):
        run.load("last", run.job.model)


def test_a_resume_or_a_training_over_a_link_to_elsewhere_writes_nothing_there(tmp_path):
    run, home = stopped(tmp_path / "run"), tmp_path / "home"
    shutil.move(run.checkpoints, home)
    (home / ".last.4").write_text("mine")
    before = content(home)
    run.checkpoints.symlink_to(home)
    assert run.load("last", run.job.model)[0].name == "step-8"  # reading does no harm
    with pytest.raises(XtrainError, match=r"checkpoints: is a link"):
        resume(run)
    assert content(home) == before

    def swap():
        (tmp_path / "new/checkpoints").rename(tmp_path / "aside")
        (tmp_path / "new/checkpoints").symlink_to(home)

    with pytest.raises(XtrainError, match=r"checkpoints: is a link"):
        train(tmp_path / "new", CHOSEN, At(5, swap))
    assert content(home) == before


def test_a_run_that_stopped_early_says_so(tmp_path):
    never_better = {"monitor": "train_loss", "mode": "max", "min_delta": 9.0, "patience": 1}
    run = train(tmp_path / "run", recipe(loop__epochs=9, stopping=never_better))
    done = len(run.epochs)
    assert done < 9
    assert resume(run).idle == f"early stopping ended the run after epoch {done}"


def test_another_backend_in_run_json_is_refused(tmp_path):
    run = train(tmp_path / "run")
    said = json.loads((run.path / "run.json").read_text())
    said["sessions"][-1]["backend"] = "numpy"
    (run.path / "run.json").write_text(json.dumps(said))
    with pytest.raises(UsageError, match=r"run\.json: its sessions do not name .* fake\n.*--backend"):
        resume(run)
    said["sessions"].insert(0, {"backend": "fake"})  # a session under another backend that wrote nothing yet
    (run.path / "run.json").write_text(json.dumps(said))
    assert resume(run).idle
