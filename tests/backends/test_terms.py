"""What `xtrain check` prints is what is run: every term beside what the lowering made, called or computed."""

import pytest
from terms import compare

from xtrain.system.isolated import isolated

COMMON = {
    "another kernel": (r"kernel_size=3", "kernel_size=5"),
    "another step": (r"x\[:, -1\]", "x[:, 0]"),
    "a mask that is not scaled": (r" / 0\.7", ""),
    "another divisor": (r"sum of weights", "samples"),
}
MUTANTS = {
    "numpy": {
        "another layer": (r"value=-inf\)\.max", "value=-inf).min"),
        "another stride": (r"stride=2", "stride=1"),
        "another step": COMMON["another step"],
        "another momentum": (r"0\.3 \* \(batch", "0.7 * (batch"),
        "gates swapped": (r"sigmoid\(i\) \* tanh\(g\)", "sigmoid(g) * tanh(i)"),
        "no smoothing": (r"0\.8 \* one_hot", "one_hot"),
        "another divisor": COMMON["another divisor"],
        "eps inside the root": (r"sqrt\(v / \(1 - b2\*\*t\)\) \+ eps", "sqrt(v / (1 - b2**t) + eps)"),
        "another decay": (r"g \+ 0\.05 \* w", "g + 0.5 * w"),
        "another norm": (r"0\.05 / \(norm", "0.5 / (norm"),
        "no dampening": (r"share = 1 - 0\.4", "share = 1 - 0.0"),
        "no nesterov": (r"d = g \+ momentum \* buffer", "d = buffer"),
        "another weight of the average": (r"0\.1 \* \(w - average", "0.9 * (w - average"),
    },
    "torch": COMMON
    | {
        "another layer": (r"nn\.MaxPool2d", "nn.AvgPool2d"),
        "another momentum": (r"momentum=0\.3", "momentum=0.7"),
        "another loss": (r"F\.nll_loss", "F.cross_entropy"),
        "no smoothing": (r"label_smoothing=0\.2", "label_smoothing=0.0"),
        "another optimizer": (r"_fused_adamw_", "_fused_adam_"),
        "another eps": (r"eps=0\.0001", "eps=0.001"),
        "a loop over the tensors": (r"foreach=True", "foreach=False"),
        "another limit": (r"clip_grad_value_\(0\.01", "clip_grad_value_(0.1"),
        "another weight of the average": (r"weights, 0\.1\)", "weights, 0.9)"),
    },
    "paddle": COMMON,
    "mindspore": COMMON,
}


@pytest.mark.parametrize("name", MUTANTS)
def test_terms_say_what_is_run(name):
    """One process for each framework."""
    assert isolated(compare, name) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_term_is_noticed(name):
    right, wrong = isolated(mutated, name)
    for mutant, found in wrong.items():
        assert set(found) - set(right), mutant


def mutated(name):
    """What is found wrong in the terms as they are, and in those of each mutant."""
    return compare(name), {mutant: compare(name, *change) for mutant, change in MUTANTS[name].items()}
