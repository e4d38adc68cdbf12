"""One's own images, in folders by class."""

import os
import struct
import zlib

import numpy as np
import platformdirs
import pytest
from PIL import Image

from xtrain import data
from xtrain.data import image_folder
from xtrain.data.image_folder import ImageFolder
from xtrain.errors import DataError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache/xtrain/own"


def picture(height=8, width=8, channels=3):
    pixels = RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def put(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels


@pytest.fixture
def folder(tmp_path):
    """Two classes, written in an order that is not the alphabet's; and what each file holds."""
    root, written = tmp_path / "pets", {}
    for split, count in (("train", 3), ("test", 2)):
        for name in ("dog", "cat"):
            for place in reversed(range(count)):
                written[f"{split}/{name}/{place}.png"] = put(root / split / name / f"{place}.png", picture())
    return root, written


def section(root, size=None, fit="resize"):
    return ImageFolder(path=str(root), image_size=size, fit=fit)


def test_images_come_in_order_of_class_and_name(folder):
    root, written = folder
    arrays, about = data.load(section(root)), data.info(section(root))
    train = [written[f"train/{name}/{place}.png"] for name in ("cat", "dog") for place in range(3)]
    test = [written[f"test/{name}/{place}.png"] for name in ("cat", "dog") for place in range(2)]
    np.testing.assert_array_equal(arrays.train_images, np.stack(train).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(arrays.test_images, np.stack(test).transpose(0, 3, 1, 2))
    assert arrays.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert arrays.test_labels.tolist() == [0, 0, 1, 1]
    assert arrays.train_images.flags.c_contiguous
    assert arrays.train_images.flags.writeable
    assert (about.class_names, about.input_shape) == (("cat", "dog"), (3, 8, 8))
    assert (about.train, about.test) == (6, 4)
    np.testing.assert_allclose(about.mean, (arrays.train_images / 255).mean(axis=(0, 2, 3)), atol=5.1e-5)


def test_a_folder_val_serves_for_test(folder):
    root, _ = folder
    expected = data.load(section(root)).test_images
    (root / "test").rename(root / "val")
    np.testing.assert_array_equal(data.load(section(root)).test_images, expected)


def test_grey_palette_transparent_and_jpeg_become_rgb(folder):
    root, _ = folder
    grey = put(root / "train/cat/a.png", picture(channels=1))
    clear = put(root / "train/cat/b.png", picture(channels=4))
    Image.fromarray(picture()).quantize(4).save(root / "train/cat/c.PNG")
    put(root / "train/cat/d.jpeg", np.full((8, 8, 3), 200, np.uint8))
    (root / "train/cat/notes.txt").write_text("not an image")
    (root / "train/cat/.hidden.png").write_text("not an image")
    images = data.load(section(root)).train_images[3:7]
    np.testing.assert_array_equal(images[0], np.stack([grey] * 3))
    np.testing.assert_array_equal(images[1], clear[..., :3].transpose(2, 0, 1))
    np.testing.assert_array_equal(images[3], 200)


@pytest.mark.parametrize("size", [5, 8, 12])
@pytest.mark.parametrize("fit", ["resize", "center_crop"])
@pytest.mark.parametrize("shape", [(8, 8), (20, 9), (9, 20), (7, 16)])
def test_images_get_one_size_as_torchvision_gives_it_to_them(folder, size, fit, shape):
    transforms = pytest.importorskip("torchvision").transforms
    root, _ = folder
    image = put(root / "train/cat/9.png", picture(*shape))
    wanted = {
        "resize": transforms.Resize((size, size)),
        "center_crop": transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)]),
    }[fit]
    expected = np.asarray(wanted(Image.fromarray(image))).transpose(2, 0, 1)
    arrays = data.load(section(root, size, fit))
    assert arrays.train_images.shape == (7, 3, size, size)
    np.testing.assert_array_equal(arrays.train_images[3], expected)
    assert data.info(section(root, size, fit)).input_shape == (3, size, size)


def test_images_of_several_sizes_need_one(folder):
    root, _ = folder
    put(root / "train/dog/1.png", picture(9, 8))
    with pytest.raises(DataError, match=r"dog/1.png: is 8x9, but .*cat/0.png is 8x8\n.*data.image_size"):
        data.load(section(root))


