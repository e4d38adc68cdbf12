"""Checkpoints come back bit for bit, or not at all."""

import errno
import json
import os
import shutil
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from recipe_values import small_job

from xtrain import plan
from xtrain.errors import CheckpointError
from xtrain.models import build
from xtrain.recipe.schedules import Reductions
from xtrain.recipe.watch import Watch
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs.checkpoint import Checkpoint
from xtrain.runs.progress import Progress, Sums

MODEL = small_job().model
FILES = ("weights.safetensors", "optimizer.safetensors", "progress.json")


def checkpoint(step=3, seed=0, **progress):
    optimizer = {"step": np.array(step, dtype=np.int64), "fc1.bias/momentum_buffer": np.full(8, 1 / 3)}
    return Checkpoint(plan.initial_state(seed, MODEL), optimizer, Progress(step=step, **progress))


def same(first, second):
    """True where names, types, shapes and bits agree."""
    return first.keys() == second.keys() and all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        for a, b in ((first[name], second[name]) for name in first)
    )


@pytest.fixture
def saved(tmp_path):
    """One that was written."""
    return checkpoints.save(tmp_path / "checkpoints", checkpoint())


def test_it_comes_back_as_it_was(tmp_path):
    progress = Progress(
        epoch=2,
        step=7,
        batch=3,
        epoch_sums=Sums(0.1 + 0.2, 5, 7, 0.7),
        log_sums=Sums(1e-300, 0, 1, 1.0),
        train_seconds=1 / 3,
        best=Watch(0.1, 2),
        best_step=4,
        stopping=Watch(None, 1),
        plateau=Reductions(0.5, 1, 2, 3),
        restored=True,
    )
    optimizer = {"step": np.array(7, dtype=np.int64), "fc1.bias/exp_avg": np.random.default_rng(0).random(8)}
    path = checkpoints.save(tmp_path, Checkpoint(plan.initial_state(1, MODEL), optimizer, progress))
    assert path == tmp_path / "step-7"
    assert checkpoints.pointed(tmp_path / "last") == path.name
    assert sorted(entry.name for entry in path.iterdir()) == sorted(FILES)
    loaded = checkpoints.load(path, MODEL)
    assert same(loaded.model, plan.initial_state(1, MODEL))
    assert same(loaded.optimizer, optimizer)
    assert loaded.optimizer["step"].shape == ()
    assert loaded.progress == progress


kinds = st.sampled_from([np.float32, np.float64, np.int64])
states = st.dictionaries(
    st.text("abc./_", min_size=1, max_size=8),
    kinds.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=4, max_side=4))),
    max_size=4,
)


@given(optimizer=states, transposed=st.booleans())
def test_any_state_comes_back_bit_for_bit(optimizer, transposed, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "any"
    if transposed:  # not contiguous, as a view of a framework may be
        optimizer = {name: value.T for name, value in optimizer.items()}
    path = checkpoints.save(folder, Checkpoint(plan.initial_state(0, MODEL), optimizer, Progress(step=1)))
    assert same(checkpoints.load(path, MODEL).optimizer, optimizer)


def test_a_float64_model_stays_one(tmp_path):
    state = {name: value.astype(np.float64) / 3 for name, value in plan.initial_state(0, MODEL).items()}
    path = checkpoints.save(tmp_path, Checkpoint(state, {}, Progress(step=1)))
    assert same(checkpoints.load(path, MODEL).model, state)


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_an_error(name, saved):
    whole = (saved / name).read_bytes()
    for length in {0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 2}:
        (saved / name).write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="is damaged or not a checkpoint") as caught:
            checkpoints.load(saved, MODEL)
        assert str(caught.value).startswith(str(saved))


