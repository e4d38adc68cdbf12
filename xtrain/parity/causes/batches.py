"""Causes in the data phase."""

import numpy as np

from xtrain.parity.causes.situation import Array, Cause, Predict, Situation


def _images(change: Predict) -> Predict:
    """Of the images alone; labels must be right."""
    return lambda s, name: change(s, name) if name == "images" else s.right[f"data/{name}"]


def _raw(s: Situation) -> Array:
    """Pixel values, before the table: whole numbers."""
    images, normalize = s.right["data/images"], s.job.normalize
    mean, std = (np.array(values).reshape(1, -1, 1, 1) for values in (normalize.mean, normalize.std))
    pixels: Array = np.rint((images * std + mean) * 255)
    return pixels


def _unaugmented(s: Situation, name: str) -> Array | None:
    return s.unaugmented() if any(step.words for step in s.recipe.data.augment) else None


CAUSES = (
    Cause("images are mirrored", _images(lambda s, _: s.right["data/images"][..., ::-1])),
    Cause("images are upside down", _images(lambda s, _: s.right["data/images"][:, :, ::-1])),
    Cause("channels are in the reverse order", _images(lambda s, _: s.right["data/images"][:, ::-1])),
    Cause("images are not normalised: values 0 to 1", _images(lambda s, _: _raw(s) / 255)),
    Cause("images are not normalised: values 0 to 255", _images(lambda s, _: _raw(s))),
    Cause("images are not augmented", _images(_unaugmented)),
)