def bomb(width, height):
    """A small PNG that says it is large."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("error")
def test_broken_images_are_all_counted_and_the_first_named(folder):
    root, _ = folder
    whole = (root / "train/cat/0.png").read_bytes()
    put(root / "train/cat/z.jpg", picture(64, 64), quality=95)
    jpeg = (root / "train/cat/z.jpg").read_bytes()
    broken = {
        "train/cat/1.png": whole[: len(whole) // 2],
        "train/cat/2.png": b"",
        "train/cat/z.jpg": jpeg[: len(jpeg) // 2],
        "train/dog/0.png": b"GIF89a not a png",
        "train/dog/1.png": bomb(9000, 9000),
        "train/dog/2.png": bomb(100_000, 100_000),
        "test/cat/0.png": whole[:60] + bytes(40) + whole[100:],
    }
    for name, content in broken.items():
        (root / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        data.load(section(root))
    text = str(caught.value)
    assert f"{root}: 7 of 11 images can't be read" in text
    for name in list(broken)[:5]:
        assert str(root / name) in text
    assert "and 2 more" in text
    assert "bomb" in text
    assert "truncated" in text
    assert "neither PNG nor JPEG" in text
    assert "repair or delete" in text


LAYOUTS = {
    "no train": (lambda root: (root / "train").rename(root / "training"), "there is no directory train"),
    "no test": (lambda root: (root / "test").rename(root / "testing"), "there is no directory val"),
    "a class of test alone": (lambda root: put(root / "test/emu/1.png", picture()), "has class 'emu'"),
    "an empty class": (lambda root: (root / "train/emu").mkdir(), "emu: has no .png, .jpg or .jpeg"),
    "another format": (lambda root: put(root / "train/cat/x.bmp", picture()), r"x\.bmp: only PNG and JPEG"),
}


@pytest.mark.parametrize(("change", "problem"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_layout_that_is_none_is_said(folder, change, problem):
    root, _ = folder
    change(root)
    with pytest.raises(DataError, match=problem):
        data.info(section(root))


def test_empty_folders_are_said(tmp_path):
    with pytest.raises(DataError, match="nowhere: there is no such directory"):
        data.info(section(tmp_path / "nowhere"))
    (tmp_path / "pets/train").mkdir(parents=True)
    (tmp_path / "pets/test").mkdir()
    with pytest.raises(DataError, match="train: has no folder for any class"):
        data.info(section(tmp_path / "pets"))
    put(tmp_path / "pets/train/cat/1.png", picture())
    with pytest.raises(DataError, match=r"test: has no \.png"):
        data.info(section(tmp_path / "pets"))


def test_images_are_decoded_once_until_one_changes(folder, cache, monkeypatch):
    root, _ = folder
    about, first = data.info(section(root)), data.load(section(root))
    assert {path.suffix for path in cache.iterdir()} == {".npz", ".json"}
    with monkeypatch.context() as patch:
        patch.setattr(image_folder, "_attempt", None)
        assert data.info(section(root)) == about
        again = data.load(section(root))
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(again, part), getattr(first, part))
    assert again.train_images.flags.writeable
    path = root / "train/cat/0.png"
    changed = put(path, picture())
    os.utime(path, ns=(0, 1))
    np.testing.assert_array_equal(data.load(section(root)).train_images[0], changed.transpose(2, 0, 1))
    assert data.load(section(root, 4)).train_images.shape[2:] == (4, 4)


@pytest.mark.parametrize(
    "damage", [lambda content: content[:100], lambda content: b"", lambda content: b"x" * 500]
)
def test_a_damaged_entry_is_made_anew(folder, cache, damage):
    root, _ = folder
    first = data.load(section(root))
    for path in cache.glob("*.npz"):
        path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(data.load(section(root)).train_images, first.train_images)


def test_an_entry_with_other_content_is_not_believed(folder, cache, caplog):
    """One that is whole as a file: its own checksums agree."""
    root, _ = folder
    about, first = data.info(section(root)), data.load(section(root))
    path = next(cache.glob("*.npz"))
    with np.load(path) as kept:
        held = dict(kept)
    for change in ({"train_images": held["train_images"] ^ 1}, {"test_labels": held["test_labels"][::-1]}):
        np.savez(path, **held | change)
        caplog.clear()
        again = data.load(section(root))
        np.testing.assert_array_equal(again.train_images, first.train_images)
        np.testing.assert_array_equal(again.test_labels, first.test_labels)
        assert f"{path}: is damaged, it is made anew: ValueError: its hash differs" in caplog.text
    caplog.clear()
    data.load(section(root))
    assert "damaged" not in caplog.text
    path = next(cache.glob("*.json"))
    path.write_text(path.read_text().replace('"train": 6', '"train": 7'))
    assert data.info(section(root)) == about
    assert f"{path}: is damaged" in caplog.text


def test_an_entry_of_another_folder_is_not_believed(folder, cache):
    root, _ = folder
    first = data.load(section(root))
    mine = next(cache.glob("*.npz"))
    data.load(section(root, 4))
    other = next(path for path in cache.glob("*.npz") if path != mine)
    mine.write_bytes(other.read_bytes())
    np.testing.assert_array_equal(data.load(section(root)).train_images, first.train_images)


def test_a_cache_that_can_not_be_written_is_logged(folder, cache, caplog):
    root, _ = folder
    cache.parent.mkdir(parents=True)
    cache.touch()
    caplog.set_level("DEBUG", "xtrain")
    assert len(data.load(section(root)).train_images) == 6
    assert "can't be kept: [Errno 17]" in caplog.text


@pytest.mark.parametrize("split", ["train", "test"])
def test_only_regular_files_are_read(folder, split):
    root, written = folder
    (root / "elsewhere.png").write_bytes((root / "train/cat/0.png").read_bytes())
    (root / split / "cat/7.png").symlink_to(root / "elsewhere.png")
    images = len([name for name in written if name.startswith(split)])
    assert len(getattr(data.load(section(root)), f"{split}_images")) == images + 1
    fifo = root / split / "cat/8.png"
    os.mkfifo(fifo)
    with pytest.raises(DataError, match=rf"{fifo}: is not a regular file\n"):
        data.load(section(root))
    fifo.unlink()
    fifo.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=rf"{fifo}: is not a regular file\n"):
        data.info(section(root))
    fifo.unlink()
    fifo.symlink_to("nowhere.png")
    with pytest.raises(DataError, match=rf"{fifo}: can't be read: No such file"):
        data.info(section(root))