@given(name=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_an_error_or_changes_nothing(name, place, bit, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "flipped"
    path = checkpoints.save(folder, checkpoint(step=12, epoch=1, train_seconds=0.5, best=Watch(0.75)))
    before = checkpoints.load(path, MODEL)
    content = bytearray((path / name).read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    (path / name).write_bytes(content)
    try:
        after = checkpoints.load(path, MODEL)
    except CheckpointError as error:
        assert "is damaged" in str(error)  # noqa: PT017 - both outcomes are right, if they are whole
        return
    assert name == "progress.json"  # white space, for one
    assert after.progress == before.progress


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_an_error(name, saved):
    (saved / name).unlink()
    with pytest.raises(
        CheckpointError, match=r"is damaged .*No such file.*\n.*another of the run's checkpoints"
    ):
        checkpoints.load(saved, MODEL)


def test_files_of_two_checkpoints_are_an_error(saved, tmp_path):
    other = checkpoints.save(tmp_path / "other", checkpoint(seed=1))
    shutil.copy(other / "weights.safetensors", saved)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors is not the file that was written"):
        checkpoints.load(saved, MODEL)


JUNK = {
    "not JSON": "x",
    "a list": "[]",
    "nothing in it": "{}",
    "no hashes": '{"format": 3}',
    "strange progress": '{"format": 3, "sha256": {}, "progress": {"steps": 3}}',
    "progress without sums": '{"format": 2, "sha256": {}, "progress": {}}',
}


@pytest.mark.parametrize("text", JUNK.values(), ids=JUNK.keys())
def test_strange_progress_is_an_error(text, saved):
    (saved / "progress.json").write_text(text)
    with pytest.raises(CheckpointError, match=f"^{saved}: is damaged or not a checkpoint"):
        checkpoints.load(saved, MODEL)


def test_a_number_that_was_edited_is_an_error(saved):
    record = json.loads((saved / "progress.json").read_text())
    record["progress"]["step"] += 1
    (saved / "progress.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match=r"progress\.json is not the file that was written"):
        checkpoints.load(saved, MODEL)


OTHERS = {
    "other width": (build("mlp", (1, 8, 8), 10, hidden=[9]), "fc1.bias has the shape [8], not [9]"),
    "a layer more": (
        build("mlp", (1, 8, 8), 10, hidden=[8, 8]),
        "fc3.bias is missing; fc2.weight has the shape [10, 8], not [8, 8] and 1 more",
    ),
    "another input": (
        build("mlp", (1, 8, 9), 10, hidden=[8]),
        "does not hold the weights of mlp: fc1.weight has the shape [8, 64], not [8, 72]\n",
    ),
    "another family": (
        build("simplecnn", (1, 8, 8), 10, padding=1),
        "does not hold the weights of simplecnn: conv1.weight is missing",
    ),
}


@pytest.mark.parametrize(("model", "message"), OTHERS.values(), ids=OTHERS.keys())
def test_a_checkpoint_of_another_model_names_the_tensor(model, message, saved):
    with pytest.raises(CheckpointError, match=r"\n  the run's recipe.toml should say which model") as caught:
        checkpoints.load(saved, model)
    assert message in str(caught.value)


def test_the_newest_and_the_best_are_texts_that_name_a_folder(tmp_path):
    for step, best in ((1, True), (2, False), (3, True), (4, False)):
        checkpoints.save(tmp_path, checkpoint(step))
        if best:
            checkpoints.mark_best(tmp_path, step)
    assert not any((tmp_path / name).is_symlink() for name in ("last", "best"))
    assert [(tmp_path / name).read_text() for name in ("last", "best")] == ["step-4\n", "step-3\n"]
    checkpoints.mark_last(tmp_path, 2)
    assert checkpoints.pointed(tmp_path / "last") == "step-2"


def test_links_of_older_runs_are_read_and_replaced_and_never_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "step-9").write_text("mine")
    folder = checkpoints.save(tmp_path / "checkpoints", checkpoint(2)).parent
    (folder / "last").unlink()
    (folder / "last").symlink_to("step-2", target_is_directory=True)
    (folder / "best").symlink_to(outside / "step-9")
    assert checkpoints.pointed(folder / "last") == "step-2"
    assert checkpoints.pointed(folder / "best") is None  # a path is no name
    checkpoints.mark_last(folder, 2)
    checkpoints.mark_best(folder, 2)
    assert [(folder / name).read_text() for name in ("last", "best")] == ["step-2\n"] * 2
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert (outside / "step-9").read_text() == "mine"


@pytest.mark.parametrize(
    "content",
    [b"", b"step-", b"step-3/../..", b"../step-3", b"step-3\nstep-4", b"/etc", b"\xff\xfe", b"\0", b"last"],
)
def test_a_pointer_that_names_no_checkpoint_names_nothing(content, tmp_path):
    (tmp_path / "last").write_bytes(content)
    assert checkpoints.pointed(tmp_path / "last") is None
    (tmp_path / "best").mkdir()
    assert checkpoints.pointed(tmp_path / "best") is None


def test_files_have_the_permissions_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        path = checkpoints.save(tmp_path / "checkpoints", checkpoint())
        checkpoints.mark_best(path.parent, 3)
    finally:
        os.umask(before)
    files = [*path.iterdir(), path.parent / "last", path.parent / "best"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o640}
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_step_that_is_reached_again_is_replaced(tmp_path):
    checkpoints.save(tmp_path, checkpoint(seed=0))
    path = checkpoints.save(tmp_path, checkpoint(seed=1))
    assert same(checkpoints.load(path, MODEL).model, plan.initial_state(1, MODEL))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["last", "step-3"]


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, checkpoint(1))

    def full(path, content):
        path.write_bytes(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_new", full)
    with pytest.raises(
        CheckpointError, match=r"step-2: .*No space left on device\n.*earlier checkpoints are un"
    ):
        checkpoints.save(tmp_path, checkpoint(2))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["last", "step-1"]
    assert checkpoints.pointed(tmp_path / "last") == "step-1"
    assert checkpoints.load(tmp_path / "step-1", MODEL).progress.step == 1
