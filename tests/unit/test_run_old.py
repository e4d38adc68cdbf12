"""Runs of format 0, as earlier versions left them: read as they are, brought up to date when they go on."""

import json

import pytest
from fake_runs import bound, few, recipe
from plugin_folder import install_fake
from test_checkpoint import same

from xtrain.errors import UsageError, XtrainError
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs import picture
from xtrain.runs.run import Run
from xtrain.training import session
from xtrain.training.assembly import Options, chosen
from xtrain.training.observers import curves

CHOSEN = recipe(loop__checkpoint_every=4, loop__log_every=3, loop__keep_last="all")


@pytest.fixture(autouse=True)
def _fake(tmp_path_factory, monkeypatch):
    monkeypatch.syspath_prepend(install_fake(tmp_path_factory.mktemp("plugin")))
    few(monkeypatch)
    monkeypatch.setattr(curves, "draw", lambda runs, path: None)


def aged(run):
    """Rewrite a run as the earlier version would have written it."""
    about = run.about.values
    sessions = [{key: value for key, value in each.items() if key != "epochs"} for each in about["sessions"]]
    (run.path / "run.json").write_text(json.dumps({"name": about["name"], "sessions": sessions}))
    path = run.path / "recipe.toml"
    path.write_text(path.read_text().replace('keep_last = "all"\n', ""))
    for name in ("last", "best"):
        target = checkpoints.pointed(run.checkpoints / name)
        (run.checkpoints / name).unlink()
        (run.checkpoints / name).symlink_to(target, target_is_directory=True)
    for each in checkpoints.listed(run.checkpoints):
        record = json.loads((each / "progress.json").read_text())
        hashes = {key: value for key, value in record["sha256"].items() if key != "bound"}
        record = {"format": 2, "sha256": hashes, "progress": record["progress"]}
        (each / "progress.json").write_text(json.dumps(record))
        for file in each.iterdir():
            file.chmod(0o600)
    (run.path / ".lock").touch()
    return Run(run.path)


def train(path):
    return session.train(bound(CHOSEN), Options("fake", threads=3), path).run


def resume(run, name="last", **changes):
    job = run.job_with({key.replace("__", "."): value for key, value in changes.items()})
    return session.resume(run, name, Options("fake"), job)


def figures(run):
    return [{k: v for k, v in record.items() if "seconds" not in k} for record in run.history]


def weights(run):
    return run.load("last", run.job.model)[1].model


@pytest.fixture
def whole(tmp_path):
    return train(tmp_path / "whole")


@pytest.fixture
def old(tmp_path):
    return aged(train(tmp_path / "old"))


def steps(run):
    return [checkpoints.step_of(path) for path in checkpoints.listed(run.checkpoints)]


def test_it_reads_as_before(old, whole):
    assert (old.about.format, old.about.facts, old.about.data_hash, old.about.recipe_hash) == (
        0,
        None,
        None,
        None,
    )
    assert (old.job, figures(old)) == (whole.job, figures(whole))
    assert [old.checkpoint(name).name for name in ("last", "best")] == [
        whole.checkpoint(name).name for name in ("last", "best")
    ]
    assert old.recipe.loop.keep_last == "all"  # which saying nothing meant
    assert same(weights(old), weights(whole))
    assert old.load("last", old.job.model)[1].bound is None
    sums = session.evaluate_run(old, "last", Options("fake"))
    assert sums.loss == whole.epochs[-1]["test_loss"]
    assert chosen(Options(), old)[0].backend == "fake"
    assert chosen(Options(), old)[0].threads == 3


def test_it_goes_on_to_the_same_end_keeps_all_and_is_bound_from_then_on(old, whole):
    assert resume(old, "step-8").finished
    assert steps(old) == steps(whole)
    assert figures(old) == figures(whole)
    assert same(weights(old), weights(whole))
    assert old.recipe.loop.keep_last == "all"
    about = old.about
    assert (about.format, about.facts) == (1, whole.job.data)
    assert (about.data_hash, about.recipe_hash) == (whole.about.data_hash, whole.about.recipe_hash)
    assert [each["exit"] for each in old.sessions] == ["finished", "finished"]
    last, other = (run.load("last", run.job.model)[1].bound for run in (old, whole))
    assert (last.recipe, last.data) == (other.recipe, other.data)
    assert last.metrics.bytes == old.metrics_path.stat().st_size
    assert not any((old.checkpoints / name).is_symlink() for name in ("last", "best"))
    path = old.path / "recipe.toml"
    path.write_text(path.read_text().replace("lr = 0.1\n", "lr = 0.2\n"))
    with pytest.raises(UsageError, match=r"optimizer\.lr was 0\.1, is 0\.2"):
        resume(old, "step-16")


def test_a_number_of_checkpoints_that_is_asked_for_holds(old):
    assert resume(old, "step-16", loop__keep_last=1).finished
    assert steps(old) == [checkpoints.step_of(old.checkpoint("best")), 18][-len(steps(old)) :]


def test_one_that_was_killed_before_its_first_session_goes_on(old, whole):
    (old.path / "run.json").write_text('{"name": "small", "sessions": []}')
    assert old.about.last_used is None
    assert picture.labels([old, whole])[1] == ["under no backend", "under fake"]
    assert resume(old, "step-16").finished
    assert figures(old) == figures(whole)


def test_a_damaged_line_of_it_is_told_on_resume(old):
    lines = old.metrics_path.read_text().splitlines()
    lines[1] = lines[1][:-4]
    old.metrics_path.write_text("\n".join(lines) + "\n")
    before = old.metrics_path.read_bytes()
    with pytest.raises(XtrainError, match=r"metrics.jsonl: line 2 is damaged: "):
        resume(old, "step-16")
    assert old.metrics_path.read_bytes() == before
