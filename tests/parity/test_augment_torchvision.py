"""Each augmentation against torchvision's functional on uint8 tensors, on the same draws, pixel by pixel.

Where a result hangs on the last bit of a float, torchvision's own answer depends on how its kernels order and
fuse operations. There, and only there, another answer may differ: by one level, or, of a pixel that is
copied from the nearest one, by being copied from the other of two that are equally near.
"""

import math

import numpy as np
import pytest
import torch
import torchvision

from xtrain import plan
from xtrain.data.augment import angles, apply, cutout_boxes, erased_boxes, jitter_factors
from xtrain.data.augment.colour import CHANGES
from xtrain.spec import CenterCrop, ColorJitter, Cutout, RandomErasing, RandomRotation, Resize

transforms = torchvision.transforms
functional = transforms.functional
MODES = {mode.value: mode for mode in transforms.InterpolationMode}
SHAPES = [(3, 32, 32), (1, 28, 28), (3, 20, 31), (1, 9, 8)]


def images(count, shape, seed=0):
    """Half of them smooth, for rounding to matter, half of them noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    ramp = np.linspace(0, 255, shape[1] * shape[2]).reshape(shape[1:]).astype(np.uint8)
    noise[::2] = np.minimum(noise[::2] // 16 + ramp // 2, 255)
    return noise


def words(step, count, seed=0):
    return plan.words(seed, "test", count * step.words).reshape(count, step.words)


# ---- center_crop and resize


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 5, 8, 9, 17, 28, 31, 32, 40, 41])
def test_center_crop(shape, size):
    pixels, step = images(4, shape), CenterCrop(size=size)
    expected = functional.center_crop(torch.from_numpy(pixels), size).numpy()
    np.testing.assert_array_equal(apply(step, pixels, words(step, 4)), expected)


SIZES = [1, 7, 8, 16, 24, 28, 33, 48, 64, 75, (5, 40), (40, 5), (32, 31)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_resize_nearest(shape, size):
    pixels, step = images(4, shape), Resize(size=size, interpolation="nearest")
    expected = functional.resize(torch.from_numpy(pixels), size, MODES["nearest"]).numpy()
    result = apply(step, pixels, words(step, 4))
    np.testing.assert_array_equal(result, expected)
    assert result.shape[1:] == step.output_shape(shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("antialias", [True, False])
def test_resize_bilinear(shape, size, antialias):
    pixels, step = images(4, shape), Resize(size=size, antialias=antialias)
    ours = apply(step, pixels, words(step, 4))
    theirs = functional.resize(torch.from_numpy(pixels), size, antialias=antialias).numpy()
    assert ours.shape == theirs.shape == (4, *step.output_shape(shape))
    exact = functional.resize(torch.from_numpy(pixels).double(), size, antialias=antialias).numpy()
    one_level_at_halves(ours, theirs, exact, margin=255 * 2**-19)  # dozens of float32 roundings of 2**-24


def one_level_at_halves(ours, theirs, exact, margin):
    """Equal; where `exact` lies within `margin` of a half, one level apart at most."""
    distance = np.abs(ours.astype(int) - theirs)
    assert distance.max() <= 1
    halves = np.abs(exact - np.floor(exact) - 0.5) <= margin
    np.testing.assert_array_equal(ours[~halves], theirs[~halves])


# ---- random_rotation


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fill", [0, 255, (10, 128, 250)], ids=str)
@pytest.mark.parametrize("degrees", [15, 180, (89.5, 90.5), (90, 90), (0, 0), (45, 45)], ids=str)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_random_rotation(shape, fill, degrees, interpolation):
    if isinstance(fill, tuple):
        fill = fill[: shape[0]]
    step = RandomRotation(degrees=degrees, interpolation=interpolation, fill=fill)
    count = 24
    pixels, drawn = images(count, shape), words(step, count)
    ours = apply(step, pixels, drawn)
    ties = []
    fills = [float(value) for value in (fill if isinstance(fill, tuple) else [fill] * shape[0])]
    for image, angle, result in zip(pixels, angles(step, drawn).tolist(), ours, strict=True):
        tensor = torch.from_numpy(image)
        theirs = functional.rotate(tensor, angle, MODES[interpolation], fill=fills).numpy()
        if interpolation == "bilinear":
            exact = functional.rotate(tensor.double(), angle, MODES[interpolation], fill=fills).numpy()
            # Places come with errors of a few 2**-24 of the side, of which each is worth up to 255 levels.
            one_level_at_halves(result, theirs, exact, margin=4 * 255 * max(shape) * 2**-22)
        else:
            ties.append(equal_but_for_ties(result, theirs, angle))
    if interpolation == "nearest" and degrees in (15, 180):  # angles that nobody chose
        assert np.mean(ties) < 1e-3


def equal_but_for_ties(ours, theirs, angle):
    """Equal, but for pixels that come from the middle between two others, whose share is returned."""
    height, width = ours.shape[1:]
    x, y = np.arange(width) - (width - 1) / 2, (np.arange(height) - (height - 1) / 2)[:, None]
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    places = cosine * x - sine * y + (width - 1) / 2, sine * x + cosine * y + (height - 1) / 2
    ties = np.zeros((height, width), dtype=bool)
    for place in places:
        ties |= np.abs(place - np.floor(place) - 0.5) <= 1e-5  # float32 at 32 has steps of 2**-18
    np.testing.assert_array_equal(ours[:, ~ties], theirs[:, ~ties])
    return ties.mean()


def test_rotation_angles_are_uniform_as_torchvisions():
    step = RandomRotation(degrees=(-10, 30))
    drawn = angles(step, words(step, 40_000))
    assert drawn.min() >= -10
    assert drawn.max() <= 30
    counts, _ = np.histogram(drawn, bins=40, range=(-10, 30))
    assert ((counts - 1000) ** 2 / 1000).sum() < 39 + 5 * np.sqrt(78)
    assert transforms.RandomRotation([-10, 30]).degrees == [-10, 30]
    assert RandomRotation(degrees=20).range == tuple(transforms.RandomRotation(20).degrees)


# ---- random_erasing and cutout


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("value", [0, 200, (1, 2, 3)], ids=str)
def test_random_erasing(shape, value):
    if isinstance(value, tuple):
        value = value[: shape[0]]
    step = RandomErasing(p=0.7, value=value)
    pixels, drawn = images(100, shape), words(step, 100)
    boxes = np.stack(erased_boxes(step, shape[1:], drawn), axis=1).tolist()
    assert 0 < sum(box == [0, 0, 0, 0] for box in boxes) < 100
    values = torch.tensor(value if isinstance(value, tuple) else [value], dtype=torch.uint8)[:, None, None]
    for image, box, result in zip(pixels, boxes, apply(step, pixels, drawn), strict=True):
        top, left, bottom, right = box
        theirs = functional.erase(torch.from_numpy(image), top, left, bottom - top, right - left, values)
        np.testing.assert_array_equal(result, theirs.numpy())


@pytest.mark.parametrize("scale", [(0.02, 0.33), (0.5, 1.0), (1.0, 1.0)], ids=str)
@pytest.mark.parametrize("ratio", [(0.3, 3.3), (1.0, 1.0), (4.0, 9.0)], ids=str)
def test_erased_rectangles_are_those_of_torchvision_when_it_draws_the_same(scale, ratio, monkeypatch):
    step, shape = RandomErasing(p=1.0, scale=scale, ratio=ratio), (20, 31)
    drawn = words(step, 200)
    shares = (drawn >> np.uint64(11)) / 2**53
    ours = np.stack(erased_boxes(step, shape, drawn), axis=1)
    image = torch.zeros(1, *shape)
    for row, raw, box in zip(shares.tolist(), drawn.tolist(), ours.tolist(), strict=True):
        numbers = iter(row[1:21])
        places = iter(raw[21:])

        def uniform(tensor, low, high, numbers=numbers):
            return torch.tensor(
                [float(low) + next(numbers) * (float(high) - float(low))], dtype=torch.float64
            )

        def randint(low, high, size, places=places):
            return torch.tensor(next(places) % high)

        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "uniform_", uniform)
            patch.setattr(torch, "randint", randint)
            top, left, height, width, _ = transforms.RandomErasing.get_params(image, scale, ratio, [0.0])
        whole = (height, width) == shape  # its way to say that nothing is erased
        assert box == ([0, 0, 0, 0] if whole else [top, left, top + height, left + width])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 4, 5, 16, 99])
def test_cutout_is_an_erased_square_about_a_drawn_pixel(shape, size):
    step = Cutout(size=size, value=7)
    pixels, drawn = images(50, shape), words(step, 50)
    boxes = np.stack(cutout_boxes(step, shape[1:], drawn), axis=1).tolist()
    for image, raw, box, result in zip(
        pixels, drawn.tolist(), boxes, apply(step, pixels, drawn), strict=True
    ):
        top, left = (word % side - size // 2 for word, side in zip(raw, shape[1:], strict=True))
        bottom, right = min(top + size, shape[1]), min(left + size, shape[2])
        top, left = max(top, 0), max(left, 0)
        assert box == [top, left, bottom, right]
        value = torch.tensor([[[7]]], dtype=torch.uint8)
        theirs = functional.erase(torch.from_numpy(image), top, left, bottom - top, right - left, value)
        np.testing.assert_array_equal(result, theirs.numpy())


# ---- color_jitter

ADJUST = {name: getattr(functional, f"adjust_{name}") for name in CHANGES}
JITTERS = {
    "brightness": ColorJitter(brightness=0.9),
    "contrast": ColorJitter(contrast=0.9),
    "saturation": ColorJitter(saturation=0.9),
    "hue": ColorJitter(hue=0.5),
    "all": ColorJitter(brightness=0.4, contrast=(0.2, 1.9), saturation=1.4, hue=(-0.1, 0.3)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", JITTERS.values(), ids=JITTERS.keys())
def test_color_jitter(shape, step):
    count = 100
    pixels, drawn = images(count, shape), words(step, count)
    pixels[1] = pixels[1, :1]  # greys, whose hue is no number
    orders, factors = jitter_factors(step, drawn)
    assert set(factors) == {name for name in CHANGES if getattr(step, name)}
    ours = apply(step, pixels, drawn)
    for place, image in enumerate(torch.from_numpy(pixels)):
        theirs = image
        for change in orders[place]:
            if CHANGES[change] in factors:
                theirs = ADJUST[CHANGES[change]](theirs, float(factors[CHANGES[change]][place]))
        np.testing.assert_array_equal(ours[place], theirs.numpy(), err_msg=f"image {place}")


def test_every_colour_takes_every_hue():
    """All colours of 18 levels a channel, turned all the way round."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=0).reshape(3, 18, -1)
    step = ColorJitter(hue=0.5)
    drawn = words(step, 64)
    ours = apply(step, np.broadcast_to(colours, (64, *colours.shape)), drawn)
    for factor, result in zip(jitter_factors(step, drawn)[1]["hue"].tolist(), ours, strict=True):
        theirs = functional.adjust_hue(torch.from_numpy(colours), factor).numpy()
        np.testing.assert_array_equal(result, theirs)


