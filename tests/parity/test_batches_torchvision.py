"""Batches against torchvision's own datasets and transforms, to the bit, on the same draws."""

import gzip

import numpy as np
import pytest
import torch
import torchvision
from xtrain_torch.dataset import TorchDataset

from xtrain import data, plan
from xtrain.data.augment import apply, crop_offsets, flipped
from xtrain.data.batches import assemble, per_channel
from xtrain.spec import RandomCrop, RandomHorizontalFlip, Split

functional = torchvision.transforms.functional

STATISTICS = {name: (data.info(name).mean, data.info(name).std) for name in data.names()}
STATISTICS["halves"] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CROP, FLIP = RandomCrop(size=32, padding=4), RandomHorizontalFlip()


def transform(mean, std):
    steps = [torchvision.transforms.ToTensor(), torchvision.transforms.Normalize(mean, std)]
    return torchvision.transforms.Compose(steps)


def as_hwc(pixels):
    """What ToTensor takes: [C, H, W] as an array [H, W, C]."""
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def words(count, width):
    return plan.words(0, "test", count * width).reshape(count, width)


@pytest.mark.parametrize(("mean", "std"), STATISTICS.values(), ids=STATISTICS.keys())
def test_every_pixel_value_is_normalised_alike(mean, std):
    pixels = np.tile(np.arange(256, dtype=np.uint8).reshape(16, 16), (len(mean), 1, 1))
    expected = transform(mean, std)(as_hwc(pixels)).numpy()
    split = Split(pixels[None], np.zeros(1, np.int64), per_channel(mean), per_channel(std))
    ((images, _),) = assemble(split, plan.eval_draws(1, 1))
    assert images[0].tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 40, 36)])
def test_crops_are_torchvisions_on_the_same_draws(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (64, *shape), dtype=np.uint8)
    drawn = words(64, 2)
    tops, lefts = (offsets.tolist() for offsets in crop_offsets(CROP, shape[1:], drawn))
    padded = functional.pad(torch.from_numpy(pixels), [CROP.padding])
    for image, top, left, cut in zip(padded, tops, lefts, apply(CROP, pixels, drawn), strict=True):
        np.testing.assert_array_equal(functional.crop(image, top, left, CROP.size, CROP.size).numpy(), cut)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 40, 36)])
@pytest.mark.parametrize("steps", [(CROP,), (FLIP,), (CROP, FLIP), (FLIP, CROP)])
def test_what_a_gpu_augments_is_numpys(steps, shape):
    """The code that runs there, on the CPU: batches equal to the bit to those made in NumPy."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, *shape), dtype=np.uint8)
    mean, std = per_channel((0.3,) * shape[0]), per_channel((0.2,) * shape[0])
    split = Split(pixels, np.arange(70, dtype=np.int64), mean, std, steps)
    draws = plan.train_draws(0, 1, 70, 32, augment=steps)
    found = TorchDataset(split, "cpu")._augmented_here(draws)
    for (images, labels), (wanted, wanted_labels) in zip(found, assemble(split, draws), strict=True):
        np.testing.assert_array_equal(images.numpy(), wanted)
        np.testing.assert_array_equal(labels.numpy(), wanted_labels)


@pytest.mark.parametrize(("size", "padding"), [(32, 4), (24, 0), (40, 4)])
def test_crops_reach_every_place_torchvisions_do(size, padding):
    step = RandomCrop(size=size, padding=padding)
    image = torch.zeros(1, 32 + 2 * padding, 32 + 2 * padding)
    theirs = {torchvision.transforms.RandomCrop.get_params(image, (size, size))[:2] for _ in range(3000)}
    ours = set(zip(*(part.tolist() for part in crop_offsets(step, (32, 32), words(3000, 2))), strict=True))
    assert (
        ours
        == theirs
        == {(top, left) for top in range(33 + 2 * padding - size) for left in range(33 + 2 * padding - size)}
    )


def test_flips_are_torchvisions_on_the_same_draws():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 3, 32, 31), dtype=np.uint8)
    drawn = words(64, 1)
    mirrored = flipped(FLIP, drawn)
    assert 0 < mirrored.sum() < 64
    for image, mirror, result in zip(
        torch.from_numpy(pixels), mirrored, apply(FLIP, pixels, drawn), strict=True
    ):
        np.testing.assert_array_equal((functional.hflip(image) if mirror else image).numpy(), result)


def test_a_training_batch_is_what_torchvision_makes_of_the_same_draws():
    mean, std = STATISTICS["cifar10"]
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 32, 32), dtype=np.uint8)
    split = Split(images, np.arange(50) % 10, per_channel(mean), per_channel(std), (CROP, FLIP))
    draws = plan.train_draws(seed=0, epoch=1, samples=50, batch_size=16, augment=split.augment)
    tops, lefts = (offsets.tolist() for offsets in crop_offsets(CROP, (32, 32), draws.augment[0]))
    mirrored = flipped(FLIP, draws.augment[1])
    normalise = transform(mean, std)
    for (batch, labels), indices in zip(assemble(split, draws), draws.batches, strict=True):
        np.testing.assert_array_equal(labels, split.labels[indices])
        for made, index in zip(batch, indices, strict=True):
            image = functional.pad(functional.to_pil_image(as_hwc(images[index])), [4])
            image = functional.crop(image, tops[index], lefts[index], 32, 32)
            image = functional.hflip(image) if mirrored[index] else image
            assert made.tobytes() == normalise(image).numpy().tobytes()


def torchvision_dataset(name, real_data, tmp_path):
    mean, std = STATISTICS[name]
    if name == "cifar10":
        return torchvision.datasets.CIFAR10(real_data / name, train=False, transform=transform(mean, std))
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for path in (real_data / name).glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return torchvision.datasets.MNIST(tmp_path, train=False, transform=transform(mean, std))


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_real_test_images_are_those_torchvision_reads(name, real_data, tmp_path):
    arrays = data.load(name, real_data)
    split = Split(arrays.test_images, arrays.test_labels, *map(per_channel, STATISTICS[name]))
    theirs = torchvision_dataset(name, real_data, tmp_path)
    assert len(theirs) == len(split.images)
    ((images, labels),) = assemble(split, plan.eval_draws(500, 500))
    for place in range(500):
        image, label = theirs[place]
        assert label == labels[place]
        assert image.numpy().tobytes() == images[place].tobytes()
