"""The published values that the suite compares with are what PyTorch gives today, for every case it has."""

import json

import numpy as np

from xtrain.conformance import published
from xtrain.system.isolated import isolated


def test_the_file_is_what_torch_gives() -> None:
    """To the digits that the file keeps. `python tests/backends/torch_values.py` writes it anew."""
    kept = json.loads(published.FILE.read_text(encoding="ascii"))
    today = isolated(every_case)
    assert kept.keys() == today.keys()
    for case, tensors in today.items():
        assert kept[case].keys() == tensors.keys(), case
        for name, values in tensors.items():
            bound = 10.0**-published.DIGITS * 10 * np.abs(values).max()
            np.testing.assert_allclose(
                kept[case][name], values, rtol=0, atol=bound, err_msg=f"{case}: {name}"
            )


def every_case() -> dict[str, dict[str, list[float]]]:
    """To be called in a process of its own, which loads PyTorch."""
    import torch_values

    return torch_values.every_case()
