"""Which class a run's model takes images for, from the command line."""

import numpy as np
from PIL import Image

from xtrain import data


def test_each_image_has_its_class_and_how_sure_that_is(undisturbed, xtrain, tmp_path):
    path, _ = undisturbed("numpy")
    images = data.load("digits").test_images[:3]
    for place, image in enumerate(images):
        Image.fromarray(image[0]).save(tmp_path / f"{place}.png")
    done = xtrain("predict", path, "0.png", "1.png", "2.png", "--top", 2, "--checkpoint", "last")
    assert (done.code, done.err) == (0, "")
    rows = [line.split() for line in done.out.splitlines() if ".png" in line]
    assert [row[0] for row in rows] == ["0.png", "0.png", "1.png", "1.png", "2.png", "2.png"]
    odds = [float(row[2]) for row in rows]
    assert all(first >= second for first, second in zip(odds[::2], odds[1::2], strict=True))
    assert "digits_cnn step-46" in done.out
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "small.png")
    done = xtrain("predict", path, "small.png")
    assert done.code == 1
    assert done.err == "error: small.png: is 5x5, and the run's images are 8x8\n  scale it to 8x8 first\n"
