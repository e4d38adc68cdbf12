"""Augmentation against slow loops; in tests/parity it is compared with torchvision's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrain.data.augment import (
    angles,
    apply,
    crop_offsets,
    cutout_boxes,
    erased_boxes,
    flipped,
    jitter_factors,
)
from xtrain.data.augment.drawn import by_pieces
from xtrain.spec import (
    CenterCrop,
    ColorJitter,
    Cutout,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomRotation,
    Resize,
)
from xtrain.spec.base import ValidationError
from xtrain.spec.tensors import ShapeError

EVERY = {
    "crop": RandomCrop(size=6, padding=2),
    "center_crop": CenterCrop(size=5),
    "flip": RandomHorizontalFlip(),
    "nearest": RandomRotation(degrees=30, fill=(1, 2, 3)),
    "bilinear": RandomRotation(degrees=30, interpolation="bilinear"),
    "larger": Resize(size=11),
    "smaller": Resize(size=4),
    "erasing": RandomErasing(value=(1, 2, 3)),
    "cutout": Cutout(size=3),
    "jitter": ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5),
}
every = pytest.mark.parametrize("step", EVERY.values(), ids=EVERY.keys())
sides = st.integers(1, 12)
seeds = st.integers(0, 99)


def pixels_of(count, channels=3, height=8, width=7, seed=0, low=0):
    return np.random.default_rng(seed).integers(low, 256, (count, channels, height, width), dtype=np.uint8)


def words_for(step, count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, (count, step.words), dtype=np.uint64)


# ---- every operation


@every
def test_an_image_becomes_the_same_whatever_its_batch(step):
    pixels, words = pixels_of(97), words_for(step, 97)
    together = apply(step, pixels, words)
    order = np.random.default_rng(1).permutation(97)
    for size in (1, 5, 64):
        for start in range(0, 97, size):
            chosen = order[start : start + size]
            np.testing.assert_array_equal(apply(step, pixels[chosen], words[chosen]), together[chosen])


@every
def test_the_input_is_left_alone_and_the_shape_is_the_one_promised(step):
    pixels, words = pixels_of(9), words_for(step, 9)
    before = pixels.copy()
    result = apply(step, pixels, words)
    np.testing.assert_array_equal(pixels, before)
    assert result.dtype == np.uint8
    assert result.shape == (9, *step.output_shape(pixels.shape[1:]))
    assert not np.shares_memory(result, pixels)


@every
def test_grey_images_are_taken_too(step):
    step = type(step)(**{**vars(step), **{key: 5 for key in ("fill", "value") if hasattr(step, key)}})
    pixels = pixels_of(9, channels=1)
    assert apply(step, pixels, words_for(step, 9)).shape == (9, *step.output_shape((1, 8, 7)))


@every
def test_only_what_is_drawn_has_words(step):
    assert (step.words > 0) == (not isinstance(step, CenterCrop | Resize))
    differing = {apply(step, pixels_of(1), words_for(step, 1, seed)).tobytes() for seed in range(30)}
    assert (len(differing) > 1) == (step.words > 0)


@given(count=st.integers(1, 40), side=st.sampled_from([8, 100, 300]))
def test_pieces_are_put_together_in_order(count, side):
    pixels = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 3, side, side))
    words = np.arange(count, dtype=np.uint64)[:, None]
    sizes = []

    def work(some, drawn):
        sizes.append(len(some))
        assert some[:, 0, 0, 0].tolist() == drawn[:, 0].tolist()
        return some[:, :, :1, :1] + np.uint8(1)

    assert by_pieces(work, pixels, words)[:, 0, 0, 0].tolist() == list(range(1, count + 1))
    assert max(sizes) == 1 or max(sizes) * 3 * side * side <= 1 << 17


# ---- one by one


@given(height=sides, width=sides, size=sides)
def test_a_center_crop_leaves_as_much_on_either_side(height, width, size):
    pixels = pixels_of(2, 1, height, width, low=1)
    cut = apply(CenterCrop(size=size), pixels, words_for(CenterCrop(size=size), 2))
    assert cut.shape == (2, 1, size, size)
    kept = np.argwhere(cut[0, 0] > 0)
    assert len(kept) == min(height, size) * min(width, size)
    top, left = (max(math.ceil((side - size) / 2 - 0.5), 0) for side in (height, width))
    for axis, side in enumerate((height, width)):
        before, after = kept[:, axis].min(), size - 1 - kept[:, axis].max()
        assert after - before in (0, 1)
        assert before + after == max(size - side, 0)
    first = cut[:, :, kept[0][0], kept[0][1]]
    assert any(
        (first == pixels[:, :, top + i, left + j]).all()
        for i in (0, 1)
        for j in (0, 1)
        if (top + i < height and left + j < width)
    )


def turned(image, angle, fill):
    """The nearest pixels, one by one, in float64; and how near a tie each was."""
    height, width = image.shape[1:]
    result, margins = np.empty_like(image), np.empty((height, width))
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    for row, column in np.ndindex(height, width):
        x, y = column - (width - 1) / 2, row - (height - 1) / 2
        source = sine * x + cosine * y + (height - 1) / 2, cosine * x - sine * y + (width - 1) / 2
        i, j = (round(place) for place in source)
        result[:, row, column] = image[:, i, j] if 0 <= i < height and 0 <= j < width else fill
        margins[row, column] = min(abs(place - math.floor(place) - 0.5) for place in source)
    return result, margins


@given(height=sides, width=sides, low=st.integers(-200, 200), span=st.integers(0, 90), seed=seeds)
def test_a_rotation_copies_the_nearest_pixel(height, width, low, span, seed):
    step = RandomRotation(degrees=(low, low + span), fill=77)
    pixels, words = pixels_of(3, 2, height, width, seed), words_for(step, 3, seed)
    for image, angle, result in zip(pixels, angles(step, words), apply(step, pixels, words), strict=True):
        assert low <= angle <= low + span
        expected, margins = turned(image, angle, 77)
        sure = margins > 1e-5  # float32 at 16 has steps of 2**-19
        np.testing.assert_array_equal(result[:, sure], expected[:, sure])


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_a_quarter_turn_is_counter_clockwise(interpolation):
    step = RandomRotation(degrees=(90, 90), interpolation=interpolation)
    pixels = pixels_of(2, 3, 7, 7)
    np.testing.assert_array_equal(apply(step, pixels, words_for(step, 2)), np.rot90(pixels, 1, axes=(2, 3)))


def test_the_corners_of_a_turned_image_are_the_fill():
    step = RandomRotation(degrees=(45, 45), fill=(9, 8, 7), interpolation="bilinear")
    corners = apply(step, pixels_of(1, 3, 20, 20), words_for(step, 1))[0, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.tolist() == [[9, 8, 7]] * 4


@given(
    height=sides,
    width=sides,
    target=st.tuples(sides, sides),
    antialias=st.booleans(),
    value=st.integers(0, 255),
)
def test_one_colour_stays_that_colour_when_it_is_scaled(height, width, target, antialias, value):
    step = Resize(size=target, antialias=antialias)
    scaled = apply(step, np.full((1, 1, height, width), value, np.uint8), words_for(step, 1))
    assert scaled.shape == (1, 1, *target)
    assert (scaled == value).all()


def test_halving_with_antialiasing_is_a_weighted_mean_of_four():
    line = np.array([[[[0, 10, 20, 30, 40, 50, 60, 200]]]], dtype=np.uint8)
    scaled = apply(Resize(size=(1, 4)), line, words_for(Resize(size=1), 1))
    # A triangle two new pixels wide: 1, 3, 3 and 1 eighths, and at the borders what is left of it.
    assert scaled.ravel().tolist() == [
        round((3 * 0 + 3 * 10 + 20) / 7),
        25,
        45,
        round((50 + 3 * 60 + 3 * 200) / 7),
    ]


@given(height=st.integers(2, 20), width=st.integers(2, 20), seed=seeds, p=st.floats(0, 1))
def test_an_erased_rectangle_lies_within_and_has_the_area_and_ratio_asked_for(height, width, seed, p):
    step = RandomErasing(p=p)
    words = words_for(step, 50, seed)
    tops, lefts, bottoms, rights = erased_boxes(step, (height, width), words)
    erased = (bottoms > 0) | (rights > 0)
    assert (tops >= 0).all()
    assert (lefts >= 0).all()
    assert (bottoms <= height).all()
    assert (rights <= width).all()
    tall, wide = (bottoms - tops)[erased], (rights - lefts)[erased]
    # Sides are rounded: by half a pixel each.
    assert (((tall - 0.5) * (wide - 0.5)) <= 0.33 * height * width)[(tall > 0) & (wide > 0)].all()
    assert ((tall + 0.5) * (wide + 0.5) >= 0.02 * height * width).all()
    assert ((tall - 0.5) / (wide + 0.5) <= 3.3).all()
    assert ((tall + 0.5) / np.maximum(wide - 0.5, 1e-9) >= 0.3).all()
    if p == 0:
        assert not erased.any()


def test_the_share_of_erased_images_is_p():
    for p in (0.1, 0.5, 1.0):
        step = RandomErasing(p=p)
        tall = np.subtract(*erased_boxes(step, (32, 32), words_for(step, 20_000))[2::-2])
        assert abs((tall > 0).mean() - p) <= 5 * math.sqrt(p * (1 - p) / 20_000) + 1e-3


@given(height=sides, width=sides, size=st.integers(1, 15), seed=seeds)
def test_a_cutout_is_a_square_about_its_centre(height, width, size, seed):
    step = Cutout(size=size, value=3)
    pixels, words = pixels_of(4, 2, height, width, seed, low=4), words_for(step, 4, seed)
    boxes = zip(*cutout_boxes(step, (height, width), words), strict=True)
    for image, drawn, box, result in zip(
        pixels, words.tolist(), boxes, apply(step, pixels, words), strict=True
    ):
        center = drawn[0] % height, drawn[1] % width
        assert box[0] <= center[0] < box[2]
        assert box[1] <= center[1] < box[3]
        for row, column in np.ndindex(height, width):
            within = all(0 <= p - (c - size // 2) < size for p, c in zip((row, column), center, strict=True))
            np.testing.assert_array_equal(result[:, row, column], 3 if within else image[:, row, column])


def test_jitter_of_nothing_changes_nothing():
    step = ColorJitter()
    assert not step.ranges
    pixels = pixels_of(9)
    np.testing.assert_array_equal(apply(step, pixels, words_for(step, 9)), pixels)


def test_factors_lie_within_their_ranges():
    step = ColorJitter(brightness=0.4, contrast=(0.5, 0.75), saturation=2.0, hue=0.25)
    orders, factors = jitter_factors(step, words_for(step, 5000))
    assert {tuple(sorted(order)) for order in orders.tolist()} == {(0, 1, 2, 3)}
    bounds = {"brightness": (0.6, 1.4), "contrast": (0.5, 0.75), "saturation": (0, 3), "hue": (-0.25, 0.25)}
    for name, (low, high) in bounds.items():
        assert low <= factors[name].min() <= low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) <= factors[name].max() <= high


# ---- golden: a change here changes every run with such an augmentation


def test_what_is_drawn_never_changes():
    words = np.arange(46, dtype=np.uint64).reshape(2, 23) * np.uint64(0x9E3779B97F4A7C15)
    assert [
        part.tolist() for part in crop_offsets(RandomCrop(size=32, padding=4), (32, 32), words)
    ] == GOLDEN["crop"]
    assert flipped(RandomHorizontalFlip(), words).tolist() == GOLDEN["flip"]
    assert angles(RandomRotation(degrees=15), words).tolist() == GOLDEN["angles"]
    assert [part.tolist() for part in erased_boxes(RandomErasing(p=1.0), (32, 32), words)] == GOLDEN["erased"]
    assert [part.tolist() for part in cutout_boxes(Cutout(size=8), (32, 32), words)] == GOLDEN["cutout"]
    orders, factors = jitter_factors(EVERY["jitter"], words)
    assert orders.tolist() == GOLDEN["orders"]
    assert {name: values.tolist() for name, values in factors.items()} == GOLDEN["factors"]


GOLDEN = {
    "crop": [[0, 0], [7, 7]],
    "flip": [True, True],
    "angles": [-15.0, -8.556547762572556],
    "erased": [[11, 4], [4, 3], [22, 20], [24, 21]],
    "cutout": [[0, 0], [17, 20], [4, 7], [25, 28]],
    "orders": [[0, 1, 2, 3], [0, 2, 3, 1]],
    "factors": {
        "brightness": [1.118033988749895, 1.3328157299974763],
        "contrast": [0.7360679774997897, 0.9508497187473711],
        "saturation": [1.3541019662496845, 0.568883707497266],
        "hue": [-0.027864045000420612, 0.18691769624716081],
    },
}


# ---- what is refused

REFUSED = {
    "degrees the wrong way round": (RandomRotation, {"degrees": (3, 1)}),
    "negative degrees": (RandomRotation, {"degrees": -1.0}),
    "a fill above 255": (RandomRotation, {"degrees": 1.0, "fill": 256}),
    "no fill": (RandomRotation, {"degrees": 1.0, "fill": ()}),
    "another interpolation": (RandomRotation, {"degrees": 1.0, "interpolation": "bicubic"}),
    "a scale the wrong way round": (RandomErasing, {"scale": (0.3, 0.2)}),
    "a scale above 1": (RandomErasing, {"scale": (0.3, 1.2)}),
    "a ratio of 0": (RandomErasing, {"ratio": (0.0, 1.0)}),
    "a ratio the wrong way round": (RandomErasing, {"ratio": (2.0, 1.0)}),
    "a probability above 1": (RandomErasing, {"p": 1.1}),
    "a negative factor": (ColorJitter, {"brightness": -0.1}),
    "a negative range": (ColorJitter, {"contrast": (-0.1, 1.0)}),
    "factors the wrong way round": (ColorJitter, {"saturation": (1.0, 0.5)}),
    "a hue above half a turn": (ColorJitter, {"hue": 0.6}),
    "a hue below half a turn": (ColorJitter, {"hue": (-0.6, 0.0)}),
    "a cutout of nothing": (Cutout, {"size": 0}),
    "three sides": (Resize, {"size": (1, 2, 3)}),
    "no size": (Resize, {"size": 0}),
}


@pytest.mark.parametrize(("kind", "values"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_sense_is_refused(kind, values):
    with pytest.raises(ValidationError):
        kind(**values)


@pytest.mark.parametrize(
    ("step", "shape", "text"),
    [
        (RandomCrop(size=9), (1, 8, 10), "size = 9: must be 8 or less"),
        (RandomCrop(size=13, padding=2), (1, 8, 10), "size = 13: must be 12 or less"),
        (RandomRotation(degrees=1, fill=(1, 2)), (3, 8, 8), "fill = .*give one value, or 3"),
        (RandomErasing(value=(1, 2)), (1, 8, 8), "value = .*give one value, or 1"),
        (Cutout(size=1, value=(1, 2)), (3, 8, 8), "value = .*give one value, or 3"),
        (ColorJitter(), (2, 8, 8), "1 or 3 channels, not 2"),
    ],
)
def test_an_image_that_can_not_be_taken_is_refused(step, shape, text):
    with pytest.raises(ShapeError, match=text):
        step.output_shape(shape)
