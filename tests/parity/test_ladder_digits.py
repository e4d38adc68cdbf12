"""The ladder itself, under every framework: one command for each of the digits recipes."""

import itertools
import json

import pytest

BACKENDS = ("numpy", "torch", "paddle", "mindspore", "jax")
LEVELS = {"P1", "P2", "P3", "P4", "P5"}
# Of the trajectory: an epoch, the default, has 23; the convolutions take the most of the time.
STEPS = {"digits_mlp": 23, "digits_cnn": 12}


@pytest.mark.parametrize("recipe", STEPS)
def test_every_pair_holds_on_every_level(recipe, xtrain, tmp_path):
    # The backends are named: one that is missing must fail, not be left out.
    line = ("--backends", ",".join(BACKENDS), "--steps", STEPS[recipe], "--threads", 1, "--out", "ladder")
    done = xtrain("parity", recipe, *line, timeout=600)
    assert done.code == 0, done.out + done.err
    told = json.loads((tmp_path / "ladder/parity.json").read_text())
    assert told["holds"] is True
    assert [trace["facts"]["backend"] for trace in told["traces"]] == list(BACKENDS)
    assert {trace["facts"]["steps"] for trace in told["traces"]} == {STEPS[recipe]}
    found = {(row["level"], *row["pair"]) for row in told["rows"]}
    pairs = itertools.product(LEVELS, itertools.combinations(BACKENDS, 2))
    assert found == {(level, *pair) for level, pair in pairs} | {("P0", name, "recipe") for name in BACKENDS}
