"""Whatever validates also builds and trains under NumPy, or is refused by xtrain's own error with a reason.

Counts are shown at the end of the tests' output. Warnings are errors here: a cast that overflows would
train on numbers that nobody asked for.
"""

import math
import tomllib
import warnings
from collections import Counter

import numpy as np
import platformdirs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from recipe_fuzz import overrides, spoiled, valid

from xtrain import plugins
from xtrain.errors import NonFiniteError, XtrainError
from xtrain.recipe import limits, parse
from xtrain.runs.progress import Progress
from xtrain.training import assembly
from xtrain.training.trainer import Store, Trainer

AFFORDABLE = 2**18
"""Numbers: what is larger, in weights or in a step's activations, is legal and not trained here."""


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """`[data]` sections over data made up on disk, each with its classes and channels."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platformdirs, "user_cache_path", lambda name: folder / "cache" / name)
        yield [
            ({"name": "npz", "path": _npz(folder / "grey.npz", 12, (8, 8), 3)}, 3, 1),
            ({"name": "npz", "path": _npz(folder / "colour.npz", 9, (3, 7, 6), 2)}, 2, 3),
            ({"name": "npz", "path": _npz(folder / "single.npz", 1, (6, 6), 1)}, 1, 1),
            ({"name": "image_folder", "path": _images(folder / "images"), "image_size": 6}, 2, 3),
        ]


def _npz(path, samples, shape, classes):
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (2, samples, *shape), dtype=np.uint8)
    labels = np.arange(samples) % classes
    np.savez(path, x_train=pixels[0], y_train=labels, x_test=pixels[1], y_test=labels)
    return str(path)


def _images(folder):
    random = np.random.default_rng(2)
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (folder / place).mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 256, (6, 7, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / place / f"{number}.png")
    return str(folder)


def outcome(values, changes=None):
    """What becomes of a recipe's values: the kind of xtrain's own error, or how far it was trained."""
    try:
        recipe = parse(values, "F", changes)
        assert parse(tomllib.loads(recipe.to_toml()), "again") == recipe
        job = recipe.bind(where="F")
        if not affordable(job):
            return "legal, too large to train here"
        trained(job)
    except XtrainError as error:
        return _refused(error)
    return "trained"


def _refused(error):
    assert error.problem.strip()
    assert len(str(error)) < 20_000
    return f"refused: {type(error).__name__}"


def affordable(job):
    """True where a step takes milliseconds."""
    model, about, section = job.model, job.data, job.recipe.data
    steps = [*limits.images(section.augment, about.input_shape)]
    steps += limits.images(section.eval_transform, about.input_shape)
    numbers = [working for _, _, working in steps]
    for node in model.walk():
        working, unfolded = (of(node.input_shape) for of in (node.layer.working, node.layer.unfolded))
        numbers += [math.prod(node.output_shape), working, unfolded]
    return max(limits.weights(model), about.train * max(numbers)) < AFFORDABLE and len(model.tensors) < 200


def trained(job):
    """An epoch, its evaluation and a step of the next; and what the last step would be handed."""
    precision = job.recipe.loop.precision
    backend = plugins.load("numpy", precision=precision)
    plugins.require_precision(backend, precision)
    arrays = assembly.load_data(job, None)
    parts = assembly.build(backend, job, arrays, assembly.initial_state(job))
    progress, kept = Progress(), []
    store = Store(lambda checkpoint, best: kept.append(checkpoint) if best else None, lambda _: kept[-1])
    trainer = Trainer(job, parts, progress, [], store, lambda: progress.step > job.steps_per_epoch)
    job.step_input(job.clock(job.steps, job.recipe.loop.epochs - 1), [parts.train.labels])
    trainer.run()


def test_steps_whose_samples_weigh_nothing_are_told(datasets):
    values = {
        "name": "weightless",
        "data": {**datasets[0][0], "batch_size": 1},
        "model": {"name": "mlp", "hidden": []},
        "loss": {"name": "cross_entropy", "class_weights": [0.0, 0.0, 1.0]},
        "optimizer": {"name": "sgd"},
        "loop": {"epochs": 1},
    }
    with pytest.raises(NonFiniteError, match=r"^the loss of step \d+ is nan\n"):
        trained(parse(values, "F").bind(where="F"))


def fuzz(strategy, examples, derandomize):
    """How often each outcome was, over so many examples."""
    counts = Counter()

    @settings(
        max_examples=examples, derandomize=derandomize, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def each(values):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = outcome(*values)
        counts[found] += 1

    each()
    return counts


def strategies(datasets):
    return {
        "valid": st.tuples(valid(datasets)),
        "spoiled": st.tuples(spoiled(datasets)),
        "overridden": valid(datasets).flatmap(lambda values: st.tuples(st.just(values), overrides(values))),
    }


@pytest.mark.parametrize(("kind", "examples"), [("valid", 200), ("spoiled", 400), ("overridden", 100)])
def test_a_recipe_trains_or_is_refused(kind, examples, datasets, record_property):
    _told(kind, fuzz(strategies(datasets)[kind], examples, True), record_property)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["valid", "spoiled", "overridden"])
def test_thousands_of_recipes_train_or_are_refused(kind, datasets, record_property):
    _told(kind, fuzz(strategies(datasets)[kind], 5000, False), record_property)


def _told(kind, counts, record_property):
    told = ", ".join(f"{count} {found}" for found, count in counts.most_common())
    record_property("counts", f"recipes, {kind}: {told}")
    assert counts["trained"] > sum(counts.values()) * (0.5 if kind == "valid" else 0.05), told
