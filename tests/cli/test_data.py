"""`xtrain data`: figures and a picture of a data set or of a recipe's data."""

import numpy as np
import platformdirs
import pytest
from PIL import Image

AUGMENT = 'data.augment=[{op = "random_crop", size = 8, padding = 2}, {op = "random_horizontal_flip"}]'


def test_a_data_set_by_name(call, tmp_path):
    done = call("data", "digits")
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    # Of 360 test images the class of 0 has its share of 178 among 1,797.
    assert ["0", "0", "142", "9.9%", "36", "10.0%"] in lines
    assert ["all", "1,437", "360"] in lines
    assert ["0", "0.3053", "0.3759", "0.3053", "0.3759"] in lines
    assert lines[-1] == ["samples:", "data-digits.png"]
    plain = height(tmp_path / "data-digits.png")
    call("data", "digits", "--set", AUGMENT)
    assert height(tmp_path / "data-digits.png") > 2 * plain


def test_a_recipe_with_validation_and_figures_of_its_own(call, tmp_path):
    changes = (
        "data.validation={fraction = 0.1, balanced = true}",
        "data.normalize={mean = [0.5], std = [0.25]}",
    )
    settings = [part for change in (*changes, AUGMENT) for part in ("--set", change)]
    done = call("data", "digits_mlp", "--out", "x.png", *settings)
    assert done.code == 0, done.err
    assert "validation" in done.out
    lines = [line.split() for line in done.out.splitlines()]
    assert ["all", "1,293", "144", "360"] in lines
    assert ["0", "0.5000", "0.2500"] in [[line[0], *line[-2:]] for line in lines if len(line) == 5]
    assert lines[-1] == ["samples:", "x.png"]


def height(path):
    with Image.open(path) as image:
        return image.height


def picture(call, *arguments):
    assert call("data", "digits", "--out", "p.png", *arguments).code == 0
    with Image.open("p.png") as image:
        return np.asarray(image.convert("L"))


def test_the_picture_follows_the_seed_and_the_augmentation(call):
    first = picture(call, "--set", AUGMENT)
    np.testing.assert_array_equal(picture(call, "--set", AUGMENT), first)
    assert (picture(call, "--set", AUGMENT, "--seed", "1") != first).any()
    flips = picture(call, "--set", 'data.augment=[{op = "random_horizontal_flip"}]')
    assert flips.shape == first.shape
    assert (flips != first).any()


def test_ones_own_data(call, tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / split / name / "1.png")
    settings = ("data.name=image_folder", "data.path=pets", "data.image_size=12", "data.fit=center_crop")
    done = call("data", "digits_mlp", *(part for change in settings for part in ("--set", change)))
    assert done.code == 0, done.err
    assert ["0", "cat", "1", "50.0%", "1", "50.0%"] in [line.split() for line in done.out.splitlines()]
    (tmp_path / "pets/train/dog/1.png").write_bytes(b"broken")
    done = call("data", "digits_mlp", *(part for change in settings for part in ("--set", change)))
    assert done.code == 1
    assert "pets/train/dog/1.png: is neither PNG nor JPEG" in done.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["data", "digit"], "did you mean 'digits'"),
        (["data", "digits", "--set", "data.augment=[{op = 'crop'}]"], "data.augment[0].op = 'crop'"),
        (["data", "digits", "--out", "nowhere/x.png"], "nowhere/x.png: can't be written"),
    ],
)
def test_wrong_use_is_told(call, arguments, text):
    done = call(*arguments)
    assert done.code == 2
    assert text in done.err
