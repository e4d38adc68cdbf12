"""`python model_logits.py BACKEND FOLDER NAME...`: the logits of models by name, as JSON.

`FOLDER/NAME.npz` holds `images` [B, 3, H, W] and the model's state. One process per backend: frameworks must
not share one.
"""

import json
import sys
from pathlib import Path

import numpy as np

from xtrain import models
from xtrain.training.assembly import Options, open_backend


def main(backend: str, folder: Path, names: list[str]) -> None:
    """Print logits [B, 1000] by name."""
    logits = {name: _logits(backend, name, folder / f"{name}.npz") for name in names}
    print(json.dumps({name: values.tolist() for name, values in logits.items()}))  # noqa: T201 - the result


def _logits(backend: str, name: str, path: Path) -> np.ndarray:
    with np.load(path) as stored:
        state = dict(stored)
    images = state.pop("images")
    spec = models.build(name, images.shape[1:], 1000)
    assert set(state) == set(spec.tensors)
    model = open_backend(Options(backend), spec).model(spec)
    model.load(state)
    return np.asarray(model.predict(images))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