def test_every_pixel_pair_mixes_as_torchvision_has_it():
    every = np.arange(256, dtype=np.uint8)
    pixels = np.stack([np.tile(every, (256, 1)), np.tile(every[:, None], (1, 256)), np.full((256, 256), 90)])
    pixels = np.broadcast_to(pixels.astype(np.uint8), (16, 3, 256, 256))
    for name in ("brightness", "saturation"):
        step = JITTERS[name]
        drawn = words(step, 16)
        factors = jitter_factors(step, drawn)[1][name].tolist()
        for image, factor, result in zip(pixels, factors, apply(step, pixels, drawn), strict=True):
            theirs = ADJUST[name](torch.from_numpy(image.copy()), factor).numpy()
            np.testing.assert_array_equal(result, theirs)


@pytest.mark.parametrize("key", CHANGES)
@pytest.mark.parametrize("given", [0.0, 0.3, 0.5, (0.25, 0.5)], ids=str)
def test_jitter_ranges_are_those_of_torchvision(key, given):
    theirs = getattr(transforms.ColorJitter(**{key: given}), key)
    assert ColorJitter(**{key: given}).ranges.get(key) == theirs


def test_every_order_of_the_changes_comes_about_as_often():
    step = JITTERS["all"]
    orders, _ = jitter_factors(step, words(step, 24_000))
    _, counts = np.unique(orders @ [1000, 100, 10, 1], return_counts=True)
    assert len(counts) == 24
    assert ((counts - 1000) ** 2 / 1000).sum() < 23 + 5 * np.sqrt(46)


def test_the_mean_of_a_large_image_is_exact_where_torchvisions_is_rounded():
    """From 65,793 pixels on a sum of 255s has more than the 24 bits of a float32."""
    pixels, step = images(4, (3, 400, 300)), JITTERS["contrast"]
    drawn = words(step, 4)
    factors = jitter_factors(step, drawn)[1]["contrast"].tolist()
    for image, factor, result in zip(
        torch.from_numpy(pixels), factors, apply(step, pixels, drawn), strict=True
    ):
        assert np.abs(result.astype(int) - functional.adjust_contrast(image, factor).numpy()).max() <= 1
