"""What a checkpoint that can't be read says: one error, not one inside another."""

import hashlib
import json

import numpy as np
import pytest

from xtrain.errors import CheckpointError
from xtrain.recipe import parse
from xtrain.runs import checkpoint as checkpoints
from xtrain.runs.checkpoint import Checkpoint
from xtrain.runs.progress import Progress

MODEL = (
    parse(
        {
            "name": "case",
            "data": {"name": "digits", "batch_size": 4},
            "model": {"name": "mlp", "hidden": []},
            "optimizer": {"name": "sgd", "lr": 0.1},
            "loop": {"epochs": 1},
        },
        "case.toml",
    )
    .bind()
    .model
)


@pytest.fixture
def saved(tmp_path):
    weights = {name: np.zeros(tensor.shape, np.float32) for name, tensor in MODEL.tensors.items()}
    return checkpoints.save(tmp_path, Checkpoint(weights, {"step": np.array(1)}, Progress(step=1)))


def test_another_format_is_no_damage(saved):
    path = saved / "progress.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(saved, MODEL)
    assert caught.value.problem == "its format is 99, this xtrain reads 2, 3"
    assert caught.value.where == saved
    assert "use the xtrain that wrote it" in caught.value.remedy


def test_a_file_with_another_hash_is_told_once(saved):
    path = saved / "weights.safetensors"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(saved, MODEL)
    reason = "weights.safetensors is not the file that was written (its hash differs)"
    assert caught.value.problem == f"is damaged or not a checkpoint: {reason}"
    assert not isinstance(caught.value.__cause__, CheckpointError)


def test_progress_of_another_kind_is_told_once(saved):
    path = saved / "progress.json"
    record = json.loads(path.read_text())
    del record["progress"]["best"]
    whole = json.dumps(record["progress"], sort_keys=True).encode()
    record["sha256"]["progress"] = hashlib.sha256(whole).hexdigest()
    path.write_text(json.dumps(record))
    with pytest.raises(
        CheckpointError, match="not a checkpoint: its progress is not what xtrain writes: 'best'"
    ):
        checkpoints.load(saved, MODEL)


def test_deep_nesting_is_damage(saved):
    (saved / "progress.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="is damaged or not a checkpoint"):
        checkpoints.load(saved, MODEL)
